"""What the sweep needs to know of an operation: how to set the stage, what to plan, and what there is to be seen.

Every operation of the registry has a scenario here; `test_sweep.py` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sweep_product as product
import sweep_toy as toy
from psycopg.sql import SQL, Identifier
from sweep_changes import CHANGES

import projecting
from kos.adoption import adopt, release
from kos.errors import UnknownTenant
from kos.journal import Operation, Runner
from kos.knowledge import TENANT_TABLES
from kos.knowledge.bucket import bucket_of
from kos.knowledge.exchange import import_, plan_import
from kos.knowledge.objects import list_holds
from kos.knowledge.removal import remove
from kos.knowledge.samples import load, load_sample, plan_load
from kos.knowledge.samples.plan import stored
from kos.projections.rebuilding import REBUILD, plan_rebuild
from kos.tenancy import Store, create_tenant, find_tenant, list_tenants


@dataclass(frozen=True)
class Scenario:
    """One operation on a stage.

    `set_up` makes a clean slate of whatever a finished run has left. `plan` plans. `facts` is all that the operation
    could change, each row and object counted, and nothing that differs from run to run. `folder` has the files that
    `set_up` and `plan` need. `runner` is another one only where the harness itself is on trial.
    Of its points one in `every` has its kill, from the `first` on.
    """

    operation: Operation
    set_up: Callable[[Store, Path], None]
    plan: Callable[[Store, Path], Any]
    facts: Callable[[Store, Any], Any]
    kept: dict[str, Any] = field(default_factory=dict)
    runner: type[Runner] = Runner
    every: int = 1
    first: int = 1


# samples


def _fresh_tenant(store: Store, folder: Path) -> None:
    with suppress(UnknownTenant):
        remove(store, "acme")
    create_tenant(store, "acme")
    with store.tenant("acme") as acme:
        acme.execute("insert into atoms (atom_type, name, created_at, updated_at) values ('own', 'own', 'now', 'now')")


def _half_loaded(store: Store, folder: Path) -> None:
    _fresh_tenant(store, folder)
    load_sample(store, "cities", "acme", site=folder / "site")
    with store.tenant("acme") as acme:
        acme.execute("delete from relations where relation_type in ('in_time_zone', 'describes')")
        acme.execute("delete from molecule_atoms where role = 'area'")
        acme.execute(
            "delete from atoms where name in ('area', 'population') and created_at < now() - interval '1 day'"
            " and not exists (select from molecule_atoms m where m.atom_id = atoms.id)"
        )


def _plan_load(dataset: str) -> Callable[[Store, Path], Any]:
    return lambda store, folder: stored(store, plan_load(store, dataset, "acme", site=folder / "site"))


def _tenant_facts(store: Store, name: str) -> Any:
    tenant = find_tenant(store, name)
    rows = {}
    with store.session(tenant) as session:
        for table in TENANT_TABLES:
            own = "case when t.name = 'own' then array['id', 'created_at', 'updated_at'] else array[]::text[] end"
            columns = "(to_jsonb(t) - 'tenant_id'" + (f" - {own})" if table == "atoms" else ")")
            query = SQL("select " + columns + "::text as line from {} t order by line")
            rows[table] = session.execute(query.format(Identifier(table))).fetchall()
    return rows


def _objects(store: Store, tenant: Any) -> list[str] | None:
    if store.topology.objects is None:
        return None
    return sorted(each.sha256 for page in bucket_of(store, "a test").pages(tenant) for each in page)


def _load_facts(store: Store, plan: Any) -> Any:
    holds = [(each.tenant, each.reason) for each in list_holds(store)]
    return _tenant_facts(store, "acme"), _objects(store, plan.tenant_id), holds


# imports


def _no_copy(store: Store, folder: Path) -> None:
    with suppress(UnknownTenant):
        remove(store, "copy")


def _plan_import(tier: str) -> Callable[[Store, Path], Any]:
    return lambda store, folder: import_.stored(store, plan_import(store, folder / "export", "copy", tier))


def _import_facts(store: Store, plan: Any) -> Any:
    tenants = [(each.name, each.tier, each.service_plan, each.state, each.epoch) for each in list_tenants(store)]
    there = any(each.name == "copy" for each in list_tenants(store))
    with store.operator() as operator:
        name = store.topology.control.primary.database
        query = "select datname from pg_database where starts_with(datname, %s) order by 1"
        databases = operator.execute(query, (name,)).fetchall()
        schemas = operator.execute("select nspname from pg_namespace where nspname !~ '^pg_' order by 1").fetchall()
        fences = operator.execute("select name from kos.fence order by 1").fetchall()
    rows = _tenant_facts(store, "copy") if there else None
    holds = [(each.tenant, each.reason) for each in list_holds(store)]
    return tenants, rows, databases, schemas, fences, _objects(store, plan.tenant_id), holds


# projections


def _projected(store: Store, folder: Path) -> None:
    with suppress(UnknownTenant), closing(projecting.graph_of(store)) as graph:
        graph.forget(find_tenant(store, "acme").id)
    _fresh_tenant(store, folder)
    with store.tenant("acme") as acme:
        acme.execute("insert into atoms (atom_type, name) select 'T', 'n' || n from generate_series(1, 20) n")
    with closing(projecting.graph_of(store)) as graph:
        following = projecting.Following(store, "acme", graph)
        following.follow()
        wrong = "MATCH (n:Atom {kos_scope: $scope, name: 'n1'}) SET n.name = 'wrong'"
        projecting.ask(store, wrong, scope=projecting.scope(following))


def _plan_rebuild(store: Store, folder: Path) -> Any:
    return plan_rebuild(store, "graph", ["acme"])


def _graph_facts(store: Store, plan: Any) -> Any:
    with closing(projecting.graph_of(store)) as graph:
        found = projecting.Following(store, "acme", graph).verify()
    query = "MATCH (g:KosGeneration {kos_tenant: $tenant}) WHERE g.kos_superseded = 0 RETURN count(g)"
    unfinished = projecting.ask(store, query, tenant=str(find_tenant(store, "acme").id))
    return found.rows, found.differing, found.parked, unfinished


_TOY = Scenario(toy.TOY, toy.set_up, toy.plan, toy.facts)

SCENARIOS = {
    "toy": _TOY,
    "sample-fresh": Scenario(load.LOAD_SAMPLE, _fresh_tenant, _plan_load("packages"), _load_facts, kept={"batch": 30}),
    "sample-half": Scenario(load.LOAD_SAMPLE, _half_loaded, _plan_load("cities"), _load_facts, kept={"batch": 150}),
    "adopt-log": Scenario(
        adopt.ADOPT, product.set_up, product.plan_taking("log", "full"), product.facts, kept={"batch": 3}
    ),
    "adopt-enforce": Scenario(
        adopt.ADOPT, product.set_up, product.plan_taking("enforce", "full"), product.facts, kept={"batch": 3}
    ),
    "release": Scenario(release.RELEASE, product.set_up_logged, product.plan_leaving, product.facts),
    "projection-rebuild": Scenario(REBUILD, _projected, _plan_rebuild, _graph_facts),
    "import-row": Scenario(import_.IMPORT_TENANT, _no_copy, _plan_import("row"), _import_facts),
    "import-schema": Scenario(import_.IMPORT_TENANT, _no_copy, _plan_import("schema"), _import_facts),
    "import-database": Scenario(import_.IMPORT_TENANT, _no_copy, _plan_import("database"), _import_facts),
} | {
    name: Scenario(each.operation, each.set_up, each.plan, each.facts, every=each.every, first=each.first)
    for name, each in CHANGES.items()
}

# Wrong on purpose: the harness must find each of them.
MISTAKES = {
    "undoes-only-what-finished": Scenario(toy.TOY, toy.set_up, toy.plan, toy.facts, runner=toy.UndoesOnlyWhatFinished),
    "checkpoint-outside-of-the-batch": Scenario(toy.CARELESS_TOY, toy.set_up, toy.plan, toy.facts),
    "done-before-doing": Scenario(toy.TOY, toy.set_up, toy.plan, toy.facts, runner=toy.SaysDoneBeforeDoing),
}

ALL = SCENARIOS | MISTAKES
