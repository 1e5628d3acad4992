-- Capture: statement triggers, generated per table, that write each change to `pending` in the same transaction.
-- oldest library: 1

-- The statement that captures what one statement did. Full joins on purpose: they can't be nested loops, which a plan
-- that was made for one row would be for 100,000 as well.
create function kos.capture_statement(target regclass, operation text, pending text) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  root regclass := kos.root_of(target);
  logged kos.logged_tables := kos.logged(target);
  head text;
  nested boolean := kos.has_nested_changes(target) or kos.has_nested_changes(root);
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
                        (select string_agg(format('select %s, (%s) collate "C" as kos_key from %s', columns.list, kos.key_expression(target, array[side]), side), ' union ')
                           from (select string_agg(distinct quote_ident(k), ', ') as list
                                   from unnest(logged.key_columns || logged.tenant_column) k where k is not null) columns,
                                unnest(case operation when 'INSERT' then '{new_rows}' when 'DELETE' then '{old_rows}' else '{old_rows,new_rows}' end::text[]) side),
                        root, kos.same_key(target, 'o', 'n'));
end $$;

-- The function that captures a table: what its triggers call, or for a new one a name that no other table has had.
create function kos.capture_name(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  with capture as (
    select t.tgrelid, f.proname::text as name
      from pg_trigger t join pg_proc f on f.oid = t.tgfoid
     where t.tgname ~ '^kos_capture_' and f.pronamespace = 'kos'::regnamespace
  )
  select coalesce((select min(c.name) from capture c where c.tgrelid = target),
                  case when exists (select from capture c where c.name = first.name) then 'capture_' || md5(first.name || ' ' || target::oid)
                       else first.name end)
    from (select 'capture_' || md5(format('%I.%I', n.nspname, c.relname)) as name
            from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target) first
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
    perform kos.pass_fences(array(select distinct %1$s from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct %2$s from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select %1$s from new_rows n union select %2$s from old_rows o));
  end if;
$text$, kos.tenant_expression(target, 'n'), kos.tenant_expression(target, 'o'))
      from kos.logged(target) l
     where l.fenced), '')
$$;

-- Make, or make anew, the function that captures one table or partition.
--   A changed table: its function no longer knows it, so each statement is composed anew, which is slow and right,
--   until kos.refresh_captures() has made the function again. No statement of an application fails for it.
--   kos_mover: its copies are in the log already.
-- Runs as the owner of schema kos, so that the function is its own, whoever takes a table in.
create function kos.make_capture(target regclass) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $make$
declare
  branches text := '';
  numbers text := '';
  number integer := 0;
  operation text;
  body text;
begin
  -- One number says which statement it is: each expression that plpgsql has to make ready in a transaction costs as
  -- much as a column of the image.
  foreach operation in array array['UPDATE', 'INSERT', 'DELETE', 'TRUNCATE'] loop
    numbers := numbers || format(' when %L then %s', operation, number);
    for turn in 1..2 loop
      branches := branches || format(E'if kos_way = %s then\n    %s;\n  els', number + turn, kos.capture_statement(target, operation, 'pending_' || turn));
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

-- A table and its partitions.
create function kos.parts_of(target regclass) returns setof regclass
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(t.relid, target) from (select) one left join pg_partition_tree(target) t on true
$$;

-- The statements that put a table's or partition's triggers on it, for whoever may make triggers there.
create function kos.capture_triggers(part regclass) returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('create or replace trigger kos_capture_%s %s execute function kos.%I()', t.kind, format(t.shape, part), kos.capture_name(part))
    from (values
      ('insert', 'after insert on %s referencing new table as new_rows for each statement'),
      ('update', 'after update on %s referencing old table as old_rows new table as new_rows for each statement'),
      ('delete', 'after delete on %s referencing old table as old_rows for each statement'),
      ('truncate', 'before truncate on %s for each statement')) t (kind, shape)
$$;
