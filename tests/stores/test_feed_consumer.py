"""Consumers in Python: deaths between effect and cursor, errors by type, batches that are followed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fix_samples import child_environment
from kos import errors
from kos.log import (
    Batch,
    Cursor,
    advance,
    batches,
    done,
    drop,
    feeds,
    next_batch,
    position_of,
    read,
    seal_all,
    seek,
    waiting,
)
from kos.tenancy import Store, Tenant, create_tenant
from kos.tenancy.placement import place_of

CONSUMER = Path(__file__).parents[1] / "feed_consumer.py"


def put(store: Store, *names: str, tenant: str = "acme") -> None:
    """One transaction, sealed."""
    with store.tenant(tenant) as session:
        for name in names:
            session.execute("insert into atoms (atom_type, name) values ('T', %s)", (name,))
    with store.operator(place_of(store.find(tenant))) as operator:
        seal_all(operator)


def names(batch: Batch | None) -> list[str | None]:
    return [event.data["name"] for event in batch.events] if batch else []


def consume(store: Store, folder: Path, mode: str, position: int, when: str) -> int:
    environment = os.environ | child_environment(store.topology, folder)
    command = [sys.executable, str(CONSUMER), mode, str(folder / "effect"), str(position), when]
    return subprocess.run(command, env=environment, check=False, timeout=120).returncode


@pytest.mark.long
@pytest.mark.parametrize("when", ["effect", "done"])
def test_killed_in_its_transaction_nothing_is_lost_and_nothing_doubled(
    store: Store, tenant: Tenant, tmp_path: Path, when: str
) -> None:
    with store.operator() as operator:
        operator.execute("create table knowledge.copied (position bigint, name text)")
        operator.execute("grant select, insert on knowledge.copied to kos_app")
    for number in range(1, 7):
        put(store, str(number))
    for position in (1, 4, 6):
        assert consume(store, tmp_path, "same", position, when) == -signal.SIGKILL
    assert consume(store, tmp_path, "same", 0, when) == 0
    with store.operator() as operator:
        found = operator.execute("select position, name::int from knowledge.copied order by position").fetchall()
    assert found == [(number, number) for number in range(1, 7)]


@pytest.mark.long
def test_killed_between_effect_and_cursor_nothing_is_lost(store: Store, tenant: Tenant, tmp_path: Path) -> None:
    for number in range(1, 7):
        put(store, str(number))
    for position in (1, 4):
        assert consume(store, tmp_path, "file", position, "effect") == -signal.SIGKILL
    assert consume(store, tmp_path, "file", 0, "effect") == 0
    lines = (tmp_path / "effect").read_text().splitlines()
    assert [int(line.split()[0]) for line in lines] == [1, 2, 1, 2, 3, 4, 3, 4, 5, 6]
    assert {int(line.split()[1]) for line in lines} == set(range(1, 7))


def test_each_refusal_has_its_type(store: Store, tenant: Tenant) -> None:
    put(store, "a")
    put(store, "b", "c")
    with store.operator() as operator:
        batch = next_batch(operator, "copy", tenant.id)
        assert batch is not None
        assert (batch.at, batch.end, names(batch)) == (0, Cursor(3, batch.events[2].leaf), ["a", "b", "c"])
        done(operator, batch)
        with pytest.raises(errors.FeedMoved, match="feed copy of"):
            done(operator, batch)
        within = Cursor.after(batch.events[1])
        with pytest.raises(errors.WithinTransaction, match="position 2"):
            advance(operator, "new", tenant.id, 0, within)
        with pytest.raises(errors.WithinTransaction, match="position 4"):
            seek(operator, "copy", tenant.id, Cursor(4))
        with pytest.raises(errors.FeedDiverged, match="position 3"):
            seek(operator, "copy", tenant.id, Cursor(3, within.leaf))
        for name in ("", "Big", "-a", "a" * 64):
            with pytest.raises(errors.InvalidFeedName):
                seek(operator, name, tenant.id, Cursor())
        assert position_of(operator, "copy", tenant.id) == batch.end
        operator.execute("update kos.feed_cursors set leaf = '\\x00'")
        with pytest.raises(errors.FeedDiverged, match="position 3"):
            next_batch(operator, "copy", tenant.id)


def test_batches_move_the_cursor_when_the_next_is_asked_for(store: Store, tenant: Tenant) -> None:
    for name in ("a", "b", "c"):
        put(store, name)
    with store.operator() as operator:
        following = batches(operator, "copy", tenant.id, limit=2)
        assert names(next(following)) == ["a", "b"]
        assert position_of(operator, "copy", tenant.id) == Cursor()
        assert names(next(following)) == ["c"]
        assert position_of(operator, "copy", tenant.id).position == 2
        following.close()
        assert [names(batch) for batch in batches(operator, "copy", tenant.id)] == [["c"]]
        later = iter(["d", "e"])
        followed = batches(operator, "copy", tenant.id, follow=True, sleep=lambda _: put(store, next(later)))
        assert names(next(followed)) == ["d"]
        assert names(next(followed)) == ["e"]
        drop(operator, "copy", tenant.id)
        with pytest.raises(errors.FeedMoved):
            next(followed)


def test_in_a_session_a_consumer_has_its_own_tenant_only(store: Store, tenant: Tenant) -> None:
    beta = create_tenant(store, "beta")
    for name in ("acme", "beta"):
        put(store, name, tenant=name)
    with store.tenant("acme") as acme:
        batch = next_batch(acme.connection, "copy", tenant.id)
        assert batch is not None
        assert names(batch) == ["acme"]
        assert next_batch(acme.connection, "copy", beta.id) is None
        done(acme.connection, batch)
    with pytest.raises(errors.FeedMoved), store.tenant("acme") as acme:
        acme.execute("insert into atoms (atom_type, name) values ('T', 'effect')")
        done(acme.connection, batch)
    with store.operator() as operator:
        seal_all(operator)
        assert len(read(operator, tenant.id, Cursor())) == 1  # the effect was rolled back
        assert [(each.tenant, each.behind) for each in feeds(operator)] == [(tenant.id, 0)]
        assert [(each.tenant, each.behind) for each in waiting(operator, "copy")] == [(beta.id, 1)]
        assert drop(operator, "copy") == 1
        assert feeds(operator) == []
