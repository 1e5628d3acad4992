-- Feeds: how far each consumer of a tenant's log is, kept where the log is, so that both are restored and moved together.
-- oldest library: 1
--
-- A consumer takes whole transactions, stores what they mean to it, and only then says so. If its own tables are in this
-- database it does both in one transaction, and sees each event once; else it may see events again that it has stored,
-- and knows them by their positions.

create table kos.feed_cursors (
  feed      text not null check (feed ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  tenant_id uuid not null,
  position  bigint not null check (position >= 0),
  leaf      bytea,  -- of the event there: a log that was restored to an earlier moment is noticed by it
  moved_at  timestamptz not null default clock_timestamp(),
  primary key (feed, tenant_id),
  check ((position = 0) = (leaf is null))
);
comment on table kos.feed_cursors is 'How far each consumer of a tenant''s log is.';

alter table kos.feed_cursors enable row level security, force row level security;
create policy tenant_isolation on kos.feed_cursors as restrictive for all to kos_app
  using (tenant_id = (select kos.current_tenant_id()));
create policy application_access on kos.feed_cursors for all to kos_app using (true);
create policy operator_access on kos.feed_cursors for all to kos_operator, kos_owner using (true);
create policy auditor_access on kos.feed_cursors for select to kos_auditor using (true);
grant select, insert, update, delete on kos.feed_cursors to kos_app, kos_operator;
grant select on kos.feed_cursors to kos_auditor;

-- The cursor of a consumer; one that was never moved stands at 0.
create function kos.feed_cursor(feed_name text, tenant uuid) returns kos.feed_cursors
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  found_one kos.feed_cursors;
begin
  select * into found_one from kos.feed_cursors c where c.feed = feed_name and c.tenant_id = tenant;
  if not found then
    found_one := row(feed_name, tenant, 0, null, null)::kos.feed_cursors;
  end if;
  return found_one;
end $$;

-- The last position of the transaction whose first event is at that position; null where there is no event.
create function kos.end_of_transaction(tenant uuid, first bigint) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce((select later.position - 1 from kos.knowledge_events later
                    where later.tenant_id = e.tenant_id and later.position > e.position and later.transaction <> e.transaction
                    order by later.position limit 1),
                  (select max(last.position) from kos.knowledge_events last where last.tenant_id = e.tenant_id))
    from kos.knowledge_events e
   where e.tenant_id = tenant and e.position = first
$$;

-- The next whole transactions for a consumer: as many as have at most that many events together, or one that has more.
-- KS021 as from kos.feed_leaf().
create function kos.feed_next(feed_name text, tenant uuid, at_most integer default 1000)
returns table ("position" bigint, event_type text, schema_name text, table_name text, operation "char", key text[], event_data jsonb,
               incarnation integer, transaction xid8, ends_transaction boolean, leaf bytea, occurred_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  here kos.feed_cursors := kos.feed_cursor(feed_name, tenant);
  room bigint := greatest(at_most, 1);
  upto bigint;
  nothing bytea := kos.feed_leaf(tenant, here.position, here.leaf);
begin
  select max(t.position) into upto
    from (select e.position, lead(e.transaction) over (order by e.position) is distinct from e.transaction as ends
            from (select k.position, k.transaction from kos.knowledge_events k
                   where k.tenant_id = tenant and k.position > here.position order by k.position limit room + 1) e) t
   where t.ends and t.position <= here.position + room;  -- of one more it isn't known: nobody looked behind it
  upto := coalesce(upto, kos.end_of_transaction(tenant, here.position + 1), here.position);
  return query select * from kos.read_feed(tenant, here.position, null, (upto - here.position)::integer);
end $$;

-- The leaf of the event at the end of a transaction; null at 0. KS021 if a consumer has seen another one there, KS027 if
-- no transaction ends there.
create function kos.feed_leaf(tenant uuid, at bigint, seen_leaf bytea default null) returns bytea
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  there kos.knowledge_events;
begin
  select * into there from kos.knowledge_events e where e.tenant_id = tenant and e.position = at;
  if there.leaf is distinct from coalesce(seen_leaf, there.leaf) then
    raise exception 'the log of % has diverged at or before position %', tenant, at
      using errcode = 'KS021', detail = at, hint = 'begin again from a position before the restore or promotion';
  elsif at <> 0 and (there.leaf is null or exists (
      select from kos.knowledge_events e where e.tenant_id = tenant and e.position = at + 1 and e.transaction = there.transaction)) then
    raise exception 'no transaction ends at position % of %', at, tenant
      using errcode = 'KS027', detail = at, hint = 'cursors stand at the end of a transaction, so that none is seen in part';
  end if;
  return there.leaf;
end $$;

-- A consumer has stored what the events after `at` mean to it, up to `upto`, the end of a transaction, whose event has
-- that leaf. KS021 and KS027 as from kos.feed_leaf(). KS026 if its cursor isn't at `at`: another one moved it, or this
-- was said already.
create function kos.feed_done(feed_name text, tenant uuid, at bigint, upto bigint, seen_leaf bytea) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  there bytea := kos.feed_leaf(tenant, upto, case when upto > 0 then coalesce(seen_leaf, '') end);
begin
  if upto < at then
    raise exception 'position % is before %', upto, at using errcode = 'KS026', hint = 'kos.feed_seek() goes back';
  end if;
  if at = 0 then  -- Two that begin at once: the second waits here for the first.
    insert into kos.feed_cursors (feed, tenant_id, position) values (feed_name, tenant, 0) on conflict do nothing;
  end if;
  update kos.feed_cursors c set position = upto, leaf = there, moved_at = clock_timestamp()
   where c.feed = feed_name and c.tenant_id = tenant and c.position = at;
  if not found then
    raise exception 'feed % of % is at position %, not at %', feed_name, tenant, (kos.feed_cursor(feed_name, tenant)).position, at
      using errcode = 'KS026', hint = 'another consumer has moved it, or this was said already: ask for the next events again';
  end if;
end $$;

-- Put a cursor at the end of a transaction, or at 0: what comes after it is read again, or left out. A consumer that
-- stores its position with its effect begins so, with the leaf that it has seen there. KS021 and KS027 as from
-- kos.feed_leaf().
create function kos.feed_seek(feed_name text, tenant uuid, at bigint, seen_leaf bytea default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  there bytea := kos.feed_leaf(tenant, at, seen_leaf);
begin
  insert into kos.feed_cursors as c (feed, tenant_id, position, leaf) values (feed_name, tenant, at, there)
      on conflict on constraint feed_cursors_pkey
      do update set position = excluded.position, leaf = excluded.leaf, moved_at = clock_timestamp();
end $$;

-- Forget a consumer, or one of its tenants; how many cursors that were.
create function kos.feed_drop(feed_name text, tenant uuid default null) returns bigint
language sql volatile set search_path = pg_catalog, pg_temp as $$
  with dropped as (
    delete from kos.feed_cursors c where c.feed = feed_name and (tenant is null or c.tenant_id = tenant) returning 1)
  select count(*) from dropped
$$;
grant execute on function kos.feed_cursor(text, uuid), kos.end_of_transaction(uuid, bigint), kos.feed_next(text, uuid, integer),
  kos.feed_done(text, uuid, bigint, bigint, bytea), kos.feed_leaf(uuid, bigint, bytea), kos.feed_seek(text, uuid, bigint, bytea),
  kos.feed_drop(text, uuid) to kos_app, kos_operator;

-- All cursors, and how far their logs are. `since` is when the oldest event before a cursor was committed.
create function kos.feeds() returns table (feed text, tenant_id uuid, "position" bigint, head bigint, since timestamptz, moved_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select c.feed, c.tenant_id, c.position, h.position, e.occurred_at, c.moved_at
    from kos.feed_cursors c
   cross join lateral kos.newest_seal(c.tenant_id) h
    left join kos.knowledge_events e on e.tenant_id = c.tenant_id and e.position = c.position + 1
   order by c.feed, c.tenant_id
$$;

-- The tenants that have something for a feed, those that have waited longest first; also those that it never moved in.
-- Steps from tenant to tenant through the index of the seals. The log of what belongs to no tenant is one of them.
create function kos.feed_waiting(feed_name text, max_tenants integer default 1000)
returns table (tenant_id uuid, "position" bigint, head bigint, since timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with recursive logs as (
    (select s.tenant_id from kos.seals s order by s.tenant_id limit 1)
    union all
    select (select s.tenant_id from kos.seals s where s.tenant_id > l.tenant_id order by s.tenant_id limit 1)
      from logs l where l.tenant_id is not null
  )
  select l.tenant_id, c.position, h.position, e.occurred_at
    from logs l
   cross join lateral kos.feed_cursor(feed_name, l.tenant_id) c
   cross join lateral kos.newest_seal(l.tenant_id) h
    join kos.knowledge_events e on e.tenant_id = l.tenant_id and e.position = c.position + 1
   where l.tenant_id is not null
   order by e.occurred_at, l.tenant_id
   limit max_tenants
$$;
grant execute on function kos.feeds(), kos.feed_waiting(text, integer) to kos_operator, kos_auditor;

-- As before (0011), and its cursors: they would stand beyond the log of another tenant of that id.
create or replace function kos.forget_log(tenant uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(kos.all_logs_key());
  perform pg_advisory_xact_lock(kos.log_key(tenant));
  delete from kos.pending_1 where tenant_id = tenant;
  delete from kos.pending_2 where tenant_id = tenant;
  delete from kos.knowledge_events where tenant_id = tenant;
  delete from kos.seals where tenant_id = tenant;
  delete from kos.tenant_keys where tenant_id = tenant;
  delete from kos.feed_cursors where tenant_id = tenant;
end $$;
