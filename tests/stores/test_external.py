"""What starts, stops or loads servers refuses where a file names servers of somebody's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fix_own_postgres import MakePostgres, OwnPostgres
from kos import cli, errors

pytestmark = pytest.mark.long

EVERYTHING = """
select 'role ' || rolname from pg_roles union all select 'database ' || datname from pg_database
union all select 'schema ' || nspname from pg_namespace where nspname !~ '^pg_(toast_)?temp_'
union all select 'table ' || oid::regclass from pg_class where relkind in ('r', 'p', 'v')
union all select 'setting ' || coalesce(setdatabase::text, '') || setconfig::text from pg_db_role_setting
order by 1
"""


def there(server: OwnPostgres) -> list[object]:
    with server.connect() as connection:
        return list(connection.execute(EVERYTHING).fetchall())


@pytest.mark.parametrize("found", ["in the folder", "by KOS_CONFIG"])
@pytest.mark.parametrize(
    "command",
    [
        ["up"],
        ["up", "--dry-run"],
        ["down"],
        ["down", "--purge", "--yes"],
        ["tour"],
        ["workload", "run"],
        ["workload", "verify"],
    ],
)
def test_servers_of_ones_own_are_left_alone(
    own_postgres: MakePostgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: list[str],
    found: str,
) -> None:
    production = own_postgres("wheel")
    production.start()
    folder = tmp_path / "work"
    folder.mkdir()
    file = (folder if found == "in the folder" else tmp_path) / "kos.toml"
    file.write_text(
        f"""[shards.main]
host = "127.0.0.1"
port = {production.server.port}
database = "postgres"
app = {{ user = "web" }}
operator = {{ user = "ops" }}
"""
    )
    monkeypatch.chdir(folder)
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    if found == "by KOS_CONFIG":
        monkeypatch.setenv("KOS_CONFIG", str(file))
    before = there(production)
    assert cli.run(command) == errors.REFUSED
    assert "acts only on an embedded stack" in capfd.readouterr().err
    assert not (folder / ".kos").exists()
    assert there(production) == before
