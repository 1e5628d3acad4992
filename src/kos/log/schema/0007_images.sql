-- Images: how rows of a logged table stand in the log, by the names and types that its columns have now.
-- oldest library: 1

-- Columns that a table's images hold, in order. Virtual generated columns are null in transition tables, and follow
-- from the others anyway.
create function kos.image_columns(target regclass)
returns table (number integer, name text, type text, type_oid oid, varies boolean, generated boolean, escapes boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select row_number() over (order by a.attnum)::integer, a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid,
         a.attlen = -1, a.attgenerated <> '',
         -- Text of these types can begin with a backslash, which has a meaning in images.
         t.typcategory in ('S', 'U', 'E', 'X', 'Z') and a.atttypid <> all ('{uuid,json,jsonb}'::regtype[])
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
   where a.attrelid = target and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
$$;

-- Can a statement on this table run others on it before its own capture does? Then images come in another order than
-- the changes, and the row itself is read again. Triggers of the application can, and foreign keys that act on rows of
-- this table or of tables with triggers or actions of their own, or that change rows of this table.
create function kos.has_nested_changes(target regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from pg_trigger t
     where t.tgrelid = target and not t.tgisinternal and t.tgname !~ '^kos_' and t.tgenabled <> 'D'
  ) or exists (
    select from pg_constraint f
     where f.contype = 'f' and f.confrelid = target and (f.confdeltype in ('c', 'n', 'd') or f.confupdtype in ('c', 'n', 'd'))
       and (f.conrelid = target
            or exists (select from pg_trigger t where t.tgrelid = f.conrelid and not t.tgisinternal and t.tgname !~ '^kos_')
            or exists (select from pg_constraint g where g.contype = 'f' and g.confrelid = f.conrelid
                          and (g.confdeltype in ('c', 'n', 'd') or g.confupdtype in ('c', 'n', 'd'))))
  ) or exists (
    -- One statement on the other table can change a row here more than once, and the transition tables are shared.
    select from pg_constraint f
     where f.contype = 'f' and f.conrelid = target and (f.confdeltype in ('n', 'd') or f.confupdtype in ('c', 'n', 'd'))
  )
$$;

-- The root of a partition, or the table itself.
create function kos.root_of(target regclass) returns regclass
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(pg_partition_root(target), target)
$$;

-- The present name of a column that was named when its table was taken into the log; null if it is gone.
create function kos.present_name(logged kos.logged_tables, column_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select a.attname::text
    from pg_attribute a
   where a.attrelid = logged.relation and a.attnum > 0 and not a.attisdropped
     and case when logged.origin = kos.origin() then a.attnum = (logged.numbers ->> column_name)::smallint
              else a.attname = column_name end
$$;

-- How a table or partition is logged, by the names that its columns have now. Null if it is not, or can't be any more:
-- then no statement of an application fails, and kos.broken_captures() says what is lost.
create function kos.logged(target regclass) returns kos.logged_tables
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  found kos.logged_tables;
  present text[];
begin
  select * into found from kos.logged_tables l where l.relation = kos.root_of(target);
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

-- Note the present names of a logged table's columns, and their numbers.
create function kos.note_columns(logged kos.logged_tables) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  update kos.logged_tables l
     set key_columns = logged.key_columns, tenant_column = logged.tenant_column, sensitive = logged.sensitive, origin = kos.origin(),
         numbers = (select jsonb_object_agg(a.attname, a.attnum) from pg_attribute a
                     where a.attrelid = logged.relation and a.attnum > 0 and not a.attisdropped
                       and (a.attname = any (logged.key_columns || logged.tenant_column) or logged.sensitive ? a.attname::text))
   where l.relation = logged.relation
$$;

-- What the generated function of a table depends on. Immutable is not true, and is what makes it free: PostgreSQL asks
-- once when it plans the function's condition, and plans anew after any change of the tables that stand in it.
create function kos.layout(target regclass, root regclass) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  logged kos.logged_tables := kos.logged(target);
begin
  return (select md5(concat_ws(' ', target, root, logged.relation, logged.key_columns, logged.tenant_column, logged.sensitive, logged.baseline,
                               kos.has_nested_changes(target) or kos.has_nested_changes(root),
                               string_agg(concat_ws(' ', c.name, c.type, c.generated), ',' order by c.number)))
            from kos.image_columns(target) c);
end $$;

-- The condition under which a table's function does not know it any more. By number: a name would be looked up, and
-- fail, after the table was renamed. The numbers differ in a dump's copy, whose functions are made anew like others.
create function kos.is_changed(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('kos.layout(%L::regclass, %L::regclass) <> %L', target::oid, kos.root_of(target)::oid, kos.layout(target, kos.root_of(target)))
$$;

-- Which of the two pending tables takes changes now. Asked once per plan, like the layout: turning makes plans anew.
create function kos.turn(switch regclass) returns integer
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  return (select number from kos.pending_turn);
end $$;

-- What a shape says of a table's columns as they are now.
create function kos.described_columns(target regclass, logged kos.logged_tables) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_agg(jsonb_build_object('name', c.name, 'type', c.type, 'generated', c.generated,
                                      'sensitive', logged.sensitive -> c.name) order by c.number)
    from kos.image_columns(target) c
$$;

-- The number of a table's present shape; it is made where it is new.
create function kos.shape_of(target regclass) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  logged kos.logged_tables := kos.logged(target);
  relation record;
  described jsonb;
  fingerprint bytea;
  found_id integer;
begin
  select n.nspname, c.relname into relation
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = logged.relation;
  described := kos.described_columns(target, logged);
  fingerprint := sha256(convert_to(concat_ws(' ', quote_ident(relation.nspname), quote_ident(relation.relname),
                                             logged.key_columns::text, described::text), 'UTF8'));
  select s.shape_id into found_id from kos.shapes s where s.digest = fingerprint and s.logged_id = logged.logged_id;
  if found_id is null then
    insert into kos.shapes (logged_id, schema_name, table_name, key_columns, columns, digest)
    values (logged.logged_id, relation.nspname, relation.relname, logged.key_columns, described, fingerprint)
    on conflict (digest, logged_id) do nothing
    returning shape_id into found_id;
    if found_id is null then
      select s.shape_id into found_id from kos.shapes s where s.digest = fingerprint and s.logged_id = logged.logged_id;
    end if;
  end if;
  return found_id;
end $$;

-- How a value stands in an image: its text, of which a test can always tell null and "unchanged". E'' means the same
-- under each setting of standard_conforming_strings.
create function kos.image_value(side text, name text, escapes boolean, sensitive text, tenant text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case
    when sensitive = 'encrypted' then format('coalesce(kos.encrypt(%s, %L, %s.%I::text), E''\\N'')', tenant, name, side, name)
    when sensitive = 'absent' then format('case when %1$s.%2$I is null then E''\\N'' else E''\\A'' end', side, name)
    when sensitive = 'digest' then
      format('coalesce(E''\\H'' || encode(sha256(convert_to(%3$s::text || %1$s.%2$I::text, ''UTF8'')), ''hex''), E''\\N'')', side, name, tenant)
    when escapes then
      format('coalesce(case when starts_with(%1$s.%2$I::text collate "C", E''\\'') then E''\\'' || %1$s.%2$I::text else %1$s.%2$I::text end, E''\\N'')', side, name)
    else format('coalesce(%s.%I::text, E''\\N'')', side, name)
  end
$$;

-- The settings that a table's values need, so that their text means the same in every session. Each costs a statement
-- about half a microsecond, so types that are known are asked for; the others may need all of them.
create function kos.text_settings(target regclass) returns table (name text, value text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with settings (name, value, types) as (
    values ('DateStyle', 'ISO, YMD', '{date,timestamp,timestamptz}'::regtype[]), ('TimeZone', 'UTC', '{timestamptz}'),
           ('IntervalStyle', 'postgres', '{interval}'), ('extra_float_digits', '1', '{float4,float8}'),
           ('bytea_output', 'hex', '{bytea}'), ('lc_monetary', 'C', '{money}')
  ), types as (
    select distinct c.type_oid as type, t.typtype = 'e' as is_enum
      from kos.image_columns(target) c join pg_type t on t.oid = c.type_oid
  )
  select s.name, s.value
    from settings s
   where exists (
     select from types t
      where t.type = any (s.types)
         or not t.is_enum
            and t.type <> all ('{bool,int2,int4,int8,numeric,uuid,text,varchar,bpchar,name,json,jsonb,time,timetz}'::regtype[])
            and not exists (select from settings k where t.type = any (k.types)))
$$;

-- Pin all of them for the rest of the transaction, or give back what was returned before.
create function kos.pin_text_settings(given text[] default array['ISO, YMD', 'UTC', 'postgres', '1', 'hex', 'C']) returns text[]
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  names constant text[] := array['DateStyle', 'TimeZone', 'IntervalStyle', 'extra_float_digits', 'bytea_output', 'lc_monetary'];
  found text[] := array(select current_setting(n.name) from unnest(names) with ordinality n (name, number) order by n.number);
begin
  perform set_config(n.name, n.value, true) from unnest(names, given) n (name, value);
  return found;
end $$;

-- The whole image of a row, or of an update what may have changed: columns of varying length, and those that cost a
-- cipher, only if they did.
-- record_image_ne compares what is stored, where `=` would call 1.0 and 1.00 equal; text under "C" is compared faster, and
-- as exactly.
create function kos.image_of(target regclass, side text, earlier text, tenant text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('array[%s]::text[]', string_agg(
    case when earlier is not null and (c.varies or l.sensitive ->> c.name = 'encrypted') and c.name <> all (l.key_columns)
      then format(case when c.type_oid in ('text'::regtype, 'varchar'::regtype)
                    then 'case when %1$s.%4$I is null or %2$s.%3$I collate "C" is distinct from %1$s.%3$I then %5$s end'
                    else 'case when %1$s.%4$I is null or record_image_ne(row(%2$s.%3$I), row(%1$s.%3$I)) then %5$s end' end,
                  earlier, side, c.name, l.key_columns[1], v.value)
      else v.value end, ', ' order by c.number))
    from kos.logged(target) l
    cross join kos.image_columns(target) c
    cross join lateral (select kos.image_value(side, c.name, c.escapes, l.sensitive ->> c.name, tenant) as value) v
$$;

create function kos.tenant_expression(target regclass, side text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when l.tenant_column is null then 'kos.no_tenants_log()'
    when a.atttypid = 'uuid'::regtype and a.attnotnull then format('%s.%I', side, l.tenant_column)
    when a.atttypid = 'uuid'::regtype then format('coalesce(%s.%I, kos.no_tenants_log())', side, l.tenant_column)
    else format('kos.tenant_of(%s.%I::text)', side, l.tenant_column) end
    from kos.logged(target) l
    left join pg_attribute a on a.attrelid = l.relation and a.attname = l.tenant_column
$$;

-- The equality by which a key's index knows it, which the search path does not lead to for types of extensions; and
-- where equal values can differ, as 1.0 and 1.00 do, that of their text as well: the log knows a row by that.
create function kos.same_value(of_table regclass, one text, other text, column_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('%1$s.%3$I operator(%4$I.=) %2$s.%3$I', one, other, column_name, coalesce(equal.schema_name, 'pg_catalog'))
         || case when t.typtype = 'e' or (base.type = any ('{bool,int2,int4,int8,uuid,date,timestamp,timestamptz,bytea,text,varchar,name}'::regtype[])
                                          and coalesce(c.collisdeterministic, true))
              then '' else format(' and %1$s.%3$I::text collate "C" = %2$s.%3$I::text collate "C"', one, other, column_name) end
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    cross join lateral (select case when t.typtype = 'd' then t.typbasetype else t.oid end as type) base
    left join pg_collation c on c.oid = a.attcollation
    left join lateral (
      select n.nspname as schema_name
        from pg_opclass k
        join pg_amop m on m.amopfamily = k.opcfamily and m.amopstrategy = 3 and m.amoplefttype = k.opcintype and m.amoprighttype = k.opcintype
        join pg_operator o on o.oid = m.amopopr
        join pg_namespace n on n.oid = o.oprnamespace
       where k.opcdefault and k.opcintype = base.type and k.opcmethod = (select oid from pg_am where amname = 'btree')
         and o.oprname = '=') equal on true
   where a.attrelid = of_table and a.attname = column_name and not a.attisdropped
$$;

-- Two sides with the same tenant and key. A row that changes its tenant leaves one log and appears in another.
create function kos.same_key(target regclass, one text, other text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select concat_ws(' and ',
           (select string_agg(kos.same_value(l.relation, one, other, k), ' and ') from unnest(l.key_columns) k),
           case when l.tenant_column is not null and l.tenant_column <> all (l.key_columns)
             then format('%s = %s', kos.tenant_expression(target, one), kos.tenant_expression(target, other)) end)
    from kos.logged(target) l
$$;

create function kos.key_expression(target regclass, sides text[]) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('array[%s]::text[]', string_agg(
           case when cardinality(sides) = 1 then format('%s.%I::text', sides[1], k.name)
             else format('coalesce(%s.%I, %s.%I)::text', sides[1], k.name, sides[2], k.name) end, ', ' order by k.number))
    from kos.logged(target) l, unnest(l.key_columns) with ordinality k (name, number)
$$;
