"""Kinds of change on the other versions, as on ours: under load, started, taken back, started again and finished."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from change_kind import Kind
from change_kinds import KINDS
from test_change_kinds import SHORT, take_through

from fix_own_postgres import MakePostgres, install_on
from fix_product import OWNER, as_owner, make_roles
from fix_shop import SHOP, Shop
from kos.tenancy import Store
from kos.topology import postgres as opening

pytestmark = pytest.mark.long

# What goes its own way on some version, beside those that the short run has.
MORE = {
    "03 three columns",
    "06 column with a fill",
    "set not null",
    "serial column",
    "33 rename constraint",
    "renamed and retyped",
    "drop column that is not null",
    "partitioned: set not null",
    "partitioned: unique",
    "primary key",
    "view replaced",
}


@pytest.fixture(scope="module", params=["debian", "16", "17"])
def shop(request: pytest.FixtureRequest, own_postgres: MakePostgres) -> Iterator[Shop]:
    """A product's database on a server of that version."""
    server = own_postgres(request.param)
    server.start()
    topology = install_on(server)
    primary = topology.control.primary
    with opening.connect(primary, server.superuser) as superuser:
        make_roles(superuser)
        superuser.execute(f"grant create on database {primary.database} to {OWNER}".encode())
        with as_owner(topology) as owner, Store(topology) as store:
            yield Shop(topology, store, owner, superuser)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=kind.name.replace(" ", "-")) for kind in KINDS if kind.name in SHORT | MORE]
)
def test_on_each_version(kind: Kind, shop: Shop) -> None:
    assert shop.clean, "an earlier one has left its change open"
    shop.clean = False
    take_through(kind, shop)
    shop.drop(SHOP)
