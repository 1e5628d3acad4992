"""Level log on every version, by an administrator with CREATEROLE and CREATEDB only: in, at work, out, uninstalled.

The server's own superuser only looks.
"""

from __future__ import annotations

import pytest

from adopted import adopt, here, release, wrong_in_log
from fix_own_postgres import MakePostgres, OwnPostgres
from fix_product import GRANTS, OWNER, PASSWORD, catalog, make_product, make_roles
from kos.adoption import status, uninstall
from kos.tenancy import Store, install
from kos.topology import postgres as opening
from kos.topology.model import Login, PostgresServer, Shard, Tls, Topology, fixed

pytestmark = pytest.mark.long

ADMINISTRATOR = Login("administrator", fixed(PASSWORD))
TABLES = ("shop_order", "billing.invoice", "crm_contact", "events_event", "events_metric", "CRM Lead", "countries")


@pytest.fixture(scope="module", params=["debian", "16", "17", "wheel"])
def server(request: pytest.FixtureRequest, own_postgres: MakePostgres) -> OwnPostgres:
    server = own_postgres(request.param)
    server.start()
    server.execute(f"create role administrator login createrole createdb password '{PASSWORD}'")
    return server


def test_in_and_out_with_createrole_only(server: OwnPostgres) -> None:
    primary = PostgresServer("main", "127.0.0.1", server.server.port, "product", Tls("disable"))
    maintenance = PostgresServer("main", "127.0.0.1", server.server.port, "postgres", Tls("disable"))
    with opening.connect(maintenance, ADMINISTRATOR) as connection:
        connection.execute("create database product")
        make_roles(connection, grant=False)
    make_product(primary, ADMINISTRATOR)
    before = catalog(primary, server.superuser)
    operator, application = Login("kos_operator", fixed(PASSWORD)), Login("kos_app", fixed(PASSWORD))
    topology = Topology((Shard(1, "main", primary, (), application, operator, installer=ADMINISTRATOR),))
    install(topology)
    with opening.connect(primary, ADMINISTRATOR) as connection:
        connection.execute(f"alter role kos_operator login password '{PASSWORD}'")
        for grant in GRANTS:
            connection.execute(grant)
    installed = catalog(primary, server.superuser)
    with Store(topology) as store:
        adopt(store, *TABLES, baseline="full")
        with opening.connect(primary, Login(OWNER, fixed(PASSWORD))) as owner:
            owner.execute("update public.shop_order set name = name || '!'")
            owner.execute("update billing.invoice set due = '2026-01-01'")
            owner.execute("insert into public.events_event (account_id, at) values (3, '2026-03-03')")
        names = ("public.shop_order", "billing.invoice", "public.crm_contact", "public.events_event",
                 "public.events_metric", 'public."CRM Lead"', "public.countries")  # fmt: skip
        assert wrong_in_log(store, *names) == []
        assert {(each.capture, each.complete) for each in status(store, here(store))} == {("ok", True)}
        assert len(release(store, "*")) == len(TABLES)
        assert catalog(primary, server.superuser) == installed
        adopt(store, *TABLES, baseline="lazy")
        place = here(store)
    uninstall(topology, place)
    assert catalog(primary, server.superuser) == before
