"""Level log: the tables of a product are logged, with their owner's rights and no more, while it works on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from adopted import adopt, events, here, release, wrong_in_log
from fix_database import as_superuser
from fix_exports import until
from fix_product import OWNER, as_owner, catalog
from kos import errors, journal
from kos.adoption import ADOPT, Wanted, baseline, plan, planned_adoption, status, tables
from kos.journal import Runner
from kos.tenancy import Store
from kos.topology.embedded import Stack
from kos.topology.model import Login, Topology, fixed
from waiting import ROW, waiters

# One of each: bigint and uuid tenants, a trigger of its own, row security, partitions, a name that needs quotes, a key
# that is no primary key, a tenant's own row, and of no tenant.
KINDS = ("shop_order", "billing.invoice", "crm_contact", "events_event", "events_metric", "CRM Lead", "access_key",
         "accounts_account", "countries")  # fmt: skip
NAMES = (
    "public.shop_order", "billing.invoice", "public.crm_contact", "public.events_event", "public.events_metric",
    'public."CRM Lead"', "public.access_key", "public.accounts_account", "public.countries",
)  # fmt: skip


@pytest.fixture
def shop(product: Topology) -> Iterator[Store]:
    with Store(product) as store:
        yield store


@pytest.fixture(scope="module")
def shared(module_product: Topology) -> Iterator[Store]:
    """For tests that leave nothing behind, or tables of their own."""
    with Store(module_product) as store:
        yield store


@pytest.fixture
def superuser(product_template: Stack, product: Topology) -> Iterator[psycopg.Connection[Any]]:
    with as_superuser(product_template, product.control.primary.database) as connection:
        yield connection


@pytest.fixture
def tell(product_template: Stack, product: Topology) -> Callable[[], str]:
    return teller(product_template, product)


def teller(stack: Stack, topology: Topology) -> Callable[[], str]:
    """Tells the whole catalog, as a superuser sees it."""
    with as_superuser(stack, topology.control.primary.database) as connection:
        login = Login("postgres", fixed(connection.info.password))
    return lambda: catalog(topology.control.primary, login)


def test_what_a_full_baseline_has_logged_is_what_the_tables_have(shop: Store) -> None:
    with as_owner(shop.topology) as owner:  # by the product's own policy
        owner.execute("update public.crm_contact set name = 'hidden' where id = 1")
    done = adopt(shop, *KINDS, baseline="full")
    assert len(done.adopted) == len(KINDS)
    with as_owner(shop.topology) as owner:
        owner.execute("update public.shop_order set name = name || '!' where id %% 2 = 0".replace("%%", "%"))
        owner.execute("update billing.invoice set account_id = account_id")
        owner.execute("delete from public.access_key where account_id < 3")
        owner.execute("insert into public.countries (id, code) values (900, 'XX')")
    assert wrong_in_log(shop, *NAMES) == []
    found = status(shop, here(shop))
    assert {(each.level, each.baseline, each.complete, each.capture) for each in found} == {("log", "full", True, "ok")}
    assert Counter(operation for operation, *_ in events(shop, "access_key")) == {"B": 40, "D": 4}
    assert Counter(operation for operation, *_ in events(shop, "crm_contact")) == {"B": 40}


def test_who_owns_a_table_keeps_no_right_of_kos_and_gives_only_what_is_needed(shop: Store) -> None:
    adopt(shop, "shop_order", "billing.invoice")
    with shop.operator() as operator:
        rights = operator.execute(
            "select has_schema_privilege(%s, 'kos', 'USAGE'), count(*) from pg_proc p cross join aclexplode(p.proacl) a"
            " where p.pronamespace = 'kos'::regnamespace and a.grantee = %s::regrole",
            (OWNER, OWNER),
        ).fetchone()
        lent = operator.execute(
            "select c.relname, a.privilege_type from pg_class c cross join aclexplode(c.relacl) a"
            " where a.grantee = 'kos_owner'::regrole and c.relname in ('shop_order', 'invoice') order by 1"
        ).fetchall()
    assert rights == (False, 0)
    assert lent == [("invoice", "SELECT"), ("shop_order", "SELECT")]


@pytest.mark.long
def test_out_again_the_catalog_is_as_it_was(shop: Store, tell: Callable[[], str]) -> None:
    before = tell()
    adopt(shop, *KINDS, baseline="full")
    assert tell() != before
    assert len(release(shop, "*")) == len(KINDS)
    assert tell() == before
    assert status(shop, here(shop)) == ()
    assert len(events(shop, "shop_order")) == 40  # what was logged stays


@pytest.mark.long
def test_a_rollback_takes_out_what_it_has_taken_in_and_nothing_else(
    shop: Store, tell: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt(shop, "shop_order")
    before = tell()
    with monkeypatch.context() as patch:
        patch.setattr(baseline.Room, "make", lambda room, asked: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            adopt(shop, *KINDS, baseline="full")
    (left,) = journal.list_operations(shop, unfinished=True)
    assert len(status(shop, here(shop))) == len(KINDS)
    journal.roll_back(shop, str(left.id))
    assert [(each.name, each.baseline) for each in status(shop, here(shop))] == [("public.shop_order", "lazy")]
    assert tell() == before


@pytest.mark.long
def test_what_is_logged_already_is_left_alone(shop: Store, tell: Callable[[], str]) -> None:
    adopt(shop, "shop_order", "countries")
    before = tell()
    done = adopt(shop, "shop_order", "countries")
    assert (done.operation, done.adopted) == (None, ())
    assert done.already == ("public.countries", "public.shop_order")
    assert adopt(shop, "shop_ord?r", baseline="lazy").already == ("public.shop_order",)
    assert tell() == before
    with pytest.raises(errors.AdoptedOtherwise):
        adopt(shop, "shop_order", tenant_column="id")


def test_another_baseline_is_a_change(shop: Store) -> None:
    adopt(shop, "shop_item_group", baseline="none")
    with as_owner(shop.topology) as owner:
        owner.execute("update public.shop_item_group set name = 'once' where id = 3")
    done = adopt(shop, "shop_item_group", baseline="full")
    assert done.adopted == ("public.shop_item_group",)
    assert wrong_in_log(shop, "public.shop_item_group") == []
    (found,) = status(shop, here(shop))
    assert (found.baseline, found.complete) == ("full", True)


def test_partitions_that_were_attached_later_are_told_and_taken_in(shop: Store) -> None:
    adopt(shop, "events_event", baseline="full")
    with as_owner(shop.topology) as owner:
        owner.execute("create table public.events_late (like public.events_event including indexes)")
        owner.execute("insert into public.events_late (id, account_id, at) values (900, 1, '2031-01-05')")
        owner.execute(
            "alter table public.events_event attach partition public.events_late"
            " for values from ('2031-01-01') to ('2032-01-01')"
        )
    (found,) = status(shop, here(shop))
    assert (found.capture, found.loses) == ("broken", True)
    assert "public.events_late: trigger kos_capture_insert is missing" in found.faults
    assert adopt(shop, "events_event", baseline="full").adopted == ("public.events_event",)
    with as_owner(shop.topology) as owner:
        owner.execute("update public.events_late set body = '[]'")
    assert wrong_in_log(shop, "public.events_event") == []
    (found,) = status(shop, here(shop))
    assert (found.capture, found.complete) == ("ok", True)


def test_a_partition_that_was_detached_is_released_with_its_table(
    shop: Store, superuser: psycopg.Connection[Any]
) -> None:
    adopt(shop, "events_event")
    with as_owner(shop.topology) as owner:
        owner.execute("alter table public.events_event detach partition public.events_event_2026_01")
    release(shop, "events_event")
    left = superuser.execute(
        "select tgname from pg_trigger where tgname ~ '^kos_' and tgrelid = 'public.events_event_2026_01'::regclass"
        " union all select privilege_type from pg_class c cross join aclexplode(c.relacl) a"
        " where a.grantee = 'kos_owner'::regrole and c.relnamespace = 'public'::regnamespace"
        " union all select proname from pg_proc p where p.proname ~ '^capture_[0-9a-f]{32}'"
        "   and not exists (select from pg_trigger t where t.tgfoid = p.oid)"
    ).fetchall()
    assert left == []


def test_lazy_logs_both_images_at_a_change(shop: Store) -> None:
    adopt(shop, "crm_log", baseline="lazy")
    adopt(shop, "hr_log", baseline="none")
    with as_owner(shop.topology) as owner:
        for table in ("crm_log", "hr_log"):
            owner.execute(f"update public.{table} set name = 'new' where id = 3")
            owner.execute(f"delete from public.{table} where id = 4")
    for table, has_before in (("crm_log", True), ("hr_log", False)):
        found = {operation: before for operation, _, before in events(shop, table)}
        assert set(found) == {"U", "D"}
        assert all((before.get("id") is not None) == has_before for before in found.values()), (table, found)


# baselines


def test_a_late_baseline_does_not_put_an_old_value_back(shop: Store) -> None:
    """Somebody is changing a row while it is copied: the copy waits, and has the new value."""
    adopt(shop, "shop_item_group", baseline="none")
    with as_owner(shop.topology) as owner:
        owner.execute("begin")
        owner.execute("update public.shop_item_group set name = 'new', amount = 7 where id = 5")
        raised: list[BaseException] = []

        def take() -> None:
            try:
                adopt(shop, "shop_item_group", baseline="full")
            except BaseException as error:
                raised.append(error)

        taking = threading.Thread(target=take)
        taking.start()
        with as_owner(shop.topology) as watch:
            until(lambda: waiters(watch, ROW) > 0)
        owner.execute("commit")
        taking.join(60)
    assert raised == []
    assert wrong_in_log(shop, "public.shop_item_group") == []
    of_row = [(operation, data["name"]) for operation, data, _ in events(shop, "shop_item_group") if data["id"] == "5"]
    assert of_row == [("U", "new"), ("B", "new")]


def test_a_row_that_was_changed_before_its_copy_is_whole_in_the_log(shop: Store) -> None:
    """An update leaves out wide columns that it has not changed; only the copy has them."""
    with as_owner(shop.topology) as owner:
        owner.execute("create table public.wide (id bigint primary key, account_id bigint, body text, n integer)")
        owner.execute("insert into public.wide select g, 1, repeat('x', 5000), 0 from generate_series(1, 10) g")
    adopt(shop, "wide", baseline="none")
    with as_owner(shop.topology) as owner:
        owner.execute("update public.wide set n = 1 where id < 4")
    adopt(shop, "wide", baseline="full")
    with shop.operator() as operator:
        assert wrong_in_log(shop, "public.wide") == []
        rows = operator.execute(
            "select key, length(data ->> 'body'), data ->> 'n' from kos.log_state(kos.tenant_of('1'), 'public', 'wide',"
            " 1000000) order by key[1]::integer"
        ).fetchall()
    assert rows == [([str(n)], 5000, "1" if n < 4 else "0") for n in range(1, 11)]


def test_what_was_logged_whole_is_not_copied(shop: Store) -> None:
    adopt(shop, "support_note", baseline="none")
    with as_owner(shop.topology) as owner:
        owner.execute("insert into public.support_note (id, account_id) values (7000, 1)")
    events(shop, "support_note")
    adopt(shop, "support_note", baseline="full")
    assert [operation for operation, data, _ in events(shop, "support_note") if data["id"] == "7000"] == ["I"]
    assert wrong_in_log(shop, "public.support_note") == []


def test_a_table_that_comes_back_begins_anew(shop: Store) -> None:
    """What changed while it was out is in no log: the old log counts no more."""
    adopt(shop, "crm_log", baseline="full")
    release(shop, "crm_log")
    with as_owner(shop.topology) as owner:
        owner.execute("update public.crm_log set name = 'unseen' where id = 1; delete from public.crm_log where id = 2")
    adopt(shop, "crm_log", baseline="full")
    assert wrong_in_log(shop, "public.crm_log") == []
    assert "T" in {operation for operation, *_ in events(shop, "crm_log")}


KEYS = [
    "id text collate \"C\" primary key", "id text primary key", "id numeric primary key", "id timestamptz primary key",
    "id uuid primary key", "id integer, b text, primary key (id, b)",
    "id date, b bytea, c bigint, primary key (b, c, id)",
    "id public.status, b integer, primary key (id, b)", "id public.percentage primary key", "id char(8) primary key",
    "id double precision primary key", "id integer[] primary key", "id interval primary key",
]  # fmt: skip
EACH_KEY = [pytest.param(*each, marks=[] if each[0] % 3 == 0 else [pytest.mark.long]) for each in enumerate(KEYS)]
VALUES = {
    "text": "chr(65 + g % 26) || g", "numeric": "g / 3.0", "uuid": "gen_random_uuid()", "integer": "g % 3",
    "timestamptz": "'2026-01-01'::timestamptz + g * interval '7 h'", "date": "'2026-01-01'::date + g % 2",
    "bytea": "decode(md5(g::text), 'hex')", "bigint": "g",
    "public.status": "(array['new', 'active', 'gone']::public.status[])[1 + g % 3]",
    "public.percentage": "g / 10.0", "char(8)": "'a' || g", "double": "exp(g)", "integer[]": "array[g % 5, g]",
    "interval": "g * interval '25 h'",
}  # fmt: skip


@pytest.mark.parametrize(("number", "key"), EACH_KEY)
def test_every_key_leads_through_the_whole_table(
    shared: Store, number: int, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "BATCH", 3)
    declared = key.split(", primary key", maxsplit=1)[0].replace(" primary key", "")
    columns = [part.split()[:2] for part in declared.split(", ")]
    values = ", ".join(VALUES[kind] if name != "b" or kind != "integer" else "g" for name, kind in columns)
    with as_owner(shared.topology) as owner:
        owner.execute(f"create table public.keyed_{number} (account_id bigint default 1 not null, {key})")
        names = ", ".join(name for name, _ in columns)
        owner.execute(f"insert into public.keyed_{number} ({names}) select {values} from generate_series(1, 20) g")
    adopt(shared, f"keyed_{number}", baseline="full")
    assert wrong_in_log(shared, f"public.keyed_{number}") == []
    assert len(events(shared, f"keyed_{number}")) == 20


# what is in the way


def test_who_holds_a_table_is_named_and_resuming_goes_on(shop: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LOCK_ATTEMPTS", 3)
    with as_owner(shop.topology) as owner:
        with owner.transaction():
            owner.execute("update public.shop_rule set name = 'held' where id = 1")
            with pytest.raises(errors.TableBusy) as raised:
                adopt(shop, "shop_label", "shop_rule")
            assert f"pid {owner.info.backend_pid} ({OWNER}): update public.shop_rule" in raised.value.blockers
        assert [each.name for each in status(shop, here(shop))] == ["public.shop_label"]
        (left,) = journal.list_operations(shop, unfinished=True)
        assert raised.value.next_command.startswith("end or wait for those sessions; then: kos operation resume")
        journal.resume(shop, str(left.id))
    assert [each.name for each in status(shop, here(shop))] == ["public.shop_label", "public.shop_rule"]


def test_the_same_command_finishes_what_was_stopped(shop: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tables, "LOCK_ATTEMPTS", 2)
        with as_owner(shop.topology) as owner, owner.transaction():
            owner.execute("lock table public.shop_rule")
            with pytest.raises(errors.TableBusy):
                adopt(shop, "shop_label", "shop_rule")
    done = adopt(shop, "shop_label", "shop_rule")
    assert set(done.adopted) == {"public.shop_label", "public.shop_rule"}
    assert journal.list_operations(shop, unfinished=True) == []


REFUSED = [
    ("legacy_import_line", errors.TableWithoutKey),
    ("support_ticket", errors.TenantColumnHasNulls),
    ("meta_object", errors.TypeNotCarried),
    ("cache_entry", errors.TableUnsuitable),
    ("archive_base", errors.TableUnsuitable),
    ("events_event_2026_01", errors.TableUnsuitable),
    ("shop_order_line", errors.ChildWithoutColumn),
    ("legacy_balance", errors.GrantMissing),
    ("nothing_such", errors.NothingMatches),
]


@pytest.mark.parametrize(("table", "error"), REFUSED)
def test_bad_input_is_one_error_and_nothing_half_done(
    product_template: Stack, shared: Store, table: str, error: type[errors.KosError]
) -> None:
    tell = teller(product_template, shared.topology)
    before, operations = tell(), journal.list_operations(shared)
    with pytest.raises(error):
        adopt(shared, "shop_rule", table, baseline="full")
    assert tell() == before
    assert journal.list_operations(shared) == operations


def test_nulls_that_came_after_the_plan_are_seen_before_anything_is_locked(shop: Store) -> None:
    asked = Wanted(("support_note",), level="log")
    with as_owner(shop.topology) as owner:
        with shop.operator() as operator, owner.transaction():
            owner.execute("lock table public.support_note")  # so that the plan can't tell
            found = plan(operator, asked, shard="main")
        made = planned_adoption(shop, found, asked).plan
        owner.execute("insert into public.support_note (note) values ('of nobody')")
    with pytest.raises(errors.TenantColumnHasNulls):
        Runner(shop, ADOPT).run(made)
    assert status(shop, here(shop)) == ()


def test_a_table_that_kos_may_not_change_any_more_says_which_grant_is_missing(
    shop: Store, superuser: psycopg.Connection[Any]
) -> None:
    adopt(shop, "crm_log")
    superuser.execute("alter table public.crm_log owner to product_legacy")
    with pytest.raises(errors.GrantMissing) as raised:
        release(shop, "crm_log")
    assert raised.value.grants == 'grant "product_legacy" to kos_adopter;'
    assert len(status(shop, here(shop))) == 1
    superuser.execute(f"alter table public.crm_log owner to {OWNER}")
    (left,) = journal.list_operations(shop, unfinished=True)
    journal.roll_back(shop, str(left.id))
    assert release(shop, "crm_log") == ("public.crm_log",)


def test_a_restrictive_policy_would_hide_rows_from_the_capture(shop: Store) -> None:
    with as_owner(shop.topology) as owner:
        owner.execute("create policy narrow on public.crm_contact as restrictive using (name <> 'hidden')")
    with pytest.raises(errors.TableUnsuitable, match="restrictive policy"):
        adopt(shop, "crm_contact")


def test_rows_that_their_owner_cant_see_are_not_left_out_silently(shop: Store) -> None:
    with as_owner(shop.topology) as owner:
        owner.execute("alter table public.crm_contact force row level security")
    with pytest.raises(errors.RowsHidden, match="crm_contact"):
        adopt(shop, "crm_contact", baseline="full")


@pytest.mark.long
def test_what_is_taken_from_kos_later_is_a_fault(shop: Store) -> None:
    adopt(shop, "crm_log", "hr_log")
    with as_owner(shop.topology) as owner:
        owner.execute("revoke select on public.crm_log from kos_owner")
        owner.execute("alter table public.hr_log enable row level security")
    faults = {each.name: (each.faults, each.loses) for each in status(shop, here(shop))}
    assert faults == {
        "public.crm_log": (("public.crm_log: kos_owner may not read public.crm_log any more",), True),
        "public.hr_log": (("public.hr_log: its rows are hidden from kos_owner",), True),
    }
