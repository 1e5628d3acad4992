"""docs/how-to/run-on-your-own-servers.md, followed to the letter on a server of somebody's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fix_own_postgres import MakePostgres, OwnPostgres
from kos import errors, topology
from kos.cli import run
from kos.tenancy import Store, create_tenant
from kos.topology import doctor
from kos.topology import postgres as opening
from kos.topology.model import Login, PostgresServer, fixed

PAGE = (Path(__file__).parents[2] / "docs/how-to/run-on-your-own-servers.md").read_text(encoding="utf-8")
SQL = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PASSWORDS = {"CHOOSE-ONE": "one", "CHOOSE-ANOTHER": "another"}


def statements(number: int) -> list[str]:
    text = SQL[number]
    for placeholder, password in PASSWORDS.items():
        text = text.replace(placeholder, password)
    return [each.strip() for each in text.split(";") if each.strip()]


@pytest.fixture(scope="module")
def theirs(own_postgres: MakePostgres) -> OwnPostgres:
    server = own_postgres("wheel")
    server.start()
    server.execute(*statements(0))
    return server


@pytest.fixture(scope="module")
def configured(theirs: OwnPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The page's kos.toml, for this server, and the passwords where it says they are."""
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    path = tmp_path_factory.mktemp("production") / "kos.toml"
    path.write_text(text.replace('"db1.example.com"', f'"127.0.0.1"\nport = {theirs.server.port}'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOS_CONFIG", str(path))
        patch.setenv("KOS_ADMIN_PASSWORD", "one")
        patch.setenv("KOS_APP_PASSWORD", "one")
        patch.setenv("KOS_OPERATOR_PASSWORD", "another")
        yield path


@pytest.fixture(scope="module")
def installed(theirs: OwnPostgres, configured: Path) -> Path:
    assert run(["upgrade", "--dry-run"]) == errors.DONE
    assert run(["upgrade"]) == errors.DONE
    server = PostgresServer("main", "127.0.0.1", theirs.server.port, "knowledge_os", theirs.server.tls)
    with opening.connect(server, Login("kos_admin", fixed("one"))) as administrator:
        for statement in statements(1):
            administrator.execute(psycopg.sql.SQL(statement))  # type: ignore[arg-type]
    return configured


@pytest.mark.long
def test_the_steps_end_with_a_tenant(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == errors.DONE
    assert run(["tenant", "create", "acme"]) == errors.DONE
    assert "acme is ready" in capsys.readouterr().out


def test_the_roles_are_those_of_the_page(installed: Path, theirs: OwnPostgres) -> None:
    with theirs.connect() as connection:
        found = connection.execute("select rolname from pg_roles where rolname ~ '^kos_' and rolname <> 'kos_admin'")
        assert {name for (name,) in found} == set(re.findall(r"^\| `(kos_\w+)` \|", PAGE, re.MULTILINE))


@pytest.mark.parametrize(
    ("capability", "statement"),
    [
        ("database_tier", "alter role kos_operator createdb"),
        ("end_sessions", "grant pg_signal_backend to kos_operator"),
        ("see_sessions", "grant pg_read_all_stats to kos_owner"),
        ("autovacuum", "grant set on parameter deadlock_timeout to kos_operator"),
    ],
)
def test_what_a_capability_needs(installed: Path, theirs: OwnPostgres, capability: str, statement: str) -> None:
    assert f"`{statement}`" in PAGE
    assert not allowed(capability)
    theirs.execute(statement)
    assert allowed(capability)


def allowed(capability: str) -> bool:
    report = doctor.examine(topology.find())
    (found,) = [each for each in report.capabilities if each.name == capability]
    return found.allowed


def test_the_other_tiers_follow(installed: Path) -> None:
    with Store(topology.find()) as store:
        assert create_tenant(store, "globex", "schema").schema == "tenant_globex"


@pytest.mark.parametrize("command", [["tour"], ["workload", "run"]])
def test_what_acts_on_embedded_stacks_refuses(installed: Path, command: list[str]) -> None:
    assert run(command) == errors.REFUSED
