-- Sealing: committed changes get their positions.
-- oldest library: 1

-- A tenant's newest seal; where there is none, as if nothing had been visible to it.
create function kos.newest_seal(tenant uuid) returns kos.seals
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  newest kos.seals;
begin
  select * into newest from kos.seals s where s.tenant_id = tenant order by s.position desc limit 1;
  if newest.tenant_id is null then
    newest := row(tenant, 0, 0, 0, kos.origin(), '1:1:'::pg_snapshot, 0, '-infinity', '-infinity')::kos.seals;
  end if;
  return newest;
end $$;

-- Transactions that began after a snapshot and have ended by now, as ranges: those that are under way lie between them.
create function kos.ended_since(seen pg_snapshot) returns table (first xid8, last xid8)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select (lag(r.edge, 1, pg_snapshot_xmax(seen)::text::bigint - 1) over (order by r.edge) + 1)::text::xid8, (r.edge - 1)::text::xid8
    from (select x::text::bigint as edge from pg_snapshot_xip(pg_current_snapshot()) x where x >= pg_snapshot_xmax(seen)
          union all
          select pg_snapshot_xmax(pg_current_snapshot())::text::bigint) r
$$;

-- What a tenant's newest seal did not see, of what can be seen now. A transaction is in a seal or it is not, since all
-- its rows become visible at once: so none is ever split. The index leads to exactly these rows, however long another
-- transaction stays open: sealed rows are not read again, and the million rows of a transaction that is under way are
-- not looked at. Without the settings a table that holds one tenant's rows is read whole: what the planner can't know is
-- that nearly all of them are sealed.
-- The limit is an argument because a limit outside is none: the caller gets the first row when the last one is read.
create function kos.unsealed_rows(tenant uuid, newest kos.seals, at_most bigint default null) returns setof kos.pending
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off as $$
  select u.* from (
    select p.* from kos.ended_since(newest.snapshot) e
     cross join lateral (select * from kos.pending where tenant_id = tenant and origin = newest.origin
                            and transaction >= e.first and transaction <= e.last) p
     where newest.origin = kos.origin()
    union all
    select * from kos.pending where tenant_id = tenant and origin = newest.origin and newest.origin = kos.origin() and transaction = any (array(
      select pg_snapshot_xip(newest.snapshot) except select pg_snapshot_xip(pg_current_snapshot())))
    -- The newest seal came with a dump: its snapshot counts as the other cluster did, and none of that is under way here.
    union all
    select * from kos.pending where tenant_id = tenant and origin = newest.origin and newest.origin <> kos.origin()
       and not pg_visible_in_snapshot(transaction, newest.snapshot)
    -- Of another cluster, whose dump was loaded here: transaction ids can't be compared, ids can.
    union all
    select * from kos.pending where tenant_id = tenant and origin < newest.origin and id > newest.foreign_id
    union all
    select * from kos.pending where tenant_id = tenant and origin > newest.origin and id > newest.foreign_id
  ) u
  -- What the transaction that asks has written itself isn't committed.
   where u.transaction is distinct from pg_current_xact_id_if_assigned()
   limit at_most
$$;

-- What a seal has seen. A transaction sees its own writes, which no seal takes: it is listed as still running, for the
-- next seal to find.
create function kos.seen_by_seal() returns pg_snapshot
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case when pg_current_xact_id_if_assigned() < pg_snapshot_xmax(s)
           then (select format('%s:%s:%s', min(x), pg_snapshot_xmax(s), string_agg(x::text, ',' order by x))::pg_snapshot
                   from (select pg_snapshot_xip(s) union select pg_current_xact_id_if_assigned()) running (x))
           else s end
    from pg_current_snapshot() s
$$;

-- The newest id that came with a dump of another cluster. Once a seal of this cluster stands, ids alone tell which of
-- those rows are sealed: all up to here, those that were sealed before the dump as well.
create function kos.newest_foreign_id(tenant uuid) returns bigint
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off as $$
  select coalesce(max(f.id), 0) from (
    select id from kos.pending where tenant_id = tenant and origin < kos.origin()
    union all
    select id from kos.pending where tenant_id = tenant and origin > kos.origin()) f
$$;

-- The number by which the index of the events knows a row: its own id where it has one. `within` is the key without the
-- tenant. Inlined, so every name is qualified; stable, as concat is, or it would not be. A pattern would cost more than
-- all the rest of it.
create function kos.aggregate_of(table_name text, key text[], within text[]) returns uuid
language sql stable parallel safe
return case when pg_catalog.cardinality(within) = 1 and within[1] like '________-____-____-____-____________'
                 and pg_catalog.translate(within[1], '0123456789abcdef', '') = '----'
              then within[1]::uuid
         else pg_catalog.md5(pg_catalog.concat(table_name, ' ', key::text))::uuid end;

-- The leaf of an event in a Merkle tree: H(header, H(salt, content)). Who erases salt and content can still prove that
-- something stood there, and nobody can guess what.
create function kos.leaf(tenant uuid, at bigint, incarnation integer, transaction xid8, occurred timestamptz, shape bytea,
                         operation "char", key text[], image text[], before text[], context text[], salt uuid) returns bytea
language sql stable parallel safe
return pg_catalog.sha256(
  pg_catalog.convert_to(pg_catalog.concat_ws(' ', tenant::text, at::text, incarnation::text, transaction::text,
    (extract(epoch from occurred) * 1000000)::bigint::text, pg_catalog.encode(shape, 'hex'), operation::text), 'UTF8')
  || pg_catalog.sha256(pg_catalog.uuid_send(salt)
    || pg_catalog.convert_to(pg_catalog.concat_ws(' ', key::text, coalesce(image::text, '-'), coalesce(before::text, '-'), coalesce(context::text, '-')), 'UTF8')));

-- The work of kos.seal(), for a session that holds the log's lock, or that of all logs.
create function kos.seal_locked(tenant uuid) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  newest kos.seals := kos.newest_seal(tenant);
  now_in integer;
  -- Salts come of one secret, which is kept nowhere: a server's own source of chance can cost more than all the rest.
  secret bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
  timed boolean := current_setting('track_commit_timestamp')::boolean;
  sealed bigint;
begin
  if not exists (select from kos.unsealed_rows(tenant, newest, 1)) then
    return 0;
  end if;
  now_in := kos.current_incarnation();
  with found as materialized (
    select p.*, max(p.id) over (partition by p.origin, p.transaction) as last_id
      from kos.unsealed_rows(tenant, newest) p
  ), placed as (
    select f.*, s.digest, s.table_name, encode(substr(sha256(secret || int8send(f.id) || int4send(f.origin)), 1, 16), 'hex')::uuid as salt, array_remove(f.key, tenant::text) as key_within,
           newest.position + row_number() over (order by f.last_id, f.id) as position,
           -- By commit time a moment maps to a position; a running maximum, so that positions and times agree.
           greatest(newest.committed_at, max(
             case when timed and f.origin = kos.origin() then coalesce(pg_xact_commit_timestamp(f.transaction::xid), clock_timestamp())
               else now() end) over (order by f.last_id, f.id)) as committed_at
      from found f
      join kos.shapes s using (shape_id)
  ), written as (
    insert into kos.knowledge_events
    select tenant, position, now_in, transaction, shape_id, operation,
           kos.aggregate_of(table_name, key, key_within),
           key, image, before, context, salt,
           kos.leaf(tenant, position, now_in, transaction, committed_at, digest, operation, key, image, before, context, salt),
           committed_at
      from placed
    returning position, occurred_at
  ), counted as (
    select count(*) as events, max(occurred_at) as committed_at from written
  )
  insert into kos.seals (tenant_id, position, events, incarnation, origin, snapshot, foreign_id, committed_at)
  select tenant, newest.position + c.events, c.events, now_in, kos.origin(), kos.seen_by_seal(),
         greatest(newest.foreign_id, kos.newest_foreign_id(tenant)), c.committed_at
    from counted c
   where c.events > 0
  returning events into sealed;
  return coalesce(sealed, 0);
end $$;

-- Seal what a tenant's committed transactions have changed; returns how many events that were. One tenant is sealed by
-- one at a time, and a huge transaction of one delays no other.
-- Lock first, in statements of their own: the next one's snapshot must see what another sealer has just committed. A cut
-- takes the locks before its snapshot exists (kos.log, cut.py).
create function kos.seal(tenant uuid) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(kos.all_logs_key());
  perform pg_advisory_xact_lock(kos.log_key(tenant));
  return kos.seal_locked(tenant);
end $$;
grant execute on function kos.seal(uuid), kos.seal_locked(uuid) to kos_operator;

-- Which of these tenants have something to seal, how many rows (up to 1,000), and since when: null where this server
-- keeps no commit times, or another one committed it.
create function kos.unsealed_among(tenants uuid[]) returns table (tenant_id uuid, waiting bigint, oldest timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select t.tenant_id, u.waiting,
         case when current_setting('track_commit_timestamp')::boolean and u.origin = kos.origin()
           then pg_xact_commit_timestamp(u.transaction::xid) end as oldest
    from unnest(tenants) t (tenant_id)
    cross join lateral (
      -- Counted up to a limit: a huge transaction is not read twice.
      select count(*) as waiting, min(r.transaction) as transaction, min(r.origin) as origin
        from kos.unsealed_rows(t.tenant_id, kos.newest_seal(t.tenant_id), 1000) r) u
   where u.waiting > 0
$$;

-- The same of all tenants, those that have waited longest. Steps from tenant to tenant through the index of each table:
-- its size doesn't matter, but for the rows of transactions that are under way, which stand before the next tenant's.
create function kos.unsealed(max_tenants integer default 1000) returns table (tenant_id uuid, waiting bigint, oldest timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with recursive first_table as (
    (select p.tenant_id from kos.pending_1 p order by p.tenant_id limit 1)
    union all
    select (select p.tenant_id from kos.pending_1 p where p.tenant_id > f.tenant_id order by p.tenant_id limit 1)
      from first_table f where f.tenant_id is not null
  ), second_table as (
    (select p.tenant_id from kos.pending_2 p order by p.tenant_id limit 1)
    union all
    select (select p.tenant_id from kos.pending_2 p where p.tenant_id > s.tenant_id order by p.tenant_id limit 1)
      from second_table s where s.tenant_id is not null
  )
  select u.*
    from kos.unsealed_among(array(
      select f.tenant_id from first_table f where f.tenant_id is not null
      union select s.tenant_id from second_table s where s.tenant_id is not null)) u
   order by u.oldest nulls first, u.tenant_id
   limit max_tenants
$$;
grant execute on function kos.unsealed_among(uuid[]), kos.unsealed(integer) to kos_operator;

-- What everybody may see of a value in an image. No settings, so that it is part of the query that calls it.
create function kos.masked(value text) returns text
language sql immutable parallel safe
return case when value <> '\N' then
         case when starts_with(value, '\\') then substr(value, 2)
              when starts_with(value, '\E') then '[encrypted]'
              when value = '\A' then '[absent]'
              when starts_with(value, '\H') then 'sha256:' || substr(value, 3)
              else value end end;

-- The values of an image by column, as text; null where the value is. What an update left alone is not there.
create function kos.event_data(columns jsonb, image text[]) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_object_agg(c.description ->> 'name', kos.masked(v.value)), '{}')
    from jsonb_array_elements(columns) with ordinality c (description, number)
    join unnest(image) with ordinality v (value, number) using (number)
   where v.value is not null
$$;
grant execute on function kos.masked(text), kos.event_data(jsonb, text[]) to kos_app, kos_operator, kos_auditor;

create function kos.event_type(table_name text, operation "char") returns text
language sql immutable parallel safe
return table_name || case operation when 'I' then '.created' when 'U' then '.updated' when 'D' then '.deleted'
                                    when 'T' then '.truncated' else '.found' end;
grant execute on function kos.event_type(text, "char") to kos_app, kos_operator, kos_auditor;

-- The events of a tenant after a position, for feeds. Error KS021 where the cursor is of a history that has been lost:
-- whoever has an event's leaf has seen that event, and nothing else can stand there.
create function kos.read_feed(tenant uuid, after bigint, seen_leaf bytea, at_most integer)
returns table ("position" bigint, event_type text, schema_name text, table_name text, operation "char", key text[], event_data jsonb,
               incarnation integer, transaction xid8, ends_transaction boolean, leaf bytea, occurred_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  here bytea;
begin
  if seen_leaf is not null then
    select e.leaf into here from kos.knowledge_events e where e.tenant_id = tenant and e.position = after;
    if here is distinct from seen_leaf then
      raise exception 'the log of % has diverged at or before position %', tenant, after
        using errcode = 'KS021', hint = 'begin again from a position before the restore or promotion';
    end if;
  end if;
  return query
    select e.position, kos.event_type(s.table_name, e.operation), s.schema_name, s.table_name, e.operation, e.key,
           kos.event_data(s.columns, e.image), e.incarnation, e.transaction,
           lead(e.transaction) over (order by e.position) is distinct from e.transaction, e.leaf, e.occurred_at
      from (select * from kos.knowledge_events k where k.tenant_id = tenant and k.position > after
             order by k.position limit at_most + 1) e
      join kos.shapes s using (shape_id)
     order by e.position
     limit at_most;
end $$;
grant execute on function kos.read_feed(uuid, bigint, bytea, integer) to kos_app, kos_operator, kos_auditor;
