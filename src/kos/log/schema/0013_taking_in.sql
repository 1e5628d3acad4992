-- Taking tables of a product in: what their owners run for it, in order, and the rows that are there already.
-- oldest library: 1
--
-- Triggers are made with the rights of a table's owner, which a SECURITY DEFINER function can't take on. So these
-- functions note what has to be noted, and return statements, each with the role to run it as; all in one transaction.

-- What puts the capture on a table; nothing where that is there. The owner may execute what the triggers run for as long as that takes, and then no
-- more. The lock comes first: waited for once, for the table and its partitions together.
create function kos.capture_script(target regclass) returns table (role text, statement text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with logged as (
    select * from kos.logged_tables l where l.relation = target
  ), parts as (
    select p.relation as part, p.number, pg_get_userbyid(c.relowner)::text as owner, c.relowner, kos.capture_name(p.relation) as capture,
           c.relrowsecurity and c.relowner <> 'kos_owner'::regrole
             and not exists (select from pg_policy y where y.polrelid = p.relation and y.polname = 'kos_capture') as hides,
           (select count(*) from pg_trigger t where t.tgrelid = p.relation and t.tgname ~ '^kos_capture_' and t.tgenabled in ('O', 'A')) < 4 as lacks
      from kos.parts_of(target) with ordinality p (relation, number)
      join pg_class c on c.oid = p.relation
  ), outsider as (
    select distinct owner from parts where lacks and relowner <> 'kos_owner'::regrole and not has_schema_privilege(relowner, 'kos', 'USAGE')
  )
  select s.role, s.statement from (
    select 1, 0::bigint, 'kos_owner', format('grant usage on schema kos to %I', owner) from outsider
    union all
    select 2, number, 'kos_owner', format('grant execute on function kos.%I() to %I', capture, owner)
      from parts where lacks and relowner <> 'kos_owner'::regrole
    union all
    select 3, 0, pg_get_userbyid(n.nspowner)::text, format('grant usage on schema %I to kos_owner', n.nspname)
      from logged l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
     where l.opened and not has_schema_privilege('kos_owner', n.oid, 'USAGE')
    union all
    select 4, number, owner, format('lock table %s in %s mode', part,
                                    case when (select bool_or(hides) from parts) then 'access exclusive' else 'share row exclusive' end)
      from parts where part = target and (select bool_or(lacks or hides) from parts)
    union all
    select 5, number, owner, format('grant select on %s to kos_owner', part)
      from parts, logged l where part = any (l.lent) and not has_table_privilege('kos_owner', part, 'SELECT')
    union all
    select 6, number, owner, format('create policy kos_capture on %s for select to kos_owner using (true)', part) from parts where hides
    union all
    select 7, number, owner, t.statement from parts cross join kos.capture_triggers(part) t (statement) where lacks
    union all
    select 8, number, 'kos_owner', format('revoke execute on function kos.%I() from %I', capture, owner)
      from parts where lacks and relowner <> 'kos_owner'::regrole
    union all
    select 9, 0, 'kos_owner', format('revoke usage on schema kos from %I', owner) from outsider
  ) s (phase, number, role, statement)
  order by s.phase, s.number
$$;

-- What takes the capture of a table away again, with all that was granted for it; of partitions that were detached, too.
create function kos.release_script(target regclass) returns table (role text, statement text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with logged as (
    select * from kos.logged_tables l where l.relation = target
  ), parts as (
    select p.relation as part, p.number, pg_get_userbyid(c.relowner)::text as owner, kos.capture_name(p.relation) as capture
      from (select r, row_number() over (order by r <> target, r) from logged l
              cross join lateral (select kos.parts_of(l.relation) union select unnest(l.lent)) a (r)) p (relation, number)
      join pg_class c on c.oid = p.relation
  )
  select s.role, s.statement from (
    select 1, number, owner, format('lock table %s in access exclusive mode', part) from parts where part = target
    union all
    select 2, number, owner, format('drop trigger %I on %s', t.tgname, part)
      from parts join pg_trigger t on t.tgrelid = part and t.tgname ~ '^kos_capture_'
    union all
    select 3, number, owner, format('drop policy kos_capture on %s', part)
      from parts join pg_policy y on y.polrelid = part and y.polname = 'kos_capture'
    union all
    select 4, number, owner, format('revoke select on %s from kos_owner', part) from parts, logged l where part = any (l.lent)
    union all
    select 5, 0, pg_get_userbyid(n.nspowner)::text, format('revoke usage on schema %I from kos_owner', n.nspname)
      from logged l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
     where l.opened and not exists (select from kos.logged_tables o join pg_class x on x.oid = o.relation
                                     where o.relation <> target and x.relnamespace = n.oid)
    union all
    select 6, number, 'kos_owner', format('drop function if exists kos.%I()', capture) from parts
    union all
    select 7, 0, 'kos_owner', format('delete from kos.logged_tables where relation = %L::regclass', target::oid) from logged
  ) s (phase, number, role, statement)
  order by s.phase, s.number
$$;

-- What a table's log says from an earlier time is not true any more: changes in between were not captured. The tenants
-- that it names are told so, like after a TRUNCATE.
create function kos.void_log(target regclass) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  number integer := (select t.number from kos.pending_turn t);
begin
  execute format($insert$
    insert into kos.pending_%s (id, origin, transaction, tenant_id, shape_id, operation, key)
    select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), t.tenant_id, $2, 'T', '{}'
      from (select distinct e.tenant_id from kos.knowledge_events e join kos.shapes s using (shape_id)
              join pg_class c on c.relname = s.table_name join pg_namespace n on n.oid = c.relnamespace and n.nspname = s.schema_name
             where c.oid = $1) t
    $insert$, number)
    using target, kos.shape_of(target);
end $$;

-- Was this table, or another of its name, logged before?
create function kos.was_logged(target regclass) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select not exists (select from kos.logged_tables l where l.relation = target)
     and exists (select from kos.shapes s join pg_namespace n on n.nspname = s.schema_name
                   join pg_class c on c.relnamespace = n.oid and c.relname = s.table_name where c.oid = target)
$$;

-- Take a product's table in, or what has been attached to it since: note it, make its functions, and return what is to
-- be run next. Repeatable. What is hidden stays so, also under a new name; `sensitive` hides more, and with null less.
-- Errors: KS020 it can't be logged.
create function kos.adopt_table(target regclass, tenant_column text, baseline text, sensitive jsonb default '{}') returns table (role text, statement text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  comes_back boolean := kos.was_logged(target);
  grows boolean := exists (select from kos.parts_of(target) p
                            where not exists (select from pg_trigger t where t.tgrelid = p and t.tgname = 'kos_capture_insert'));
begin
  perform kos.note_logged(target, tenant_column, baseline,
                          jsonb_strip_nulls(coalesce((kos.logged(target)).sensitive, '{}') || adopt_table.sensitive));
  update kos.logged_tables l
     set lent = l.lent || array(select p from kos.parts_of(target) p
                                 where not has_table_privilege('kos_owner', p, 'SELECT') and p <> all (l.lent)),
         opened = l.opened or not has_schema_privilege('kos_owner', c.relnamespace, 'USAGE')
                  or exists (select from kos.logged_tables o join pg_class x on x.oid = o.relation
                              where o.opened and x.relnamespace = c.relnamespace),
         complete_at = case when not grows then l.complete_at end
    from pg_class c
   where l.relation = target and c.oid = target;
  if comes_back then
    perform kos.void_log(target);
  end if;
  return query select s.role, s.statement from kos.capture_script(target) s;
end $$;

-- The queries of a baseline: the next keys of a table after a key, in order; and with `upto`, the rows from there up to that
-- key, locked. FOR SHARE: who is changing a row is waited for, and nobody changes it until it is in the log. They are two
-- because a query that sorts and locks gives a row that was changed meanwhile with its new key, in the place of its old one.
create function kos.baseline_query(target regclass, after text[], upto text[], at_most integer) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with key as (
    select k.number, format('n.%I', k.name) as name, format_type(a.atttypid, a.atttypmod) as type,
           coalesce(o.schema_name, 'pg_catalog') as operators
      from kos.logged(target) l
      cross join unnest(l.key_columns) with ordinality k (name, number)
      join pg_attribute a on a.attrelid = target and a.attname = k.name and not a.attisdropped
      join pg_type t on t.oid = a.atttypid
      -- The order of the key's index, which the search path does not lead to for types of extensions.
      left join lateral (
        select n.nspname as schema_name
          from pg_opclass c
          join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = 5 and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
          join pg_operator p on p.oid = m.amopopr
          join pg_namespace n on n.oid = p.oprnamespace
         where c.opcdefault and c.opcintype = case when t.typtype = 'd' then t.typbasetype else t.oid end
           and c.opcmethod = (select oid from pg_am where amname = 'btree')) o on true
  ), bounds as (
    select b.key as bound, (select case when count(distinct operators) = 1
             then format('row(%s) operator(%I.>) row(%s)', string_agg(name, ', ' order by number), min(operators),
                         string_agg(format('%L::%s', b.key[number], type), ', ' order by number))
             -- Types whose operators stand in different schemas: column by column.
             else (select string_agg(format('(%s)', (
                            select string_agg(format('%s operator(%I.%s) %L::%s', e.name, e.operators,
                                                     case when e.number = k.number then '>' else '=' end, b.key[e.number], e.type),
                                              ' and ' order by e.number)
                              from key e where e.number <= k.number)), ' or ') from key k) end from key) as later
      from (values (after), (upto)) b (key)
  )
  select case when upto is null
           then format('select %s from %s n where %s order by %s limit %s', kos.key_expression(target, '{n}'), target, beyond,
                       (select string_agg(name, ', ' order by number) from key), at_most)
           else format('select n.tableoid::bigint, n.ctid::text from %s n where %s and not (%s) for share of n', target, beyond,
                       (select later from bounds where bound = upto limit 1)) end
    from (select coalesce((select format('(%s)', later) from bounds where bound = after limit 1), 'true') as beyond) b
$$;

-- Log rows of a table or partition as found there; how many that were. The caller has locked them, in a statement before:
-- this one's snapshot has what was waited for, so the event comes after all of the row's earlier ones, and is right. Rows
-- that have been logged whole since their table is logged need none.
create function kos.log_baseline(part regclass, rows tid[]) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set "DateStyle" = 'ISO, YMD' set "IntervalStyle" = 'postgres'
set "TimeZone" = 'UTC' set extra_float_digits = 1 set bytea_output = 'hex' set lc_monetary = 'C' set standard_conforming_strings = on as $$
declare
  logged kos.logged_tables := kos.logged(part);
  tenant text := kos.tenant_expression(part, 'n');
  written bigint;
begin
  execute format($insert$
    insert into kos.pending_%s (id, origin, transaction, tenant_id, shape_id, operation, key, image)
    select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), k.tenant_id, $1, 'B', k.key, %s
      from only %s n
      cross join lateral (select %s as tenant_id, %s as key) k
     where n.ctid = any ($2)
       and not exists (select from kos.knowledge_events e
                        where e.tenant_id = k.tenant_id and e.aggregate_id = kos.aggregate_of($3, k.key, array_remove(k.key, k.tenant_id::text))
                          and e.operation in ('I', 'B') and e.occurred_at > $4
                          and e.shape_id in (select s.shape_id from kos.shapes s where s.logged_id = $5))
    $insert$, (select t.number from kos.pending_turn t), kos.image_of(part, 'n', null, tenant), part, tenant, kos.key_expression(part, '{n}'))
    using kos.shape_of(part), rows, (select c.relname from pg_class c where c.oid = logged.relation), logged.logged_since, logged.logged_id;
  get diagnostics written = row_count;
  return written;
end $$;

-- Every row that was there before has its event.
create function kos.complete_baseline(target regclass) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update kos.logged_tables set complete_at = clock_timestamp() where relation = target and complete_at is null
$$;

-- The tables of others that are logged: whose they are, how, and what is wrong with their capture.
create function kos.adopted_tables() returns table (
  relation oid, schema_name text, table_name text, owner text, tenant_column text, baseline text, sensitive jsonb, logged_since timestamptz,
  complete_at timestamptz, unlogged_parts text[], faults text[], loses boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select l.relation, n.nspname, c.relname, pg_get_userbyid(c.relowner), l.tenant_column, l.baseline, l.sensitive, l.logged_since, l.complete_at,
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

grant execute on function kos.capture_script(regclass), kos.release_script(regclass), kos.was_logged(regclass),
  kos.adopt_table(regclass, text, text, jsonb), kos.baseline_query(regclass, text[], text[], integer), kos.log_baseline(regclass, tid[]),
  kos.complete_baseline(regclass) to kos_operator;
grant execute on function kos.adopted_tables() to kos_operator, kos_auditor;
