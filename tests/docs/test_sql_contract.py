"""docs/reference/sql-contract.md names what the database offers, and the how-to pages work as they stand."""

from __future__ import annotations

import re
from pathlib import Path

from kos.tenancy import Store, Tenant, create_tenant
from kos.topology import postgres

ROOT = Path(__file__).parents[2]
CONTRACT = (ROOT / "docs/reference/sql-contract.md").read_text(encoding="utf-8")
ALLOWED = """
select distinct p.proname from pg_proc p
 where p.pronamespace = 'kos'::regnamespace and has_function_privilege('kos_app', p.oid, 'execute')
"""
PARAMETERS = """
select proargnames, pronargdefaults from pg_proc where pronamespace = 'kos'::regnamespace and proname = 'enter'
"""


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_every_sqlstate_has_its_row() -> None:
    files = (ROOT / "src/kos").rglob("schema/*.sql")
    raised = {code for file in files for code in re.findall(r"errcode = '(KS\d+)'", file.read_text(encoding="utf-8"))}
    assert set(re.findall(r"^\| (KS\d+) \|", CONTRACT, re.MULTILINE)) == raised


def test_every_function_of_applications_is_described(store: Store) -> None:
    with store.operator() as operator:
        allowed = {name for (name,) in operator.execute(ALLOWED)}
    assert set(re.findall(r"kos\.(\w+)\(", CONTRACT)) >= allowed


def test_the_signature_is_that_of_the_function(store: Store) -> None:
    with store.operator() as operator:
        row = operator.execute(PARAMETERS).fetchone()
    signature = re.search(r"^kos\.enter\((.*?)\) returns text$", CONTRACT, re.DOTALL | re.MULTILINE)
    assert row is not None
    assert signature is not None
    parameters = [part.split() for part in signature[1].split(",")]
    assert [part[0] for part in parameters] == row[0]
    assert sum("=" in part for part in parameters) == row[1]


def test_the_sql_of_the_contract(store: Store, tenant: Tenant) -> None:
    (text,) = blocks("reference/sql-contract.md", "sql")
    with store.tenant("acme") as session:
        session.execute("insert into atoms (atom_type, name) values ('T', 'hers')")
    statements = [part.strip() for part in re.sub("--.*", "", text).split(";") if part.strip()]
    shard = store.topology.control
    with postgres.connect(shard.primary, shard.app) as connection:
        cursors = [connection.execute(statement) for statement in statements]
    assert [cursor.fetchall() for cursor in cursors if cursor.description][-1] == [("hers",)]


def test_the_python_of_the_page_on_sqlalchemy(store: Store) -> None:
    import sqlalchemy as sa

    from recipes import url

    create_tenant(store, "acme", "schema")
    first, second = blocks("how-to/sqlalchemy.md", "python")
    address = url(store.topology.control, "psycopg").render_as_string(hide_password=False)
    names: dict[str, object] = {}
    exec(first.replace("postgresql+psycopg://kos_app@db1.example.com/knowledge_os", address), names)
    names["placement_of"] = lambda name: (names["engine"], 1)
    with store.tenant("acme") as session:
        assert session.execute("select name from atoms").fetchall() == [("Berne",)]
        session.execute("update atoms set name = 'Bern'")
    exec(second, names)
    with store.tenant("acme") as session:
        assert session.execute("select name from atoms").fetchall() == [("Berne",)]
    engine = names["engine"]
    assert isinstance(engine, sa.Engine)
    engine.dispose()


def test_the_python_of_the_page_on_django(store: Store, tenant: Tenant) -> None:
    from types import SimpleNamespace

    from recipes import Django

    settings, usage = blocks("how-to/django.md", "python")
    shown: dict[str, dict[str, dict[str, object]]] = {}
    exec(settings, shown)
    recipe = Django(store.topology)
    assert shown["DATABASES"]["default"].keys() <= recipe.settings.keys()
    exec(usage, {"request": SimpleNamespace(user=SimpleNamespace(pk=17))})
    assert recipe.inside("acme", "select name from atoms") == [[("Berne",)]]
    recipe.close()
