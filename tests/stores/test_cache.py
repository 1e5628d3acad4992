"""Reading through the cache: what is found there, what isn't any more, and whose it is."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis

from fix_cache import AsyncSite, Site
from fix_redis import OwnCache
from kos import errors
from kos.projections.cache import CacheKind, check_entries
from kos.projections.model import Whose
from kos.tenancy import create_tenant, fence


@pytest.fixture(params=[Site, AsyncSite], ids=["sync", "async"])
def site(request: pytest.FixtureRequest, site_of: Any, module_cache: OwnCache, plain_client: redis.Redis) -> Site:
    """A tenant whose cache has just been begun."""
    made: Site = site_of(module_cache.store, request.param)
    made.follower.begin()
    return made


def counted(site: Site) -> tuple[int, int, int]:
    counters = site.reader.counters
    return counters.hits, counters.misses, counters.fills


def test_what_was_read_is_found(site: Site) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    assert [site.cached(atom) for _ in range(3)] == ["Bern"] * 3
    assert (site.loads, counted(site)) == (1, (2, 1, 1))
    assert site.cached(str(atom).upper()) == "Bern", "another way to write the key"
    assert site.loads == 1


def test_an_event_makes_it_old(site: Site) -> None:
    atom, other = site.insert("Bern"), site.insert("Thun")
    site.follower.follow()
    assert (site.cached(atom), site.cached(other)) == ("Bern", "Thun")
    site.rename(atom, "Berne")
    assert site.cached(atom) == "Bern", "nobody has told the cache, and nobody asked for more"
    site.follower.follow()
    assert (site.cached(atom), site.cached(other)) == ("Berne", "Thun")
    assert site.loads == 3
    site.write("delete from atoms where id = %s", atom)
    site.follower.follow()
    assert site.cached(atom) is None


def test_what_is_not_there_is_kept_until_it_is(site: Site) -> None:
    atom = uuid4()
    assert [site.cached(atom), site.cached(atom)] == [None, None]
    assert site.loads == 1
    site.write("insert into atoms (id, atom_type, name) values (%s, 'city', 'Bern')", atom)
    site.follower.follow()
    assert site.cached(atom) == "Bern"


def test_a_reader_with_a_bookmark_sees_what_it_stands_for(site: Site) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    site.cached(atom)
    mark = site.rename(atom, "Berne")
    assert site.cached(atom, after=mark) == "Berne", "it is not sealed"
    assert site.reader.counters.around == 1
    site.follower.end()
    assert site.cached(atom, after=mark) == "Berne", "it is sealed, and the cache has not heard of it"
    assert site.cached(atom, after=mark) == "Berne"
    assert site.loads == 3, "what the second one has read stands at a position that is good enough"
    site.follower.follow()
    assert site.cached(atom, after=mark) == "Berne"


def test_a_bookmark_of_another_incarnation_is_asked_about_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    atom = site.insert("Bern")
    mark = site.rename(atom, "Berne")
    site.follower.follow()
    assert [site.cached(atom, after=mark) for _ in range(2)] == ["Berne"] * 2
    site.follower.operator.execute("select kos.begin_incarnation('restored')")
    site.rename(atom, "BERN")
    site.follower.follow()
    assert [site.cached(atom, after=mark) for _ in range(2)] == ["BERN"] * 2
    assert site.loads == 3, "the cache knows no more than that it may be lost"
    monkeypatch.setattr("kos.projections.cache.decisions.KNOWN_SECONDS", 0.0)
    with pytest.raises(errors.BookmarkLost):
        site.cached(atom, after=mark)


def test_what_was_read_before_an_invalidation_is_not_kept(site: Site) -> None:
    atom = site.insert("Bern")
    site.follower.follow()

    def meanwhile() -> None:
        site.rename(atom, "Berne")
        site.follower.follow()

    assert site.cached(atom, after_load=meanwhile) == "Bern", "it was so when it was read"
    assert site.reader.counters.refused == 1
    assert site.cached(atom) == "Berne"


def test_nothing_is_kept_between_the_parts_of_a_batch(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has read before the batch fills what the first part has made old, before the last part comes."""
    monkeypatch.setattr("kos.projections.cache.projection.PART", 1)
    atoms = [site.insert("Bern") for _ in range(3)]
    site.follower.follow()
    apply = site.follower.projection._apply
    parts: list[Any] = []

    def meanwhile() -> None:
        for atom in atoms:
            site.rename(atom, "Berne")
        with monkeypatch.context() as patched:
            patched.setattr(site.follower.projection, "_apply", lambda *part: parts.append(part))
            site.follower.follow()
        apply(*parts[0])

    site.cached(atoms[0], after_load=meanwhile)
    for part in parts[1:]:
        apply(*part)
    assert len(parts) == 3
    assert [site.cached(atom) for atom in atoms] == ["Berne"] * 3


def test_a_table_that_others_are_made_of_makes_them_all_old(
    site_of: Any, plain_client: redis.Redis, module_cache: Any
) -> None:
    kinds = (CacheKind("atom", "atoms", depends=("documents",)), CacheKind("by_name", depends=("atoms",), key=(str,)))
    site = site_of(module_cache.store, kinds=kinds)
    atoms = [site.insert("Bern"), site.insert("Thun")]
    site.follower.begin()
    assert [site.cached(atom) for atom in atoms * 2] == ["Bern", "Thun"] * 2
    assert site.loads == 2
    site.write(
        "insert into documents (title, media_type, content_sha256, byte_length) values ('a', 'm', %s, 0)", "0" * 64
    )
    site.follower.follow()
    assert [site.cached(atom) for atom in atoms * 2] == ["Bern", "Thun"] * 2
    assert site.loads == 4


def test_a_table_that_is_emptied_makes_all_of_it_old(
    site_of: Any, plain_client: redis.Redis, module_cache: Any, superuser: Any
) -> None:
    site = site_of(module_cache.store)
    other = create_tenant(site.store, "own", "schema")
    site.follower.close()
    site.follower = type(site.follower)(site.store, other, module_cache.store)
    site.tenant = other
    atom = site.insert("Bern")
    site.follower.begin()
    assert site.cached(atom) == "Bern"
    with superuser.transaction():
        superuser.execute("select kos.enter('own')")
        superuser.execute("truncate tenant_own.atoms cascade")
    site.follower.follow()
    assert site.cached(atom) is None


def test_a_session_that_has_written_goes_around(site: Site) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    site.cached(atom)
    with pytest.raises(ZeroDivisionError), site.store.tenant("acme") as acme:
        acme.execute("update atoms set name = 'Berne' where id = %s", (atom,))
        assert acme.cached("atom", atom, lambda: acme.execute("select name from atoms").fetchone()[0]) == "Berne"
        raise ZeroDivisionError
    assert site.cached(atom) == "Bern"


def test_what_a_load_writes_is_not_kept(site: Site) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    fresh = "update atoms set name = 'Berne' returning name"
    with pytest.raises(ZeroDivisionError):
        if isinstance(site, AsyncSite):

            async def work() -> None:
                async with site.asynchronous.tenant("acme") as acme:

                    async def load() -> str:
                        return (await (await acme.execute(fresh)).fetchone())[0]  # type: ignore[index]

                    assert await acme.cached("atom", atom, load) == "Berne"
                    raise ZeroDivisionError

            site.runner.run(work())
        else:
            with site.store.tenant("acme") as acme:
                assert acme.cached("atom", atom, lambda: acme.execute(fresh).fetchone()[0]) == "Berne"
                raise ZeroDivisionError
    assert site.cached(atom) == "Bern"
    assert site.reader.counters.waits == 0


def test_a_load_that_fails_keeps_nobody_waiting(site: Site) -> None:
    """For a minute others would believe that it is being loaded, and wait as long as they are patient."""
    atom = site.insert("Bern")
    site.follower.follow()

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        site.cached(atom, before=fail)
    assert [site.cached(atom), site.cached(atom)] == ["Bern", "Bern"]
    assert (site.reader.counters.waits, site.reader.counters.hits) == (0, 1)


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_an_old_snapshot_goes_around(site: Site, isolation: str) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    assert site.cached(atom, isolation=isolation) == "Bern"
    assert counted(site) == (0, 0, 0)
    assert site.reader.counters.around == 1


def test_a_load_that_only_reads_is_kept_whatever_its_text(site: Site) -> None:
    if isinstance(site, AsyncSite):
        pytest.skip("the same decisions")
    site.insert("Bern")
    site.follower.follow()
    count, first, second = "select count(*) from atoms", uuid4(), uuid4()
    with site.store.tenant("acme") as acme:
        for key in (first, second, first):
            assert acme.cached("atom", key, lambda: acme.execute(count).fetchone()[0]) == 1
    assert acme.bookmark is None
    assert counted(site) == (1, 2, 2)
    with site.store.tenant("acme") as acme:
        for key in (uuid4(), first):
            assert acme.cached("atom", key, lambda: acme.connection.execute(count).fetchone()[0]) == 1
    assert site.reader.counters.around == 1, "what is done with the connection itself, nobody sees"


def test_a_write_that_is_under_way_is_not_forgotten(site: Site) -> None:
    """Of two tasks in one session, one asks whether anything was written just before the other writes."""
    if not isinstance(site, AsyncSite):
        pytest.skip("a session is of one thread")
    atom = site.insert("Bern")
    site.follower.follow()

    async def work() -> Any:
        async with site.asynchronous.tenant("acme") as acme:

            async def load() -> Any:
                found = await (await acme.execute("select count(*) from atoms")).fetchone()
                tasks.append(
                    asyncio.create_task(acme.execute("update atoms set name = 'Berne' where id = %s", (atom,)))
                )
                return found and found[0]

            tasks: list[Any] = []
            await acme.execute("select 1")
            await acme.cached("atom", uuid4(), load)
            await asyncio.gather(*tasks)
            assert not acme.has_only_read
        return acme.bookmark

    assert site.runner.run(work()) is not None


def test_personas_and_users_do_not_share(site: Site) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    who: list[dict[str, Any]] = [
        {}, {"user": "a"}, {"user": "b"}, {"user": ""}, {"user": "-"},
        {"persona": "domain_expert"}, {"persona": "domain_expert", "user": "a"}, {"persona": "developer"},
    ]  # fmt: skip
    seen = [site.cached(atom, **each) for each in who]
    assert seen[-1] is None, "a developer sees no atom without an implementation"
    assert site.loads == len(who)
    assert [site.cached(atom, **each) for each in who] == seen
    assert site.loads == len(who)
    for user in "cde":
        site.cached(atom, user=user, any_user=True)
        site.cached(atom, user=user, any_user=True, persona="developer")
    assert site.loads == len(who), "without a user and for any user is the same"


def test_what_a_persona_sees_hangs_on_other_tables(site: Site) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    assert (site.cached(atom), site.cached(atom, persona="developer")) == ("Bern", None)
    mark = site.write("insert into implementations (atom_id, system, location) values (%s, 's', 'l')", atom)
    site.follower.follow()
    assert site.cached(atom, persona="developer", after=mark) == "Bern"
    assert (site.cached(atom, after=mark), site.loads) == ("Bern", 3), "the application sees all atoms at all times"


def test_another_tenant_has_another_cache(site: Site) -> None:
    other = create_tenant(site.store, "other")
    atom = site.insert("Bern")
    site.follower.follow()
    site.cached(atom)
    assert site.cached(atom, name=other.name) is None


def test_another_epoch_has_another_cache(site: Site) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    site.cached(atom)
    fence.raise_epoch(site.store, "acme")
    mark = site.rename(atom, "Berne")
    assert site.cached(atom) == "Bern", "who asks for nothing more, and has not been there, hears of it from the worker"
    assert site.cached(atom, after=mark) == "Berne"
    assert [site.cached(atom), site.cached(atom)] == ["Berne", "Berne"]
    assert site.follower.projection.asking() == [Whose(site.tenant.id, site.tenant.epoch + 1)]
    assert site.reader.counters.fills == 1


def test_who_learns_of_another_epoch_asks_at_that_one(site: Site) -> None:
    """A bookmark is looked up in PostgreSQL. Who finds there that the tenant has moved leaves the old place's cache,
    whose positions may be another log's."""
    atom = site.insert("Bern")
    site.follower.follow()
    site.cached(atom)
    fence.raise_epoch(site.store, "acme")
    mark = site.rename(atom, "Berne")
    follower = site.follower
    follower.projection.apply(follower.whose, follower.standing, [], follower.end())
    assert site.cached(atom, after=mark) == "Berne"


def test_one_loads_and_the_others_wait(site: Site) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    begun = threading.Event()
    if isinstance(site, AsyncSite):

        async def all_at_once() -> list[Any]:
            return list(await asyncio.gather(*(site.cached_there(atom) for _ in range(50))))

        found = site.runner.run(all_at_once())
    else:
        found = []

        def one() -> None:
            found.append(site.cached(atom, before=lambda: begun.wait(20)))

        threads = [threading.Thread(target=one) for _ in range(50)]
        for each in threads:
            each.start()
        while site.reader.counters.waits < 49:
            assert site.loads <= 1
        begun.set()
        for each in threads:
            each.join()
    assert found == ["Bern"] * 50
    assert site.loads == 1


def test_a_hit_is_one_round_trip_and_asks_nothing_of_postgresql(site: Site, plain_client: redis.Redis) -> None:
    atom = site.insert("Bern")
    site.follower.follow()
    mark = site.rename(atom, "Berne")
    site.follower.follow()
    site.cached(atom, after=mark)
    with plain_client.monitor() as monitor:
        plain_client.echo("begin")  # on a connection of its own, which is there now
        assert site.cached(atom, after=mark) == "Berne"
        plain_client.echo("end")
        seen: list[str] = []
        while seen[-1:] != ["ECHO end"]:
            told = monitor.next_command()
            if told["client_type"] != "lua":
                seen.append(" ".join(told["command"].split()[:2]))
    during = seen[seen.index("ECHO begin") + 1 : -1]
    assert [each.split()[0] for each in during] == ["EVALSHA"]
    assert site.loads == 1


def test_what_is_kept_is_what_the_log_has(site: Site) -> None:
    follower = site.follower
    atoms = [site.insert(name) for name in ("Bern", "Thun", "Biel")]
    follower.follow()
    for atom in atoms:
        site.cached(atom)
    assert list(check_entries(follower.projection, follower.operator, follower.whose, follower.standing)) == []
    site.rename(atoms[0], "Berne")
    follower.standing = follower.projection.apply(follower.whose, follower.standing, [], follower.end())
    (found,) = check_entries(follower.projection, follower.operator, follower.whose, follower.standing)
    assert (found.fault, found.key) == ("different", f"atom:36:{atoms[0]}")


@pytest.mark.parametrize("value", [None, b"", b"\0n\xff\r\n", "", "\0\r\n🙂", 0, [], {"a": [1, None, "x"]}, False, 1.5])
def test_a_hit_is_what_a_miss_was(site: Site, value: Any) -> None:
    if isinstance(site, AsyncSite):
        pytest.skip("the same decisions")
    key = uuid4()
    with site.store.tenant("acme") as acme:
        seen = [acme.cached("atom", key, lambda: value) for _ in range(2)]
    assert seen == [value, value]
    assert [type(each) for each in seen] == [type(value)] * 2
    assert site.reader.counters.hits == 1


def test_what_can_not_be_kept_is_an_error_at_once(site_of: Any, module_cache: Any, plain_client: redis.Redis) -> None:
    site = site_of(module_cache.store)
    key = uuid4()
    with site.store.tenant("acme") as acme:
        with pytest.raises(errors.CacheValueRefused):
            acme.cached("atom", key, lambda: {"id": UUID(int=1)})
        with pytest.raises(errors.UnknownCacheKind):
            acme.cached("city", key, lambda: 1)
        for bad in ("Bern", 1, (key, key), (), None):
            with pytest.raises(errors.CacheKeyRefused):
                acme.cached("atom", bad, lambda: 1)
        with pytest.raises(ValueError, match="ttl"):
            acme.cached("atom", key, lambda: 1, ttl=0)
    with pytest.raises(errors.SessionClosed):
        acme.cached("atom", key, lambda: 1)
