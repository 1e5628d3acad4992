"""Reading a change: statements as PostgreSQL parses them, directives from comments, and one schema at most."""

from __future__ import annotations

import pytest

from kos import errors
from kos.schema_change import parse
from kos.schema_change.parse import PythonFill, parse_change


def test_directives_are_read_from_comments_of_both_sorts() -> None:
    found = parse_change(
        "-- kos: fill orders.size = length(code) -- and more\n"
        '/* kos: fill "Big T"."A ""b" = case when x\n then \'y;\' end */\n'
        '-- kos: fill shop.atoms.Embedding with my.models:embed(name, "Value X")\n'
        "-- kos: orphans lines.owner delete\n-- kos: back orders.total = total::int\n-- kos: hide orders.code = ''\n"
        "select '-- kos: fill no.no = 1';  -- an ordinary comment\n"
    ).directives
    assert found.fill["orders", "size"] == "length(code) -- and more"
    assert found.fill["Big T", 'A "b'] == "case when x\n then 'y;' end"
    assert found.fill["atoms", "embedding"] == PythonFill("my.models:embed", ("name", "Value X"))
    assert len(found.fill) == 3
    assert (found.orphans, found.back, found.hide) == (
        {("lines", "owner"): "delete"},
        {("orders", "total"): "total::int"},
        {("orders", "code"): "''"},
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("alter tabel x", 1),
        ("\n\nalter table x add", 3),
        ("select 1;\n-- kos: fil a.b = 1", 2),
        ("-- kos: fill a = 1", 1),
        ("-- kos: fill a.b", 1),
        ("-- kos: fill a.b = 1)", 1),
        ("-- kos: fill a.b = 1) from x; drop table y; select (1", 1),
        ("-- kos: fill a.b with compute", 1),
        ("-- kos: orphans a.b keep", 1),
        ("-- kos: fill a.b = 1\n-- kos: fill A.B = 2", 2),
        ("-- kos:", 1),
        ("select 'open", 1),
    ],
)
def test_what_cannot_be_read_names_its_line(text: str, line: int) -> None:
    with pytest.raises(errors.ChangeUnreadable) as unreadable:
        parse_change(text)
    assert unreadable.value.line == line


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("alter table shop.orders alter a type int using shop.orders.a::int", "orders"),
        ("alter table shop.orders add b shop.mood default 'x'::shop.mood", "ADD COLUMN b mood DEFAULT ('x'::mood)"),
        ("alter table shop.orders add foreign key (q) references shop.k (id)", "REFERENCES k (id)"),
        ("alter table shop.orders add foreign key (q) references other.k (id)", "REFERENCES other.k (id)"),
        ("comment on column shop.orders.b is 'x'", "ON COLUMN orders.b"),
        ("comment on table shop.orders is 'x'", "ON TABLE orders"),
        ("drop table shop.a, shop.b", "DROP TABLE a, b"),
        ("alter sequence shop.q owned by shop.t.c", "q OWNED BY t.c"),
        ("create view shop.v as select shop.orders.a from shop.orders", "VIEW v AS SELECT orders.a FROM orders"),
        ("create type shop.mood as enum ('a')", "TYPE mood AS"),
        ("drop policy p on shop.orders", "POLICY p ON orders"),
        ("grant select on shop.orders to x", "ON orders TO"),
        ("create statistics shop.s on a, b from shop.orders", "STATISTICS s ON a, b FROM orders"),
        ("create index on shop.orders (shop.f(a))", "ON orders USING btree (f(a))"),
    ],
)
def test_the_schema_is_taken_off(written: str, read: str) -> None:
    change = parse_change(written)
    text = parse.render(change.statements[0].node)
    assert change.schema == "shop"
    assert read in text
    assert "shop" not in text


def test_one_schema_at_most() -> None:
    with pytest.raises(errors.ChangeRefused):
        parse_change("alter table a.x add c int; alter table b.x add c int")
    assert parse_change("alter table x add c int").schema is None


def test_statements_are_known_by_their_lines() -> None:
    found = parse_change("-- é: first\nselect 1;\n\n/* second\n*/ select\n 2; select 'é'").statements
    assert [(each.line, each.text) for each in found] == [(2, "select 1"), (5, "select\n 2"), (6, "select 'é'")]


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("a + b", "new.a + new.second"),
        ("t.b || u.b || c", "(new.second || u.b) || c"),
        ("(select b from u)", '(select (select b from u) from (select new."second" as "b") as "t")'),
    ],
)
def test_an_expression_over_the_row_of_a_trigger(expression: str, read: str) -> None:
    assert parse.over_row(expression, "t", {"a": "a", "b": "second"}) == read


def test_constraints_beside_a_new_column_come_after_it() -> None:
    written = (
        "alter table t add c int default 3 not null references u on delete cascade deferrable check (c > 0) unique"
    )
    statement = parse_change(written).statements[0].node
    alone, beside = parse.without_constraints(statement.cmds[0].alter_table_cmd)
    assert [parse.render_command(statement, each) for each in (alone, *beside)] == [
        "ALTER TABLE t ADD COLUMN c int DEFAULT 3 NOT NULL",
        "ALTER TABLE t ADD FOREIGN KEY (c) REFERENCES u ON DELETE CASCADE DEFERRABLE",
        "ALTER TABLE t ADD CHECK (c > 0)",
        "ALTER TABLE t ADD UNIQUE (c)",
    ]
