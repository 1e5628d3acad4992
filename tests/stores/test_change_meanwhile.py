"""What others do to a schema while a change of it is under way."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from change_catalog import difference, dumps, left_over
from change_kind import GOODS, GOODS_ROWS

from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import act as acting
from kos.schema_change import finish, plan_change, roll_back, start
from kos.schema_change.model import Action
from kos.schema_change.site import Site
from suites import short, spread

PARTS = """
create table seen (day date not null, goods_id integer not null, note text) partition by range (day);
create table seen_1 partition of seen for values from ('2026-01-01') to ('2026-02-01');
create table seen_2 partition of seen for values from ('2026-02-01') to ('2026-03-01') partition by list (goods_id);
create table seen_2_rest partition of seen_2 default;
insert into seen select date '2026-01-01' + n, n from generate_series(1, 50) n;
"""
KEY = "alter table seen add unique (day, goods_id)"
LATE = "create table seen_3 partition of seen for values from ('2026-03-01') to ('2026-04-01')"
MANY = "insert into seen select '2026-03-02', n from generate_series(1, 9000) n"


def begin(shop: Shop, sql: str, *schemas: str) -> None:
    """`kos change start`."""
    start(shop.store, plan_change(shop.store, sql, schemas=schemas or (SHOP,)))


def indexes(shop: Shop, schema: str = SHOP) -> set[str]:
    """All of a schema, with their tables."""
    rows = shop.owner.execute("select tablename, indexname from pg_indexes where schemaname = %s", (schema,)).fetchall()
    return {f"{table}.{index}" for table, index in rows}


def test_an_index_of_that_name_that_is_anothers_stays(shop: Shop) -> None:
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    shop.fresh("other", GOODS, "create table stock (n integer)")
    plan = plan_change(shop.store, "create index by_note on goods (note)", schemas=(SHOP, "other"))
    shop.owner.execute("create index by_note on other.stock (n)")
    with pytest.raises(errors.ChangeIncomplete, match=r"1 of 2 .* by_note is there already"):
        start(shop.store, plan)
    roll_back(shop.store)
    assert "stock.by_note" in indexes(shop, "other")
    assert "goods.by_note" not in indexes(shop)
    shop.drop("other")
    shop.clean = True


def test_an_index_that_somebody_has_made_meanwhile_is_not_taken_for_ours(shop: Shop) -> None:
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    begin(shop, "create unique index by_code on goods (code, note)")
    shop.owner.execute("create index by_code on goods (stamp)")
    with pytest.raises(errors.ChangeFailed, match="by_code is there already"):
        finish(shop.store)
    roll_back(shop.store)
    assert "goods.by_code" in indexes(shop)
    shop.clean = True


def test_names_with_braces(shop: Shop) -> None:
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    (before,) = dumps(shop.topology, SHOP)
    begin(shop, 'create index "by {note}" on goods (note); create unique index "{}" on goods (code, note)')
    roll_back(shop.store)
    (after,) = dumps(shop.topology, SHOP)
    assert difference(before, after) == ""
    begin(shop, 'create index "by {note}" on goods (note)')
    finish(shop.store)
    assert "goods.by {note}" in indexes(shop)
    shop.clean = True


def test_a_partition_that_is_gone_when_the_key_is_made(shop: Shop) -> None:
    shop.fresh(SHOP, PARTS)
    begin(shop, KEY)
    shop.owner.execute("alter table seen detach partition seen_1; drop table seen_2_rest")
    finish(shop.store)
    assert shop.is_true("select indisvalid from pg_index where indexrelid = 'seen_day_goods_id_key'::regclass")
    assert not any(each.startswith("seen_1.") for each in indexes(shop))
    shop.clean = True


def test_a_partition_that_came_before_the_key_is_made(shop: Shop) -> None:
    shop.fresh(SHOP, PARTS)
    begin(shop, KEY)
    shop.owner.execute(LATE)
    shop.owner.execute(MANY)
    with pytest.raises(errors.ChangeFailed, match="seen_3 is a partition that came after the plan was made, with rows"):
        finish(shop.store)
    roll_back(shop.store)
    assert left_over(shop.superuser) == []
    assert indexes(shop) == set()
    shop.owner.execute("drop table seen_3")
    begin(shop, KEY)
    shop.owner.execute(LATE)
    finish(shop.store)
    assert {each.split(".")[0] for each in indexes(shop)} == {"seen", "seen_1", "seen_2", "seen_2_rest", "seen_3"}
    shop.clean = True


@pytest.mark.parametrize("change", [KEY, "create index seen_note on seen (note)"])
@pytest.mark.parametrize("nth", short([1, 2, 3], 2))
def test_parts_of_parts_that_are_attached_in_part(
    change: str, nth: int, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fresh(SHOP, PARTS)
    (before,) = dumps(shop.topology, SHOP)
    plan = plan_change(shop.store, change, schemas=(SHOP,))
    done: list[str] = []
    monkeypatch.setattr(acting, "do", failing_at(acting.do, nth, done))
    with pytest.raises(errors.ChangeFailed):
        start(shop.store, plan)
        finish(shop.store)
    monkeypatch.undo()
    assert len(done) == nth - 1
    roll_back(shop.store)
    (after,) = dumps(shop.topology, SHOP)
    assert difference(before, after) == ""
    shop.clean = True


@pytest.mark.parametrize(
    ("meanwhile", "back", "named"),
    spread(
        [
            ("create index on goods (stock)", "drop index goods_stock_idx", "INDEX goods_stock_idx"),
            (
                "alter table goods add constraint few check (stock < 9)",
                "alter table goods drop constraint few",
                "constraint few: CHECK",
            ),
            ("alter table goods alter stock set default 6", "alter table goods alter stock drop default", "default: 6"),
            ("alter table goods alter stock set not null", "alter table goods alter stock drop not null", "not null"),
            ("create view low as select stock from goods", "drop view low", "view low"),
        ],
        3,
    ),
)
def test_what_is_added_to_a_retyped_column_meanwhile_is_told(shop: Shop, meanwhile: str, back: str, named: str) -> None:
    shop.fresh(
        SHOP, GOODS.replace("stamp bigint", "stock integer, stamp bigint"), GOODS_ROWS, "update goods set stock = 1"
    )
    begin(shop, "alter table goods alter stock type bigint")
    shop.owner.execute(meanwhile.encode())
    with pytest.raises(errors.ChangeFailed, match=rf"not as it was when the change was planned: .*{named}"):
        finish(shop.store)
    shop.owner.execute(back.encode())
    finish(shop.store)
    assert shop.is_true("select pg_typeof(max(stock)) = 'bigint'::regtype from goods")
    shop.clean = True


@pytest.mark.parametrize(
    ("meanwhile", "back", "named"),
    spread(
        [
            ("create index on goods (remark)", "drop index goods_remark_idx", "INDEX goods_remark_idx"),
            (
                "alter table goods add constraint said check (remark <> '')",
                "alter table goods drop constraint said",
                "constraint said: CHECK",
            ),
            (
                "alter table goods alter remark set default 'none'",
                "alter table goods alter remark drop default",
                "default",
            ),
            ("alter table goods alter remark set not null", "alter table goods alter remark drop not null", "not null"),
            ("create view remarks as select remark from goods", "drop view remarks", "view remarks"),
            ("create statistics both_of on remark, note from goods", "drop statistics both_of", "both_of"),
        ],
        3,
    ),
)
def test_what_is_put_on_the_second_column_of_a_rename_is_told(
    shop: Shop, meanwhile: str, back: str, named: str
) -> None:
    """It would go with that column, or be in the way when there is no way back."""
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    begin(shop, "alter table goods rename to wares; alter table wares rename note to remark")
    shop.owner.execute(meanwhile.encode())
    with pytest.raises(errors.ChangeFailed, match=rf"goods.remark .*: not as it was .*{named}"):
        finish(shop.store)
    shop.owner.execute(back.encode())
    finish(shop.store)
    assert shop.is_true("select count(remark) > 0 from wares")
    shop.clean = True


@pytest.mark.parametrize(
    "change",
    spread(
        [
            "alter table goods rename to wares; alter table wares alter note type varchar(99)",
            "alter table goods alter note type varchar(99), alter note set default 'none'",
            "alter table goods alter price set default 5, alter price type numeric(12, 3)",
            "alter table goods alter price drop default, alter price type numeric(12, 3)",
            "alter table goods alter price drop not null, alter price type numeric(12, 3)",
            "alter table sellers rename goods to code; alter table sellers rename to shops;"
            " alter table goods alter code type varchar(99)",
            "alter table goods alter note set not null, alter note type varchar(99)",
            "alter table goods rename note to remark; alter table goods alter remark set default 'none'",
            "alter table goods alter note set default 'none'; alter table goods rename note to remark",
            "alter table goods rename note to remark; alter table goods alter remark set not null",
            "alter table sellers rename id to number; alter table goods alter seller type bigint",
            "alter table sellers rename to shops; alter table shops rename id to number;"
            " alter table goods alter seller type bigint; alter table goods rename note to remark",
            "alter table goods rename note to remark; create index on goods (remark);"
            " comment on column goods.remark is ''",
        ],
        3,
    ),
)
def test_what_the_change_itself_hangs_on_a_column_is_not_told(shop: Shop, change: str) -> None:
    sellers = "create table sellers (id integer primary key, note text); insert into sellers values (1)"
    refer = (
        "alter table goods add seller integer default 1 references sellers; alter table goods add unique (code, note)"
    )
    back = "alter table sellers add goods text references goods (code)"
    shop.fresh(SHOP, GOODS, GOODS_ROWS, sellers, refer, back)
    begin(shop, change)
    finish(shop.store)
    shop.clean = True


def test_what_comes_while_rows_are_held_to_the_schema_is_told_before_the_point_of_return(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    begin(shop, "alter table goods rename note to remark; alter table goods add check (stamp > 0)")

    def do(site: Site, action: Action) -> None:
        own(site, action)
        if "validate" in action.do[0]:
            shop.owner.execute("create index late on goods (remark)")

    own = acting.do
    monkeypatch.setattr(acting, "do", do)
    with pytest.raises(errors.ChangeFailed, match="INDEX late"):
        finish(shop.store)
    roll_back(shop.store)
    shop.clean = True


def test_no_number_is_given_twice_while_an_identity_column_is_replaced(shop: Shop) -> None:
    shop.fresh(SHOP, GOODS.replace("id bigint", "id integer"), GOODS_ROWS)
    plan = plan_change(shop.store, "alter table goods alter column id type bigint", schemas=(SHOP,))
    start(shop.store, plan)
    swap, _ = plan.recipes[0].contract
    taking = next(number for number, each in enumerate(swap.do) if "setval" in each)
    with shop.connect() as owner, shop.connect() as other:
        owner.execute("begin")
        owner.execute("alter table goods alter id_new set not null")
        for statement in (each for each in swap.do[:taking] if "sequence" in each):
            owner.execute(statement.encode())
        other.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("select nextval('goods_id_seq')")
        owner.execute("rollback")
    roll_back(shop.store)
    shop.clean = True


HIDDEN = """
create table buyers (id integer primary key, tenant text);
insert into buyers select g, 'a' from generate_series(1, 5) g;
create table orders (id integer primary key, buyer integer);
insert into orders select g, g from generate_series(1, 5) g;
alter table buyers enable row level security; alter table buyers force row level security;
create policy own on buyers using (tenant = current_setting('app.tenant', true));
"""
KEPT = "-- kos: orphans orders.buyer delete\nalter table orders add foreign key (buyer) references buyers"


def test_no_row_is_an_orphan_because_row_security_hides_what_it_refers_to(shop: Shop) -> None:
    shop.fresh(SHOP, HIDDEN)
    begin(shop, KEPT)
    with pytest.raises(errors.ChangeRefused, match=r"shop\.buyers: row security hides rows of it"):
        finish(shop.store)
    assert shop.is_true("select count(*) = 5 from orders")
    shop.owner.execute("alter table buyers no force row level security")
    finish(shop.store)
    assert shop.is_true("select count(*) = 5 from orders")
    shop.clean = True


def failing_at(do: Callable[[Site, Action], None], nth: int, done: list[str]) -> Callable[[Site, Action], None]:
    """Everything up to the nth attachment."""

    def some(site: Site, action: Action) -> None:
        if "attach partition" in action.do[0]:
            if len(done) + 1 == nth:
                raise errors.ChangeFailed(action.text, site.placement.name, "it is enough", "go on")
            done.append(action.name)
        do(site, action)

    return some
