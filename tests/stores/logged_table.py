"""A product's table under capture, and what its log says of it, read back and compared value by value."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.sql import SQL, Composable, Identifier

Connection = psycopg.Connection[Any]

ACME = "11111111-1111-4111-8111-111111111111"
BETA = "22222222-2222-4222-8222-222222222222"

# What images are written under. A session that reads them back needs the same.
READING = (
    "set datestyle = 'ISO, YMD'", "set intervalstyle = postgres", "set timezone = 'UTC'", "set lc_monetary = 'C'",
)  # fmt: skip

# `record_image_eq` compares what is stored: 1.0 and 1.00 differ, and so do 0 and -0. A row of nulls `is null`, and
# isn't.
SAME = SQL(
    "num_nulls(t.{name}) = num_nulls(d.data ->> {text}) and d.data ? {text} "
    "and (num_nulls(t.{name}) = 1 or record_image_eq(row(t.{name}), row((d.data ->> {text})::{type})))"
)
DIFFERENCES = SQL(
    "select t::text, d.key::text, d.data::text "
    '  from (select {tenant} as kos_log, {key} collate "default" as kos_key, t.* from {table} t) t'
    "  full join (select s.tenant_id, l.key, l.data from (select distinct tenant_id from kos.seals) s"
    "              cross join lateral kos.rebuilt_state(s.tenant_id, {schema}, {name}, 9223372036854775807) l) d"
    "    on d.tenant_id = t.kos_log and d.key = t.kos_key"
    " where t.kos_key is null or d.key is null or not coalesce({same}, false)"
)
COLUMNS = (
    "select a.attname::text, format_type(a.atttypid, a.atttypmod) from pg_attribute a"
    " where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'"
    "   and not a.attname = any (%s) order by a.attnum"
)


def make(superuser: Connection, ddl: str, table: str = "things") -> None:
    """Make a table as its product would, and let kos at it."""
    superuser.execute(ddl)
    superuser.execute(f"grant all on {table} to kos_owner")


def log(superuser: Connection, table: str = "things", tenant: str | None = "tenant_id", **options: Any) -> None:
    """Log a table with no more than its product has granted."""
    given = "".join(f", {name} => %({name})s" for name in options)
    superuser.execute("set role kos_owner")
    try:
        superuser.execute(
            f"select kos.log_table(%(table)s, %(tenant)s{given})", {"table": table, "tenant": tenant, **options}
        )
    finally:
        superuser.execute("reset role")


def seal(superuser: Connection) -> int:
    """Seal everything that is committed."""
    waiting = superuser.execute("select tenant_id from kos.unsealed()").fetchall()
    counts = [superuser.execute("select kos.seal(%s)", each).fetchone() for each in waiting]
    return sum(count for (count,) in counts if count)


def assert_exact(superuser: Connection, table: str = "things", without: tuple[str, ...] = ()) -> None:
    """Seal; then the log and the table hold the same rows, by kos's own comparison and by another one."""
    seal(superuser)
    assert superuser.execute("select * from kos.compare_log(%s::regclass)", (table,)).fetchall() == []
    assert differences(superuser, table, without) == []


def differences(superuser: Connection, table: str = "things", without: tuple[str, ...] = ()) -> list[Any]:
    """Rows that the log, read back as values of the columns' types, has otherwise."""
    row = superuser.execute(
        "select n.nspname, c.relname, kos.tenant_expression(c.oid, 't'), kos.key_expression(c.oid, '{t}')"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = %s::regclass",
        (table,),
    ).fetchone()
    assert row is not None
    schema, name, tenant, key = row
    found = superuser.execute(COLUMNS, (table, list(without))).fetchall()
    same: list[Composable] = [SAME.format(name=Identifier(n), text=n, type=SQL(kind)) for n, kind in found]
    query = DIFFERENCES.format(
        tenant=SQL(tenant), key=SQL(key), table=Identifier(schema, name), schema=schema, name=name,
        same=SQL(" and ").join(same),
    )  # fmt: skip
    with superuser.transaction(force_rollback=True):
        for setting in READING:
            superuser.execute(setting.replace("set ", "set local ", 1))
        return superuser.execute(query).fetchall()


def events(superuser: Connection, table: str = "things") -> list[tuple[str, dict[str, Any]]]:
    """Operation and data of a table's sealed events, in order, of all tenants."""
    seal(superuser)
    return superuser.execute(
        "select e.operation::text, kos.event_data(s.columns, e.image) from kos.knowledge_events e"
        " join kos.shapes s using (shape_id) where s.table_name = %s order by e.tenant_id, e.position",
        (table,),
    ).fetchall()
