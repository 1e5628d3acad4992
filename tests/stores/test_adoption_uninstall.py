"""Out of a database again, wholly: afterwards it is as if kos had never been there."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from adopted import adopt, here
from fix_database import as_installer, as_superuser, drop, on_database
from fix_product import as_owner, catalog, make_product
from fix_samples import child_environment
from kos import errors
from kos.adoption import (
    Wanted,
    adopt_tables,
    plan,
    plan_release,
    plan_uninstall,
    planned_adoption,
    release_tables,
    status,
    uninstall,
)
from kos.cli import run
from kos.journal import list_operations
from kos.log import seal_all
from kos.tenancy import Store, create_tenant, install
from kos.topology.embedded import Stack
from kos.topology.model import Login, Topology, fixed

pytestmark = pytest.mark.long

DATABASE = "test_before_kos"


@dataclass
class Product:
    """A product that kos came to later. `before` is its catalog from then."""

    topology: Topology
    tell: Callable[[], str]
    before: str
    connect: Callable[[], psycopg.Connection[Any]]


@pytest.fixture
def later(product_template: Stack, tmp_path: Path) -> Iterator[Product]:
    stack = product_template
    topology = on_database(stack.topology(), f"{DATABASE}_{os.getpid()}")
    name = topology.control.primary.database
    with as_installer(topology, "knowledge_os") as connection:
        connection.execute(SQL("create database {}").format(Identifier(name)))
    with as_superuser(stack, name) as superuser:
        login = Login("postgres", fixed(superuser.info.password))
        superuser.execute(SQL("alter database {} set kos.stack = {}").format(Identifier(name), topology.stack))
    assert topology.control.installer
    make_product(replace(topology.control.primary, database=name), topology.control.installer)
    before = catalog(topology.control.primary, login)
    install(topology)
    yield Product(topology, lambda: catalog(topology.control.primary, login), before, lambda: as_superuser(stack, name))
    drop(stack, topology)


def test_the_catalog_is_as_it_was_before_kos(later: Product) -> None:
    with Store(later.topology) as store:
        adopt(
            store,
            "*_log",
            "events_event",
            "crm_contact",
            "CRM Lead",
            "billing.invoice",
            "billing.payment",
            "countries",
            baseline="full",
        )
        assert len(status(store, here(store))) == 18
        place = here(store)
    planned = plan_uninstall(later.topology, place)
    assert later.tell() != later.before
    done = uninstall(later.topology, place)
    assert done == planned
    assert done.dropped == ("knowledge", "kos")
    assert later.tell() == later.before
    with later.connect() as superuser:
        assert superuser.execute(RIGHTS).fetchall() == []
    assert "kos_adopter" in done.roles
    assert done.sql[:2] == ("revoke all on parameter deadlock_timeout from kos_operator;", 'drop role "kos_adopter";')
    assert uninstall(later.topology, place).dropped == ()  # once more is nothing


def test_all_tables_with_row_security_go_in_and_out(later: Product) -> None:
    wanted = Wanted(level="enforce", tenant_column="account_id")
    with Store(later.topology) as store:
        place = here(store)
        with store.operator() as operator:
            found = plan(operator, wanted, shard=place.shard)
        done = adopt_tables(store, planned_adoption(store, found, wanted))
        assert set(done.enforced) - set(done.adopted) == {"public.legacy_import_line", "public.meta_object"}
        assert {each.name for each in status(store, place)} == {*done.adopted, *done.enforced}
        released = release_tables(store, plan_release(store, place, ["meta_*", "shop_*"])).released
        assert {each.name for each in status(store, place)} == {*done.adopted, *done.enforced} - {*released}
    assert "public.legacy_import_line" in uninstall(later.topology, place).released
    assert later.tell() == later.before


RIGHTS = """
select a.grantee::regrole, a.privilege_type from pg_database d cross join aclexplode(d.datacl) a
 where d.datname = current_database() and a.grantee::regrole::text ~ '^kos_' and a.grantee <> d.datdba
union all
select defaclrole::regrole, 'default' from pg_default_acl
"""


@pytest.mark.parametrize("tables", [(), ("shop_log", "events_event", "crm_contact")], ids=["no tables", "some"])
def test_killed_at_any_point_it_is_finished_by_running_it_again(later: Product, tables: tuple[str, ...]) -> None:
    with Store(later.topology) as store:
        if tables:
            adopt(store, *tables, baseline="none")
        place = here(store)
    point, killed = 0, True
    while killed:
        point += 1
        killed = _killed_at(point, later.topology, place)
    assert point > 12
    assert later.tell() == later.before


def _killed_at(point: int, topology: Topology, place: Any) -> bool:
    """In a process of its own, which is killed before its statement of that number."""
    pid = os.fork()
    if pid == 0:
        try:
            count = 0
            execute = psycopg.Connection.execute

            def counted(self: Any, *given: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == point:
                    os.kill(os.getpid(), signal.SIGKILL)
                return execute(self, *given, **options)

            psycopg.Connection.execute = counted  # type: ignore[method-assign]
            uninstall(topology, place)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_tenants_are_in_the_way_and_are_named(later: Product) -> None:
    with Store(later.topology) as store:
        create_tenant(store, "acme")
        create_tenant(store, "zeta")
        adopt(store, "shop_log")
        before = later.tell()
        with pytest.raises(errors.TenantsRemain, match="acme, zeta"):
            uninstall(later.topology, here(store))
        assert later.tell() == before
        assert len(status(store, here(store))) == 1


def test_what_others_have_built_on_kos_is_not_dropped(later: Product) -> None:
    with later.connect() as superuser:
        superuser.execute("create view public.ours as select kos.no_tenants_log() as nobody")
        superuser.execute("create table public.touched (id integer)")
        superuser.execute(
            "create trigger guarded before insert on public.touched for each row execute function kos.guard()"
        )
        superuser.execute(
            "create function public.our_tenant() returns uuid language sql"
            " begin atomic; select kos.current_tenant_id(); end"
        )
        superuser.execute("create domain public.numbered as text check (kos.as_number(value) is not null)")
        superuser.execute("create publication of_events for table kos.knowledge_events")
    with Store(later.topology) as store:
        place = here(store)
    before = later.tell()
    with pytest.raises(errors.TriggersRemain) as refused:
        uninstall(later.topology, place)
    assert later.tell() == before
    for named in ("public.ours", "public.touched", "function public.our_tenant()", "public.numbered", "of_events"):
        assert named in refused.value.tables


# the commands


@pytest.fixture
def configured(product: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Topology:
    for name, value in child_environment(product, tmp_path).items():
        monkeypatch.setenv(name, value)
    return product


def test_in_status_out_and_uninstalled_by_commands(configured: Topology, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> str:
        assert run(list(words)) == errors.DONE, capsys.readouterr().err
        return capsys.readouterr().out

    assert told("adopt", "status") == "no table was taken in\n"
    assert told("adopt", "*_log", "--level", "log", "--yes").startswith("public.asset_log is logged, baseline lazy\n")
    assert told("adopt", "*_log", "--level", "log", "--yes").startswith("nothing to do for 12 that are logged already")
    assert len(told("adopt", "status").splitlines()) == 13
    assert [each["capture"] for each in json.loads(told("adopt", "status", "--json"))["tables"]] == ["ok"] * 12
    assert told("release", "shop_*", "--dry-run").startswith("would be taken out: public.shop_log;")
    assert told("release", "shop_*", "--yes").startswith("taken out: public.shop_log;")
    assert len(json.loads(told("adopt", "status", "--json"))["tables"]) == 11
    assert "schema kos would be dropped" in told("uninstall", "--dry-run")
    assert "11 adopted tables released" in told("uninstall", "--yes")
    assert "has nothing of kos" in told("uninstall", "--yes")


def test_nothing_is_done_before_somebody_says_yes(
    configured: Topology, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(["adopt", "shop_log", "--level", "log"]) == errors.FAILED
    assert "nobody said yes" in capsys.readouterr().err
    with Store(configured) as store:
        assert status(store, here(store)) == ()
        adopt(store, "shop_log")
        for words in (["release", "shop_log"], ["uninstall"]):
            assert run(words) == errors.FAILED
        assert run(["release", "crm_log", "--yes"]) == errors.WRONG_USE
        assert len(status(store, here(store))) == 1
        assert len(list_operations(store)) == 1


def test_the_help_names_the_command_under_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == errors.DONE
    assert "adopt status" in capsys.readouterr().out
    assert run(["adopt", "status", "--help"]) == errors.DONE
    assert "Usage: kos adopt status [OPTIONS]" in capsys.readouterr().out


def test_the_feed_takes_a_products_own_names_of_tenants(
    configured: Topology, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(configured) as store:
        adopt(store, "shop_log", "billing.invoice", baseline="none")
        with as_owner(configured) as owner:
            row = owner.execute("update billing.invoice set account_id = account_id returning account_id").fetchone()
            owner.execute("update public.shop_log set account_id = 7 where id = 1")
            assert row is not None
        assert run(["feed", "tail", "--tenant", "7"]) == errors.DONE  # known by what waits
        with store.operator() as operator:
            seal_all(operator)
    for name in ("7", str(row[0]), str(row[0]).upper()):
        capsys.readouterr()
        assert run(["feed", "tail", "--tenant", name]) == errors.DONE
        assert capsys.readouterr().out.strip()
    assert run(["feed", "tail", "--tenant", "4711"]) != errors.DONE
    assert "4711" in capsys.readouterr().err
