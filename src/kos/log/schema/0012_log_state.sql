-- What the log says a table holds, and whether the table agrees.
-- oldest library: 1

create function kos.overlay_step(state jsonb, operation "char", data jsonb) returns jsonb
language sql immutable parallel safe
return case operation when 'D' then null when 'U' then coalesce(state, '{}') || data else data end;

-- The state of one row after events in order.
create aggregate kos.overlay("char", jsonb) (sfunc = kos.overlay_step, stype = jsonb);

-- The rows of one table of one tenant as of a position, as the log has them: key, and text by column.
create function kos.log_state(tenant uuid, schema_name text, table_name text, at bigint)
returns table (key text[], data jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select e.key, kos.overlay(e.operation, kos.event_data(s.columns, e.image) order by e.position)
    from kos.knowledge_events e
    join kos.shapes s using (shape_id)
   where e.tenant_id = log_state.tenant and e.position <= log_state.at and e.operation <> 'T'
     and s.schema_name = log_state.schema_name and s.table_name = log_state.table_name
     and e.position > coalesce((
       select max(t.position) from kos.knowledge_events t join kos.shapes z using (shape_id)
        where t.tenant_id = log_state.tenant and t.operation = 'T' and t.position <= log_state.at
          and z.schema_name = log_state.schema_name and z.table_name = log_state.table_name), 0)
   group by e.key
  having kos.overlay(e.operation, kos.event_data(s.columns, e.image) order by e.position) is not null
$$;

-- Rows of a logged table that the log knows otherwise: writes that no trigger saw. Everything must be sealed, in the
-- snapshot that this runs in (a cut). A column that the log has never seen, as after a rename, is not compared.
create function kos.compare_log(target regclass)
returns table (tenant_id uuid, key text[], fault text, logged jsonb, found jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set "DateStyle" = 'ISO, YMD' set "IntervalStyle" = 'postgres'
set "TimeZone" = 'UTC' set extra_float_digits = 1 set bytea_output = 'hex' set lc_monetary = 'C' as $$
declare
  shape kos.shapes;
begin
  select s.* into shape
    from kos.shapes s
    join pg_class c on c.relname = s.table_name
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = s.schema_name
   where c.oid = target
     and s.columns = (select jsonb_agg(jsonb_build_object('name', i.name, 'type', i.type, 'generated', i.generated,
                                                          'sensitive', l.sensitive -> i.name) order by i.number)
                        from kos.logged(target) l, kos.image_columns(target) i);
  return query execute format($query$
    with there as (
      select %1$s as tenant_id, (%2$s) collate "default" as key, kos.event_data($1, (%3$s) collate "default") as data from %4$s n
    ), known as (
      select t.tenant_id, l.key, l.data
        from (select distinct s.tenant_id from kos.seals s) t
        cross join lateral kos.log_state(t.tenant_id, $2, $3, 9223372036854775807) l
    ), common as (
      select coalesce(h.tenant_id, k.tenant_id) as tenant_id, coalesce(h.key, k.key) as key, k.data as logged, h.data as found
        from there h full join known k using (tenant_id, key)
    )
    select c.tenant_id, c.key,
           case when c.found is null then 'it is gone, and the log has no deletion'
                when c.logged is null then 'the log has never seen it' else 'the log has other values' end, c.logged, c.found
      from common c
     where c.found is null or c.logged is null
        or exists (select from jsonb_each(c.found) f where c.logged ? f.key and c.logged -> f.key <> f.value)
    $query$, kos.tenant_expression(target, 'n'), kos.key_expression(target, '{n}'),
    kos.image_of(target, 'n', null, kos.tenant_expression(target, 'n')), target)
    using shape.columns, shape.schema_name, shape.table_name;
end $$;
grant execute on function kos.log_state(uuid, text, text, bigint) to kos_operator, kos_auditor;
grant execute on function kos.compare_log(regclass) to kos_operator;
