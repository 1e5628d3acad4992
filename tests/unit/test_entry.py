"""The pure decisions of an entry."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kos import errors
from kos.tenancy.entry import ATTEMPTS, After, Entering, Entry, translate
from kos.tenancy.tenant import TIERS, Tenant, check_name, check_tier, place

TENANT = Tenant(
    UUID("01900000-0000-7000-8000-000000000001"),
    "acme",
    "row",
    "standard",
    "active",
    "main",
    None,
    "kos",
    "knowledge",
    3,
    datetime(2026, 1, 1, tzinfo=UTC),
)


class Refusal(psycopg.DatabaseError):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("refused")
        self.sqlstate = sqlstate


def test_values_are_in_the_order_of_the_function() -> None:
    entry = Entry(persona="developer", user=5, request="r", address="10.0.0.1", agent="curl", timeout=1.5)
    assert entry.values(TENANT) == (str(TENANT.id), "3", "developer", "5", "r", "10.0.0.1", "curl", "1500")


@pytest.mark.parametrize("wrong", [{"address": "nowhere"}, {"isolation": "chaos"}, {"timeout": 0}])
def test_a_wrong_entry_is_refused_before_anything_is_sent(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Entry(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("sqlstate", ["KS002", "KS003"])
def test_a_stale_placement_is_looked_up_a_few_times_and_no_more(sqlstate: str) -> None:
    entering = Entering(TENANT, jitter=lambda: 1.0)
    outcomes = [entering.failed(Refusal(sqlstate), broken=False) for _ in range(ATTEMPTS - 1)]
    assert [after for after, _ in outcomes] == [After.LOOK_UP_AGAIN] * (ATTEMPTS - 1)
    assert [delay for _, delay in outcomes] == pytest.approx([0.0, 0.1, 0.2])
    with pytest.raises(errors.TenancyError):
        entering.failed(Refusal(sqlstate), broken=False)


def test_a_dead_connection_is_replaced() -> None:
    assert Entering(TENANT).failed(psycopg.OperationalError("gone"), broken=True) == (After.RECONNECT, 0.0)


def test_a_syntax_error_is_sent_apart_once() -> None:
    entering = Entering(TENANT)
    assert entering.failed(psycopg.errors.SyntaxError("x"), broken=False) == (After.SEND_APART, 0.0)
    with pytest.raises(psycopg.errors.SyntaxError):
        entering.failed(psycopg.errors.SyntaxError("x"), broken=False)


def test_any_other_error_is_the_callers() -> None:
    error = psycopg.errors.UniqueViolation("x")
    assert translate(error, TENANT) is error
    with pytest.raises(psycopg.errors.UniqueViolation):
        Entering(TENANT).failed(error, broken=False)


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("KS001", errors.NoTenantEntered),
        ("KS002", errors.UnknownTenant),
        ("KS003", errors.PlacementMoved),
        ("KS004", errors.AnotherTenantEntered),
        ("KS005", errors.TruncateRefused),
    ],
)
def test_sqlstates_become_types(sqlstate: str, kind: type[Exception]) -> None:
    assert type(translate(Refusal(sqlstate), TENANT)) is kind


@pytest.mark.parametrize("name", ["a", "acme", "a-b", "a1-2b", "a" * 40])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "1a",
        "a_b",
        "a--b",
        "-a",
        "a-",
        "a b",
        "a" * 41,
        "a;b",
        "abcdefab-0000-7000-8000-000000000001",
        "ä",
        "a\n",
    ],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(errors.InvalidTenantName):
        check_name(name)


def test_an_unknown_tier() -> None:
    with pytest.raises(errors.UnknownTier):
        check_tier("planet")


names = st.from_regex(r"[a-z][a-z0-9]{0,18}(-[a-z0-9]{1,9}){0,2}", fullmatch=True)


@given(names, names, st.sampled_from(TIERS), st.text("abcdefgh_", min_size=1, max_size=63))
def test_two_tenants_never_share_a_schema_or_database_of_their_own(
    one: str, other: str, tier: str, database: str
) -> None:
    first, second = place(one, check_tier(tier), database), place(other, check_tier(tier), database)
    assert all(len(name) <= 63 for name in first)
    assert (first == second) == (tier == "row" or one == other)
