import random, time, uuid
from dataclasses import replace
import pytest
from kos.tenancy import Store, create_tenant
from kos.tenancy.placement import place_of
from kos.log import seal_all
from kos.projections.graph import GraphProjection
from kos.projections.generation import Site, rebuild, verify
from kos.projections.model import Whose
from kos.projections.follow import follow, locked

def test_smoke(store, tenant, stack):
    projection = GraphProjection(stack.topology().graph)
    projection.prepare()
    print("identity", projection.identity())
    place = place_of(tenant)
    site = Site(store, place, projection, Whose(tenant.id, tenant.epoch))
    rng = random.Random(1)
    atoms=[]
    def write():
        with store.tenant("acme") as s:
            for _ in range(rng.randint(1,20)):
                r = rng.random()
                if r<.4 or len(atoms)<3:
                    (i,) = s.execute("insert into atoms (atom_type,name,number_value) values ('T', %s, 0.1) returning id",(f"n{rng.random()}",)).fetchone(); atoms.append(i)
                elif r<.6:
                    s.execute("insert into relations (relation_type, from_atom_id,to_atom_id) values (%s,%s,%s) on conflict do nothing",(rng.choice("ABC"), rng.choice(atoms), rng.choice(atoms)))
                elif r<.7:
                    s.execute("update relations set to_atom_id=%s where id=(select id from relations order by random() limit 1) and not exists (select from relations r where r.to_atom_id=%s)",(rng.choice(atoms),rng.choice(atoms)))
                elif r<.8:
                    s.execute("update atoms set name=%s, deleted_at=case when deleted_at is null then now() end where id=%s",(f"u{rng.random()}",rng.choice(atoms)))
                elif r<.9:
                    s.execute("update atoms set name=%s where id=%s",(f"u{rng.random()}",rng.choice(atoms)))
                else:
                    i=rng.choice(atoms); atoms.remove(i); s.execute("delete from atoms where id=%s",(i,))
    for _ in range(5): write()
    t=time.monotonic(); print(rebuild(site), time.monotonic()-t)
    with store.operator(place) as op:
        for _ in range(40):
            write()
            seal_all(op)
            st=projection.live(site.whose)
            while a:=follow(op, projection, site.whose, st): st=a
    t=time.monotonic(); v=verify(site); print(v, time.monotonic()-t)
    assert v.differing==0, v
    with store.tenant("acme") as s:
        print(s.execute("select count(*) from atoms").fetchone(), s.execute("select count(*) from relations").fetchone())
    t=time.monotonic(); print(rebuild(site), time.monotonic()-t)
    v=verify(site); assert v.differing==0, v
    projection.forget(tenant.id)
    assert projection.live(site.whose) is None
    projection.close()
