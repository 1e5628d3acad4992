-- What is asked of the log again and again reads what is new, whatever the planner knows of the tables.
-- oldest library: 1

-- As before (0010). Without "offset 0" a planner that has no statistics yet, as in a new database, reads all that the
-- tenant ever had there, and compares it with what has ended: each seal took longer than the one before.
create or replace function kos.unsealed_rows(tenant uuid, newest kos.seals, at_most bigint default null) returns setof kos.pending
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off as $$
  select u.* from (
    select p.* from kos.ended_since(newest.snapshot) e
     cross join lateral (select * from kos.pending where tenant_id = tenant and origin = newest.origin
                            and transaction >= e.first and transaction <= e.last
                         offset 0) p
     where newest.origin = kos.origin()
    union all
    select * from kos.pending where tenant_id = tenant and origin = newest.origin and newest.origin = kos.origin() and transaction = any (array(
      select pg_snapshot_xip(newest.snapshot) except select pg_snapshot_xip(pg_current_snapshot())))
    union all
    select * from kos.pending where tenant_id = tenant and origin = newest.origin and newest.origin <> kos.origin()
       and not pg_visible_in_snapshot(transaction, newest.snapshot)
    union all
    select * from kos.pending where tenant_id = tenant and origin < newest.origin and id > newest.foreign_id
    union all
    select * from kos.pending where tenant_id = tenant and origin > newest.origin and id > newest.foreign_id
  ) u
   where u.transaction is distinct from pg_current_xact_id_if_assigned()
   limit at_most
$$;

-- Whoever has a log here. Steps from tenant to tenant through the index: there are many seals of each.
create function kos.log_tenants() returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with recursive logs as (
    (select s.tenant_id from kos.seals s order by s.tenant_id limit 1)
    union all
    select (select s.tenant_id from kos.seals s where s.tenant_id > l.tenant_id order by s.tenant_id limit 1)
      from logs l where l.tenant_id is not null
  )
  select l.tenant_id from logs l where l.tenant_id is not null
$$;
grant execute on function kos.log_tenants() to kos_operator, kos_auditor;

-- As before (0023): the next event of each is found by its position, and no two tables are joined as a whole.
create or replace function kos.feeds() returns table (feed text, tenant_id uuid, "position" bigint, head bigint, since timestamptz, moved_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select c.feed, c.tenant_id, c.position, h.position,
         (select e.occurred_at from kos.knowledge_events e where e.tenant_id = c.tenant_id and e.position = c.position + 1), c.moved_at
    from kos.feed_cursors c
   cross join lateral kos.newest_seal(c.tenant_id) h
   order by c.feed, c.tenant_id
$$;

create or replace function kos.feed_waiting(feed_name text, max_tenants integer default 1000)
returns table (tenant_id uuid, "position" bigint, head bigint, since timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select l.tenant_id, c.position, h.position, e.occurred_at
    from kos.log_tenants() l (tenant_id)
   cross join lateral kos.feed_cursor(feed_name, l.tenant_id) c
   cross join lateral kos.newest_seal(l.tenant_id) h
   cross join lateral (select k.occurred_at from kos.knowledge_events k
                        where k.tenant_id = l.tenant_id and k.position = c.position + 1 offset 0) e
   order by e.occurred_at, l.tenant_id
   limit max_tenants
$$;
