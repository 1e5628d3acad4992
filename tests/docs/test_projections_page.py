"""docs/projections.md: its example is followed as it stands, on a product's tables, in a real graph."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

import kos
from adopted import adopt
from fix_product import make_roles
from kos.projections.declared import graph_map
from kos.tenancy import Store, create_tenant
from kos.topology import config
from kos.topology.model import Topology
from projecting import Following, graph_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/projections.md").read_text(encoding="utf-8")
SHARD = (ROOT / "docs/reference/kos-toml.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
WRITE, ASK, ASK_SHOP = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
TABLE, SAID = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ROWS = """
grant select on customers, orders, recommendations to kos_app;
insert into customers
  values (42, md5('1')::uuid, 'Ada'), (42, md5('2')::uuid, 'Bo'), (42, md5('3')::uuid, 'Cy'),
         (43, md5('4')::uuid, 'Di');
insert into orders (account_id, id, customer_id, number, total)
  values (42, 1, md5('1')::uuid, 1001, 12.50), (42, 2, md5('2')::uuid, 1002, 99), (43, 3, md5('4')::uuid, 7, 5);
insert into recommendations
  values (42, md5('1')::uuid, md5('2')::uuid, now()), (42, md5('2')::uuid, md5('3')::uuid, now());
"""


def declared() -> Topology:
    """What the page adds to a kos.toml."""
    text = "".join(re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    return config.understand(tomllib.loads(SHARD + text), ROOT / "kos.toml", {})


@pytest.fixture
def configured(full_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """`kos.open()` finds this test's database and the graph, with what the page declares."""
    topology = replace(full_store.topology, projections=declared().projections)
    monkeypatch.setattr(kos, "open", lambda: Store(topology))
    with Store(topology) as store:
        yield store


def followed(store: Store, name: str, **options: Any) -> Following:
    made = Following(store, name, graph_of(store, **options))
    made.follow()
    return made


def test_a_query_waits_for_what_was_written(configured: Store, capsys: pytest.CaptureFixture[str]) -> None:
    create_tenant(configured, "acme")
    names: dict[str, object] = {}
    exec(WRITE, names)
    acme = followed(configured, "acme")
    exec(ASK, names)
    assert capsys.readouterr().out == "['Bern', 'Zug']\n"
    acme.projection.forget(acme.site.tenant)
    acme.projection.close()


def test_the_tables_of_a_product(
    configured: Store, full_superuser: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tables,) = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    make_roles(full_superuser)
    full_superuser.execute("grant create on schema public to product_app; set role product_app")
    full_superuser.execute(f"set search_path = public; {tables} {ROWS}".encode())
    adopt(configured, "customers", "orders", "recommendations", tenant_column="account_id", baseline="full")
    (settings,) = [each for each in configured.topology.projections if each.name == "graph"]
    accounts = [followed(configured, name, declared=graph_map(settings)) for name in ("42", "43")]
    for account, line in zip(accounts, TABLE.splitlines()[1:], strict=True):
        found = account.verify()
        told = ["graph", account.name, found.position, found.rows, len(found.parked), found.differing]
        assert line.split() == [str(each) for each in told]
    exec(ASK_SHOP, {"kos": kos})
    assert capsys.readouterr().out == SAID
    for account in accounts:
        account.projection.forget(account.site.tenant)
        account.projection.close()
