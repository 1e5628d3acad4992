"""Bookmarks: what a session has written, as a text that travels, and as a position once it is sealed."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from kos import errors
from kos.log import Cursor, bookmark_position, read, seal, wait_for
from kos.tenancy import AsyncStore, Store, Tenant, bookmark
from kos.tenancy.bookmark import Bookmark

Connection = psycopg.Connection[Any]
INSERT = "insert into atoms (atom_type, name) values ('city', %s) returning id"


def write(store: Store, name: str = "Bern") -> str:
    with store.tenant("acme") as acme:
        acme.execute(INSERT, (name,))
        assert acme.bookmark is None, "it is not committed"
    assert acme.bookmark is not None
    return str(acme.bookmark)


def test_what_was_written_is_at_the_position_that_the_bookmark_becomes(store: Store, tenant: Tenant) -> None:
    with store.operator() as operator:
        marks = {}
        for name in ("Bern", "Thun", "Biel"):
            marks[name] = write(store, name)
            assert bookmark_position(operator, tenant.id, marks[name]) is None
            seal(operator, tenant.id)
        found = {
            each.data["name"]: each.position for each in read(operator, tenant.id, Cursor()) if "name" in each.data
        }
        assert {name: bookmark_position(operator, tenant.id, mark) for name, mark in marks.items()} == found


def test_a_transaction_that_ends_late_has_a_late_position(store: Store, tenant: Tenant) -> None:
    with store.operator() as operator:
        with store.tenant("acme") as late:
            late.execute(INSERT, ("late",))
            early = write(store, "early")
            seal(operator, tenant.id)
            running = late.execute("select pg_current_xact_id()").fetchone()
            assert running is not None
            assert bookmark_position(operator, tenant.id, f"{early.split('.')[0]}.{running[0]}") is None
        assert late.bookmark is not None
        assert late.bookmark.transaction < Bookmark.read(early).transaction
        assert bookmark_position(operator, tenant.id, late.bookmark) is None
        seal(operator, tenant.id)
        at = bookmark_position(operator, tenant.id, late.bookmark)
        assert (bookmark_position(operator, tenant.id, early), at) == (1, 2)


@pytest.mark.parametrize("statement", ["select name from atoms", None])
def test_who_writes_nothing_has_none(store: Store, tenant: Tenant, statement: str | None) -> None:
    with store.tenant("acme") as acme:
        if statement:
            acme.execute(statement)
    assert acme.bookmark is None


@pytest.mark.parametrize(
    "statement",
    [
        "select public.add()",
        "with added as (insert into atoms (atom_type, name) values ('city', 'Bern') returning id) select * from added",
        "select 1; insert into atoms (atom_type, name) values ('city', 'Bern')",
    ],
)
def test_whatever_writes_has_one(store: Store, tenant: Tenant, superuser: Connection, statement: str) -> None:
    superuser.execute(
        "create function public.add() returns void language sql begin atomic"
        " insert into knowledge.atoms (atom_type, name) values ('city', 'Bern'); end"
    )
    with store.tenant("acme") as acme:
        acme.execute("select name from atoms")
        acme.execute(statement)
    assert acme.bookmark is not None


def test_what_is_rolled_back_has_none(store: Store, tenant: Tenant) -> None:
    session = store.tenant("acme")
    with pytest.raises(ZeroDivisionError), session:
        session.execute(INSERT, ("Bern",))
        raise ZeroDivisionError
    assert session.bookmark is None


def test_a_commit_that_fails_has_none(store: Store, tenant: Tenant, superuser: Connection) -> None:
    superuser.execute(
        "create function public.refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;"
        "create constraint trigger refuse after insert on knowledge.atoms deferrable initially deferred"
        " for each row execute function public.refuse()"
    )
    session = store.tenant("acme")
    with pytest.raises(psycopg.errors.RaiseException, match="refused"), session:
        session.execute(INSERT, ("Bern",))
    assert session.bookmark is None
    with store.tenant("acme") as after:
        assert after.execute("select count(*) from atoms").fetchone() == (0,)


def test_a_persona_has_one_too(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme", persona="domain_expert") as expert:
        expert.execute(
            "insert into documents (title, media_type, content_sha256, byte_length) values ('a', 'm', %s, 0)",
            ("0" * 64,),
        )
    assert expert.bookmark is not None


@pytest.mark.parametrize("pooler", [False, True])
def test_the_incarnation_is_that_of_now(
    store: Store, tenant: Tenant, pooler: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology = store.topology
    first, *others = topology.shards
    shard = replace(first, primary=replace(first.primary, pooler=pooler))
    with Store(replace(topology, shards=(shard, *others)), pool_size=1) as one, store.operator() as operator:
        first_mark, second = Bookmark.read(write(one)), Bookmark.read(write(one))
        assert first_mark.incarnation == second.incarnation
        operator.execute("select kos.begin_incarnation('a copy of a disk')")
        with pytest.raises(errors.BookmarkLost):
            bookmark_position(operator, tenant.id, second)
        if not pooler:  # behind one, the next transaction may be another server's: each asks
            monkeypatch.setattr(bookmark, "KNOWN_SECONDS", 0.0)
        assert Bookmark.read(write(one)).incarnation == second.incarnation + 1


def test_a_question_that_is_refused_costs_no_commit(store: Store, tenant: Tenant, superuser: Connection) -> None:
    superuser.execute("revoke execute on function kos.incarnation() from public, kos_app, kos_persona")
    with store.tenant("acme") as acme:
        acme.execute(INSERT, ("Bern",))
    assert acme.bookmark is None
    with store.tenant("acme") as acme:
        assert acme.execute("select name from atoms").fetchall() == [("Bern",)]


def test_the_asynchronous_session_has_it_too(store: Store, tenant: Tenant) -> None:
    async def work() -> str:
        async with AsyncStore(store.topology) as other:
            async with other.tenant("acme") as acme:
                await acme.execute(INSERT, ("Bern",))
            return str(acme.bookmark)

    with store.operator() as operator:
        mark = asyncio.run(work())
        seal(operator, tenant.id)
        assert bookmark_position(operator, tenant.id, mark) == 1


def test_what_is_in_no_log_waits_for_nobody(store: Store, tenant: Tenant, superuser: Connection) -> None:
    superuser.execute("create table public.notes (note text); grant all on public.notes to kos_app")
    write(store)
    with store.operator() as operator:
        seal(operator, tenant.id)
        with store.tenant("acme") as acme:
            acme.execute("insert into public.notes values ('a')")
        assert acme.bookmark is not None
        assert bookmark_position(operator, tenant.id, acme.bookmark) == 1


def test_an_application_asks_for_its_own_tenant_only(store: Store, tenant: Tenant) -> None:
    mark = Bookmark.read(write(store))
    with store.operator() as operator:
        seal(operator, tenant.id)
    with store.tenant("acme") as acme:
        asked = acme.execute("select kos.bookmark_position(%s, %s::xid8)", (mark.incarnation, str(mark.transaction)))
        assert asked.fetchone() == (1,)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), store.tenant("acme") as acme:
        acme.execute("select kos.bookmark_position(%s, 1, '1'::xid8)", (tenant.id,))


def test_an_old_snapshot_is_not_asked(store: Store, tenant: Tenant) -> None:
    mark = Bookmark.read(write(store))
    with pytest.raises(psycopg.errors.ActiveSqlTransaction), store.tenant("acme", isolation="repeatable read") as acme:
        acme.execute("select kos.bookmark_position(%s, %s::xid8)", (mark.incarnation, str(mark.transaction)))


def test_it_is_waited_for(store: Store, tenant: Tenant) -> None:
    mark = write(store)
    with store.operator() as operator, store.operator() as sealer:
        times = iter(range(100))
        with pytest.raises(errors.BookmarkUnsealed) as refused:
            wait_for(operator, tenant.id, mark, seconds=3, clock=lambda: next(times), sleep=lambda _: None)
        assert refused.value.retryable
        sealing = threading.Timer(0.1, seal, (sealer, tenant.id))
        sealing.start()
        assert wait_for(operator, tenant.id, mark, seconds=30) == 1
        sealing.join()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.",
        "0.5",
        "1.-5",
        "1.5 ",
        "1.5\n",
        "a.b",
        "١.٥",
        "1.5; select 1",
        "9" * 50,
        "9999999999.1",
        "1.99999999999999999999",
    ],
)
def test_what_is_no_bookmark_is_refused(text: str) -> None:
    with pytest.raises(errors.BookmarkUnreadable):
        Bookmark.read(text)
