-- What the log says a table holds, and whether the table agrees.
-- oldest library: 1

create function kos.overlay_step(state jsonb, operation "char", data jsonb) returns jsonb
language sql immutable parallel safe
return case operation when 'D' then null when 'U' then coalesce(state, '{}') || data else data end;

-- The state of one row after events in order.
create aggregate kos.overlay("char", jsonb) (sfunc = kos.overlay_step, stype = jsonb);

-- The values of an image by column as they stand there.
create function kos.stored_data(columns jsonb, image text[]) returns jsonb
language sql immutable parallel safe
return (
  select coalesce(jsonb_object_agg(c.description ->> 'name', v.value), '{}')
    from jsonb_array_elements(columns) with ordinality c (description, number)
    join unnest(image) with ordinality v (value, number) using (number)
   where v.value is not null);

create function kos.masked_data(stored jsonb) returns jsonb
language sql immutable parallel safe
return (select coalesce(jsonb_object_agg(s.key, kos.masked(s.value)), '{}') from jsonb_each_text(stored) s);

-- The rows of one table of one tenant as of a position, as the log has them: key, and stored values by column.
-- `logged_id` says which table, whatever its name was then.
create function kos.stored_state(tenant uuid, logged_id integer, at bigint)
returns table (key text[], data jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select e.key, kos.overlay(e.operation, kos.stored_data(s.columns, e.image) order by e.position)
    from kos.knowledge_events e
    join kos.shapes s using (shape_id)
   where e.tenant_id = stored_state.tenant and e.position <= stored_state.at and e.operation <> 'T'
     and s.logged_id = stored_state.logged_id
     and e.position > coalesce((
       select max(t.position) from kos.knowledge_events t join kos.shapes z using (shape_id)
        where t.tenant_id = stored_state.tenant and t.operation = 'T' and t.position <= stored_state.at
          and z.logged_id = stored_state.logged_id), 0)
   group by e.key
  having kos.overlay(e.operation, kos.stored_data(s.columns, e.image) order by e.position) is not null
$$;

-- The same as everybody may see them: text by column.
create function kos.log_state(tenant uuid, logged_id integer, at bigint)
returns table (key text[], data jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select s.key, kos.masked_data(s.data) from kos.stored_state(log_state.tenant, log_state.logged_id, log_state.at) s
$$;

-- A column's value as text, of what compare_log compares: in clear, where an image has it encrypted.
create function kos.compared_value(name text, escapes boolean, sensitive text, tenant text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case when sensitive in ('digest', 'absent') then format('kos.masked(%s)', kos.image_value('n', name, escapes, sensitive, tenant))
              else format('n.%I::text', name) end
$$;

-- Which table a name means: the one that is called so now, or else the one that was so called last.
create function kos.logged_id_of(schema_name text, table_name text) returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    (select l.logged_id
       from kos.logged_tables l
       join pg_class c on c.oid = l.relation
       join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = logged_id_of.schema_name and c.relname = logged_id_of.table_name),
    (select z.logged_id from kos.shapes z
      where z.schema_name = logged_id_of.schema_name and z.table_name = logged_id_of.table_name
      order by z.shape_id desc limit 1))
$$;

create function kos.log_state(tenant uuid, schema_name text, table_name text, at bigint)
returns table (key text[], data jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select s.key, s.data from kos.log_state(tenant, kos.logged_id_of(schema_name, table_name), at) s
$$;

-- Rows of a logged table that the log knows otherwise: writes that no trigger saw. Everything must be sealed, in the
-- snapshot that this runs in (a cut). A column that the log has never seen, as after a rename, is not compared, and
-- neither is a value whose key is erased. Encrypted columns are compared in clear, and not shown so.
create function kos.compare_log(target regclass)
returns table (tenant_id uuid, key text[], fault text, logged jsonb, found jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set "DateStyle" = 'ISO, YMD' set "IntervalStyle" = 'postgres'
set "TimeZone" = 'UTC' set extra_float_digits = 1 set bytea_output = 'hex' set lc_monetary = 'C' as $$
declare
  logged kos.logged_tables := kos.logged(target);
  tenant text := kos.tenant_expression(target, 'n');
  names text[];
  compared text;
  hidden jsonb;
begin
  select array_agg(c.name order by c.number),
         string_agg(kos.compared_value(c.name, c.escapes, logged.sensitive ->> c.name, tenant), ', ' order by c.number),
         coalesce(jsonb_object_agg(c.name, '[encrypted]') filter (where logged.sensitive ->> c.name = 'encrypted'), '{}')
    into names, compared, hidden
    from kos.image_columns(target) c;
  -- Expressions of one query, and no function that takes a row's values: its parameters could be printed in the server's log.
  return query execute format($query$
    with there as (
      select %1$s as tenant_id, (%2$s) collate "default" as key, jsonb_object($1, array[%3$s]::text[]) as data from %4$s n
    ), known as (
      select t.tenant_id, l.key, kos.masked_data(l.data) as masked, kos.reveal(t.tenant_id, l.data) as data
        from (select distinct s.tenant_id from kos.seals s) t
        cross join lateral kos.stored_state(t.tenant_id, $2, 9223372036854775807) l
    ), common as (
      select coalesce(h.tenant_id, k.tenant_id) as tenant_id, coalesce(h.key, k.key) as key, k.data as logged, h.data as found, k.masked
        from there h full join known k using (tenant_id, key)
    )
    select c.tenant_id, c.key,
           case when c.found is null then 'it is gone, and the log has no deletion'
                when c.logged is null then 'the log has never seen it' else 'the log has other values' end, c.masked, c.found || $3
      from common c
     where c.found is null or c.logged is null
        or exists (select from jsonb_each(c.found) f
                    where c.logged ? f.key and c.logged -> f.key <> f.value and not (c.logged -> f.key = '"[erased]"' and $3 ? f.key))
    $query$, tenant, kos.key_expression(target, '{n}'), compared, target)
    using names, logged.logged_id, hidden;
end $$;
grant execute on function kos.overlay_step(jsonb, "char", jsonb), kos.overlay("char", jsonb) to kos_operator, kos_auditor;
grant execute on function kos.stored_data(jsonb, text[]), kos.masked_data(jsonb) to kos_operator, kos_auditor, kos_mover;
grant execute on function kos.stored_state(uuid, integer, bigint), kos.log_state(uuid, integer, bigint),
  kos.logged_id_of(text, text), kos.log_state(uuid, text, text, bigint) to kos_operator, kos_auditor;
grant execute on function kos.compare_log(regclass) to kos_operator;
