"""Every kind of change, under load: started, taken back, started again and finished.

No statement of code of before or after fails; taken back, the catalog is as it was; finished, it is as the plain SQL
would have made it; and every row is right.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psycopg
import pytest
from change_catalog import difference, dumps, left_over
from change_kind import GOODS, Kind
from change_kinds import KINDS, REFUSED
from change_load import Code

from fix_product import OTHER_OWNER
from fix_shop import SHOP, Connection, Shop
from kos import errors
from kos.schema_change import ChangePlan, finish, plan_change, roll_back, start

WANTED = "wanted"
VALUES = {"n": 7, "row": 1}

# Of each sort one that takes another path, so that the short run meets all of them.
SHORT = {
    "04 rename table",
    "08 identity table",
    "13 rename column",
    "16 set not null",
    "18 text to integer",
    "21 foreign key",
    "foreign key, orphans deleted",
    "integer to bigint of a key that others refer to",
    "identity column",
    "rename column with a user's triggers",
    "unique index of an expression",
}


def tried(kind: Kind) -> object:
    """A kind as a parameter; most take part in the long run only."""
    marks = [] if kind.name in SHORT else [pytest.mark.long]
    return pytest.param(kind, id=kind.name.replace(" ", "-"), marks=marks)


def make_expected(shop: Shop, kind: Kind) -> None:
    """What the plain SQL makes, in a schema without rows. Code of before and of after is tried there as well."""
    shop.fresh(WANTED, kind.setup)
    try_out(shop, kind.old)
    for table in tables(shop):
        shop.owner.execute(f"truncate {table} cascade".encode())
    for statement in (kind.expected or kind.change).split(";\n"):
        shop.owner.execute(statement.encode())
    try_out(shop, kind.new + kind.after)


def try_out(shop: Shop, code: tuple[str, ...]) -> None:
    """Each statement once; what it refers to may be missing."""
    for statement in code:
        with suppress(psycopg.errors.IntegrityError):
            shop.owner.execute(statement.encode(), VALUES)


def tables(shop: Shop) -> list[str]:
    """Of the schema that is looked at."""
    rows = shop.owner.execute(
        "select oid::regclass::text from pg_class"
        " where relnamespace = current_schema::regnamespace and relkind in ('r', 'p')"
    ).fetchall()
    return [name for (name,) in rows]


@pytest.mark.parametrize("kind", [tried(kind) for kind in KINDS])
def test_a_change_is_taken_back_and_finished(kind: Kind, shop: Shop) -> None:
    take_through(kind, shop)


def take_through(kind: Kind, shop: Shop) -> None:
    """The whole of it."""
    if shop.owner.info.server_version < kind.since * 10_000:
        pytest.skip(f"PostgreSQL {kind.since}")
    make_expected(shop, kind)
    shop.fresh(SHOP, kind.setup, kind.rows)
    before, expected = dumps(shop.topology, SHOP, WANTED)
    shop.drop(WANTED)
    sessions: list[Callable[[], Connection]] = [shop.connect, shop.connect]
    if kind.guest:
        sessions[0] = partial(shop.connect, OTHER_OWNER)

    def plan() -> ChangePlan:
        return plan_change(shop.store, kind.change, name=kind.name, schemas=(SHOP,))

    with Code(kind.old, *sessions) as old:
        start(shop.store, plan())
        with Code(kind.new, *sessions) as first, Code(kind.between, *sessions[:1]) as between:
            old.go_on()
        roll_back(shop.store)
        old.go_on()
        failed = old.failed + first.failed + between.failed
        assert failed == []
        (after_rollback,) = dumps(shop.topology, SHOP)
        assert difference(before, after_rollback) == ""
        assert left_over(shop.superuser) == []
        assert shop.is_true(kind.kept)

        start(shop.store, plan())
        with Code(kind.new, *sessions) as new:
            with Code(kind.between, *sessions[:1]) as between:
                old.go_on()
            old.stop()
            finish(shop.store)
            with Code(kind.after, *sessions[:1]) as after:
                new.go_on()
    assert old.failed + new.failed + between.failed + after.failed == []
    (found,) = dumps(shop.topology, SHOP)
    assert difference(expected, found) == ""
    assert left_over(shop.superuser) == []
    assert shop.is_true(kind.right)
    shop.clean = True
    slowest = max((old, first, new, after), key=lambda code: code.longest)
    print(f"longest stall: {slowest.longest * 1000:.0f} ms ({slowest.slowest})")


@pytest.mark.parametrize(("sql", "reason"), REFUSED, ids=[sql for sql, _ in REFUSED])
def test_what_cannot_be_done_online_is_refused_with_the_reason(sql: str, reason: str, shop: Shop) -> None:
    shop.fresh(SHOP, GOODS)
    with pytest.raises(errors.ChangeRefused) as refused:
        plan_change(shop.store, sql, schemas=(SHOP,))
    assert reason in str(refused.value)
    assert refused.value.instead
    shop.clean = True
