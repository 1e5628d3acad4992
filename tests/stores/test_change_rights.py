"""What the owner of a table may do in its schema is known before the change begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from change_kind import GOODS, GOODS_ROWS

from change_by_hand import Scratch, scratch_database
from fix_product import OWNER
from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import finish, plan_change, roll_back, start
from kos.topology.embedded import Stack
from kos.topology.model import Topology


@pytest.fixture
def closed(shop: Shop) -> Shop:
    """A shop whose owner may not create anything in its schema."""
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    shop.superuser.execute(
        f"alter schema {SHOP} owner to postgres; revoke create on schema {SHOP} from {OWNER}".encode()
    )
    shop.superuser.execute(f"grant usage on schema {SHOP} to {OWNER}".encode())
    return shop


@pytest.mark.parametrize(
    "sql",
    [
        "alter table goods rename column name to title",
        "alter table goods alter column price type numeric(12, 3)",
        "create index goods_note on goods (note)",
        "alter table goods add constraint once unique (note)",
        "alter table goods rename to wares",
        "alter index goods_name rename to goods_names",
        "-- kos: fill goods.height = id\nalter table goods add column height integer",
        "alter table goods add column number integer generated always as identity",
        "create statistics goods_both on note, price from goods",
    ],
)
def test_who_may_not_create_is_told_before_the_change_begins(closed: Shop, sql: str) -> None:
    with pytest.raises(errors.ChangeRefused) as refused:
        plan_change(closed.store, sql, schemas=(SHOP,))
    grant = f'grant create on schema "{SHOP}" to "{OWNER}"'
    assert (OWNER in refused.value.reason, refused.value.instead) == (True, grant)
    closed.superuser.execute(grant.encode())
    start(closed.store, plan_change(closed.store, sql, schemas=(SHOP,)))
    finish(closed.store)
    closed.superuser.execute(f"alter schema {SHOP} owner to {OWNER}".encode())
    closed.clean = True


@pytest.mark.parametrize(
    "sql",
    [
        "alter table goods add column height integer default 3",
        "alter table goods drop column note",
        "alter table goods alter column note set not null",
        "alter table goods add constraint noted check (note <> '')",
        "alter table goods rename constraint goods_code_key to goods_once",
    ],
)
def test_what_makes_nothing_needs_no_right_to(closed: Shop, sql: str) -> None:
    start(closed.store, plan_change(closed.store, sql, schemas=(SHOP,)))
    finish(closed.store)
    closed.superuser.execute(f"alter schema {SHOP} owner to {OWNER}".encode())
    closed.clean = True


def test_a_failure_says_to_mend_what_failed(closed: Shop) -> None:
    """Nobody mends rows where a privilege is missing."""
    closed.superuser.execute(f"grant create on schema {SHOP} to {OWNER}".encode())
    plan = plan_change(closed.store, "create index goods_note on goods (note)", schemas=(SHOP,))
    closed.superuser.execute(f"revoke create on schema {SHOP} from {OWNER}".encode())
    with pytest.raises(errors.ChangeFailed) as failed:
        start(closed.store, plan)
    assert failed.value.next_command.startswith(f"grant {OWNER} what it lacks and run it again")
    roll_back(closed.store)
    closed.superuser.execute(f"alter schema {SHOP} owner to {OWNER}".encode())
    closed.clean = True


def test_a_schema_of_somebody_kos_may_not_become(shop: Shop) -> None:
    shop.fresh(SHOP)
    shop.superuser.execute("create schema bare; alter schema bare owner to pg_database_owner")
    with pytest.raises(errors.ChangeRefused, match="whom kos may not act as"):
        plan_change(shop.store, "create table things (id integer primary key)", schemas=("bare",))
    shop.superuser.execute("drop schema bare")
    shop.clean = True


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


MOODS = (
    "create type mood as enum ('low', 'high')",
    "create table orders (id integer primary key, state text, mood mood default 'low', n integer)",
    "insert into orders values (1, 'high', 'high', 1)",
)


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ("alter table orders alter state type mood using state::mood", "state_new = 'high' or id = 2"),
        ("alter table orders rename mood to feeling", "feeling = 'high' or id = 1"),
        ("alter table orders add number serial", "number > 0"),
        ("alter table orders add number integer generated always as identity", "number > 0"),
        ("-- kos: fill orders.kind = state::mood\nalter table orders add kind mood", "kind = 'high' or id = 2"),
    ],
)
def test_who_writes_through_a_view_needs_no_right_on_the_schema(scratch: Scratch, change: str, made: str) -> None:
    schema = scratch.schema(*MOODS)
    front, writer = f"front_of_{schema}", f"viewer_of_{schema}"
    scratch.run(
        schema,
        f"create schema {front}; create role {writer}",
        f"create view {front}.seen as select id, n, mood from orders",
        f"grant usage on schema {front} to {writer}; grant select, insert, update on {front}.seen to {writer}",
    )
    recipe = scratch.plan(schema, change)
    scratch.do(schema, recipe.expand)
    scratch.run("nowhere", f"set local role {writer}", f"insert into {front}.seen values (2, 1, 'high')")
    scratch.run("nowhere", f"set local role {writer}", f"update {front}.seen set n = 7")
    assert scratch.run(schema, f"select bool_and({made}) from orders") == [(True,)]
    scratch.run(schema, f"drop schema {front} cascade; drop role {writer}")


def test_what_is_made_of_who_writes_is_made_of_them(scratch: Scratch) -> None:
    """A default of one's own name is that of who writes the row, whatever else the function looks up by name."""
    schema = scratch.schema(
        "create domain person as text",
        "create table notes (id integer primary key, created_by person default current_user)",
    )
    writer = f"writer_of_{schema}"
    scratch.run(schema, f"create role {writer}", f"grant usage on schema {schema} to {writer}")
    scratch.run(schema, f"grant select, insert, update on notes to {writer}")
    scratch.do(schema, scratch.plan(schema, "alter table notes rename created_by to author").expand)
    scratch.run(schema, f"set local role {writer}", "insert into notes (id, created_by) values (1, 'alice')")
    scratch.run(schema, f"set local role {writer}", "insert into notes (id) values (2)")
    rows = scratch.run(schema, "select created_by::text, author::text from notes order by id")
    assert rows == [("alice", "alice"), (writer, writer)]
    scratch.run(schema, f"drop owned by {writer}; drop role {writer}")
