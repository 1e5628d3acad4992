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

-- The foreign keys that refer to a table, through what depends on it: pg_constraint has no index that leads to them.
-- Inlined, so every name is qualified.
create function kos.referring_keys(target regclass) returns setof pg_catalog.pg_constraint
language sql stable as $$
  select f.*
    from (select distinct d.objid from pg_catalog.pg_depend d
           where d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = target
             and d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass offset 0) d
   cross join lateral (select c.* from pg_catalog.pg_constraint c where c.oid = d.objid offset 0) f
   where f.contype = 'f' and f.confrelid = target
$$;
grant execute on function kos.referring_keys(regclass) to kos_operator;

-- As before (0018). Every session asks when it writes to a table for the first time, and read all constraints twice, of
-- which a database has a hundred for each tenant's schema. Partitions count: what stands on one of them only runs inside
-- of a statement on the whole table too.
create or replace function kos.has_nested_changes(target regclass) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return (
    with part as materialized (select target as relation union select relid from pg_partition_tree(target))
    select exists (
      select from part p
       cross join lateral (select from pg_trigger t
                            where t.tgrelid = p.relation and not t.tgisinternal and t.tgname !~ '^[!~]?kos_' and t.tgenabled <> 'D' offset 0) t
    ) or exists (
      select from part p
       cross join lateral kos.referring_keys(p.relation) f
       where (f.confdeltype in ('c', 'n', 'd') or f.confupdtype in ('c', 'n', 'd'))
         and (f.conrelid in (select relation from part)
              or exists (select from pg_trigger t where t.tgrelid = f.conrelid and not t.tgisinternal and t.tgname !~ '^[!~]?kos_')
              or exists (select from kos.referring_keys(f.conrelid) g
                          where g.confdeltype in ('c', 'n', 'd') or g.confupdtype in ('c', 'n', 'd')))
    ) or exists (
      -- One statement on the other table can change a row here more than once, and the transition tables are shared.
      select from part p
       cross join lateral (select from pg_constraint f
                            where f.conrelid = p.relation and f.contype = 'f'
                              and (f.confdeltype in ('n', 'd') or f.confupdtype in ('c', 'n', 'd')) offset 0) f
    ));
end $$;

-- As before (0007, 0019), and planned once per session: taking a table in asks each of them dozens of times, and what is
-- written in SQL is planned anew each time. A new schema's tenant waits for it.
create or replace function kos.image_columns(target regclass)
returns table (number integer, name text, type text, type_oid oid, varies boolean, generated boolean, escapes boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  return query
  select row_number() over (order by a.attnum)::integer, a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid,
         a.attlen = -1, a.attgenerated <> '',
         t.typcategory in ('S', 'U', 'E', 'X', 'Z') and a.atttypid <> all ('{uuid,json,jsonb}'::regtype[])
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
   where a.attrelid = target and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v';
end $$;

-- What a domain is made of in the end; any other type is itself.
create function kos.base_type(type oid) returns oid
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  base oid := type;
begin
  while exists (select from pg_type t where t.oid = base and t.typtype = 'd') loop
    base := (select t.typbasetype from pg_type t where t.oid = base);
  end loop;
  return base;
end $$;

-- The expression for a value's text: what its type's output function gives. A cast to text can be anybody's function,
-- where its type is no type of PostgreSQL itself, and capture runs as kos_owner. Owners of tables run it too, under search
-- paths of their own.
create function kos.text_of(value text, type oid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  -- "is null" would be true of a composite value whose fields all are.
  return case when kos.base_type(type) < 16384 then value || '::text'
              else format('case when %1$s is not distinct from null then null else pg_catalog.format(''%%s'', %1$s) end', value) end;
end $$;

drop function kos.image_value(text, text, boolean, text, text), kos.compared_value(text, boolean, text, text);
create function kos.image_value(side text, name text, type oid, escapes boolean, sensitive text, tenant text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  value text := kos.text_of(format('%s.%I', side, name), type);
begin
  return case
    when sensitive = 'encrypted' then format('coalesce(kos.encrypt(%s, %L, %s), E''\\N'')', tenant, name, value)
    when sensitive = 'absent' then format('case when %1$s.%2$I is not distinct from null then E''\\N'' else E''\\A'' end', side, name)
    when sensitive = 'digest' then format('coalesce(E''\\H'' || encode(sha256(convert_to(%s::text || %s, ''UTF8'')), ''hex''), E''\\N'')', tenant, value)
    when escapes then
      format('coalesce(case when starts_with((%1$s) collate "C", E''\\'') then E''\\'' || (%1$s) else %1$s end, E''\\N'')', value)
    else format('coalesce(%s, E''\\N'')', value) end;
end $$;

create function kos.compared_value(name text, type oid, escapes boolean, sensitive text, tenant text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return case when sensitive in ('digest', 'absent') then format('kos.masked(%s)', kos.image_value('n', name, type, escapes, sensitive, tenant))
              else kos.text_of(format('n.%I', name), type) end;
end $$;

create or replace function kos.image_of(target regclass, side text, earlier text, tenant text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return (
    select format('array[%s]::text[]', string_agg(
      case when earlier is not null and (c.varies or l.sensitive ->> c.name = 'encrypted') and c.name <> all (l.key_columns)
        then format(case when c.type_oid in ('text'::regtype, 'varchar'::regtype)
                      then 'case when %1$s.%4$I is null or %2$s.%3$I collate "C" is distinct from %1$s.%3$I then %5$s end'
                      else 'case when %1$s.%4$I is null or record_image_ne(row(%2$s.%3$I), row(%1$s.%3$I)) then %5$s end' end,
                    earlier, side, c.name, l.key_columns[1], v.value)
        else v.value end, ', ' order by c.number))
      from kos.logged(target) l
      cross join kos.image_columns(target) c
      cross join lateral (select kos.image_value(side, c.name, c.type_oid, c.escapes, l.sensitive ->> c.name, tenant) as value) v);
end $$;

create or replace function kos.tenant_expression(target regclass, side text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return (
    select case
      when l.tenant_column is null then 'kos.no_tenants_log()'
      when a.atttypid = 'uuid'::regtype and a.attnotnull then format('%s.%I', side, l.tenant_column)
      when a.atttypid = 'uuid'::regtype then format('coalesce(%s.%I, kos.no_tenants_log())', side, l.tenant_column)
      else format('kos.tenant_of(%s)', kos.text_of(format('%s.%I', side, l.tenant_column), a.atttypid)) end
      from kos.logged(target) l
      left join pg_attribute a on a.attrelid = l.relation and a.attname = l.tenant_column);
end $$;

create or replace function kos.key_expression(target regclass, sides text[]) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return (
    select format('array[%s]::text[]', string_agg(kos.text_of(
             case when cardinality(sides) = 1 then format('%s.%I', sides[1], k.name)
               else format('coalesce(%s.%I, %s.%I)', sides[1], k.name, sides[2], k.name) end, a.atttypid), ', ' order by k.number))
      from kos.logged(target) l
      cross join unnest(l.key_columns) with ordinality k (name, number)
      join pg_attribute a on a.attrelid = l.relation and a.attname = k.name);
end $$;

-- No operator takes a domain over an enum, nor surely one over another type that is not PostgreSQL's own: of those the
-- texts are compared alone, since a cast would need a right to use the schema of the type.
create or replace function kos.same_value(of_table regclass, one text, other text, column_name text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  given record;
  base oid;
  equal_in text := 'pg_catalog';
  same_text text;
begin
  select a.atttypid as type, coalesce(c.collisdeterministic, true) as is_deterministic into given
    from pg_attribute a left join pg_collation c on c.oid = a.attcollation
   where a.attrelid = of_table and a.attname = column_name and not a.attisdropped;
  base := kos.base_type(given.type);
  one := format('%s.%I', one, column_name);
  other := format('%s.%I', other, column_name);
  same_text := format('(%s) collate "C" = (%s) collate "C"', kos.text_of(one, given.type), kos.text_of(other, given.type));
  if base >= 16384 and base <> given.type then
    return same_text;
  elsif base >= 16384 then
    equal_in := coalesce((
      select n.nspname
        from pg_opclass k
        join pg_amop m on m.amopfamily = k.opcfamily and m.amopstrategy = 3 and m.amoplefttype = k.opcintype and m.amoprighttype = k.opcintype
        join pg_operator o on o.oid = m.amopopr
        join pg_namespace n on n.oid = o.oprnamespace
       where k.opcdefault and k.opcintype = base and k.opcmethod = (select oid from pg_am where amname = 'btree')
         and o.oprname = '='), equal_in);
  end if;
  return format('%s operator(%I.=) %s', one, equal_in, other)
         || case when exists (select from pg_type t where t.oid = base and t.typtype = 'e')
                   or (base = any ('{bool,int2,int4,int8,uuid,date,timestamp,timestamptz,bytea,text,varchar,name}'::regtype[])
                       and given.is_deterministic)
              then '' else ' and ' || same_text end;
end $$;

create or replace function kos.compare_log(target regclass)
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
         string_agg(kos.compared_value(c.name, c.type_oid, c.escapes, logged.sensitive ->> c.name, tenant), ', ' order by c.number),
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

create or replace function kos.known_columns(target regclass, logged kos.logged_tables) returns table (number integer, name text, id text)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  here constant integer := kos.origin();
begin
  return query
  select c.number, c.name,
         coalesce(case when logged.origin = here
                    then (select logged.column_ids ->> n.key from jsonb_each_text(logged.numbers) n where n.value::smallint = a.attnum)
                    else logged.column_ids ->> c.name end,
                  format('%s.%s.%s', here, logged.relation::oid, a.attnum))
    from kos.image_columns(target) c
    left join pg_attribute a on a.attrelid = logged.relation and a.attname = c.name;  -- a partition counts its own
end $$;

-- Mostly no column has another name than when it was noted.
create or replace function kos.logged(target regclass) returns kos.logged_tables
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  found kos.logged_tables;
  present text[];
begin
  select * into found from kos.logged_tables l where l.relation = coalesce(pg_partition_root(target), target);
  if found.origin = kos.origin() and not exists (
       select from unnest(found.key_columns || found.tenant_column || array(select jsonb_object_keys(found.sensitive))) w (name)
        where w.name is not null and not exists (
          select from pg_attribute a where a.attrelid = found.relation and a.attname = w.name and not a.attisdropped
                                       and a.attnum = (found.numbers ->> w.name)::smallint)) then
    return found;
  end if;
  present := array(select kos.present_name(found, k.name) from unnest(found.key_columns) with ordinality k (name, number) order by k.number);
  present := case when array_position(present, null) is null then present else kos.key_of(found.relation) end;
  if present is null or (found.tenant_column is not null and kos.present_name(found, found.tenant_column) is null) then
    return null;
  end if;
  found.tenant_column := kos.present_name(found, found.tenant_column);
  found.sensitive := (select coalesce(jsonb_object_agg(n.present, s.value), '{}')
                        from jsonb_each(found.sensitive) s
                        cross join lateral kos.present_name(found, s.key) n (present)
                       where n.present is not null);
  found.key_columns := present;
  return found;
end $$;

create or replace function kos.layout(target regclass, root regclass) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  logged kos.logged_tables := kos.logged(target);
  nested boolean := kos.has_nested_changes(target) or (root <> target and kos.has_nested_changes(root));
begin
  return (select md5(concat_ws(' ', target, root, logged.relation, logged.key_columns, logged.tenant_column, logged.sensitive, logged.baseline,
                               nested, string_agg(concat_ws(' ', c.name, c.type, c.generated, a.attnum), ',' order by c.number)))
            from kos.image_columns(target) c
            join pg_attribute a on a.attrelid = target and a.attname = c.name);
end $$;

-- As before (0008), by what hangs on the table and on the name: a database has as many triggers as its tenants' schemas
-- have tables, and each new schema read them all.
create or replace function kos.capture_name(target regclass) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return (
    select coalesce(
      (select min(f.proname::text)
         from pg_trigger t join pg_proc f on f.oid = t.tgfoid
        where t.tgrelid = target and t.tgname ~ '^kos_capture_' and f.pronamespace = 'kos'::regnamespace),
      case when exists (
             select from (select p.oid from pg_proc p where p.proname = first.name and p.pronamespace = 'kos'::regnamespace offset 0) f
              cross join lateral (select d.objid from pg_depend d
                                   where d.refclassid = 'pg_proc'::regclass and d.refobjid = f.oid and d.classid = 'pg_trigger'::regclass offset 0) d
               join pg_trigger t on t.oid = d.objid
              where t.tgname ~ '^kos_capture_')
           then 'capture_' || md5(first.name || ' ' || target::oid) else first.name end)
      from (select 'capture_' || md5(format('%I.%I', n.nspname, c.relname)) as name
              from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target) first);
end $$;

-- As before (0008). The statements of both turns are composed once: they differ in the table they write to, and composing
-- them is nearly all that taking in a table costs, as for each table of a tenant that gets a schema of its own.
create or replace function kos.make_capture(target regclass) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $make$
declare
  branches text := '';
  numbers text := '';
  number integer := 0;
  operation text;
  statement text;
  body text;
begin
  -- One number says which statement it is: each expression that plpgsql has to make ready in a transaction costs as
  -- much as a column of the image.
  foreach operation in array array['UPDATE', 'INSERT', 'DELETE', 'TRUNCATE'] loop
    numbers := numbers || format(' when %L then %s', operation, number);
    statement := kos.capture_statement(target, operation, 'pending_1');
    for turn in 1..2 loop
      branches := branches || format(E'if kos_way = %s then\n    %s;\n  els', number + turn,
                                     regexp_replace(statement, '^insert into kos\.pending_1 ', format('insert into kos.pending_%s ', turn)));
    end loop;
    number := number + 2;
  end loop;
  body := format($body$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when %1$s then 0
    else case tg_op%2$s end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  %3$sif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
%4$s  return null;
end $body$, kos.is_changed(target), numbers, branches, kos.fence_again(target));
  -- Quoted, for names of columns can hold whatever stands around the text of a function.
  execute format('create or replace function kos.%I() returns trigger language plpgsql volatile security definer '
                 'set search_path = pg_catalog, pg_temp%s as %L', kos.capture_name(target),
                 (select string_agg(format(' set %I = %L', s.name, s.value), '') from kos.text_settings(target) s), body);
end $make$;

-- As before (0011), of a share of the logged tables.
create function kos.refresh_captures(shares integer, share bigint) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  part record;
  made integer := 0;
begin
  perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 2);
  for part in
    select coalesce(t.relid, l.relation) as relation
      from kos.logged_tables l
      left join pg_partition_tree(l.relation) t on true
      join pg_proc f on f.proname = kos.capture_name(coalesce(t.relid, l.relation)) and f.pronamespace = 'kos'::regnamespace
     where l.logged_id % shares = share % shares
       and strpos(f.prosrc, kos.is_changed(coalesce(t.relid, l.relation))) = 0 and (kos.logged(l.relation)).relation is not null
  loop
    perform kos.note_columns(kos.logged(part.relation));
    perform kos.make_capture(part.relation);
    made := made + 1;
  end loop;
  return made;
end $$;

create or replace function kos.refresh_captures() returns integer
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select kos.refresh_captures(1, 0)
$$;

-- As before (0011), and who still has a function is asked only where one has lost its triggers.
create or replace function kos.forget_dropped_tables() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  capture text;
begin
  perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 2);
  delete from kos.logged_tables l where not exists (select from pg_class c where c.oid = l.relation);
  for capture in
    with without_trigger as materialized (
      select p.proname from pg_proc p
       where p.pronamespace = 'kos'::regnamespace and p.proname ~ '^capture_[0-9a-f]{32}$' and p.prorettype = 'trigger'::regtype
         and not exists (select from pg_trigger t where t.tgfoid = p.oid)
    )
    select w.proname from without_trigger w
     -- Of one that is noted: its triggers were dropped by somebody, and broken_captures() says so.
     where w.proname <> all (array(select kos.capture_name(coalesce(t.relid, l.relation))
                                     from kos.logged_tables l left join pg_partition_tree(l.relation) t on true))
  loop
    execute format('drop function kos.%I()', capture);
  end loop;
end $$;

-- As before (0011), but of some 200 tables at a time, others by chance every time: a look at one costs a millisecond, tenants'
-- schemas can have ten thousand, and nobody seals meanwhile. One that has changed is captured slowly until it is its turn.
create or replace function kos.keep_log() returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  noted integer;
  nothing text;
begin
  -- A server that was restored or promoted is told apart at once, not with its next change; and here, where that is
  -- committed at once: a seal that begins an incarnation keeps all others waiting until it ends.
  noted := kos.current_incarnation();
  -- Each by itself: what fails for one table stops neither partitions nor the giving back of space, and is told every
  -- time in the server's log; kos.broken_captures() names the table.
  begin
    nothing := kos.forget_dropped_tables();
    noted := kos.refresh_captures((select count(*) / 200 + 1 from kos.logged_tables)::integer,
                                  (random() * 1000000)::bigint);
  exception
    when lock_not_available then null;  -- another time
    when others then raise warning 'captures can''t be made anew: % (%)', sqlerrm, sqlstate;
  end;
  begin
    noted := kos.make_log_partitions();
  exception when lock_not_available then null;
  end;
  return kos.rotate_pending();
end $$;

-- As before (0009), and also inside of ranges and composite types, however deep, and of all types that `kos adopt` refuses.
create or replace function kos.local_column(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive part (number, name, shown, type) as (
    select i.number, i.name, i.type, i.type_oid from kos.image_columns(target) i
    union
    select p.number, p.name, p.shown, made.of
      from part p
      join pg_type t on t.oid = p.type
     cross join lateral (
       select t.typbasetype where t.typtype = 'd'
       union all select t.typelem where t.typelem <> 0 and t.typcategory = 'A'
       union all select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
       union all select a.atttypid from pg_attribute a
                  where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) made (of)
  )
  select format('%s (%s)', p.name, p.shown)
    from part p
    join pg_type t on t.oid = p.type
   where t.typtype = 'p' or t.typnamespace = 'pg_catalog'::regnamespace and t.typtype = 'b'
         and (t.typname ~ '^reg' or t.typname in ('oid', 'xid', 'xid8', 'cid', 'tid', 'pg_snapshot', 'txid_snapshot'))
   order by p.number limit 1
$$;

-- What captures such values now is made anew.
do $$
declare
  part regclass;
begin
  perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 2);
  for part in
    select p from kos.logged_tables l cross join kos.parts_of(l.relation) p
     where exists (select from pg_class c where c.oid = l.relation) and (kos.logged(p)).relation is not null
       and exists (select from kos.image_columns(p) c where c.type_oid >= 16384)
  loop
    perform kos.note_columns(kos.logged(part));
    perform kos.make_capture(part);
  end loop;
end $$;
