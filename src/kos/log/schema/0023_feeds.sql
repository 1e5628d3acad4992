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

-- The last position of the transaction that an event is of; null where there is no such event.
create function kos.end_of_transaction(tenant uuid, of_position bigint) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce((select later.position - 1 from kos.knowledge_events later
                    where later.tenant_id = e.tenant_id and later.position > e.position and later.transaction <> e.transaction
                    order by later.position limit 1),
                  (select max(last.position) from kos.knowledge_events last where last.tenant_id = e.tenant_id))
    from kos.knowledge_events e
   where e.tenant_id = tenant and e.position = of_position
$$;

-- The next whole transactions for a consumer: as many as have at most that many events together, or one that has more.
-- KS021 as from kos.read_feed().
create function kos.feed_next(feed_name text, tenant uuid, at_most integer default 1000)
returns table ("position" bigint, event_type text, schema_name text, table_name text, operation "char", key text[], event_data jsonb,
               incarnation integer, transaction xid8, ends_transaction boolean, leaf bytea, occurred_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  here kos.feed_cursors := kos.feed_cursor(feed_name, tenant);
  upto bigint;
begin
  select max(t.position) into upto
    from (select e.position, lead(e.transaction) over (order by e.position) is distinct from e.transaction as ends
            from (select k.position, k.transaction from kos.knowledge_events k
                   where k.tenant_id = tenant and k.position > here.position order by k.position limit at_most + 1) e) t
   where t.ends and t.position <= here.position + at_most;  -- of the last one it isn't known: nobody looked behind it
  upto := coalesce(upto, kos.end_of_transaction(tenant, here.position + 1), here.position);
  return query select * from kos.read_feed(tenant, here.position, here.leaf, (upto - here.position)::integer);
end $$;

-- A consumer has stored what the events after `at` mean to it, up to `upto`, the end of a transaction, whose event has
-- that leaf. KS026 if its cursor isn't at `at`: another one moved it, or this was said already. KS027 if `upto` lies
-- within a transaction. KS021 if it is another event than the consumer has seen.
create function kos.feed_done(feed_name text, tenant uuid, at bigint, upto bigint, seen_leaf bytea) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  there bytea := (select e.leaf from kos.knowledge_events e where e.tenant_id = tenant and e.position = upto);
begin
  if there is distinct from seen_leaf then
    raise exception 'the log of % has diverged at or before position %', tenant, upto
      using errcode = 'KS021', hint = 'begin again from a position before the restore or promotion';
  elsif upto < at then
    raise exception 'position % is before %', upto, at using errcode = 'KS026', hint = 'kos.feed_seek() goes back';
  end if;
  perform kos.feed_leaf(tenant, upto);
  if at = 0 then
    insert into kos.feed_cursors (feed, tenant_id, position) values (feed_name, tenant, 0) on conflict do nothing;
  end if;
  update kos.feed_cursors c set position = upto, leaf = there, moved_at = clock_timestamp()
   where c.feed = feed_name and c.tenant_id = tenant and c.position = at;
  if not found then
    raise exception 'feed % of % is at position %, not at %', feed_name, tenant, (kos.feed_cursor(feed_name, tenant)).position, at
      using errcode = 'KS026', hint = 'another consumer has moved it: ask for the next events again';
  end if;
end $$;

-- The leaf at the end of a transaction; null at 0. KS027 elsewhere.
create function kos.feed_leaf(tenant uuid, at bigint) returns bytea
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if at <> 0 and kos.end_of_transaction(tenant, at) is distinct from at then
    raise exception 'no transaction ends at position % of %', at, tenant
      using errcode = 'KS027', hint = 'cursors stand at the end of a transaction, so that none is seen in part';
  end if;
  return (select e.leaf from kos.knowledge_events e where e.tenant_id = tenant and e.position = at);
end $$;

-- Put a cursor at the end of a transaction, or at 0: what comes after it is read again, or left out.
create function kos.feed_seek(feed_name text, tenant uuid, at bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  there bytea := kos.feed_leaf(tenant, at);
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
  kos.feed_done(text, uuid, bigint, bigint, bytea), kos.feed_leaf(uuid, bigint), kos.feed_seek(text, uuid, bigint),
  kos.feed_drop(text, uuid) to kos_app, kos_operator;

-- All cursors, and what each has before it. `since` is when the oldest of that was committed.
create function kos.feeds() returns table (feed text, tenant_id uuid, "position" bigint, head bigint, since timestamptz, moved_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select c.feed, c.tenant_id, c.position, h.position,
         (select e.occurred_at from kos.knowledge_events e where e.tenant_id = c.tenant_id and e.position = c.position + 1), c.moved_at
    from kos.feed_cursors c
   cross join lateral kos.newest_seal(c.tenant_id) h
$$;
grant execute on function kos.feeds() to kos_operator, kos_auditor;
