"""Capture where one statement changes rows by another: foreign keys that act, partitions, changes of the table."""

from __future__ import annotations

from collections import Counter

import pytest
from logged_table import ACME, BETA, Connection, assert_exact, events, log, make, seal

PARENTS = "create table parents (id integer primary key, name text)"
CHILDREN = """
create table things (
  id integer primary key,
  one integer references parents on delete {on_delete} on update {on_update},
  two integer default 0 references parents on delete {on_delete} on update {on_update}, v text)
"""


@pytest.mark.parametrize("on_update", ["cascade", "set null", "no action"])
@pytest.mark.parametrize("on_delete", ["cascade", "set null", "set default"])
def test_foreign_keys_that_act(superuser: Connection, on_delete: str, on_update: str) -> None:
    """One statement on the parent changes a child twice, and each of its foreign keys is a statement of its own."""
    make(superuser, PARENTS, "parents")
    make(superuser, CHILDREN.format(on_delete=on_delete, on_update=on_update))
    log(superuser, "parents", None)
    log(superuser, "things", None)
    superuser.execute("insert into parents select n, 'p' || n from generate_series(0, 9) n")
    superuser.execute("insert into things select n, n, 9 - n, 'v' || n from generate_series(0, 9) n")
    superuser.execute("insert into things values (20, 4, 4), (21, 4, 5), (22, 5, 4), (23, 7, 7)")
    if on_update != "no action":
        superuser.execute("update parents set id = id + 100 where id in (7, 8)")
    assert_exact(superuser)
    superuser.execute("delete from parents where id in (4, 5)")
    assert_exact(superuser)
    superuser.execute(
        "with gone as (delete from parents where id = 1)"
        " update things set v = 'by the same statement' where id in (1, 8)"
    )
    assert_exact(superuser)
    superuser.execute("update parents set id = id - 1 where id > 100")
    assert_exact(superuser)
    assert_exact(superuser, "parents")


@pytest.mark.parametrize("action", ["cascade", "cascade on update cascade", "set null on update cascade"])
def test_a_foreign_key_to_the_table_itself(superuser: Connection, action: str) -> None:
    make(
        superuser,
        f"create table things (id integer primary key, up integer references things on delete {action})",
    )
    log(superuser, tenant=None)
    superuser.execute("insert into things select n, nullif(n / 2, 0) from generate_series(1, 15) n")
    if "update" in action:
        superuser.execute("update things set id = id + 100 where id in (2, 3, 5)")
        assert_exact(superuser)
    superuser.execute("delete from things where id in (4, 105, 7)")
    assert_exact(superuser)
    superuser.execute(
        "with gone as (delete from things where id in (2, 102)) update things set up = null where id in (9, 10, 11)"
    )
    assert_exact(superuser)
    superuser.execute("truncate things cascade")
    assert_exact(superuser)


PARTITIONED = """
create table things (tenant_id uuid not null, id integer, region text, v text, primary key (region, id))
  partition by list (region);
create table things_eu partition of things for values in ('eu') partition by range (id);
create table things_eu_low partition of things_eu for values from (0) to (100);
create table things_eu_high (v text, region text not null, id integer not null, gone integer, tenant_id uuid not null);
alter table things_eu_high drop column gone;
alter table things_eu attach partition things_eu_high for values from (100) to (200);
create table things_us partition of things default;
grant all on things_eu, things_eu_low, things_eu_high, things_us to kos_owner
"""
PARTITIONED_STATEMENTS = [
    f"insert into things values ('{ACME}', 50, 'eu', 'x'), ('{BETA}', 110, 'eu', 'y'), ('{ACME}', 50, 'us', 'z')",
    "update things set v = upper(v)",
    "update things set region = 'us', v = 'moved' where id > 119",
    "update things_eu set id = id + 100 where id < 5",
    f"insert into things_eu_high values ('direct', 'eu', 150, '{ACME}')",
    "update things_eu_high set v = 'direct'",
    "delete from things_us where id % 2 = 0",
    f"insert into things values ('{BETA}', 3, 'us', 'q') on conflict (region, id) do update set v = excluded.v",
    "merge into things t using (values (1), (101)) v (id) on t.id = v.id when matched then delete",
    "truncate things_eu_low",
    "truncate things",
    f"truncate things_eu; insert into things_eu values ('{ACME}', 1, 'eu')",
]


def partitioned(superuser: Connection) -> None:
    make(superuser, PARTITIONED)
    log(superuser)
    superuser.execute(
        f"insert into things select case when n % 3 = 0 then '{ACME}' else '{BETA}' end::uuid, n, r, 'v'"
        "  from generate_series(1, 20) n, unnest(array['eu', 'us']) r"
    )
    superuser.execute(f"insert into things select '{ACME}', n, 'eu', 'v' from generate_series(120, 125) n")


@pytest.mark.parametrize("statement", PARTITIONED_STATEMENTS)
def test_partitions(superuser: Connection, statement: str) -> None:
    partitioned(superuser)
    assert_exact(superuser)
    superuser.execute(statement)
    assert_exact(superuser)


TRUNCATED = [
    ("truncate things", {"T": 2}),
    ("truncate things_us", {"D": 20}),
    ("truncate things_eu", {"D": 26}),
    ("begin; truncate things; truncate things_us; truncate things; commit", {"T": 2}),
    (f"begin; truncate things; insert into things values ('{ACME}', 1, 'eu'), ('{BETA}', 2, 'eu'), ('{BETA}', 1, 'us');"
     "truncate things_eu; commit", {"T": 2, "I": 3, "D": 2}),
    (f"begin; truncate things_us; insert into things values ('{ACME}', 1, 'us'); truncate things; commit",
     {"D": 20, "I": 1, "T": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "logged"), TRUNCATED)
def test_a_row_that_is_truncated_is_logged_once(superuser: Connection, statement: str, logged: dict[str, int]) -> None:
    partitioned(superuser)
    before = Counter(operation for operation, _ in events(superuser))
    superuser.execute(statement)
    assert Counter(operation for operation, _ in events(superuser)) - before == logged
    assert_exact(superuser)


OF_ONE_PARTITION = """
create function again() returns trigger language plpgsql as $$
begin
  if new.v not like '%!' then update things set v = new.v || '!' where (id, region) = (new.id, new.region); end if;
  return null;
end $$;
create trigger again after insert or update on things_eu_low for each row execute function again()
"""


@pytest.mark.parametrize("early", [True, False], ids=["before it is logged", "later"])
def test_a_trigger_of_one_partition(superuser: Connection, early: bool) -> None:
    """It changes a row inside of a statement on the whole table, which is captured last, and has the row as it was."""
    if early:
        make(superuser, f"{PARTITIONED}; {OF_ONE_PARTITION}")
        log(superuser)
    else:
        make(superuser, PARTITIONED)
        log(superuser)
        superuser.execute(OF_ONE_PARTITION)
    superuser.execute(f"insert into things values ('{ACME}', 50, 'eu', 'x'), ('{BETA}', 110, 'eu', 'y')")
    assert superuser.execute("select v from things order by id").fetchall() == [("x!",), ("y",)]
    assert_exact(superuser)
    for table in ("things", "things_eu", "things_eu_low"):
        superuser.execute(f"update {table} set v = 'of {table}'")
        assert_exact(superuser)


def test_a_partition_that_comes_and_goes_is_reported(superuser: Connection) -> None:
    partitioned(superuser)
    superuser.execute(
        f"create table more (like things); insert into more values ('{ACME}', 300, 'eu', 'unseen');"
        + "alter table things_eu attach partition more for values from (300) to (400)"
    )
    seal(superuser)
    faults = superuser.execute("select key, fault from kos.compare_log('things')").fetchall()
    assert faults == [(["eu", "300"], "the log has never seen it")]
    broken = superuser.execute("select distinct table_name, loses from kos.broken_captures()").fetchall()
    assert broken == [("public.more", True)]
    superuser.execute("alter table things_eu detach partition more; drop table more")
    assert_exact(superuser)
    superuser.execute("alter table things detach partition things_us")
    superuser.execute(f"insert into things_us values ('{ACME}', 500, 'us', 'of a table that is not logged')")
    superuser.execute("update things_us set v = 'x'; delete from things_us where id = 500; truncate things_us")
    seal(superuser)
    faults = superuser.execute("select distinct fault from kos.compare_log('things')").fetchall()
    assert faults == [("it is gone, and the log has no deletion",)]


TABLE = "create table things (tenant_id uuid not null, id integer primary key, a text, b integer default 5, c date)"
WRITES = [
    f"insert into {{table}} ({{tenant}}, {{key}}) values ('{ACME}', 100 + (select count(*) from {{table}}))",
    "update {table} set {tenant} = {tenant} where {key} = 1",
    "delete from {table} where {key} = 2",
    "update {table} set {key} = {key} + 1000 where {key} > 100",
    f"insert into {{table}} ({{tenant}}, {{key}}) values ('{BETA}', 3)"
    " on conflict ({key}) do update set {tenant} = excluded.{tenant}",
]
CHANGES = {
    "drop a column": ("alter table things drop column a", {}),
    "drop and add": ("alter table things drop column a; alter table things add column a integer default 7", {}),
    "rename a column": ("alter table things rename column a to aa", {}),
    "add a column": ("alter table things add column d jsonb default '{}'", {}),
    "retype a column": ("alter table things alter column b type bigint", {}),
    "generated": ("alter table things add column g text generated always as (a || 'x') stored", {}),
    "rename the key": ("alter table things rename column id to ident", {"key": "ident"}),
    "rename the tenant": ("alter table things rename column tenant_id to owner", {"tenant": "owner"}),
    "rename the table": ("alter table things rename to stuff", {"table": "stuff"}),
    "another schema": ("create schema elsewhere; grant usage on schema elsewhere to kos_owner;"
                       "alter table things set schema elsewhere", {"table": "elsewhere.things"}),
    "a trigger": ("create function f() returns trigger language plpgsql as $$ begin return new; end $$;"
                  "create trigger f before update on things for each row execute function f()", {}),
    "retype the key": ("alter table things alter column id type bigint", {}),
    "another key": ("alter table things drop constraint things_pkey, add unique (id)", {}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_table(superuser: Connection, change: str) -> None:
    """No statement fails for it, before or after captures were made anew; what was captured before is sealed after."""
    ddl, renamed = CHANGES[change]
    names = {"table": "things", "tenant": "tenant_id", "key": "id"}
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(f"insert into things select '{ACME}', n, 'a' || n, n, 'infinity' from generate_series(1, 9) n")
    for write in WRITES:
        superuser.execute(write.format(**names))
    superuser.execute(ddl)
    names |= renamed
    for write in WRITES:
        superuser.execute(write.format(**names))
    _assert_follows(superuser, names, change)
    assert superuser.execute("select table_name, loses from kos.broken_captures()").fetchall() in (
        [],
        [(_full(names), False)],
    )
    superuser.execute("select kos.refresh_captures()")
    assert superuser.execute("select * from kos.broken_captures()").fetchall() == []
    for write in WRITES:
        superuser.execute(write.format(**names))
    _assert_follows(superuser, names, change)
    superuser.execute("truncate {table}".format(**names))
    _assert_follows(superuser, names, change)


def _full(names: dict[str, str]) -> str:
    return names["table"] if "." in names["table"] else f"public.{names['table']}"


def _assert_follows(superuser: Connection, names: dict[str, str], change: str) -> None:
    # A new column's values are in the log for rows that were written since.
    assert_exact(
        superuser, names["table"], {"drop and add": ("a",), "add a column": ("d",), "generated": ("g",)}.get(change, ())
    )


def test_a_key_that_is_gone_is_reported(superuser: Connection) -> None:
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(f"insert into things values ('{ACME}', 1)")
    superuser.execute("alter table things drop column id")
    superuser.execute("insert into things select tenant_id from things; update things set a = 'x'; delete from things")
    faults = superuser.execute("select fault from kos.broken_captures() where loses").fetchall()
    assert ("its key is gone",) in faults
    superuser.execute("drop table things")
    superuser.execute("select * from kos.broken_captures()")
    superuser.execute("select kos.refresh_captures()")


def test_a_table_with_the_name_of_a_renamed_one(superuser: Connection) -> None:
    make(superuser, TABLE)
    log(superuser)
    superuser.execute("alter table things rename to old_things")
    make(superuser, "create table things (id integer primary key, other text)")
    log(superuser, tenant=None)
    superuser.execute(f"insert into things values (1, 'x'); insert into old_things values ('{ACME}', 1, 'y')")
    assert_exact(superuser)
    assert_exact(superuser, "old_things")
    superuser.execute("truncate things")
    assert_exact(superuser)
    assert_exact(superuser, "old_things")
    superuser.execute("insert into things values (1, 'x')")
    assert [operation for operation, _ in events(superuser)] == ["I", "T", "I"]
