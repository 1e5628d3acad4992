"""Columns that are asked to be hidden when their table is taken in: hidden from its first event on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adopted import adopt, events, here, wrong_in_log
from fix_product import as_owner
from fix_samples import child_environment
from kos import errors, journal
from kos.adoption import Wanted, adopt_tables, baseline, plan, planned_adoption, status
from kos.adoption.sensitive import hidden
from kos.cli import run
from kos.tenancy import Store
from kos.topology.model import Topology

TABLES = {("public", "people"): ["id", "iban", "note"], ("public", "firms"): ["id", "iban"], ("hr", "people"): ["note"]}


@pytest.fixture
def shop(product: Topology) -> Iterator[Store]:
    with as_owner(product) as owner:
        owner.execute("alter table public.shop_item_group add column iban text, add column note text")
        owner.execute("update public.shop_item_group set iban = 'IBAN of ' || id, note = 'note on ' || id")
    with Store(product) as store:
        yield store


def in_clear(shop: Store) -> set[str]:
    """Words of hidden values in any form in which the log stores or shows them, also before they are sealed."""
    with shop.operator() as operator:
        stored = "select (image::text || coalesce(before::text, '')) from kos."
        rows = operator.execute(f"{stored}pending union all {stored}knowledge_events").fetchall()
    told = " ".join([row[0] for row in rows if row[0]] + [str(each) for each in events(shop, "shop_item_group")])
    return {word for word in ("IBAN of", "note on") if word in told}


@pytest.mark.parametrize("kind", ["full", "lazy"])
def test_what_is_hidden_is_hidden_from_the_first_event_on(shop: Store, kind: str) -> None:
    adopt(
        shop,
        "shop_item_group",
        baseline=kind,
        sensitive=("shop_item_group.iban=encrypted", "public.*.note=absent"),
    )
    with as_owner(shop.topology) as owner:
        owner.execute("update public.shop_item_group set name = 'x', iban = iban || '!' where id = 3")
        made = (
            "insert into public.shop_item_group (account_id, parent_id, name, iban)"
            " select account_id, parent_id, 'new', 'IBAN of new' from public.shop_item_group where id = 3"
        )
        owner.execute(made)
        owner.execute("delete from public.shop_item_group where iban = 'IBAN of new'")
    assert in_clear(shop) == set()
    (found,) = status(shop, here(shop))
    assert found.sensitive == {"iban": "encrypted", "note": "absent"}
    shown: list[dict[str, Any]] = [data for _, data, _ in events(shop, "shop_item_group") if data]
    assert {each["iban"] for each in shown if "iban" in each} == {"[encrypted]"}
    if kind == "full":
        assert len(shown) >= 40
        assert wrong_in_log(shop, "public.shop_item_group") == []


@pytest.mark.long
def test_what_is_hidden_stays_so_and_more_can_be(shop: Store) -> None:
    adopt(shop, "shop_item_group", sensitive=("*.iban=digest",))
    assert adopt(shop, "shop_item_group").operation is None
    assert adopt(shop, "shop_item_group", sensitive=("*.iban=digest",)).operation is None
    assert adopt(shop, "shop_item_group", sensitive=("*.note=absent",)).adopted == ("public.shop_item_group",)
    (found,) = status(shop, here(shop))
    assert found.sensitive == {"iban": "digest", "note": "absent"}


def test_a_rollback_hides_what_was_hidden_before(shop: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(shop, "shop_item_group", sensitive=("*.iban=digest",))
    with monkeypatch.context() as patch:
        patch.setattr(baseline.Room, "make", lambda room, asked: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            adopt(shop, "shop_item_group", baseline="full", sensitive=("*.iban=absent",))
    (left,) = journal.list_operations(shop, unfinished=True)
    journal.roll_back(shop, str(left.id))
    (found,) = status(shop, here(shop))
    assert (found.baseline, found.sensitive) == ("lazy", {"iban": "digest"})


@pytest.mark.long
def test_what_another_has_hidden_meanwhile_stays_hidden(shop: Store) -> None:
    """Also under the column's new name. A plan that was made before both is refused."""
    asked = Wanted(("shop_item_group",), level="log", baseline="full", sensitive=("*.note=absent",))
    with shop.operator() as operator:
        found = plan(operator, asked, shard=here(shop).shard)
    planned = planned_adoption(shop, found, asked)
    adopt(shop, "shop_item_group", sensitive=("*.iban=encrypted",))
    with as_owner(shop.topology) as owner:
        owner.execute("alter table public.shop_item_group rename column iban to account_number")
    with pytest.raises(errors.PlanOutdated):
        adopt_tables(shop, planned)
    adopt(shop, "shop_item_group", sensitive=("*.note=absent",))
    (found_now,) = status(shop, here(shop))
    assert found_now.sensitive == {"account_number": "encrypted", "note": "absent"}
    assert in_clear(shop) == set()


def test_what_is_meant() -> None:
    say = ("*.iban=encrypted", "hr.people.note=digest")
    assert hidden(say, TABLES, {}) == {
        ("public", "people"): {"iban": "encrypted"},
        ("public", "firms"): {"iban": "encrypted"},
        ("hr", "people"): {"note": "digest"},
    }
    assert hidden(("*.iban=digest", "firms.iban=absent"), TABLES, {})["public", "firms"] == {"iban": "absent"}
    with pytest.raises(errors.SensitiveKey, match="firms"):
        hidden(say, TABLES, {("public", "firms"): ["iban"]})


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("people.iban", errors.SensitiveUnclear),
        ("people.iban=", errors.SensitiveUnclear),
        ("people.iban=hidden", errors.SensitiveUnclear),
        ("iban=encrypted", errors.SensitiveUnclear),
        ("=encrypted", errors.SensitiveUnclear),
        ("people.ibam=encrypted", errors.NoSensitiveColumn),
        ("sales.people.iban=encrypted", errors.NoSensitiveColumn),
    ],
)
def test_what_means_nothing_is_refused(said: str, error: type[errors.KosError]) -> None:
    with pytest.raises(error):
        hidden((said,), TABLES, {})


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        ("shop_item_group.iban=shown", errors.WRONG_USE, "does not say how"),
        ("shop_item_group.ibam=digest", errors.WRONG_USE, "no column of the tables that are meant"),
        ("shop_item_group.id=digest", errors.REFUSED, "id is of its key"),
    ],
)
def test_the_command_refuses_before_anything_is_done(
    shop: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str,
    code: int, told: str,
) -> None:  # fmt: skip
    for name, value in child_environment(shop.topology, tmp_path).items():
        monkeypatch.setenv(name, value)
    command = ["adopt", "shop_item_group", "--level", "log", "--yes", "--sensitive", said]
    assert run(command) == code
    assert told in capsys.readouterr().err
    assert status(shop, here(shop)) == ()
    assert run([*command[:-1], "shop_item_group.iban=encrypted", "--dry-run"]) == errors.DONE
    assert "hidden in the log: public.shop_item_group.iban encrypted" in capsys.readouterr().out
    assert run([*command[:-1], "shop_item_group.iban=encrypted", "--dry-run", "--json"]) == errors.DONE
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert table["sensitive"] == {"iban": "encrypted"}
