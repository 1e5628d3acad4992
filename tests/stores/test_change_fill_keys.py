"""Keys of all sorts that a fill goes by, on every version of PostgreSQL."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from fill_site import FILLS, StandIn

from fix_own_postgres import MakePostgres
from kos.schema_change import fill as filling
from kos.schema_change.fill import fill_rows
from kos.schema_change.model import Fill, Placement
from kos.schema_change.throttle import Pace
from kos.topology import postgres as opening

Connection = psycopg.Connection[Any]

HEAP2 = "create access method heap2 type table handler heap_tableam_handler"
COLLATIONS = """
create collation german (provider = icu, locale = 'de');
create collation loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)
"""
# Columns, the order of the key, and the values of a row.
KEYS = {
    "collation": ("a text collate german, b integer", "a, b", "(array['Z', 'a', 'ä', 'b', 'A', ''])[1 + g % 6], g"),
    "loose collation": ("a text collate loose, b integer", "a, b", "(array['Z', 'a', 'ä', 'A', ''])[1 + g % 5], g"),
    "C": ('a text collate "C", b text', "b, a", """chr(65 + g % 7), E'\\\\ "NULL" {,}''%' || g"""),
    "citext": ("a integer, b citext", "a, b", "g % 2, chr(65 + g % 25 + 32 * (g % 3 % 2)) || g"),
    "padded": ("a varchar(5), b char(9)", "a, b", "'NULL', 'x' || g"),
    "time": ("a timestamptz, b boolean", "b, a", "'2026-03-29'::timestamptz + g * interval '7.000001 min', g % 2 = 0"),
    "inexact": ("a double precision, b interval", "a, b", "sqrt(g % 9), g * interval '-1 day 3.5 h'"),
    "number": ("a numeric(9, 3), b bytea", "a, b", "(g % 11) / 8.0, decode(md5(g::text), 'hex')"),
    "enum": ('"a %s" mood, b date', '"a %s", b', "(array['so', 'ok', 'a,b'])[1 + g % 3]::mood, date '1970-01-01' - g"),
}  # fmt: skip


def make_keyed(owner: Connection, kind: str) -> None:
    """A table of 1,000 rows with such a key, in the current schema."""
    columns, key, value = KEYS[kind]
    if kind == "citext":
        if owner.execute("select from pg_available_extensions where name = 'citext'").fetchone() is None:
            pytest.skip("there is no citext here")
        owner.execute("create extension if not exists citext schema public")
    if "collation" in kind:
        try:
            owner.execute(COLLATIONS)
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("this server was built without ICU")
    text = (
        "create type mood as enum ('ok', 'so', 'a,b');"
        f"create table odd ({columns}, label text, writes integer not null default 0, primary key ({key})) using heap2;"
        "create function counted() returns trigger language plpgsql as"
        " $$ begin new.writes := old.writes + 1; return new; end $$;"
        "create trigger counts before update on odd for each row execute function counted();"
        f"insert into odd select {value} from generate_series(1, 1000) g"
    )
    owner.execute(text.encode())


def fill_keyed(site: StandIn, owner: Connection, role: str) -> None:
    """Each row of it once, by a session that shows values as few do."""
    for name, style in (("datestyle", "'SQL, DMY'"), ("intervalstyle", "sql_standard"), ("extra_float_digits", "0")):
        site.connection.execute(f"set {name} = {style}".encode())
    fill_rows(site, Fill("odd", "", "odd", role, "label is null", {"label": "'%s'"}), Pace())
    filled = owner.execute("select count(*) from odd where label = '%s' and writes = 1").fetchone()
    noted = site.connection.execute(
        "select rows from kos.change_fills where operation = %s", (site.operation,)
    ).fetchone()
    assert filled == noted == (1000,)


@pytest.mark.long
@pytest.mark.parametrize("version", ["debian", "16", "17"])
def test_keys_on_other_versions(own_postgres: MakePostgres, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(filling.Filling, "first_rows", 7)
    monkeypatch.setattr(filling.Filling, "most_rows", 70)
    server = own_postgres(version)
    server.start()
    with opening.connect(server.server, server.superuser) as connection:
        connection.execute(f"create role kos_operator; create schema kos; {FILLS}; {HEAP2}".encode())
        for number, kind in enumerate(KEYS):
            schema = f"keys_{number}"
            connection.execute(f"create schema {schema}; set search_path = {schema}, public".encode())
            try:
                make_keyed(connection, kind)
            except pytest.skip.Exception:
                continue
            with opening.connect(server.server, server.superuser) as other:
                fill_keyed(StandIn(Placement("own", "postgres", schema), other), connection, "postgres")
