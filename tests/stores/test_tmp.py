import sys; sys.path.insert(0, "tests/sweep")
import sweep_change as sc
from kos.schema_change import plan_change, start, finish, roll_back, change_status
from kos.schema_change.display import show_plan, show_status
from pathlib import Path
import time
def test_it(store):
    sc.set_up(store, Path("/tmp"))
    plan = sc.plan(store, Path("/tmp"))
    show_plan(plan)
    before = sc.facts(store, plan)
    t=time.time()
    print(start(store, plan)); print(time.time()-t)
    show_status(change_status(store))
    print(roll_back(store))
    after = sc.facts(store, plan)
    assert before == after
    start(store, sc.plan(store, Path("/tmp")))
    t=time.time()
    finish(store); print(time.time()-t)
    f = sc.facts(store, plan)
    for k,v in f.items(): print(k, v[:12] if isinstance(v, list) else v)
