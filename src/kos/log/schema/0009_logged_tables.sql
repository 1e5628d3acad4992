-- Which tables are logged: taking them in and letting them go.
-- oldest library: 1

-- The columns that tell a table's rows apart: the primary key, or else a unique index without nulls and expressions.
create function kos.key_of(target regclass) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select array(select a.attname::text from unnest(i.indkey) with ordinality k (attnum, number)
                 join pg_attribute a on a.attrelid = target and a.attnum = k.attnum
                where k.number <= i.indnkeyatts order by k.number)
    from pg_index i
   where i.indrelid = target and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
     and not exists (select from pg_attribute a where a.attrelid = target and a.attnum = any (i.indkey[0:i.indnkeyatts - 1]) and not a.attnotnull)
   order by i.indisprimary desc, i.indnkeyatts, i.indexrelid
   limit 1
$$;

-- A column whose values mean something in this database only, also inside of an array or domain.
create function kos.local_column(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('%s (%s)', i.name, i.type)
    from kos.image_columns(target) i
    join pg_type t on t.oid = i.type_oid
    left join pg_type base on base.oid = t.typbasetype
   where array[t.oid, t.typelem, t.typbasetype, base.typelem] && '{oid,regclass,regproc,regprocedure,regtype,regrole,regnamespace,regoper,
           regoperator,regconfig,regdictionary,regcollation,xid,cid,tid}'::regtype[]::oid[]
     and t.typname not in ('name', 'oidvector')
   order by i.number limit 1
$$;

-- Why a table can't be logged; null if it can.
create function kos.refusal_to_log(target regclass, tenant_column text, sensitive jsonb default '{}') returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when c.relkind not in ('r', 'p') then 'it is no ordinary table'
    when c.relpersistence <> 'p' then 'it is temporary or unlogged: a crash empties it, and no log could say so'
    when c.relispartition then 'it is a partition: name its root, ' || pg_partition_root(target)::text
    when exists (select from pg_partition_tree(target) t join pg_class p on p.oid = t.relid where p.relkind = 'f' or p.relpersistence <> 'p')
      then 'a partition of it is foreign or unlogged'
    when exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                  where (i.inhparent = target or i.inhrelid = target) and p.relkind = 'r') then 'it inherits, or is inherited from'
    when kos.key_of(target) is null then 'it has no primary key, and no unique index without nulls'
    when tenant_column is not null and not exists (
      select from pg_attribute a where a.attrelid = target and a.attnum > 0 and a.attname = tenant_column and not a.attisdropped)
      then format('it has no column %s', tenant_column)
    when kos.local_column(target) is not null
      then format('the log cannot carry %s: it means something in this database only', kos.local_column(target))
    -- What is asked to be hidden must be: a name that is mistyped would be in the log for good.
    else (select case when s.value not in ('"encrypted"', '"digest"', '"absent"') then format('%s is sensitive as encrypted, digest or absent, not as %s', s.key, s.value)
                      when s.key = any (kos.key_of(target)) then format('the log knows rows by %s, so it can''t hide it', s.key)
                      else format('it has no column %s', s.key) end
            from jsonb_each(sensitive) s
           where s.value not in ('"encrypted"', '"digest"', '"absent"') or s.key = any (kos.key_of(target))
              or not exists (select from kos.image_columns(target) i where i.name = s.key)
           order by s.key limit 1)
    end
    from pg_class c where c.oid = target
$$;

-- Whose log a table that is taken in goes on with: the one that a table of this name had before it was let go.
create function kos.new_logged_id(target regclass) returns integer
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select coalesce((
    select s.logged_id
      from kos.shapes s
      join pg_class c on c.relname = s.table_name
      join pg_namespace n on n.oid = c.relnamespace and n.nspname = s.schema_name
     where c.oid = target and not exists (select from kos.logged_tables l where l.logged_id = s.logged_id)
     order by s.shape_id desc limit 1), nextval('kos.logged_ids')::integer)
$$;

-- Note that a table is logged from now on, and make the functions that capture it and its partitions. The triggers come
-- after it, in the same transaction, made by whoever owns the table. Repeatable. Errors: KS020 it can't be logged.
create function kos.note_logged(target regclass, tenant_column text, baseline text, sensitive jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  refusal text := kos.refusal_to_log(target, tenant_column, sensitive);
  noted kos.logged_tables;
  part regclass;
begin
  if refusal is not null then
    raise exception '% can''t be logged: %', target, refusal using errcode = 'KS020', hint = 'docs/log.md, Limits, says what a table needs';
  end if;
  insert into kos.logged_tables (relation, logged_id, tenant_column, key_columns, baseline, sensitive, fenced)
  values (target, kos.new_logged_id(target), tenant_column, kos.key_of(target), baseline, sensitive,
          exists (select from pg_trigger t where t.tgrelid = target and t.tgname = 'kos_guard'))
  on conflict (relation) do update
    set fenced = excluded.fenced, tenant_column = excluded.tenant_column, key_columns = excluded.key_columns, baseline = excluded.baseline,
        sensitive = excluded.sensitive
  returning * into noted;
  perform kos.note_columns(noted);
  for part in select kos.parts_of(target) loop
    perform kos.make_capture(part);
  end loop;
end $$;

-- Log a table from now on. Repeatable. The connected role acts for kos_owner, and needs the right to make triggers on
-- the table. Errors: KS020 it can't be logged.
create function kos.log_table(target regclass, tenant_column text default null, baseline text default 'none',
                              sensitive jsonb default '{}') returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  statement text;
begin
  perform kos.note_logged(target, tenant_column, baseline, sensitive);
  for statement in select s from kos.parts_of(target) p cross join kos.capture_triggers(p) s loop
    execute statement;
  end loop;
end $$;

-- Log a table no more. What was captured stays.
create function kos.unlog_table(target regclass) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
  part regclass;
  name text;
begin
  for part in select kos.parts_of(target) loop
    name := kos.capture_name(part);
    execute format('drop trigger if exists kos_capture_insert on %s', part);
    execute format('drop trigger if exists kos_capture_update on %s', part);
    execute format('drop trigger if exists kos_capture_delete on %s', part);
    execute format('drop trigger if exists kos_capture_truncate on %s', part);
    execute format('drop function if exists kos.%I()', name);
  end loop;
  delete from kos.logged_tables l where l.relation = target;
end $$;
