"""What else is done to constraints and keys, with indexes of every sort."""

from __future__ import annotations

from change_kind import GOODS, GOODS_OLD, GOODS_ROWS, Kind
from change_load import ROWS

# Without any key, to get one; lines refer to goods only by what they say.
LOOSE = """
create table goods (id bigint not null, code text, name text not null, note text, price numeric not null default 1,
  stamp bigint not null);
"""
LOOSE_OLD = (
    "insert into goods (id, code, name, note, stamp)"
    " values (%(n)s, 'code ' || %(n)s, 'name ' || %(n)s, 'note ' || %(n)s, %(n)s)",
    *GOODS_OLD[1:],
)
LOOSE_ROWS = f"""
insert into goods (id, code, name, note, stamp)
  select g, 'code ' || g, 'name ' || g, 'note ' || g, g from generate_series(1, {ROWS}) g;
"""
LINES = "create table lines (id bigint primary key, goods_id bigint, other bigint, during int4range);"
LINES_ROWS = f"insert into lines select g, g, g, int4range(g, g + 1) from generate_series(1, {ROWS}) g;"
LINES_OLD = (
    "insert into lines (id, goods_id, during) values (%(n)s, %(row)s, int4range(%(n)s::integer, %(n)s + 1))",
    "update lines set goods_id = 1 + goods_id where id = %(row)s and goods_id < 3",
    "select goods_id from lines where id = %(row)s",
)
ORPHANS = "insert into lines select -g, -g from generate_series(1, 50) g;"


def loose(what: str, sql: str, *, setup: str = "", **more: object) -> Kind:
    """A change of a table without keys."""
    given = {"rows": LOOSE_ROWS, "old": LOOSE_OLD, "new": LOOSE_OLD} | more
    return Kind(what, sql, setup=LOOSE + setup, **given)  # type: ignore[arg-type]


def lines(what: str, sql: str, *, setup: str = "", orphans: str = "", **more: object) -> Kind:
    """A change of a table that refers to another."""
    given = {"old": (*LINES_OLD, *GOODS_OLD), "new": LINES_OLD, "rows": GOODS_ROWS + LINES_ROWS + orphans} | more
    return Kind(what, sql, setup=GOODS + LINES + setup, **given)  # type: ignore[arg-type]


def index(what: str, sql: str, *, since: int = 15) -> Kind:
    """An index more, under the same code."""
    return Kind(what, sql, new=GOODS_OLD, since=since)


CONSTRAINTS = (
    loose("primary key", "alter table goods add primary key (id)"),
    loose(
        "primary key over a column that may be null",
        "alter table goods add constraint goods_key primary key (code)",
    ),
    loose("composite primary key", "alter table goods add primary key (code, id)"),
    loose(
        "primary key with an index that is there",
        "alter table goods add constraint goods_pkey primary key using index goods_id",
        setup="create unique index goods_id on goods (id);",
    ),
    Kind(
        "other primary key",
        "alter table goods drop constraint goods_pkey; alter table goods add primary key (id, code)",
        new=GOODS_OLD,
    ),
    loose("unique with include", "alter table goods add constraint code_once unique (code) include (name)"),
    loose("unique without a name", "alter table goods add unique (code, id)"),
    loose("unique that can wait", "alter table goods add unique (code) deferrable initially deferred"),
    loose("unique with nulls once", "alter table goods add constraint code_once unique nulls not distinct (code)"),
    loose("check that is not validated", "alter table goods add constraint priced check (price > 0) not valid"),
    loose(
        "validate",
        "alter table goods validate constraint priced",
        setup="alter table goods add constraint priced check (price > 0) not valid;",
    ),
    loose("check without a name", "alter table goods add check (price > 0 and id > -1)"),
    lines(
        "foreign key, orphans deleted",
        "-- kos: orphans lines.goods_id delete\nalter table lines add foreign key (goods_id) references goods",
        orphans=ORPHANS,
        right="select not exists (select from lines where id < 0)",
        kept="select true",
    ),
    lines(
        "foreign key, orphans to null",
        "-- kos: orphans lines.goods_id null\nalter table lines add foreign key (goods_id) references goods",
        orphans=ORPHANS,
        right="select count(*) = 50 from lines where id < 0 and goods_id is null",
        kept="select true",
    ),
    lines(
        "foreign key that can wait",
        "alter table lines add constraint to_goods foreign key (goods_id) references goods on delete cascade"
        " deferrable initially deferred",
    ),
    lines("foreign key to itself", "alter table lines add constraint to_other foreign key (other) references lines"),
    lines(
        "foreign key that is not validated",
        "alter table lines add constraint to_goods foreign key (goods_id) references goods not valid",
    ),
    lines(
        "foreign key can wait from now on",
        "alter table lines alter constraint to_goods deferrable initially deferred",
        setup="alter table lines add constraint to_goods foreign key (goods_id) references goods;",
    ),
    lines(
        "foreign key deletes from now on",
        "alter table lines drop constraint to_goods;"
        "alter table lines add constraint to_goods foreign key (goods_id) references goods on delete cascade",
        setup="alter table lines add constraint to_goods foreign key (goods_id) references goods;",
    ),
    lines("exclusion", "alter table lines add constraint apart exclude using gist (during with &&)"),
    loose(
        "drop primary key",
        "alter table goods drop constraint goods_key",
        setup="alter table goods add constraint goods_key primary key (id);",
    ),
    loose("drop constraint if it is there", "alter table goods drop constraint if exists nothing"),
    index("index concurrently", "create index concurrently goods_note on goods (note)"),
    index("index without a name", "create index on goods (note, lower(name))"),
    index("index if not there", "create index if not exists goods_name on goods (name)"),
    index("index with include", "create index goods_note on goods (note) include (price, name) with (fillfactor = 80)"),
    index("index of an expression", "create index goods_words on goods using gin (to_tsvector('simple', note))"),
    index(
        "index of ranges of pages", "create index goods_pages on goods using brin (stamp) with (pages_per_range = 8)"
    ),
    index("index in another order", 'create index goods_last on goods (stamp desc nulls last, note collate "C")'),
    index("unique index of an expression", "create unique index goods_code on goods (lower(code)) where code <> ''"),
    index("unique index with nulls once", "create unique index goods_once on goods (code, name) nulls not distinct"),
    index("rename index", "alter index goods_name rename to goods_by_name"),
    index("index's parameters", "alter index goods_name set (fillfactor = 50)"),
    index(
        "index's statistics",
        "create index goods_low on goods (lower(name)); alter index goods_low alter column 1 set statistics 50",
    ),
)
