"""What the mission names, by its sections, as far as it exists. Where a fragment of the mission is wrong as written,
the test shows what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from kos import errors
from kos.log import seal
from kos.projections.declared import make
from kos.tenancy import Session, Store, Tenant, create_tenant
from kos.tenancy.bookmark import Bookmark
from projecting import Following

USER = UUID("01900000-0000-7000-8000-00000000000a")
REQUEST = UUID("01900000-0000-7000-8000-00000000000b")


def columns(store: Store, table: str, schema: str = "knowledge") -> dict[str, str]:
    """A relation's columns with their types."""
    with store.operator() as operator:
        rows = operator.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
            (f"{schema}.{table}",),
        ).fetchall()
    return dict(rows)


def test_performance_4_tenant_shards_and_route_to_shard(store: Store) -> None:
    tenant = create_tenant(store, "acme", "database")
    named = {"tenant_id", "shard_id", "database_host", "database_name"}
    assert columns(store, "tenant_shards", "kos").keys() == named
    with store.control() as connection:
        row = connection.execute("select kos.route_to_shard(%s)", (tenant.id,)).fetchone()
    assert row is not None
    parts = psycopg.conninfo.conninfo_to_dict(row[0])
    assert (parts["host"], parts["dbname"]) == (store.topology.control.primary.host, tenant.database)


def test_performance_4_a_tenant_that_is_not_known_is_an_error_and_not_an_empty_connection_string(store: Store) -> None:
    with store.control() as connection, pytest.raises(psycopg.DatabaseError) as caught:
        connection.execute("select kos.route_to_shard(kos.uuid_v7())")
    assert caught.value.sqlstate == "KS002"


def test_security_1_sensitive_atoms_has_the_columns_of_the_mission(store: Store) -> None:
    found = columns(store, "sensitive_atoms")
    named = {
        "id": "uuid",
        "tenant_id": "uuid",
        "encrypted_value": "bytea",
        "encryption_key_id": "character varying(100)",
        "searchable_hash": "character(64)",
        "range_prefix": "character varying(10)",
    }
    assert {name: found[name] for name in named} == named


@pytest.fixture
def knowledge(store: Store, tenant: Tenant) -> dict[str, UUID]:
    """Three atoms of a tenant: one is implemented, one serves a capability, one is only known; and one of another."""
    create_tenant(store, "other")
    ids: dict[str, UUID] = {}
    for owner, names in (("acme", ("known", "implemented", "mapped")), ("other", ("elsewhere",))):
        with store.tenant(owner) as session:
            for name in names:
                row = session.execute(
                    "insert into atoms (atom_type, name) values ('T', %s) returning id", (name,)
                ).fetchone()
                assert row is not None
                ids[name] = row[0]
    with store.tenant("acme") as session:
        session.execute(
            "insert into implementations (atom_id, system, location) values (%s, 's', 'l')", (ids["implemented"],)
        )
        session.execute("insert into capability_mappings (atom_id, capability) values (%s, 'c')", (ids["mapped"],))
    return ids


def test_security_2_tenant_isolation(store: Store, knowledge: dict[str, UUID]) -> None:
    with store.tenant("acme") as session:
        found = session.execute("select id from atoms where tenant_id <> kos.current_tenant_id()").fetchall()
        assert found == []
        assert session.execute("select id from atoms where id = %s", (knowledge["elsewhere"],)).fetchall() == []


@pytest.mark.parametrize(
    ("persona", "seen"),
    [
        ("domain_expert", {"known", "implemented", "mapped"}),
        ("developer", {"implemented"}),
        ("product_owner", {"mapped"}),
    ],
)
def test_security_2_persona_access(store: Store, knowledge: dict[str, UUID], persona: str, seen: set[str]) -> None:
    """As written, the persona policy would widen the tenant policy (permissive policies are joined by OR): a domain
    expert would see every tenant. Here the tenant policy is restrictive, and personas narrow within it."""
    with store.tenant("acme", persona=persona) as session:
        assert session.execute("select kos.current_persona()").fetchone() == (persona,)
        assert {name for (name,) in session.execute("select name from atoms").fetchall()} == seen


def test_security_3_current_user_id(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme", user=USER) as session:
        assert session.execute("select kos.current_user_id()").fetchone() == (str(USER),)


def test_point_in_time_knowledge_events_has_the_columns_of_the_mission(store: Store) -> None:
    found = columns(store, "knowledge_events")
    assert {"event_type", "event_data", "aggregate_id", "occurred_at"} <= found.keys()
    assert "position" in found, "the mission orders by time, which loses late commits: positions order the log"


@pytest.fixture
def history(store: Store, tenant: Tenant) -> dict[str, UUID]:
    """An atom that was made, changed twice and deleted, and one that is left; all of it is sealed."""
    with store.tenant("acme", user=USER, request=REQUEST, address="192.0.2.7", agent="a browser") as session:
        ids = {name: new_atom(session, name) for name in ("gone", "left")}
        for value in (2, 3):
            session.execute("update atoms set number_value = %s where id = %s", (value, ids["gone"]))
    with store.tenant("acme") as session:
        session.execute("delete from atoms where id = %s", (ids["gone"],))
    with store.operator() as operator:
        seal(operator, tenant.id)
    return ids


def new_atom(session: Session, name: str) -> UUID:
    made = "insert into atoms (atom_type, name, number_value) values ('T', %s, 1) returning id"
    row = session.execute(made, (name,)).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def test_point_in_time_events_of_an_aggregate_until_a_moment(store: Store, history: dict[str, UUID]) -> None:
    create_tenant(store, "other")
    until = "select event_type from knowledge_events where aggregate_id = %s and occurred_at <= now() order by position"
    with store.tenant("acme") as session:
        found = [kind for (kind,) in session.execute(until, (history["gone"],)).fetchall()]
    assert found == ["atoms.created", "atoms.updated", "atoms.updated", "atoms.deleted"]
    with store.tenant("other") as session:
        assert session.execute("select * from knowledge_events").fetchall() == []


def test_point_in_time_the_state_of_an_atom_at_any_position(
    store: Store, tenant: Tenant, history: dict[str, UUID]
) -> None:
    """As written, reconstruct_atom_state joins all events in no order, and knows no deletion: here the last value by
    position counts, and a deleted atom has no state."""
    state = "select data from kos.log_state(%s, 'knowledge', 'atoms', %s) where %s = any (key)"
    moments = "select position from kos.knowledge_events where aggregate_id = %s order by position"
    with store.operator() as operator:
        positions = [position for (position,) in operator.execute(moments, (history["gone"],))]
        rows = [
            operator.execute(state, (tenant.id, position, str(history["gone"]))).fetchone() for position in positions
        ]
    assert [row and (row[0]["name"], row[0]["number_value"]) for row in rows] == [
        ("gone", "1"),
        ("gone", "2"),
        ("gone", "3"),
        None,
    ]


def test_security_3_who_changed_what_from_where(store: Store, tenant: Tenant, history: dict[str, UUID]) -> None:
    """The log is the trail: with every change its user, request, address and agent, of updates the values before and
    after. As written, the trigger sees updates only."""
    trail = "select operation::text, context[1], context[3:5] from kos.knowledge_events where aggregate_id = %s"
    with store.operator() as operator:
        found = operator.execute(trail + " order by position", (history["gone"],)).fetchall()
    known = (str(USER), [str(REQUEST), "192.0.2.7", "a browser"])
    assert [row[1:] for row in found[:3]] == [known] * 3
    assert [row[0] for row in found] == ["I", "U", "U", "D"]
    changes = """
        select lag(event_data) over (partition by aggregate_id order by position) ->> 'number_value',
               event_data ->> 'number_value'
          from knowledge_events where event_data ? 'number_value' order by position"""
    with store.tenant("acme") as session:
        rows = session.execute(changes).fetchall()
    assert ("1", "2") in rows
    assert ("2", "3") in rows


def test_security_3_nobody_changes_the_trail(store: Store, tenant: Tenant, history: dict[str, UUID]) -> None:
    for statement in ("update knowledge_events set event_type = 'x'", "delete from kos.knowledge_events"):
        with pytest.raises(psycopg.DatabaseError), store.tenant("acme") as session:
            session.execute(statement)


@pytest.fixture
def polyglot(full_store: Store) -> Iterator[list[Following]]:
    """A tenant with an atom, in the graph and in the cache."""
    create_tenant(full_store, "acme")
    with full_store.tenant("acme") as session:
        new_atom(session, "before")
    made = [Following(full_store, "acme", make(full_store.topology, name)) for name in ("graph", "cache")]
    for each in made:
        each.projection.prepare()
        each.follow()
    yield made
    for each in made:
        each.projection.forget(each.site.tenant)
        each.projection.close()


def test_polyglot_persistence_graph_and_cache_have_what_was_written(
    full_store: Store, polyglot: list[Following]
) -> None:
    """The mission runs a graph and a cache beside PostgreSQL, and does not say what keeps them equal to it: here both
    follow the log, and a reader says how far they have to be."""

    def seen(mark: Bookmark | None) -> tuple[Any, Any]:
        with full_store.tenant("acme", after=mark) as session:
            found = session.graph.run("MATCH (a:Atom {id: $id}) RETURN a.name AS name", {"id": str(atom)})
            return [each["name"] for each in found], session.cached("atom", atom, lambda: name_of(session, atom))

    def after(statement: str) -> tuple[Any, Any]:
        with full_store.tenant("acme") as session:
            session.execute(statement.encode(), (atom,))
        for each in polyglot:
            each.follow()
        return seen(session.bookmark)

    with full_store.tenant("acme") as session:
        atom = new_atom(session, "made")
    for each in polyglot:
        each.follow()
    assert [seen(session.bookmark) for _ in range(2)] == [(["made"], "made")] * 2
    assert full_store.cache.counters.hits == 1
    assert after("update atoms set name = 'changed' where id = %s") == (["changed"], "changed")
    assert after("delete from atoms where id = %s") == ([], None)
    assert [each.verify().differing for each in polyglot] == [0, 0]


def test_security_2_tenants_and_personas_in_the_graph(full_store: Store, polyglot: list[Following]) -> None:
    """A graph has no row security: another tenant finds nothing, and a persona, who may see a part, is refused."""
    create_tenant(full_store, "other")
    graph = Following(full_store, "other", polyglot[0].projection)
    with full_store.tenant("other") as session:
        new_atom(session, "elsewhere")
    graph.follow()
    names = "MATCH (a:Atom) RETURN a.name AS name"
    for tenant, seen in (("acme", "before"), ("other", "elsewhere")):
        with full_store.tenant(tenant) as session:
            assert [each["name"] for each in session.graph.run(names)] == [seen]
    with full_store.tenant("acme", persona="developer") as session, pytest.raises(errors.GraphWithoutPersonas):
        session.graph.run(names)
    graph.projection.forget(graph.site.tenant)


def name_of(session: Session, atom: UUID) -> str | None:
    row = session.execute("select name from atoms where id = %s", (atom,)).fetchone()
    return str(row[0]) if row else None
