"""The product of `product_schema.py` is what the tests of adoption take it for."""

from __future__ import annotations

from fix_product import as_owner
from kos.topology.model import Topology
from product_schema import TABLES

COUNT = """
select c.relispartition, count(*) from pg_class c
 where c.relkind in ('r', 'p') and c.relnamespace in ('public'::regnamespace, 'billing'::regnamespace) group by 1"""


def test_it_has_300_tables_and_their_partitions(module_product: Topology) -> None:
    with as_owner(module_product) as connection:
        counts = dict(connection.execute(COUNT).fetchall())
    assert counts == {False: TABLES, True: 14}


def test_no_superuser_has_made_it(module_product: Topology) -> None:
    with as_owner(module_product) as connection:
        owners = connection.execute("""
            select distinct r.rolname, r.rolsuper from pg_class c join pg_roles r on r.oid = c.relowner
             where c.relnamespace in ('public'::regnamespace, 'billing'::regnamespace)
               and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')""").fetchall()
    assert sorted(owners) == [("product_app", False), ("product_legacy", False)]
