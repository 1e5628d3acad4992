"""What is wrong with the servers and how to mend it, and what they allow kos to do.

Each question about PostgreSQL is one numbered file: `checks/` hold what must be right (a row per fault),
`capabilities/` what may be missing (one row). They run read-only, with the logins that kos.toml names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL

from kos.errors import KosError
from kos.sql import load
from kos.topology import health, postgres
from kos.topology.answer import one_line
from kos.topology.model import Login, Secret, Shard, Topology

Severity = Literal["ok", "warning", "error"]

CONNECT_SECONDS = 5
STATEMENT_MILLISECONDS = 10_000
MAY_READ = 0o640

_PACKAGE = "kos.topology"
_queries = load(_PACKAGE)


@dataclass(frozen=True)
class Finding:
    """What one check found about `subject`. `mend` is a command, a statement or an edit; empty where all is well."""

    check: str
    subject: str
    severity: Severity
    found: str
    mend: str


@dataclass(frozen=True)
class Capability:
    """Whether a server lets kos do something, why (not), and what would change that."""

    name: str
    subject: str
    allowed: bool
    reason: str
    mend: str


@dataclass(frozen=True)
class Report:
    """Everything that was found, store by store."""

    findings: tuple[Finding, ...]
    capabilities: tuple[Capability, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong; warnings are not wrong."""
        return all(finding.severity != "error" for finding in self.findings)


Check = Callable[[psycopg.Connection[Any]], Iterable[Finding]]
"""A check that another part of kos brings: it gets each shard's database, in a read-only transaction."""


@dataclass(frozen=True)
class Question:
    """One file of `checks/` or `capabilities/`: its name, the comment that says what it is for, the query."""

    name: str
    purpose: str
    query: SQL


@cache
def questions(folder: str) -> tuple[Question, ...]:
    """The questions of `folder` ("checks" or "capabilities"), by number."""
    names = sorted(each.name for each in files(_PACKAGE).joinpath(folder).iterdir() if each.name.endswith(".sql"))
    found = []
    for filename in names:
        for name, query in vars(load(_PACKAGE, f"{folder}/{filename}")).items():
            purpose = query.as_string().splitlines()[0].removeprefix("-- ")
            found.append(Question(name, purpose, query))
    return tuple(found)


def examine(topology: Topology, *, extra: Iterable[Check] = ()) -> Report:
    """Look at every store of `topology`. Never raises for what it finds: that is in the report."""
    findings = [*_reachable(topology), *_secrets(topology), *_tls(topology)]
    capabilities: list[Capability] = []
    extra = tuple(extra)
    for shard in topology.shards:
        connections, refused = _log_in(shard)
        try:
            connection = next(iter(connections.values()), None)
            findings += _logins(shard, connection, refused)
            if connection:
                findings += _run_checks(shard, connection, extra)
                capabilities += _run_capabilities(shard, connection)
        finally:
            for opened in connections.values():
                opened.close()
    return Report(tuple(findings), tuple(capabilities))


# every store


def _reachable(topology: Topology) -> Iterator[Finding]:
    for store in health.check(topology):
        if store.healthy:
            found = f"{store.kind} {store.version} at {store.address}" + (store.detail and f" ({store.detail})")
            yield Finding("reachable", store.name, "ok", found, "")
        else:
            mend = "kos up" if topology.stack else "start it, or correct its address and login in kos.toml"
            yield Finding("reachable", store.name, "error", store.detail, mend)


def _secrets(topology: Topology) -> Iterator[Finding]:
    for secret in _all_secrets(topology):
        try:
            secret.read()
        except KosError as error:
            yield Finding("secret_readable", secret.key, "error", str(error), error.next_command)
            continue
        if secret.file and (mode := secret.file.stat().st_mode & 0o777) & ~MAY_READ & 0o077:
            found = f"{secret.file} has mode {mode:04o}: others on this machine can read it"
            yield Finding("secret_permissions", secret.key, "warning", found, f"chmod 0600 {secret.file}")


def _all_secrets(topology: Topology) -> Iterator[Secret]:
    logins: list[Login | None] = []
    for shard in topology.shards:
        logins += [shard.app, shard.operator, shard.installer]
    logins += [store.login for store in (topology.graph, topology.cache) if store]
    yield from (login.password for login in logins if login and login.password)
    if store := topology.objects:
        yield from (key for key in (store.access_key, store.secret_key) if key)
    yield from (feed.token for feed in topology.feeds)


def _tls(topology: Topology) -> Iterator[Finding]:
    """What kos.toml allows with `insecure = true`: meant, but worth knowing."""
    addresses = {
        f"shards.{shard.name}": (server.address, 'sslmode = "verify-full"')
        for shard in topology.shards
        for server in (shard.primary, *shard.replicas)
        if not server.verified
    }
    if (graph := topology.graph) and not graph.verified:
        addresses["graph"] = (graph.uri, 'uri = "neo4j+s://…"')
    if (cache := topology.cache) and not cache.verified:
        addresses["cache"] = (cache.address, "tls = true")
    if (store := topology.objects) and not store.verified:
        addresses["objects"] = (store.address, 'endpoint = "https://…"')
    for subject, (address, mend) in addresses.items():
        found = f"nobody verifies who answers at {address}"
        yield Finding("tls", subject, "warning", found, f"write {mend} in kos.toml")


# PostgreSQL


def _log_in(shard: Shard) -> tuple[dict[str, psycopg.Connection[Any]], dict[str, KosError]]:
    """A connection for each of the shard's logins that can have one, and why the others can't. The operator is the
    first: it sees most of what matters."""
    logins = {"operator": shard.operator, "installer": shard.installer, "app": shard.app}
    connections: dict[str, psycopg.Connection[Any]] = {}
    refused: dict[str, KosError] = {}
    for name, login in logins.items():
        if login is None:
            continue
        try:
            connections[name] = postgres.connect(
                shard.primary, login, connect_seconds=CONNECT_SECONDS, row_factory=dict_row
            )
        except KosError as error:
            refused[name] = error
    return connections, refused


def _logins(
    shard: Shard, connection: psycopg.Connection[Any] | None, refused: dict[str, KosError]
) -> Iterator[Finding]:
    """Which logins fail although the server answers. Roles that don't exist yet are said by a check of their own."""
    if connection is None:
        return  # `reachable` has said why
    for name, error in refused.items():
        login: Login = getattr(shard, name)
        known = _ask(connection, _queries.role_exists, {"role": login.user})[0]["found"]
        if known or name == "installer":
            mend = f"correct shards.{shard.name}.{name} in kos.toml, or the role's password"
            yield Finding("login", f"shards.{shard.name}.{name}", "error", str(error), mend)


def _run_checks(shard: Shard, connection: psycopg.Connection[Any], extra: tuple[Check, ...]) -> Iterator[Finding]:
    for question in questions("checks"):
        try:
            rows = _ask(connection, question.query, _roles(shard))
        except psycopg.Error as error:
            yield unanswered(question.name, shard.name, error)
            continue
        for row in rows:
            yield Finding(question.name, f"{shard.name}: {row.pop('subject')}", **row)
        if not rows:
            yield Finding(question.name, shard.name, "ok", question.purpose, "")
    for check in extra:
        try:
            with connection.transaction():
                _limit(connection)
                found = list(check(connection))
        except psycopg.Error as error:
            yield unanswered(check.__name__, shard.name, error)
            continue
        yield from found


def _run_capabilities(shard: Shard, connection: psycopg.Connection[Any]) -> Iterator[Capability]:
    for question in questions("capabilities"):
        try:
            (row,) = _ask(connection, question.query, _roles(shard))
        except psycopg.Error as error:
            yield Capability(question.name, shard.name, False, f"can't be told: {one_line(error)}", "")
            continue
        yield Capability(question.name, shard.name, **row)


_BEHIND = psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn | psycopg.errors.UndefinedFunction


def unanswered(check: str, subject: str, error: psycopg.Error) -> Finding:
    """A check that could not run: an error, for nobody knows whether all is well."""
    found = f"this check could not run: {one_line(error)}"
    mend = "kos upgrade" if isinstance(error, _BEHIND) else "run kos doctor again; if it stays, report it"
    return Finding(check, subject, "error", found, mend)


def _roles(shard: Shard) -> dict[str, str]:
    """The logins of kos.toml, by what they are for; where no installer is named, the operator installs."""
    installer = shard.installer or shard.operator
    return {"app": shard.app.user, "operator": shard.operator.user, "installer": installer.user}


def _ask(connection: psycopg.Connection[Any], query: SQL, given: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.transaction():
        _limit(connection)
        return connection.execute(query, given).fetchall()


def _limit(connection: psycopg.Connection[Any]) -> None:
    connection.execute(_queries.read_only)
    connection.execute(_queries.limit_statements, {"milliseconds": STATEMENT_MILLISECONDS})
