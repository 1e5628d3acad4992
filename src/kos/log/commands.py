"""`kos log status | verify`, `kos feed tail`."""

from __future__ import annotations

import sys
from dataclasses import replace
from json import dumps
from re import fullmatch
from typing import Annotated
from uuid import UUID

import typer

from kos import errors
from kos.console import Json, emit, plain, say, seconds, table
from kos.log.feed import Cursor, Event, tail
from kos.log.seal import QUERIES
from kos.log.status import EXAMPLES, LogStatus, compare, status
from kos.tenancy import Place, Store, find_tenant
from kos.tenancy import open as open_store
from kos.tenancy.placement import places


def _places(store: Store) -> list[Place]:
    with store.control() as connection:
        return places(store.topology, connection)


def log_status(json: Json = False) -> None:
    """The log of each database: what waits for its position, how long, and tables whose capture is broken."""
    with open_store() as store:
        found = [status(store, place) for place in _places(store)]

    def human() -> None:
        table(
            ("database", "tables", "sealed events", "waiting tenants", "lag s", "pending MB", "broken"),
            [
                (
                    each.database,
                    each.tables,
                    each.sealed_events,
                    each.waiting_tenants,
                    seconds(each.lag_seconds),
                    f"{each.pending_bytes / 1e6:.1f}",
                    len({broken.table for broken in each.broken}) or "",
                )
                for each in found
            ],
            numbers=("tables", "sealed events", "waiting tenants", "lag s", "pending MB", "broken"),
        )
        for each in found:
            _say_what_is_wrong(each)

    healthy = all(each.healthy for each in found)
    emit({"healthy": healthy, "databases": [_as_object(each) for each in found]}, as_json=json, human=human)
    if not healthy:
        raise typer.Exit(errors.FAILED)


def _as_object(each: LogStatus) -> dict[str, object]:
    return {**plain(each), "healthy": each.healthy}


def _say_what_is_wrong(each: LogStatus) -> None:
    for broken in each.broken:
        outcome = "changes are lost" if broken.loses else "changes are captured slowly until the worker mends it"
        say(f"{each.database}: {broken.table}: {broken.fault}; {outcome}")
    if not each.commit_times:
        meant = "so events carry the time of their seal, and their lag is unknown"
        say(f"{each.database}: track_commit_timestamp is off, {meant}")


def log_verify(
    limit: Annotated[int, typer.Option(min=1, help="Rows to name per table.")] = EXAMPLES, json: Json = False
) -> None:
    """Compare every logged table with its log: finds what was written past the triggers. Reads all rows."""
    with open_store() as store:
        found = [each for place in _places(store) for each in compare(store, place, limit)]

    def human() -> None:
        if not found:
            say("every row is as the log has it")
            return
        table(
            ("table", "tenant", "key", "found"),
            [(each.table, each.tenant, ", ".join(each.key), each.fault) for each in found],
        )

    emit({"matches": not found, "mismatches": found}, as_json=json, human=human)
    if found:
        raise typer.Exit(errors.FAILED)


def feed_tail(
    tenant: Annotated[str, typer.Option(help="A tenant's name or id; of an adopted table, its value.")],
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="POSITION[:LEAF]",
            help="The position to begin after; with its leaf, a log that was restored to before it is noticed.",
        ),
    ] = "0",
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes later, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """A tenant's events. With `--json` one event per line."""
    cursor = _cursor(from_)
    with open_store() as store:
        identity, place = _log_of(store, tenant)
        with store.operator(place) as operator:
            for event in tail(operator, identity, cursor, follow=follow):
                _print(event, as_json=json)


def _cursor(text: str) -> Cursor:
    position, _, leaf = text.partition(":")
    if not fullmatch(r"[0-9]+(:([0-9a-f]{2})+)?", text):
        raise typer.BadParameter("--from is a position, or POSITION:LEAF with the leaf as --json prints it")
    return Cursor(int(position), bytes.fromhex(leaf) or None)


def _log_of(store: Store, tenant: str) -> tuple[UUID, Place]:
    """Whose log, and where: a tenant of the directory, or one that only adopted tables know."""
    try:
        found = find_tenant(store, tenant)
        return found.id, Place(found.shard, found.database)
    except errors.UnknownTenant:
        for place in _places(store):
            with store.operator(place) as operator:
                row = operator.execute(QUERIES.has_tenant, {"value": tenant}).fetchone()
            if row is not None and row[0] is not None:
                return row[0], place
    raise errors.NoLog(tenant)


def _print(event: Event, *, as_json: bool) -> None:
    if as_json:
        value = plain(replace(event, leaf=b""))
        print(dumps({**value, "leaf": event.leaf.hex()}, ensure_ascii=False), flush=True)  # noqa: T201
        return
    values = " ".join(f"{name}={_short(value)}" for name, value in event.data.items())
    moment = f"{event.occurred_at:%Y-%m-%d %H:%M:%S.%f}"
    say(f"{event.position:>8}  {moment}  {event.type:<24} {', '.join(event.key)}  {values}")
    sys.stdout.flush()


def _short(value: str | None) -> str:
    return "null" if value is None else value if len(value) <= 40 else f"{value[:39]}…"


COMMANDS = {"log status": log_status, "log verify": log_verify, "feed tail": feed_tail}
