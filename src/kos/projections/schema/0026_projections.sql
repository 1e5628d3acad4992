-- Projections: what the stores that follow the log need to know of it.
-- oldest library: 1
--
-- How far a projection is stands in its own store, with what it stands for. Its cursor (kos.feed_cursors, as
-- "projection.NAME") follows: it says what the store has confirmed, for readers who wait for it, and for who asks how far
-- it is behind.

-- The store that a projection's cursors tell of: if another one answers, they tell of what is gone.
create table kos.projection_stores (
  projection text primary key check (projection ~ '^[a-z0-9][a-z0-9._-]{0,50}$'),
  identity   text not null,
  noted_at   timestamptz not null default clock_timestamp()
);

-- Rows whose changes a store won't have. The others of the tenant go on; of these, nothing from `position` on is applied.
create table kos.projection_parked (
  projection  text not null,
  tenant_id   uuid not null,
  schema_name text not null,
  table_name  text not null,
  key         text[] not null,
  position    bigint not null,
  reason      text not null,
  parked_at   timestamptz not null default clock_timestamp(),
  tried_at    timestamptz not null default clock_timestamp(),
  primary key (projection, tenant_id, schema_name, table_name, key)
);

-- The logged tables that a generation was made from: where there are others now, its rows of before are not in it. And
-- how often one was made.
create table kos.projection_made (
  projection text not null,
  tenant_id  uuid not null,
  tables     text not null,
  times      bigint not null default 1,
  made_at    timestamptz not null default clock_timestamp(),
  primary key (projection, tenant_id)
);

-- Tenants that are no more, for each projection that has something of them.
create table kos.projection_leavers (
  projection text not null,
  tenant_id  uuid not null,
  left_at    timestamptz not null default clock_timestamp(),
  primary key (projection, tenant_id)
);

do $$
declare
  name text;
begin
  foreach name in array array['projection_stores', 'projection_parked', 'projection_made', 'projection_leavers'] loop
    execute format('alter table kos.%I enable row level security, force row level security', name);
    execute format('create policy operator_access on kos.%I for all to kos_operator, kos_owner using (true)', name);
    execute format('create policy auditor_access on kos.%I for select to kos_auditor using (true)', name);
    execute format('grant select, insert, update, delete on kos.%I to kos_operator', name);
    execute format('grant select on kos.%I to kos_auditor', name);
  end loop;
end $$;
-- Readers with a bookmark believe the cursor of a projection: an application sees it, and does not move it.
create policy of_projections_insert on kos.feed_cursors as restrictive for insert to kos_app with check (not starts_with(feed, 'projection.'));
create policy of_projections_update on kos.feed_cursors as restrictive for update to kos_app using (not starts_with(feed, 'projection.'));
create policy of_projections_delete on kos.feed_cursors as restrictive for delete to kos_app using (not starts_with(feed, 'projection.'));
comment on table kos.projection_parked is 'Rows that a projection leaves as they were, since its store refuses their changes.';

-- The lock of what one does about a tenant in a projection, and of its rebuilding.
create function kos.projection_key(projection text, tenant uuid, purpose text default 'apply') returns bigint
language sql immutable parallel safe
return pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', 'kos projection', projection, tenant::text, purpose), 0);

-- The end of the entered tenant's log. What a later statement of a READ COMMITTED transaction reads has everything up to
-- there, so a value that was read after this question may be kept under that position. `has_written`: what is read may
-- be this transaction's own, which nobody else is to see.
create function kos.log_head(out incarnation integer, out "position" bigint, out has_written boolean)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select s.incarnation, s.position, pg_current_xact_id_if_assigned() is not null
    from kos.newest_seal(kos.current_tenant_id()) s
$$;
grant execute on function kos.log_head() to kos_app, kos_persona, kos_operator;

-- Rows as they were at a position, by their keys, as the log has them: text by the columns that the table has now. What
-- was not there then is not returned. Each is found by the index that tells a row's events. Where a table is logged
-- without its rows of before ("lazy"), each change has the row as it was: so it tells of the position before it.
create function kos.rows_at(tenant uuid, at bigint, schema_name text, table_name text, keys jsonb)
returns table (key text[], data jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with logged as materialized (
    select kos.logged_id_of(rows_at.schema_name, rows_at.table_name) as id
  ), layout as materialized (
    select kos.columns_at(rows_at.tenant, l.id, 9223372036854775807) as names from logged l
  ), shape as materialized (
    select s.shape_id, s.table_name, array(select l.names ->> c.id from unnest(s.column_ids) with ordinality c (id, number) order by c.number) as names,
           array(select c.description ->> 'name' from jsonb_array_elements(s.columns) with ordinality c (description, number)
                  order by c.number) as written
      from kos.shapes s, layout l where s.logged_id = (select id from logged)
  ), called as materialized (
    select distinct s.table_name from shape s
  ), emptied as materialized (
    select coalesce(max(t.position), 0) as position
      from called c
      join kos.knowledge_events t on t.tenant_id = rows_at.tenant and t.aggregate_id = kos.aggregate_of(c.table_name, '{}', '{}')
     where t.operation = 'T' and t.position <= rows_at.at and t.shape_id in (select s.shape_id from shape s)
  ), asked as materialized (
    select k.key, c.table_name, kos.aggregate_of(c.table_name, k.key, array_remove(k.key, rows_at.tenant::text)) as aggregate_id
      from (select array(select jsonb_array_elements_text(e.key)) as key from jsonb_array_elements(rows_at.keys) e (key)) k
     cross join called c
  ), found as materialized (
    -- Row by row, by their index, whatever is known of how many events there are: else all of the log may be read. Tables
    -- of one name in several schemas share a row's events.
    select a.key, e.*
      from asked a
     cross join lateral (
       select e.position, e.operation, e.shape_id, e.before, e.image
         from kos.knowledge_events e
        where e.tenant_id = rows_at.tenant and e.aggregate_id = a.aggregate_id and e.key = a.key
          and e.position > (select position from emptied) and e.position <= rows_at.at
          and e.shape_id in (select s.shape_id from shape s where s.table_name = a.table_name)
       offset 0) e
  ), next as materialized (
    select distinct on (a.key) a.key, e.*
      from asked a
     cross join lateral (
       select e.position, e.shape_id, e.before
         from kos.knowledge_events e
        where e.tenant_id = rows_at.tenant and e.aggregate_id = a.aggregate_id and e.key = a.key
          and e.position > (select position from emptied) and e.position > rows_at.at
          and e.shape_id in (select s.shape_id from shape s where s.table_name = a.table_name)
        order by e.position
        limit 1) e
     where not exists (select from found f where f.key = a.key)
     order by a.key, e.position
  ), events as materialized (
    select e.key, e.position, e.operation,
           case when e.before is null then '{}' else kos.renamed_data(s.names, s.written, e.before) end
             || kos.renamed_data(s.names, s.written, e.image) as data
      from found e
      join shape s on s.shape_id = e.shape_id
  )
  select f.key, kos.masked_data(f.data)
    from (select e.key, kos.overlay(e.operation, e.data order by e.position) as data from events e group by e.key
          union all
          -- Of a row that has no event yet: what the first one says it was.
          select n.key, kos.renamed_data(s.names, s.written, n.before)
            from next n
            join shape s on s.shape_id = n.shape_id
           where n.before is not null) f
   where f.data is not null
$$;
grant execute on function kos.rows_at(uuid, bigint, text, text, jsonb) to kos_operator;

-- The rows of one tenant in a logged table, with keys and values as the log has them; `columns` null: all. For a
-- snapshot: everything must be sealed in it.
create function kos.rows_of(target regclass, tenant uuid, columns text[] default null)
returns table (key text[], data jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set "DateStyle" = 'ISO, YMD' set "IntervalStyle" = 'postgres'
set "TimeZone" = 'UTC' set extra_float_digits = 1 set bytea_output = 'hex' set lc_monetary = 'C' as $$
declare
  logged kos.logged_tables := kos.logged(target);
  owner_of_row text := kos.tenant_expression(target, 'n');
  names text[];
  read text;
begin
  select coalesce(array_agg(c.name order by c.number), '{}'),
         coalesce(string_agg(case when logged.sensitive ->> c.name = 'encrypted' then format('case when n.%I is distinct from null then ''[encrypted]'' end', c.name)
                                  else kos.compared_value(c.name, c.type_oid, c.escapes, logged.sensitive ->> c.name, owner_of_row) end, ', ' order by c.number), '')
    into names, read
    from kos.image_columns(target) c
   where c.name = any (columns) or columns is null;
  return query execute format('select (%s) collate "default", jsonb_object($1, array[%s]::text[]) from %s n where %s = $2',
                              kos.key_expression(target, '{n}'), read, target, owner_of_row)
    using names, tenant;
end $$;
grant execute on function kos.rows_of(regclass, uuid, text[]) to kos_operator;

-- As before (0023), and the projections are told.
create or replace function kos.forget_log(tenant uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(kos.all_logs_key());
  perform pg_advisory_xact_lock(kos.log_key(tenant));
  -- Each that there is, for one that is being made just now has no cursor yet; and each that has one.
  insert into kos.projection_leavers (projection, tenant_id)
    select p.projection, forget_log.tenant from kos.projection_stores p
    union
    select substr(c.feed, 12), c.tenant_id from kos.feed_cursors c where c.tenant_id = tenant and starts_with(c.feed, 'projection.')
    on conflict do nothing;
  delete from kos.pending_1 where tenant_id = tenant;
  delete from kos.pending_2 where tenant_id = tenant;
  delete from kos.knowledge_events where tenant_id = tenant;
  delete from kos.seals where tenant_id = tenant;
  delete from kos.tenant_keys where tenant_id = tenant;
  delete from kos.feed_cursors where tenant_id = tenant;
  delete from kos.projection_parked where tenant_id = tenant;
  delete from kos.projection_made where tenant_id = tenant;
end $$;

-- Whom each projection follows in this database, what it has parked, how often it was made for a tenant, and for how many
-- somebody makes it just now: that is who holds the lock for it.
create function kos.projection_status() returns table (projection text, tenants bigint, parked bigint, rebuilds bigint, making bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with followed as (
    select substr(c.feed, 12) as name, count(*) as tenants from kos.feed_cursors c where starts_with(c.feed, 'projection.') group by 1
  ), refused as (
    select p.projection as name, count(*) as parked from kos.projection_parked p group by 1
  ), made as (
    select m.projection as name, sum(m.times)::bigint as rebuilds from kos.projection_made m group by 1
  ), locked as materialized (
    select (l.classid::bigint << 32) | l.objid::bigint as key
      from pg_locks l
     where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
  ), tenant as materialized (
    select t.tenant_id from kos.log_tenants() t (tenant_id) where exists (select from locked)
  ), known as (
    select s.projection as name from kos.projection_stores s union select f.name from followed f union select m.name from made m
  )
  select k.name, coalesce(f.tenants, 0), coalesce(r.parked, 0), coalesce(m.rebuilds, 0),
         (select count(*) from tenant t where kos.projection_key(k.name, t.tenant_id, 'rebuild') in (select l.key from locked l))
    from (select name from known union select name from refused) k
    left join followed f using (name)
    left join refused r using (name)
    left join made m using (name)
   order by 1
$$;
grant execute on function kos.projection_status() to kos_operator, kos_auditor;
