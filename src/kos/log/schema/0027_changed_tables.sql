-- Tables that change while others write to them: nobody waits for another's capture, and none goes by what was before.
-- oldest library: 1

-- Nothing says that a shape is there once only: whoever writes first after a change of the table would keep all others
-- waiting who find the same new shape, until he commits, and fail them under REPEATABLE READ. Each then makes a shape of
-- his own, and all stay: an event names its own by number.
alter table kos.shapes drop constraint shapes_identity_logged_id_key;
create index shapes_by_identity on kos.shapes (identity, logged_id);

create or replace function kos.shape_of(target regclass) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  logged kos.logged_tables := kos.logged(target);
  relation record;
  described jsonb;
  ids text[];
  fingerprint bytea;
  known_by bytea;
  found_id integer;
begin
  select n.nspname, c.relname into relation
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = logged.relation;
  described := kos.described_columns(target, logged);
  ids := array(select k.id from kos.known_columns(target, logged) k order by k.number);
  fingerprint := sha256(convert_to(concat_ws(' ', quote_ident(relation.nspname), quote_ident(relation.relname),
                                             logged.key_columns::text, described::text), 'UTF8'));
  known_by := kos.shape_identity(fingerprint, ids);
  select s.shape_id into found_id from kos.shapes s
   where s.identity = known_by and s.logged_id = logged.logged_id order by s.shape_id limit 1;
  if found_id is null then
    insert into kos.shapes (logged_id, schema_name, table_name, key_columns, columns, digest, column_ids, identity)
    values (logged.logged_id, relation.nspname, relation.relname, logged.key_columns, described, fingerprint, ids, known_by)
    returning shape_id into found_id;
  end if;
  return found_id;
end $$;

-- How the log hides columns, by the names that they have now. The name of one that is gone goes on being hidden: whoever
-- makes a column of that name again means the same. Where columns are known by their names alone, as in a copy that has
-- not noted them itself yet, one that isn't there has got another name: so all are hidden that have come since.
create function kos.hidden_columns(logged kos.logged_tables) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  missing text := (select min(s.value) from jsonb_each_text(logged.sensitive) s
                    where logged.origin <> kos.origin() and logged.numbers ? s.key and kos.present_name(logged, s.key) is null);
begin
  return (
    select coalesce(jsonb_object_agg(h.name, h.way), '{}')
      from (select e.name, min(e.way) as way  -- absent, digest, encrypted: the one that shows least
              from (select coalesce(kos.present_name(logged, s.key), s.key), s.value from jsonb_each_text(logged.sensitive) s
                    union all
                    select a.attname, missing from pg_attribute a
                     where missing is not null and a.attrelid = logged.relation and a.attnum > 0 and not a.attisdropped
                       and not logged.column_ids ? a.attname::text
                       and a.attname::text <> all (array_remove(logged.key_columns || logged.tenant_column, null))) e (name, way)
             group by e.name) h);
end $$;

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
  found.key_columns := present;
  found.sensitive := kos.hidden_columns(found);
  return found;
end $$;

-- As before (0014). What is gone rebuilds nothing.
create or replace function kos.is_replayable(target regclass) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce((select l.relation is not null and not exists (
           select from jsonb_each_text(l.sensitive) s join kos.image_columns(target) c on c.name = s.key
            where s.value <> 'encrypted') from kos.logged(target) l), false)
$$;

-- As before (0009), and what has been hidden need not be there any more.
create or replace function kos.note_logged(target regclass, tenant_column text, baseline text, sensitive jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  asked jsonb := (select coalesce(jsonb_object_agg(s.key, s.value), '{}') from jsonb_each(sensitive) s
                   where exists (select from kos.image_columns(target) c where c.name = s.key)
                      or (kos.logged(target)).sensitive -> s.key is distinct from s.value);
  refusal text := kos.refusal_to_log(target, tenant_column, asked);
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

-- As before (0013), and only what is there is shown as hidden.
create or replace function kos.adopted_tables() returns table (
  relation oid, schema_name text, table_name text, owner text, tenant_column text, baseline text, sensitive jsonb, logged_since timestamptz,
  complete_at timestamptz, unlogged_parts text[], faults text[], loses boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select l.relation, n.nspname, c.relname, pg_get_userbyid(c.relowner), l.tenant_column, l.baseline,
         (select coalesce(jsonb_object_agg(s.key, s.value), '{}') from jsonb_each(l.sensitive) s
           where l.numbers ? s.key or exists (select from kos.image_columns(l.relation) i where i.name = s.key)),
         l.logged_since, l.complete_at,
         array(select p::text from kos.parts_of(l.relation) p
                where not exists (select from pg_trigger t where t.tgrelid = p and t.tgname = 'kos_capture_insert')),
         coalesce(b.faults, '{}'), coalesce(b.loses, false)
    from kos.logged_tables l
    join pg_class c on c.oid = l.relation and c.relowner <> 'kos_owner'::regrole
    join pg_namespace n on n.oid = c.relnamespace
    left join (
      select kos.root_of(b.relation) as relation, bool_or(b.loses) as loses,
             array_agg(b.relation::text || ': ' || b.fault order by b.relation::text, b.fault) as faults
        from kos.capture_faults() b group by 1) b on b.relation = l.relation
   order by 2, 3
$$;

-- As before (0025), and of tables whose columns were noted elsewhere, as before a pg_upgrade or in a copy: until their
-- numbers are noted here, columns are known by their names alone.
create or replace function kos.refresh_captures(shares integer, share bigint) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  part record;
  made integer := 0;
begin
  perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 2);
  for part in
    select p.relation, p.is_changed
      from kos.logged_tables l
      left join pg_partition_tree(l.relation) t on true
      join pg_proc f on f.proname = kos.capture_name(coalesce(t.relid, l.relation)) and f.pronamespace = 'kos'::regnamespace
     cross join lateral (select coalesce(t.relid, l.relation) as relation,
                                strpos(f.prosrc, kos.is_changed(coalesce(t.relid, l.relation))) = 0 as is_changed) p
     where l.logged_id % shares = share % shares
       and (p.is_changed or l.origin <> kos.origin()) and (kos.logged(l.relation)).relation is not null
  loop
    perform kos.note_columns(kos.logged(part.relation));
    if part.is_changed then
      perform kos.make_capture(part.relation);
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;

-- Is a table otherwise than this snapshot's catalog says? What is parsed knows the columns as they are now, since the
-- statement that is captured has locked the table.
create function kos.is_seen_otherwise(target regclass) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  names text[];
  types oid[];
  known text[];
  known_types oid[];
begin
  select array_agg(a.attname::text order by a.attnum), array_agg(a.atttypid order by a.attnum) into known, known_types
    from pg_attribute a where a.attrelid = target and a.attnum > 0 and not a.attisdropped;
  execute format('select array(select json_object_keys(row_to_json(r.*))) from (select (null::%s).*) r', target) into names;
  -- A privilege is asked of what the number means now, and is null where that is dropped.
  if names is distinct from known or exists (
       select from pg_attribute a where a.attrelid = target and a.attnum > 0 and not a.attisdropped
          and has_column_privilege(target, a.attnum, 'SELECT') is null) then
    return true;
  end if;
  execute format('select array[%s]::oid[] from (select (null::%s).*) r',
                 (select string_agg(format('pg_typeof(r.%I)', n), ', ' order by number) from unnest(names) with ordinality u (n, number)), target)
     into types;
  return types is distinct from known_types;
exception when insufficient_privilege then
  return false;  -- kos_owner has lost the schema: kos.broken_captures() says so
end $$;

-- Does a table's function know it as it is? Asked once per plan, like the layout, and what was answered counts for all
-- that the session does later. So it must not come from a snapshot that is older than a change of the table's columns, or
-- than its function: whoever has one runs his transaction again. Of triggers, foreign keys and unique indexes that are
-- newer than his snapshot nobody can tell here: such a session is right when its capture has been made anew.
create function kos.has_changed(target regclass, root regclass, known text) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  has_changed boolean := kos.layout(target, root) is distinct from known;
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') and (
       kos.is_seen_otherwise(target)
       or has_changed and not exists (select from pg_proc f where f.proname = kos.capture_name(target)
                                         and f.pronamespace = 'kos'::regnamespace and strpos(f.prosrc, known) > 0)) then
    raise exception 'could not serialize access: % was changed after this transaction began', target
      using errcode = 'serialization_failure', hint = 'run the transaction again';
  end if;
  return has_changed;
end $$;

create or replace function kos.is_changed(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('kos.has_changed(%L::regclass, %L::regclass, %L)',
                target::oid, kos.root_of(target)::oid, kos.layout(target, kos.root_of(target)))
$$;

-- Do these columns tell a table's rows apart?
create function kos.tells_apart(target regclass, columns text[]) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return exists (
    select from pg_index i
     where i.indrelid = target and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
       and not exists (select from unnest(i.indkey) with ordinality k (attnum, number)
                         join pg_attribute a on a.attrelid = target and a.attnum = k.attnum
                        where k.number <= i.indnkeyatts and (not a.attnotnull or a.attname <> all (columns))));
end $$;

-- Does capture read rows again, instead of joining what they were with what they are? After changes within changes, and
-- where rows share a key, each of which would be joined with all others.
create function kos.reads_rows_again(target regclass, root regclass, logged kos.logged_tables) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return kos.has_nested_changes(target) or (root <> target and kos.has_nested_changes(root))
         or not kos.tells_apart(logged.relation, logged.key_columns);
end $$;

-- As before (0025), and by whether the key tells rows apart and each has a tenant. What is as usual adds nothing.
create or replace function kos.layout(target regclass, root regclass) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  logged kos.logged_tables := kos.logged(target);
  nested boolean := kos.reads_rows_again(target, root, logged);
  of_nobody text := (select 'some of no tenant' from pg_attribute a
                      where a.attrelid = logged.relation and a.attname = logged.tenant_column and not a.attnotnull
                        and a.atttypid = 'uuid'::regtype);
begin
  return (select md5(concat_ws(' ', target, root, logged.relation, logged.key_columns, logged.tenant_column, logged.sensitive, logged.baseline,
                               nested, string_agg(concat_ws(' ', c.name, c.type, c.generated, a.attnum), ',' order by c.number), of_nobody))
            from kos.image_columns(target) c
            join pg_attribute a on a.attrelid = target and a.attname = c.name);
end $$;

-- As before (0008); but rows of partitions are deleted by a TRUNCATE of the whole table once, and not each besides.
create or replace function kos.capture_statement(target regclass, operation text, pending text) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  root regclass := kos.root_of(target);
  logged kos.logged_tables := kos.logged(target);
  head text;
  nested boolean := kos.reads_rows_again(target, root, logged);
  new_tenant text := kos.tenant_expression(target, 'n');
  old_tenant text := kos.tenant_expression(target, 'o');
  key1 text;
  earlier text;
begin
  if logged.relation is null then
    return 'select';  -- nothing to write: it left the log, as a detached partition does, or lost its key
  end if;
  key1 := quote_ident(logged.key_columns[1]);
  earlier := case when logged.baseline = 'lazy' and operation <> 'INSERT'
    then kos.image_of(target, 'o', null, old_tenant) else 'null' end;
  head := format('insert into kos.%s (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) '
                 'select nextval(''kos.pending_ids''), kos.origin(), pg_current_xact_id(), ', pending);
  if operation = 'TRUNCATE' and root = target then
    return head || format('d.tenant, %s, ''T'', ''{}'', null, null, kos_whoever from (select distinct %s as tenant from %s n) d',
                          kos.shape_of(target), new_tenant, target);
  elsif operation = 'TRUNCATE' then
    -- Of the whole table, whose own trigger came first: then its event is the newest of the tenant there, and says it all.
    return head || format('t.tenant, %1$s, ''D'', %2$s, null, null, kos_whoever from only %3$s n join (select d.tenant from (select distinct %4$s '
                          'as tenant from only %3$s n) d where (select p.operation from kos.pending p where p.tenant_id = d.tenant and '
                          'p.origin = kos.origin() and p.transaction = pg_current_xact_id() and p.shape_id in (select s.shape_id from kos.shapes s '
                          'where s.logged_id = %5$s) order by p.id desc limit 1) is distinct from ''T'') t on t.tenant = %4$s',
                          kos.shape_of(target), kos.key_expression(target, '{n}'), target, new_tenant, logged.logged_id);
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
                        (select string_agg(format('select %s, (%s) collate "C" as kos_key from %s', columns.list, kos.key_expression(target, array[side]), side), ' union ')
                           from (select string_agg(distinct quote_ident(k), ', ') as list
                                   from unnest(logged.key_columns || logged.tenant_column) k where k is not null) columns,
                                unnest(case operation when 'INSERT' then '{new_rows}' when 'DELETE' then '{old_rows}' else '{old_rows,new_rows}' end::text[]) side),
                        root, kos.same_key(target, 'o', 'n'));
end $$;

-- Columns that came later and gave rows a value: the catalog forgets that when the table is rewritten. A table of its own:
-- to add a column to kos.logged_tables would wait for all transactions that have written for the first time.
create table kos.filled_columns (
  logged_id integer not null,
  column_id text not null,
  primary key (logged_id, column_id)
);
grant select on kos.filled_columns to kos_operator, kos_auditor;

-- Columns that came after a table's log began, and what the rows that were there before were given: the constant that
-- the catalog has for them, something else, or nothing. No event of these rows has it: so each update has the column
-- whole, changed or not.
create function kos.later_columns(target regclass, logged kos.logged_tables)
returns table (name text, given text, value text, since_it_began boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return query
  select k.name, case when a.atthasmissing then 'a constant'
                      when a.atthasdef or exists (
                             select from kos.filled_columns f where f.logged_id = logged.logged_id and f.column_id = k.id) or exists (
                             select from pg_partition_tree(target) t join pg_attribute p on p.attrelid = t.relid
                              where p.attname = k.name and p.atthasmissing) then 'something'
                      else 'nothing' end,
         (a.attmissingval::text::text[])[1], first.made_at >= logged.logged_since
    from (select s.column_ids, s.made_at from kos.shapes s where s.logged_id = logged.logged_id order by s.shape_id limit 1) first
   cross join kos.known_columns(target, logged) k
    join pg_attribute a on a.attrelid = target and a.attname = k.name and not a.attisdropped
   where k.id <> all (first.column_ids);
end $$;

-- As before (0019), and of later columns that gave rows a value.
create or replace function kos.note_columns(logged kos.logged_tables) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  update kos.logged_tables l
     set key_columns = logged.key_columns, tenant_column = logged.tenant_column, sensitive = logged.sensitive, origin = kos.origin(),
         numbers = (select jsonb_object_agg(a.attname, a.attnum) from pg_attribute a
                     where a.attrelid = logged.relation and a.attnum > 0 and not a.attisdropped),
         column_ids = (select jsonb_object_agg(k.name, k.id) from kos.known_columns(logged.relation, logged) k)
   where l.relation = logged.relation;
  insert into kos.filled_columns (logged_id, column_id)
  select logged.logged_id, k.id
    from kos.later_columns(logged.relation, logged) f
    join kos.known_columns(logged.relation, logged) k using (name)
   where f.given <> 'nothing'
  on conflict do nothing
$$;

-- As before (0025), and a uuid is always made sure of: that a column may hold no null says nothing of rows of before, or of
-- what another transaction changes now.
create or replace function kos.tenant_expression(target regclass, side text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return (
    select case
      when l.tenant_column is null then 'kos.no_tenants_log()'
      when a.atttypid = 'uuid'::regtype then format('coalesce(%s.%I, kos.no_tenants_log())', side, l.tenant_column)
      else format('kos.tenant_of(%s)', kos.text_of(format('%s.%I', side, l.tenant_column), a.atttypid)) end
      from kos.logged(target) l
      left join pg_attribute a on a.attrelid = l.relation and a.attname = l.tenant_column);
end $$;

-- As before (0025). Of a column that came later, rows that still have what they were given have it in no event: so it is
-- written with them, changed or not. Others were written since. Where nobody knows any more what that was, or its text
-- depends on settings, it is always written.
create or replace function kos.image_of(target regclass, side text, earlier text, tenant text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return (
    select format('array[%s]::text[]', string_agg(
      case when earlier is not null and (c.varies or l.sensitive ->> c.name = 'encrypted') and c.name <> all (l.key_columns)
             and (f.given is null or f.given = 'a constant' and c.type_oid = any ('{text,varchar,bpchar,json,jsonb,bytea,text[],varchar[]}'::regtype[]))
        then format(case when c.type_oid in ('text'::regtype, 'varchar'::regtype)
                      then 'case when %1$s.%4$I is null or %2$s.%3$I collate "C" is distinct from %1$s.%3$I%6$s then %5$s end'
                      else 'case when %1$s.%4$I is null or record_image_ne(row(%2$s.%3$I), row(%1$s.%3$I))%6$s then %5$s end' end,
                    earlier, side, c.name, l.key_columns[1], v.value,
                    case when f.given is not null
                      then format(' or record_image_eq(row(%s.%I), row(%L::%s))', earlier, c.name, f.value, c.type) end)
        else v.value end, ', ' order by c.number))
      from kos.logged(target) l
      cross join kos.image_columns(target) c
      left join kos.later_columns(target, l) f on f.name = c.name and f.given <> 'nothing'
      cross join lateral (select kos.image_value(side, c.name, c.type_oid, c.escapes, l.sensitive ->> c.name, tenant) as value) v);
end $$;

-- As before (0025). A value that the log lacks is right where the column came later and the row has what it was given
-- then: nothing, or a constant.
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
  later text[];
  given text;
  filled text[];
  expected text;
begin
  select array_agg(c.name order by c.number),
         string_agg(kos.compared_value(c.name, c.type_oid, c.escapes, logged.sensitive ->> c.name, tenant), ', ' order by c.number),
         coalesce(jsonb_object_agg(c.name, '[encrypted]') filter (where logged.sensitive ->> c.name = 'encrypted'), '{}')
    into names, compared, hidden
    from kos.image_columns(target) c;
  -- Where the log began with what is its first shape: a table that came back can have rows that it never saw whole.
  select coalesce(array_agg(f.name), '{}'), coalesce(array_agg(f.name order by c.number) filter (where f.given = 'a constant'), '{}'),
         string_agg(kos.compared_value(c.name, c.type_oid, c.escapes, logged.sensitive ->> c.name, tenant), ', ' order by c.number)
           filter (where f.given = 'a constant'),
         concat_ws(', ', 'n.' || quote_ident(logged.tenant_column),
                   string_agg(format('%L::%s as %I', f.value, c.type, c.name), ', ') filter (where f.given = 'a constant'))
    into later, filled, expected, given
    from kos.later_columns(target, logged) f
    join kos.image_columns(target) c on c.name = f.name
   where f.since_it_began and f.given <> 'something' and not c.generated;
  -- Expressions of one query, and no function that takes a row's values: its parameters could be printed in the server's log.
  return query execute format($query$
    with there as (
      select %1$s as tenant_id, (%2$s) collate "default" as key, jsonb_object($1, array[%3$s]::text[]) as data,
             (select jsonb_object($5, array[%5$s]::text[]) from (select %6$s) n) as given
        from %4$s n
    ), known as (
      select t.tenant_id, l.key, kos.masked_data(l.data) as masked, kos.reveal(t.tenant_id, l.data) as data
        from (select distinct s.tenant_id from kos.seals s) t
        cross join lateral kos.stored_state(t.tenant_id, $2, 9223372036854775807) l
    ), common as (
      select coalesce(h.tenant_id, k.tenant_id) as tenant_id, coalesce(h.key, k.key) as key, k.data as logged, h.data as found, k.masked, h.given
        from there h full join known k using (tenant_id, key)
    )
    select c.tenant_id, c.key,
           case when c.found is null then 'it is gone, and the log has no deletion'
                when c.logged is null then 'the log has never seen it' else 'the log has other values' end, c.masked, c.found || $3
      from common c
     where c.found is null or c.logged is null
        or exists (select from jsonb_each(c.found) f
                    where case when c.logged ? f.key then c.logged -> f.key <> f.value and not (c.logged -> f.key = '"[erased]"' and $3 ? f.key)
                               when f.key = any ($4) then coalesce(c.given -> f.key, 'null') <> f.value end)
    $query$, tenant, kos.key_expression(target, '{n}'), compared, target, expected, given)
    using names, logged.logged_id, hidden, later, filled;
end $$;

-- What hides rows of a table from kos_owner, which reads them again where it has to, as after changes within changes, and
-- copies them for a baseline; null: nothing. The policies of kos let it through.
create function kos.what_hides_rows(part regclass) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select case
    when not exists (select from pg_policy y where y.polrelid = part and y.polpermissive and y.polcmd in ('r', '*')
                        and 'kos_owner'::regrole = any (y.polroles)) then 'its rows are hidden from kos_owner'
    else (select format('its restrictive policy %s hides rows from kos_owner', string_agg(quote_ident(y.polname), ', ' order by y.polname))
            from pg_policy y
           where y.polrelid = part and not y.polpermissive and y.polcmd in ('r', '*')
             and not (y.polname = 'kos_tenant_isolation' and exists (select from kos.enforced_tables e where e.relation = part))
             and exists (select from unnest(y.polroles) r (oid) where r.oid = 0 or pg_has_role('kos_owner', r.oid, 'USAGE'))
           having count(*) > 0) end
    from pg_class c
   where c.oid = part and c.relrowsecurity and c.relowner <> 'kos_owner'::regrole
$$;
grant execute on function kos.what_hides_rows(regclass) to kos_operator;

-- As before (0011), and of all that stands above.
create or replace function kos.capture_faults() returns table (relation regclass, fault text, loses boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with part as (
    select l.relation as root, coalesce(t.relid, l.relation) as relation
      from kos.logged_tables l
      left join pg_partition_tree(l.relation) t on true
     where exists (select from pg_class c where c.oid = l.relation)
  )
  select p.relation, format('trigger %s is missing', wanted.name), true
    from part p
    cross join unnest(array['kos_capture_insert', 'kos_capture_update', 'kos_capture_delete', 'kos_capture_truncate']) wanted (name)
   where not exists (select from pg_trigger t where t.tgrelid = p.relation and t.tgname = wanted.name)
  union all
  select p.relation, format('trigger %s is disabled', t.tgname), true
    from part p join pg_trigger t on t.tgrelid = p.relation
   where t.tgname ~ '^kos_capture_' and t.tgenabled in ('D', 'R')
  union all
  select p.relation, h.fault, true from part p cross join lateral kos.what_hides_rows(p.relation) h (fault) where h.fault is not null
  union all
  select l.relation, format('kos_owner may not read %s any more', r), true
    from kos.logged_tables l, unnest(l.lent) r where not has_table_privilege('kos_owner', r, 'SELECT')
  union all
  select p.relation, 'the table has changed since its capture was made', false
    from part p join pg_proc f on f.proname = kos.capture_name(p.relation) and f.pronamespace = 'kos'::regnamespace
   where strpos(f.prosrc, kos.is_changed(p.relation)) = 0
  union all
  select l.relation, case when kos.key_of(l.relation) is null then 'its key is gone' else 'its tenant column is gone' end, true
    from kos.logged_tables l where (kos.logged(l.relation)).relation is null and exists (select from pg_class c where c.oid = l.relation)
  union all
  select l.relation, 'its key is not unique any more, or can be null: rows that share one are one row in the log', true
    from kos.logged_tables l cross join lateral kos.logged(l.relation) n
   where n.relation is not null and not kos.tells_apart(l.relation, n.key_columns)
     and exists (select from pg_class c where c.oid = l.relation)
  union all
  select l.relation, format('its sensitive column %s has another name since the database was copied: new columns are hidden', s), false
    from kos.logged_tables l, jsonb_object_keys(l.sensitive) s
   where l.origin <> kos.origin() and l.numbers ? s and kos.present_name(l, s) is null
     and exists (select from pg_class c where c.oid = l.relation)
$$;

-- Captures that know rows of no tenant are otherwise known now: so that none of them is slow until its turn.
do $$
declare
  part regclass;
begin
  perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 2);
  for part in
    select p from kos.logged_tables l cross join kos.parts_of(l.relation) p
     where exists (select from pg_class c where c.oid = l.relation) and (kos.logged(p)).relation is not null
       and exists (select from pg_attribute a
                    where a.attrelid = l.relation and a.attname = l.tenant_column and not a.attnotnull and a.atttypid = 'uuid'::regtype)
  loop
    perform kos.note_columns(kos.logged(part));
    perform kos.make_capture(part);
  end loop;
end $$;
