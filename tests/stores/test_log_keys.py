# ruff: noqa: E501
"""Columns that the log keeps encrypted: they come back exactly, and nothing but their key's owner can read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from logged_table import ACME, BETA, Connection, assert_exact, differences, events, log, make, seal
from psycopg.sql import SQL, Identifier
from test_log_feed import dump_and_restore

from fix_database import as_superuser
from kos import errors
from kos.log import compare
from kos.tenancy import Store
from kos.tenancy.placement import control_place
from kos.topology.embedded import Stack
from kos.topology.model import Topology

TABLE = "create table things (tenant_id uuid not null, id integer, secret text, pin integer, v text, primary key (tenant_id, id))"
SENSITIVE = '{"secret": "encrypted", "pin": "encrypted"}'
SECRETS = ("open sesame", "4711471147")
CLEAR = SQL(
    "select count(*) from {} t where strpos(t::text, 'sesame') > 0 or strpos(t::text, '73657361') > 0 or t::text ~ '\\m47114711'"
)


@pytest.fixture
def hiding(superuser: Connection) -> Connection:
    make(superuser, TABLE)
    log(superuser, sensitive=SENSITIVE, baseline="lazy")
    return superuser


@pytest.fixture
def other(template: Stack, database: Topology, hiding: Connection) -> Iterator[Connection]:
    """A second session."""
    with as_superuser(template, database.control.primary.database) as connection:
        yield connection


def put(
    connection: Connection, tenant: str, number: int, secret: str | None = "open sesame", pin: int | None = 471147114
) -> None:
    connection.execute("insert into things values (%s, %s, %s, %s, 'v')", (tenant, number, secret, pin))


def in_clear(superuser: Connection) -> list[str]:
    """Tables of kos that show a secret anywhere."""
    tables = superuser.execute(
        "select relname from pg_class where relnamespace = 'kos'::regnamespace and relkind in ('r', 'p')"
    ).fetchall()
    assert len(tables) > 15
    found = []
    for (name,) in tables:
        row = superuser.execute(CLEAR.format(Identifier("kos", name))).fetchone()
        if row != (0,):
            found.append(name)
    return found


def keys_of(superuser: Connection, tenant: str) -> list[tuple[Any, ...]]:
    return superuser.execute(
        "select key_id, key from kos.tenant_keys where tenant_id = %s order by created_at", (tenant,)
    ).fetchall()


def revealed(superuser: Connection, image: str = "image", column: str = "secret") -> list[Any]:
    """The secrets of all events, in order."""
    seal(superuser)
    query = SQL(
        "select kos.reveal(e.tenant_id, kos.stored_data(s.columns, e.{image})) ->> {column} from kos.knowledge_events e"
        " join kos.shapes s using (shape_id) where e.{image} is not null order by e.tenant_id, e.position"
    )
    return [value for (value,) in superuser.execute(query.format(image=Identifier(image), column=column))]


CONTENTS = [
    "", "x", "ü€😀", "\\N", "\\E", "\\", "[erased]", " a\tb\n", "open sesame", "x" * 1_000_000, "é" * 70_000, None,
]  # fmt: skip


def test_every_content_comes_back(hiding: Connection) -> None:
    for number, content in enumerate(CONTENTS):
        put(hiding, ACME, number, content, None if content is None else -number)
    hiding.execute("update things set secret = secret || 'open sesame'; update things set v = 'w', pin = pin + 1")
    hiding.execute("update things set secret = null, pin = 471147114 where id < 3; delete from things where id = 5")
    assert in_clear(hiding) == []
    assert_exact(hiding)
    assert in_clear(hiding) == []


TENANTS = {
    "a uuid": ("tenant uuid not null", f"'{ACME}'::uuid, '{BETA}'"),
    "a uuid or none": ("tenant uuid", f"'{ACME}'::uuid, null"),
    "a text": ("tenant text", "'acme', 'beta', null"),
    "a number": ("tenant bigint not null", "17, 18, 19"),
    "nobody": (None, "null"),
}


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "with a trigger"])
@pytest.mark.parametrize("tenant", TENANTS)
def test_tenants_of_every_kind(superuser: Connection, tenant: str, nested: bool) -> None:
    """One key for each tenant, also where one statement is the first for all of them."""
    column, values = TENANTS[tenant]
    make(
        superuser,
        f"create table things (id integer generated always as identity primary key, {column or 'tenant text'}, secret text, pin integer, v text)",
    )
    if nested:
        superuser.execute(
            "create function f() returns trigger language plpgsql as $$ begin return new; end $$;"
            "create trigger f after update on things for each row execute function f()"
        )
    log(superuser, tenant="tenant" if column else None, sensitive=SENSITIVE)
    superuser.execute(
        f"insert into things (tenant, secret, pin) select t, 'open sesame', 471147114 from unnest(array[{values}]) t, generate_series(1, 3)"
    )
    counts = superuser.execute("select count(*), count(distinct tenant_id) from kos.tenant_keys").fetchone()
    assert counts == (values.count(",") + 1,) * 2
    superuser.execute(
        "update things set secret = 'open sesame ' || id, pin = -pin where id % 2 = 0; update things set v = 'w'; delete from things where id = 1"
    )
    assert_exact(superuser)
    assert in_clear(superuser) == []
    assert superuser.execute("select count(*) from kos.tenant_keys").fetchone() == counts[:1]


def test_partitions(superuser: Connection) -> None:
    make(
        superuser,
        TABLE.replace("))", ")) partition by list (id)")
        + "; create table things_1 partition of things for values in (1, 2); create table things_2 partition of things default",
    )
    superuser.execute("grant all on things_1, things_2 to kos_owner")
    log(superuser, sensitive=SENSITIVE)
    for number in range(1, 5):
        put(superuser, ACME, number)
    superuser.execute(
        "update things set id = 9, secret = 'open sesame 9' where id = 2; update things_2 set pin = 471147115; truncate things_1"
    )
    assert_exact(superuser)
    assert in_clear(superuser) == []


def test_what_did_not_change_is_left_out(hiding: Connection) -> None:
    put(hiding, ACME, 1)
    hiding.execute(
        "update things set v = 'w'; update things set secret = secret || '', pin = pin + 0; update things set pin = 471147115"
    )
    seal(hiding)
    images = hiding.execute("select image[3], image[4] from kos.knowledge_events order by position").fetchall()
    assert [[value is None or value[:2] for value in image] for image in images] == [
        ["\\E", "\\E"],
        [True, True],
        [True, True],
        [True, "\\E"],
    ]
    assert_exact(hiding)


def test_everybody_sees_a_mask(hiding: Connection) -> None:
    put(hiding, ACME, 1)
    put(hiding, ACME, 2, None, None)
    assert [(data["secret"], data["pin"]) for _, data in events(hiding)] == [
        ("[encrypted]", "[encrypted]"),
        (None, None),
    ]
    state = hiding.execute(
        "select data ->> 'secret' from kos.log_state(%s, 'public', 'things', 9) order by key", (ACME,)
    ).fetchall()
    assert state == [("[encrypted]",), (None,)]


def test_another_key_and_another_tenant(hiding: Connection) -> None:
    put(hiding, ACME, 1)
    hiding.execute("update things set id = 2")
    hiding.execute("update things set tenant_id = %s", (BETA,))
    assert_exact(hiding)
    assert revealed(hiding) == ["open sesame"] * 3
    assert [len(keys_of(hiding, tenant)) for tenant in (ACME, BETA)] == [1, 1]
    assert revealed(hiding, "before") == ["open sesame"] * 2, (
        "the state before is in the old tenant's log, under its key"
    )


def test_a_sensitive_column_that_is_renamed(hiding: Connection) -> None:
    put(hiding, ACME, 1)
    hiding.execute("alter table things rename secret to hidden; alter table things rename pin to number")
    hiding.execute("update things set hidden = 'open sesame 2'")
    hiding.execute("alter table things add column more text; update things set number = 471147115")
    hiding.execute("select kos.refresh_captures()")
    hiding.execute("update things set hidden = 'open sesame 3', number = 471147116, more = 'm'")
    assert in_clear(hiding) == []
    assert_exact(hiding)
    assert revealed(hiding, column="hidden")[-3:] == ["open sesame 2", None, "open sesame 3"]


def test_an_older_key_still_opens(hiding: Connection) -> None:
    put(hiding, ACME, 1)
    for number in (2, 3):
        hiding.execute("select kos.rotate_tenant_key(%s)", (ACME,))
        put(hiding, ACME, number)
    assert len(keys_of(hiding, ACME)) == 3
    assert revealed(hiding) == ["open sesame"] * 3
    used = hiding.execute("select substr(image[3], 3, 36)::uuid from kos.knowledge_events order by position").fetchall()
    assert used == [(key_id,) for key_id, _ in keys_of(hiding, ACME)]
    assert_exact(hiding)


LEAVES = """
select bool_and(e.leaf = kos.leaf(e.tenant_id, e.position, e.incarnation, e.transaction, e.occurred_at, s.digest, e.operation, e.key, e.image,
                                  e.before, e.context, e.salt)) from kos.knowledge_events e join kos.shapes s using (shape_id)
"""


def test_who_erases_a_tenants_keys(hiding: Connection) -> None:
    put(hiding, ACME, 1)
    hiding.execute("select kos.rotate_tenant_key(%s)", (ACME,))
    put(hiding, ACME, 2)
    put(hiding, BETA, 1)
    seal(hiding)
    assert hiding.execute("select kos.erase_tenant_keys(%s)", (ACME,)).fetchone() == (2,)
    gone = "select key, stream_inner, stream_outer, tag_inner, tag_outer from kos.tenant_keys where tenant_id = %s"
    assert hiding.execute(gone, (ACME,)).fetchall() == [(None,) * 5] * 2
    assert hiding.execute(LEAVES).fetchone() == (True,)
    assert revealed(hiding) == ["[erased]", "[erased]", "open sesame"]
    assert hiding.execute("select * from kos.compare_log('things')").fetchall() == [], (
        "what can't be known is not compared"
    )
    put(hiding, ACME, 3)
    hiding.execute("update things set secret = 'open sesame 2' where id = 1")
    assert revealed(hiding) == ["[erased]", "[erased]", "open sesame", "open sesame 2", "open sesame", "open sesame 2"]
    hiding.execute("select kos.forget_log(%s)", (ACME,))
    assert hiding.execute("select distinct tenant_id::text from kos.tenant_keys").fetchall() == [(BETA,)]


def test_a_dump_takes_its_keys_along(template: Stack, hiding: Connection) -> None:
    put(hiding, ACME, 1)
    seal(hiding)
    name = dump_and_restore(template, hiding.info.dbname, f"{hiding.info.dbname}_copy")  # dropped with the other
    with as_superuser(template, name) as restored:
        assert keys_of(restored, ACME) == keys_of(hiding, ACME)
        put(restored, ACME, 2)
        restored.execute("update things set secret = secret || '!' where id = 1")
        assert revealed(restored) == ["open sesame", "open sesame", "open sesame!"]
        assert_exact(restored)
        assert len(keys_of(restored, ACME)) == 1
        assert in_clear(restored) == []


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_two_who_write_first_at_once(hiding: Connection, other: Connection, isolation: str, end: str) -> None:
    """Neither waits, neither fails, and what becomes of one is nothing to the other."""
    for session in (hiding, other):
        session.execute("set lock_timeout = '1s'")
        session.execute(f"begin isolation level {isolation}; select from kos.shapes")
    put(hiding, ACME, 1)
    put(other, ACME, 2)
    other.execute(end)
    put(hiding, ACME, 3)
    hiding.execute("commit")
    assert_exact(hiding)
    put(hiding, ACME, 4)
    assert_exact(hiding)
    assert len(keys_of(hiding, ACME)) == (2 if end == "commit" else 1)


def test_a_savepoint_takes_its_key_with_it(hiding: Connection) -> None:
    hiding.execute("begin; savepoint s")
    put(hiding, ACME, 1)
    hiding.execute("rollback to s")
    put(hiding, ACME, 2)
    hiding.execute("commit")
    assert len(keys_of(hiding, ACME)) == 1
    assert_exact(hiding)


def test_a_log_that_was_tampered_with(hiding: Connection, store: Store) -> None:
    put(hiding, ACME, 1)
    put(hiding, ACME, 2, "another")
    seal(hiding)
    swap = "update kos.knowledge_events e set image[3] = (select f.image[4] from kos.knowledge_events f where f.position = 2) where e.position = 1"
    hiding.execute(swap)
    with pytest.raises(errors.ValueUnreadable) as caught:
        compare(store, control_place(store.topology))
    assert (caught.value.tenant, caught.value.column) == (ACME, "secret")
    assert "sesame" not in str(caught.value)
    hiding.execute("delete from kos.tenant_keys")
    with pytest.raises(psycopg.DatabaseError, match="whose key is gone"):
        hiding.execute("select * from kos.compare_log('things')")


def test_a_value_that_was_written_past_the_triggers(hiding: Connection) -> None:
    put(hiding, ACME, 1)
    put(hiding, ACME, 2)
    hiding.execute("set session_replication_role = replica")
    hiding.execute("update things set secret = 'open sesame 2' where id = 2")
    hiding.execute("reset session_replication_role")
    seal(hiding)
    [(key, fault, logged, found)] = hiding.execute(
        "select key, fault, logged, found from kos.compare_log('things')"
    ).fetchall()
    assert (key, fault) == ([ACME, "2"], "the log has other values")
    assert (logged["secret"], found["secret"], found["v"]) == ("[encrypted]", "[encrypted]", "v")
    assert [key for *_, key, _ in differences(hiding)] == [f"{{{ACME},2}}"]


MAY = """
select r.rolname, has_table_privilege(r.oid, 'kos.tenant_keys', 'select'),
       (select array_agg(p.proname::text order by p.proname) from pg_proc p
         where p.pronamespace = 'kos'::regnamespace and has_function_privilege(r.oid, p.oid, 'execute')
           and p.proname in ('decrypt', 'encrypt', 'reveal', 'rebuilt_state', 'make_tenant_key', 'hmac', 'mask_bytes', 'tag_of'))
  from pg_roles r where r.rolname in ('kos_app', 'kos_persona', 'kos_auditor', 'kos_mover') order by 1
"""


def test_who_may_open_them(hiding: Connection) -> None:
    """Apart from the owner, and the operator that acts for it."""
    assert hiding.execute(MAY).fetchall() == [
        ("kos_app", False, None), ("kos_auditor", False, None), ("kos_mover", False, ["rebuilt_state", "reveal"]), ("kos_persona", False, None),
    ]  # fmt: skip
    put(hiding, ACME, 1)
    seal(hiding)
    state = "select data ->> 'secret' from kos.{}('%s', 'public', 'things', 9)"
    hiding.execute("set role kos_mover")
    assert hiding.execute(state.format("rebuilt_state") % ACME).fetchall() == [("open sesame",)]
    hiding.execute("set role kos_auditor")
    assert hiding.execute(state.format("log_state") % ACME).fetchall() == [("[encrypted]",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        hiding.execute(state.format("rebuilt_state") % ACME)


@pytest.mark.parametrize(
    ("sensitive", "replayable"),
    [
        ("{}", True),
        ('{"secret": "encrypted"}', True),
        ('{"secret": "digest"}', False),
        ('{"secret": "encrypted", "pin": "absent"}', False),
    ],
)
def test_what_can_be_replayed(superuser: Connection, sensitive: str, replayable: bool) -> None:
    make(superuser, TABLE)
    asked = "select kos.is_replayable('things')"
    assert superuser.execute(asked).fetchone() == (False,)
    log(superuser, sensitive=sensitive)
    assert superuser.execute(asked).fetchone() == (replayable,)


EXPLAINED = """
load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on; set auto_explain.log_verbose = on;
set auto_explain.log_analyze = on; set auto_explain.log_level = 'notice'; set client_min_messages = 'log'; set log_error_verbosity = 'verbose'
"""


def test_the_servers_log_shows_neither_values_nor_keys(hiding: Connection) -> None:
    """Not with auto_explain at its most talkative: plans, nested statements, and parameters of all of them."""
    hiding.execute(
        "create table source as select n as id, 'open sesame' as secret, 471147114 as pin from generate_series(1, 3) n"
    )
    said: list[str] = []
    hiding.add_notice_handler(
        lambda notice: said.append(f"{notice.message_primary} {notice.message_detail} {notice.context}")
    )
    try:
        hiding.execute(EXPLAINED)
    except psycopg.errors.UndefinedFile:
        pytest.skip("this server has no auto_explain")
    if hiding.info.server_version >= 160000:
        hiding.execute("set auto_explain.log_parameter_max_length = -1")
    for number in range(8):  # the first five plans have their parameters in them
        hiding.execute(f"insert into things select '{ACME}', id + {number * 10}, secret, pin, 'v' from source")
        hiding.execute(f"update things set secret = secret || id where id >= {number * 10}")
        seal(hiding)
        hiding.execute("select fault from kos.compare_log('things')")
        hiding.execute("select count(r.data) from kos.rebuilt_state(%s, 'public', 'things', 99) r", (ACME,))
        if number == 5:
            hiding.execute("alter table things add column more text")
    hiding.execute("set auto_explain.log_min_duration = -1")
    assert [each for each in said if "insert into kos.pending_1" in each]
    assert [each for each in said if "kos.tenant_keys" in each]
    assert [each for each in said if "sesame" in each or "471147114" in each] == []
    row = hiding.execute(
        "select encode(key, 'hex'), encode(stream_inner, 'hex'), encode(stream_outer, 'hex'), encode(tag_inner, 'hex'), encode(tag_outer, 'hex') from kos.tenant_keys"
    ).fetchone()
    assert row is not None
    assert [each for each in said for secret in row if secret[:40] in each] == []
