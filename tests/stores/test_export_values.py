"""Every value of every type goes out and comes in as it was; whatever the settings of the server are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier

from kos.knowledge import TENANT_TABLES
from kos.knowledge.exchange.lines import describe, pin
from kos.tenancy import Store, Tenant, create_tenant
from kos.topology.model import Topology

# What text can hold: everything but NUL and lone surrogates. The characters that our COPY gives a meaning come often.
ASCII = st.characters(codec="ascii")
PLAIN = st.characters(codec="utf-8", exclude_characters="\x00")
TEXT = st.text(st.sampled_from('\x01\x02\\"\n\r\t\x7f\u2028{},') | PLAIN)
NUMBER = st.from_regex(r"-?(0|[1-9]\d{0,40})(\.\d{1,30})?([eE][+-]?\d{1,2})?", fullmatch=True, alphabet=ASCII)
NUMERIC = st.one_of(NUMBER, st.sampled_from(["NaN", "Infinity", "-Infinity", "1e-300", "1.10", "-0"]))
DATE = st.one_of(
    st.builds("{:04}-{:02}-{:02}".format, st.integers(1, 294275), st.integers(1, 12), st.integers(1, 28)),
    st.builds("{:04}-{:02}-{:02} BC".format, st.integers(1, 4713), st.integers(2, 12), st.integers(1, 28)),
)
CLOCK = st.builds(
    "{:02}:{:02}:{:02}.{:06}{:+03}".format,
    *(st.integers(0, most) for most in (23, 59, 59, 999_999)),
    st.integers(-15, 15),
)
TIME = st.one_of(
    st.builds(lambda date, clock: " ".join([*date.split(" ")[:1], clock, *date.split(" ")[1:]]), DATE, CLOCK),
    st.sampled_from(["infinity", "-infinity", "epoch"]),
)
JSON = st.recursive(
    st.one_of(st.sampled_from(["null", "true", "false"]), NUMBER, TEXT.map(json.dumps)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: "[" + ",".join(items) + "]"),
        st.dictionaries(TEXT, inner, max_size=4).map(
            lambda items: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in items.items()) + "}"
        ),
    ),
    max_leaves=8,
)
REAL = st.floats(0, 1, width=32)

ATOM = st.fixed_dictionaries(
    {
        "atom_type": TEXT,
        "name": TEXT.filter(lambda text: len(text.encode()) < 1000),
        "value": st.none() | TEXT,
        "number_value": st.none() | NUMERIC,
        "boolean_value": st.none() | st.booleans(),
        "time_value": st.none() | TIME,
        "metadata": JSON,
        "confidence": REAL,
        "source": st.none() | TEXT,
        "version": st.integers(1, 2**31 - 1),
        "created_at": TIME,
    }
)
SENSITIVE = st.fixed_dictionaries(
    {
        "encrypted_value": st.binary(),
        "encryption_key_id": TEXT.filter(lambda text: len(text) <= 100),
        "searchable_hash": st.none() | TEXT.filter(lambda text: len(text) <= 64),
        "range_prefix": st.none() | TEXT.filter(lambda text: len(text) <= 10),
    }
)
# As hostile as they come: each of these changes how values become text.
ODD_SETTINGS = {
    "DateStyle": "SQL, DMY",
    "TimeZone": "America/St_Johns",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "client_encoding": "LATIN1",
}


@pytest.fixture(scope="module")
def tenants(module_database: Topology) -> Iterator[tuple[Store, Tenant, Tenant]]:
    with Store(module_database) as store:
        yield store, create_tenant(store, "source", "row"), create_tenant(store, "target", "schema")


def insert(store: Store, tenant: Tenant, table: str, rows: list[dict[str, Any]]) -> None:
    """These rows instead of whatever there is."""
    with store.session(tenant) as session:
        session.execute(SQL("delete from {}").format(Identifier(table)))
        for row in rows:
            columns = SQL(", ").join(map(Identifier, row))
            values = SQL(", ").join(SQL("%({})s").format(SQL(name)) for name in row)  # type: ignore[arg-type]
            session.execute(SQL("insert into {} ({}) values ({})").format(Identifier(table), columns, values), row)


def lines_of(store: Store, tenant: Tenant, table: str, odd: bool = False) -> bytes:
    with store.session(tenant, read_only=True) as session:
        if odd:
            for name, value in ODD_SETTINGS.items():
                session.execute("select set_config(%s, %s, true)", (name, value))
        pin(session.connection)
        return b"".join(describe(session.connection, table).read(session.connection))


def bring_in(store: Store, tenant: Tenant, table: str, lines: bytes, odd: bool) -> None:
    with store.session(tenant) as session:
        if odd:
            for name, value in ODD_SETTINGS.items():
                session.execute("select set_config(%s, %s, true)", (name, value))
        pin(session.connection)
        session.execute(SQL("delete from {}").format(Identifier(table)))
        describe(session.connection, table).write(session.connection, [lines])


def text_of(store: Store, tenant: Tenant, table: str) -> list[Any]:
    """Every column as PostgreSQL's own text, which tells 1.0 from 1.00, and null from 'null'."""
    with store.session(tenant) as session:
        columns = describe(session.connection, table).columns
        texts = SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in columns)
        return session.execute(SQL("select {} from {} order by id").format(texts, Identifier(table))).fetchall()


@pytest.mark.parametrize(
    ("table", "row"), [pytest.param("atoms", ATOM, marks=pytest.mark.long), ("sensitive_atoms", SENSITIVE)]
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_value_comes_back(
    tenants: tuple[Store, Tenant, Tenant], table: str, row: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    store, source, target = tenants
    insert(store, source, table, data.draw(st.lists(row, min_size=1, max_size=4)))
    odd = data.draw(st.booleans())
    lines = lines_of(store, source, table)
    assert lines_of(store, source, table, odd=True) == lines
    for line in lines.splitlines(keepends=True):
        assert line.endswith(b"\n")
        json.loads(line)
    bring_in(store, target, table, lines, odd)
    assert text_of(store, target, table) == text_of(store, source, table)
    assert lines_of(store, target, table) == lines


def test_null_of_json_and_no_value_are_told_apart(tenants: tuple[Store, Tenant, Tenant]) -> None:
    store, source, target = tenants
    insert(store, source, "atoms", [{"atom_type": "T", "name": "n", "metadata": "null", "value": None}])
    bring_in(store, target, "atoms", lines_of(store, source, "atoms"), odd=False)
    with store.session(target) as session:
        found = session.execute("select metadata::text, value from atoms").fetchall()
    assert found == [("null", None)]


def test_no_json_column_may_be_null(tenants: tuple[Store, Tenant, Tenant]) -> None:
    """A line can't tell JSON's null from SQL's, so a column must exclude one of them."""
    store, source, _ = tenants
    query = """
        select attname from pg_attribute
         where attrelid = to_regclass(%s) and atttypid in ('json'::regtype, 'jsonb'::regtype) and not attnotnull
    """
    with store.session(source) as session:
        for table in TENANT_TABLES:
            assert session.execute(query, (table,)).fetchall() == [], table


def test_rows_are_ordered_by_bytes_whatever_the_collation(tenants: tuple[Store, Tenant, Tenant]) -> None:
    """The embedded server has no collation but C, so what is asked is looked at rather than what comes."""
    store, source, _ = tenants
    with store.session(source) as session:
        query = describe(session.connection, "molecule_atoms").query.as_string()
    assert 'order by "molecule_id", "atom_id", "role" collate "C")' in query
