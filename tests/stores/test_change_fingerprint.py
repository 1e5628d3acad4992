"""Schemas that are alike have one recipe, in whichever database; those that a plan would differ for have two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fix_shop import Shop
from kos.schema_change.facts import fingerprint

ONE, OTHER = "shop_a", "shop_b"
TABLES = """
create collation {s}.german (provider = libc, locale = 'C');
create table {s}.goods (id bigserial, name text collate {s}.german, note text, constraint named check (name <> ''));
create index goods_name on {s}.goods (name);
create table {s}.days (at date not null) partition by range (at);
create policy mine on {s}.goods to kos_test_clerk using (true);
grant select on {s}.goods to kos_test_clerk;
"""


@pytest.fixture
def shops(shop: Shop) -> Iterator[Shop]:
    """Two schemas that are alike; the role clerk was made anew between them."""
    for schema in (ONE, OTHER):
        make(shop, schema)
    yield shop
    for schema in (ONE, OTHER):
        shop.superuser.execute(f"drop schema {schema} cascade".encode())
    shop.superuser.execute("drop owned by kos_test_clerk; drop role kos_test_clerk")
    shop.clean = True


def make(shop: Shop, schema: str) -> None:
    if not shop.superuser.execute("select 1 from pg_roles where rolname = 'kos_test_clerk'").fetchone():
        shop.superuser.execute("create role kos_test_clerk")
    shop.superuser.execute(f"create schema {schema}; {TABLES.format(s=schema)}".encode())


def print_of(shop: Shop, schema: str) -> object:
    return fingerprint(shop.superuser, [schema], ["goods", "days"])[schema]


def test_what_has_another_number_is_alike(shops: Shop) -> None:
    before = print_of(shops, ONE)
    assert print_of(shops, OTHER) == before
    shops.superuser.execute(
        f"drop schema {ONE} cascade; drop owned by kos_test_clerk; drop role kos_test_clerk".encode()
    )
    make(shops, ONE)
    assert print_of(shops, ONE) == before


@pytest.mark.parametrize(
    "difference",
    [
        "comment on table {s}.goods is 'x'",
        "comment on column {s}.goods.note is 'x'",
        "comment on constraint named on {s}.goods is 'x'",
        "comment on index {s}.goods_name is 'x'",
        "alter table {s}.goods set (fillfactor = 70)",
        "alter index {s}.goods_name set (fillfactor = 70)",
        "alter table {s}.goods alter note set statistics 7",
        "alter table {s}.goods cluster on goods_name",
        "create statistics {s}.both on name, note from {s}.goods",
        "create table {s}.monday partition of {s}.days for values from ('2026-01-05') to ('2026-01-06')",
        "create table {s}.later partition of {s}.days default",
        "alter sequence {s}.goods_id_seq cache 5",
        "grant insert on {s}.goods to kos_test_clerk",
        "grant update (note) on {s}.goods to kos_test_clerk",
        "alter policy mine on {s}.goods to public",
        'alter table {s}.goods alter name type text collate "C"',
    ],
)
def test_what_a_plan_depends_on_is_not(shops: Shop, difference: str) -> None:
    shops.superuser.execute(difference.format(s=OTHER).encode())
    assert print_of(shops, OTHER) != print_of(shops, ONE)
