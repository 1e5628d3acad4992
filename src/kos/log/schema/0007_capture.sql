-- Capture: statement triggers, generated per table, that write each change to `pending` in the same transaction.
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
-- this table or of tables with triggers or actions of their own.
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
  )
$$;

-- What the generated function of a table depends on. Immutable is not true, and is what makes it free: PostgreSQL asks
-- once when it plans the function's condition, and plans anew after any change of the table, whose name stands in it.
create function kos.layout(target regclass) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  return (select md5(concat(kos.has_nested_changes(target), string_agg(concat_ws(' ', c.name, c.type, c.generated), ',' order by c.number)))
            from kos.image_columns(target) c);
end $$;

-- Which of the two pending tables takes changes now. Asked once per plan, like the layout: turning makes plans anew.
create function kos.turn(switch regclass) returns integer
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  return (select number from kos.pending_turn);
end $$;

-- The root of a partition, or the table itself.
create function kos.root_of(target regclass) returns regclass
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(pg_partition_root(target), target)
$$;

-- The number of a table's present shape; it is made where it is new.
create function kos.shape_of(target regclass) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  logged kos.logged_tables;
  relation record;
  described jsonb;
  fingerprint bytea;
  found_id integer;
begin
  select * into logged from kos.logged_tables l where l.relation = kos.root_of(target);
  select n.nspname, c.relname into relation
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = logged.relation;
  select jsonb_agg(jsonb_build_object('name', c.name, 'type', c.type, 'generated', c.generated,
                                      'sensitive', logged.sensitive -> c.name) order by c.number)
    into described from kos.image_columns(target) c;
  fingerprint := sha256(convert_to(concat_ws(' ', quote_ident(relation.nspname), quote_ident(relation.relname),
                                             logged.key_columns::text, described::text), 'UTF8'));
  select s.shape_id into found_id from kos.shapes s where s.digest = fingerprint;
  if found_id is null then
    insert into kos.shapes (schema_name, table_name, key_columns, columns, digest)
    values (relation.nspname, relation.relname, logged.key_columns, described, fingerprint)
    on conflict (digest) do nothing
    returning shape_id into found_id;
    if found_id is null then
      select s.shape_id into found_id from kos.shapes s where s.digest = fingerprint;
    end if;
  end if;
  return found_id;
end $$;

-- How a value stands in an image: its text, of which a test can always tell null and "unchanged".
create function kos.image_value(side text, name text, escapes boolean, sensitive text, tenant text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case
    when sensitive = 'absent' then format('case when %1$s.%2$I is null then ''\N'' else ''\A'' end', side, name)
    when sensitive = 'digest' then
      format('coalesce(''\H'' || encode(sha256(convert_to(%3$s::text || %1$s.%2$I::text, ''UTF8'')), ''hex''), ''\N'')', side, name, tenant)
    when escapes then
      format('coalesce(case when starts_with(%1$s.%2$I::text, ''\'') then ''\'' || %1$s.%2$I::text else %1$s.%2$I::text end, ''\N'')', side, name)
    else format('coalesce(%s.%I::text, ''\N'')', side, name)
  end
$$;

-- The whole image of a row, or of an update what may have changed: columns of varying length only if they did.
-- record_image_ne compares what is stored; `=` would call 1.0 and 1.00 equal.
create function kos.image_of(target regclass, side text, earlier text, tenant text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('array[%s]::text[]', string_agg(
    case when earlier is not null and c.varies and c.name <> all (l.key_columns)
      then format('case when %1$s.%4$I is null or record_image_ne(row(%2$s.%3$I), row(%1$s.%3$I)) then %5$s end',
                  earlier, side, c.name, l.key_columns[1], v.value)
      else v.value end, ', ' order by c.number))
    from kos.logged_tables l
    cross join kos.image_columns(target) c
    cross join lateral (select kos.image_value(side, c.name, c.escapes, l.sensitive ->> c.name, tenant) as value) v
   where l.relation = kos.root_of(target)
$$;

create function kos.tenant_expression(target regclass, side text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when l.tenant_column is null then 'kos.no_tenants_log()'
    when a.atttypid = 'uuid'::regtype and a.attnotnull then format('%s.%I', side, l.tenant_column)
    when a.atttypid = 'uuid'::regtype then format('coalesce(%s.%I, kos.no_tenants_log())', side, l.tenant_column)
    else format('kos.tenant_of(%s.%I::text)', side, l.tenant_column) end
    from kos.logged_tables l
    left join pg_attribute a on a.attrelid = l.relation and a.attname = l.tenant_column
   where l.relation = kos.root_of(target)
$$;

-- Two sides with the same tenant and key. A row that changes its tenant leaves one log and appears in another.
create function kos.same_key(target regclass, one text, other text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select concat_ws(' and ',
           (select string_agg(format('%s.%I = %s.%I', one, k, other, k), ' and ') from unnest(l.key_columns) k),
           case when l.tenant_column is not null and l.tenant_column <> all (l.key_columns)
             then format('%s = %s', kos.tenant_expression(target, one), kos.tenant_expression(target, other)) end)
    from kos.logged_tables l where l.relation = kos.root_of(target)
$$;

create function kos.key_expression(target regclass, sides text[]) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('array[%s]::text[]', string_agg(
           case when cardinality(sides) = 1 then format('%s.%I::text', sides[1], k.name)
             else format('coalesce(%s.%I, %s.%I)::text', sides[1], k.name, sides[2], k.name) end, ', ' order by k.number))
    from kos.logged_tables l, unnest(l.key_columns) with ordinality k (name, number)
   where l.relation = kos.root_of(target)
$$;

-- The statement that captures what one statement did. Full joins on purpose: they can't be nested loops, which a plan
-- that was made for one row would be for 100,000 as well.
create function kos.capture_statement(target regclass, operation text, pending text) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  root regclass := kos.root_of(target);
  logged kos.logged_tables;
  head text;
  nested boolean := kos.has_nested_changes(target) or kos.has_nested_changes(root);
  new_tenant text := kos.tenant_expression(target, 'n');
  old_tenant text := kos.tenant_expression(target, 'o');
  key1 text;
  earlier text;
begin
  select * into logged from kos.logged_tables l where l.relation = root;
  key1 := quote_ident(logged.key_columns[1]);
  earlier := case when logged.baseline = 'lazy' and operation <> 'INSERT'
    then kos.image_of(target, 'o', null, old_tenant) else 'null' end;
  head := format('insert into kos.%s (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) '
                 'select nextval(''kos.pending_ids''), kos.origin(), pg_current_xact_id(), ', pending);
  if operation = 'TRUNCATE' and root = target then
    return head || format('d.tenant, %s, ''T'', ''{}'', null, null, kos_whoever from (select distinct %s as tenant from %s n) d',
                          kos.shape_of(target), new_tenant, target);
  elsif operation = 'TRUNCATE' then
    return head || format('%s, %s, ''D'', %s, null, null, kos_whoever from only %s n',
                          new_tenant, kos.shape_of(target), kos.key_expression(target, '{n}'), target);
  elsif operation = 'INSERT' and not nested then
    return head || format('%s, %s, ''I'', %s, %s, null, kos_whoever from new_rows n', new_tenant, kos.shape_of(target),
                          kos.key_expression(target, '{n}'), kos.image_of(target, 'n', null, new_tenant));
  elsif operation = 'UPDATE' and not nested then
    return head || format('coalesce(%1$s, %2$s), %3$s, case when n.%4$s is null then ''D'' when o.%4$s is null then ''I'' else ''U'' end, '
                          '%5$s, case when n.%4$s is not null then %6$s end, %7$s, kos_whoever from old_rows o full join new_rows n on %8$s',
                          case when logged.tenant_column is null then new_tenant else format('case when n.%s is not null then %s end', key1, new_tenant) end,
                          case when logged.tenant_column is null then old_tenant else format('case when o.%s is not null then %s end', key1, old_tenant) end,
                          kos.shape_of(target), key1, kos.key_expression(target, '{n,o}'),
                          kos.image_of(target, 'n', 'o', new_tenant),
                          case when earlier = 'null' then earlier else format('case when o.%s is not null then %s end', key1, earlier) end,
                          kos.same_key(target, 'o', 'n'));
  elsif operation = 'DELETE' and not nested then
    -- One statement can delete a key and insert it again, and its deletion is captured last.
    return head || format('%1$s, %2$s, case when n.%3$s is null then ''D'' else ''U'' end, %4$s, case when n.%3$s is not null then %5$s end, '
                          '%6$s, kos_whoever from old_rows o left join %7$s n on %8$s',
                          old_tenant, kos.shape_of(target), key1, kos.key_expression(target, '{o}'),
                          kos.image_of(target, 'n', null, old_tenant), earlier, root, kos.same_key(target, 'o', 'n'));
  end if;
  -- As it is now: what ran in between has been captured already, so the newest event tells the truth.
  return head || format('%1$s, %2$s, case when n.%3$s is null then ''D'' when %4$L = ''INSERT'' then ''I'' else ''U'' end, %5$s, '
                        'case when n.%3$s is not null then %6$s end, null, kos_whoever from (%7$s) o left join %8$s n on %9$s',
                        old_tenant, kos.shape_of(target), key1, operation, kos.key_expression(target, '{o}'),
                        kos.image_of(target, 'n', null, old_tenant),
                        (select string_agg(format('select %s from %s', columns.list, side), ' union ')
                           from (select string_agg(distinct quote_ident(k), ', ') as list
                                   from unnest(logged.key_columns || logged.tenant_column) k where k is not null) columns,
                                unnest(case operation when 'INSERT' then '{new_rows}' when 'DELETE' then '{old_rows}' else '{old_rows,new_rows}' end::text[]) side),
                        root, kos.same_key(target, 'o', 'n'));
end $$;

create function kos.capture_name(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select 'capture_' || md5(format('%I.%I', n.nspname, c.relname))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target
$$;

-- The fence, once more and for every tenant whose rows were written: the guard has asked for the one that was entered
-- when the statement began, and an identity can be changed while it runs. Called by capture only.
create function kos.pass_fences(tenants uuid[]) returns void
language plpgsql volatile as $$
declare
  tenant uuid;
  noted kos.fence;
begin
  foreach tenant in array tenants loop
    noted := kos.pass_fence(tenant, case when tenant::text = current_setting('kos.tenant_id', true)
                                      then nullif(current_setting('kos.epoch', true), '')::bigint end);
  end loop;
end $$;

create function kos.fence_again(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce((
    select format($text$  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct n.%1$I from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct o.%1$I from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select n.%1$I from new_rows n union select o.%1$I from old_rows o));
  end if;
$text$, l.tenant_column)
      from kos.logged_tables l
     where l.relation = kos.root_of(target) and l.fenced), '')
$$;

-- Make, or make anew, the function that captures one table or partition.
--   A changed table: its function no longer knows it, so each statement is composed anew, which is slow and right,
--   until kos.refresh_captures() has made the function again. No statement of an application fails for it.
--   kos_mover: its copies are in the log already.
--   The settings: text that means the same in every session.
-- Runs as the owner of schema kos, so that the function is its own, whoever takes a table in.
create function kos.make_capture(target regclass) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $make$
declare
  logged kos.logged_tables;
  branches text := '';
  operation text;
begin
  select * into logged from kos.logged_tables l where l.relation = kos.root_of(target);
  foreach operation in array array['UPDATE', 'INSERT', 'DELETE', 'TRUNCATE'] loop
    branches := branches || format(
      E'  elsif tg_op = %L then\n    if kos.turn(''kos.pending_turn''::regclass) = 1 then\n      %s;\n    else\n      %s;\n    end if;\n',
      operation, kos.capture_statement(target, operation, 'pending_1'), kos.capture_statement(target, operation, 'pending_2'));
  end loop;
  execute format($function$
    create or replace function kos.%1$I() returns trigger
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp set "DateStyle" = 'ISO, YMD' set "IntervalStyle" = 'postgres'
    set "TimeZone" = 'UTC' set extra_float_digits = 1 set bytea_output = 'hex' set lc_monetary = 'C'
    as $capture$
declare
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)] end;
begin
  if current_setting('role') = 'kos_mover' then
    return null;
  elsif kos.layout(%2$L::regclass) <> %3$L then
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
%4$s  end if;
%5$s  return null;
end $capture$ $function$,
    kos.capture_name(target), target::text, kos.layout(target), branches, kos.fence_again(target));
end $make$;

-- Put a table's triggers on it and on its partitions. The connected role needs the right to make triggers there.
create function kos.attach_capture(target regclass) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
  part regclass;
  name text;
begin
  for part in select coalesce(t.relid, target) from (select) one left join pg_partition_tree(target) t on true loop
    perform kos.make_capture(part);
    name := kos.capture_name(part);
    execute format('drop trigger if exists kos_capture_insert on %s', part);
    execute format('drop trigger if exists kos_capture_update on %s', part);
    execute format('drop trigger if exists kos_capture_delete on %s', part);
    execute format('drop trigger if exists kos_capture_truncate on %s', part);
    execute format('create trigger kos_capture_insert after insert on %s referencing new table as new_rows '
                   'for each statement execute function kos.%I()', part, name);
    execute format('create trigger kos_capture_update after update on %s referencing old table as old_rows new table as new_rows '
                   'for each statement execute function kos.%I()', part, name);
    execute format('create trigger kos_capture_delete after delete on %s referencing old table as old_rows '
                   'for each statement execute function kos.%I()', part, name);
    execute format('create trigger kos_capture_truncate before truncate on %s for each statement execute function kos.%I()', part, name);
  end loop;
end $$;

-- The columns that tell a table's rows apart: the primary key, or else a unique index without nulls and expressions.
create function kos.key_of(target regclass) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select array(select a.attname::text from unnest(i.indkey) with ordinality k (attnum, number)
                 join pg_attribute a on a.attrelid = target and a.attnum = k.attnum order by k.number)
    from pg_index i
   where i.indrelid = target and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
     and not exists (select from pg_attribute a where a.attrelid = target and a.attnum = any (i.indkey) and not a.attnotnull)
   order by i.indisprimary desc, i.indnatts, i.indexrelid
   limit 1
$$;

-- Why a table can't be logged; null if it can.
create function kos.refusal_to_log(target regclass, tenant_column text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when c.relkind not in ('r', 'p') then 'it is no ordinary table'
    when c.relpersistence <> 'p' then 'it is temporary or unlogged: a crash empties it, and no log could say so'
    when c.relispartition then 'it is a partition: name its root, ' || pg_partition_root(target)::text
    when exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                  where (i.inhparent = target or i.inhrelid = target) and p.relkind = 'r') then 'it inherits, or is inherited from'
    when kos.key_of(target) is null then 'it has no primary key, and no unique index without nulls'
    when tenant_column is not null and not exists (
      select from pg_attribute a where a.attrelid = target and a.attname = tenant_column and not a.attisdropped)
      then format('it has no column %s', tenant_column)
    when exists (select from kos.image_columns(target) i join pg_type t on t.oid = i.type_oid
                  where t.typtype = 'p' or i.type_oid::regtype::text in
                    ('oid', 'regclass', 'regproc', 'regprocedure', 'regtype', 'regrole', 'regnamespace', 'regoper', 'regoperator', 'regconfig', 'regdictionary', 'regcollation', 'xid', 'cid', 'tid'))
      then (select format('the log cannot carry %s (%s): it means something in this database only', i.name, i.type)
              from kos.image_columns(target) i
             where i.type in ('oid', 'regclass', 'regproc', 'regprocedure', 'regtype', 'regrole', 'regnamespace', 'regoper', 'regoperator', 'regconfig', 'regdictionary', 'regcollation', 'xid', 'cid', 'tid') limit 1)
    end
    from pg_class c where c.oid = target
$$;

-- Log a table from now on. Repeatable. Errors: KS020 it can't be logged.
create function kos.log_table(target regclass, tenant_column text default null, baseline text default 'none',
                              sensitive jsonb default '{}') returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  refusal text := kos.refusal_to_log(target, tenant_column);
begin
  if refusal is not null then
    raise exception '% can''t be logged: %', target, refusal using errcode = 'KS020', hint = 'kos adopt --level observe';
  end if;
  insert into kos.logged_tables (relation, tenant_column, key_columns, baseline, sensitive, fenced)
  values (target, tenant_column, kos.key_of(target), baseline, sensitive,
          exists (select from pg_trigger t where t.tgrelid = target and t.tgname = 'kos_guard'))
  on conflict (relation) do update
    set fenced = excluded.fenced, tenant_column = excluded.tenant_column, key_columns = excluded.key_columns, baseline = excluded.baseline,
        sensitive = excluded.sensitive;
  perform kos.attach_capture(target);
end $$;

-- Log a table no more. What was captured stays.
create function kos.unlog_table(target regclass) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
  part regclass;
begin
  for part in select coalesce(t.relid, target) from (select) one left join pg_partition_tree(target) t on true loop
    execute format('drop trigger if exists kos_capture_insert on %s', part);
    execute format('drop trigger if exists kos_capture_update on %s', part);
    execute format('drop trigger if exists kos_capture_delete on %s', part);
    execute format('drop trigger if exists kos_capture_truncate on %s', part);
    execute format('drop function if exists kos.%I()', kos.capture_name(part));
  end loop;
  delete from kos.logged_tables l where l.relation = target;
end $$;
