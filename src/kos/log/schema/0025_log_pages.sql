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
language sql stable set search_path = pg_catalog, pg_temp as $$
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
  )
$$;

-- As before (0008), by what hangs on the table and on the name: a database has as many triggers as its tenants' schemas
-- have tables, and each new schema read them all.
create or replace function kos.capture_name(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
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
            from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target) first
$$;

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
