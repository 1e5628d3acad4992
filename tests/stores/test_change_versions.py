"""What changes consist of, on every version: each there and back, as on ours."""

from __future__ import annotations

import pytest
import test_change_constraints as of_constraints
import test_change_indexes as of_indexes
import test_change_materialized as of_materialized
import test_change_partitions as of_partitions
import test_change_retype as of_types
import test_change_types as of_domains

from change_by_hand import Scratch, there_and_back
from fix_own_postgres import MakePostgres
from kos import errors
from kos.topology import postgres as opening
from kos.topology.model import Shard, Topology

pytestmark = pytest.mark.long

WITHOUT_VECTORS = tuple(each.replace(", mood vector(3)", "").replace(", '[1,2,3]'", "") for each in of_indexes.NOTES)
# Before 17, the plain statement gives what is said of an index to those of the partitions as well.
PARTITIONED = tuple(each for each in of_partitions.EVENTS if "comment on index" not in each)
CHANGES = [
    *((of_constraints.PEOPLE, each) for each in of_constraints.OF_PEOPLE),
    *((of_constraints.PETS, each) for each in of_constraints.OF_PETS),
    *((of_constraints.EVENTS, each) for each in of_constraints.OF_EVENTS),
    *((WITHOUT_VECTORS, each) for each in (*of_indexes.INDEXES, *of_indexes.OTHERS) if "vector" not in each),
    *((of_indexes.EVENTS, each) for each in of_indexes.OF_EVENTS),
    *((of_types.ITEMS, each) for each in of_types.TYPES),
    *((of_domains.ITEMS, f"alter table items alter {column} type {new}") for column, new in of_domains.IN_PLACE),
    *((PARTITIONED, each) for each in of_partitions.OF_EVENTS),
    *((of_materialized.ITEMS, each) for each in of_materialized.OF_TOTALS),
]


@pytest.mark.parametrize("version", ["debian", "16", "17"])
def test_each_change_there_and_back(own_postgres: MakePostgres, version: str) -> None:
    server = own_postgres(version)
    server.start()
    topology = Topology((Shard(1, "own", server.server, (), server.superuser, server.superuser),))
    failed = []
    with opening.connect(server.server, server.superuser) as connection:
        connection.execute("create role kos_app")
        scratch = Scratch(connection, topology, server.superuser)
        for before, change in CHANGES:
            if "create statistics on" in change and version == "debian":
                continue  # 15 wants a name
            naive = of_indexes.in_one_go(change)
            try:
                there_and_back(scratch, before, change, naive=naive)
            except Exception as error:  # all that fail are told
                failed.append((change, str(error)))
        for domain in of_domains.CHECKED:
            with pytest.raises(errors.ChangeRefused, match="a domain with constraints"):
                scratch.plan(scratch.schema(*of_domains.ITEMS), f"alter table items add column more {domain}")
    assert not failed, "\n".join(map(str, failed))
