-- Keeping the log in order: what is broken, what waits, and giving space back.
-- oldest library: 1

-- Tables whose changes are not, or not quickly, captured: what is wrong, and whether changes are lost by it.
create function kos.capture_faults() returns table (relation regclass, fault text, loses boolean)
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
  -- Capture reads a row again where it has to, as after changes within changes.
  select p.relation, 'its rows are hidden from kos_owner', true
    from part p join pg_class c on c.oid = p.relation and c.relrowsecurity and c.relowner <> 'kos_owner'::regrole
   where not exists (select from pg_policy y where y.polrelid = p.relation and y.polpermissive and y.polcmd in ('r', '*')
                        and 'kos_owner'::regrole = any (y.polroles))
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
$$;

create function kos.broken_captures() returns table (table_name text, fault text, loses boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select f.relation::text, f.fault, f.loses from kos.capture_faults() f
$$;

-- Note no longer what was dropped: its log stays, and its functions go with the note. Under the lock of
-- refresh_captures, so that two don't drop the same function.
create function kos.forget_dropped_tables() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  capture text;
begin
  perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 2);
  delete from kos.logged_tables l where not exists (select from pg_class c where c.oid = l.relation);
  for capture in
    select p.proname from pg_proc p
     where p.pronamespace = 'kos'::regnamespace and p.proname ~ '^capture_[0-9a-f]{32}$' and p.prorettype = 'trigger'::regtype
       and not exists (select from pg_trigger t where t.tgfoid = p.oid)
       -- Of one that is noted: its triggers were dropped by somebody, and broken_captures() says so.
       and p.proname <> all (array(select kos.capture_name(coalesce(t.relid, l.relation))
                                     from kos.logged_tables l left join pg_partition_tree(l.relation) t on true))
  loop
    execute format('drop function kos.%I()', capture);
  end loop;
end $$;


-- Make the capture of changed tables anew; how many that were. Functions only: no lock on any table is waited for.
create function kos.refresh_captures() returns integer
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
     where strpos(f.prosrc, kos.is_changed(coalesce(t.relid, l.relation))) = 0 and (kos.logged(l.relation)).relation is not null
  loop
    perform kos.note_columns(kos.logged(part.relation));
    perform kos.make_capture(part.relation);
    made := made + 1;
  end loop;
  return made;
end $$;

-- Take turns: what is captured from now on goes to the other table, if that is empty; the one before is truncated when
-- all that it holds is sealed. Never waits for a lock. True if a table was truncated.
-- A session that planned before the turn may still write to the old table: harmless, it is read and sealed like the
-- other, and truncated only under a lock that no writer's transaction can hold beside it.
create function kos.rotate_pending(at_least_bytes bigint default 8388608) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10ms' as $$
declare
  taking integer;
  taking_now regclass;
  resting regclass;
  resting_empty boolean;
  truncated boolean := false;
begin
  if not pg_try_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 3) then
    return false;
  end if;
  select number into taking from kos.pending_turn;
  taking_now := ('kos.pending_' || taking)::regclass;
  resting := ('kos.pending_' || 3 - taking)::regclass;
  resting_empty := pg_relation_size(resting) = 0;
  if not resting_empty then
    begin
      execute format('lock table %s in access exclusive mode', resting);
      -- In a statement after the lock: all who wrote have ended, and this sees what they committed.
      truncated := kos.is_drained(resting);
      if truncated then
        execute format('truncate %s', resting);
      end if;
    exception when lock_not_available then
      return false;
    end;
  end if;
  if (resting_empty or truncated) and pg_relation_size(taking_now) >= at_least_bytes then
    update kos.pending_turn set number = 3 - taking, since = now();
  elsif not truncated then
    return false;
  end if;
  -- Tells every session to plan its captures anew. After a truncation too: one that planned under a snapshot from before
  -- the turn would go on writing to the resting table, and keep it from ever being empty.
  alter table kos.pending_turn set (autovacuum_enabled = true);
  return truncated;
end $$;

-- Is every row of a pending table sealed? By tenant, through the index.
create function kos.is_drained(pending regclass) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  tenant uuid;
  newest kos.seals;
  waiting boolean;
begin
  loop
    execute format('select p.tenant_id from %s p where $1 is null or p.tenant_id > $1 order by p.tenant_id limit 1', pending)
      into tenant using tenant;
    exit when tenant is null;
    newest := kos.newest_seal(tenant);
    execute format('select exists (select from %s p where p.tenant_id = $1 and case when p.origin = $2
                      then not pg_visible_in_snapshot(p.transaction, $3) else p.id > $4 end)', pending)
      into waiting using tenant, newest.origin, newest.snapshot, newest.foreign_id;
    if waiting then
      return false;
    end if;
  end loop;
  return true;
end $$;

-- Are the events of a time that stand in the default partition few enough to be moved while sealing waits?
create function kos.are_few_by_default(starts timestamptz, ends timestamptz) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select count(*) <= 10000 from (
    select from kos.knowledge_events_default d where d.occurred_at >= starts and d.occurred_at < ends limit 10001) found
$$;

-- Partitions of the log for this month and the next. What was sealed before there was one is moved there; where that is
-- much, as after a month without this, the month stays in the default partition.
create function kos.make_log_partitions() returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
  starts timestamptz;
  ends timestamptz;
  name text;
  made integer := 0;
begin
  for starts in select date_trunc('month', now(), 'UTC') + n * interval '1 month' from generate_series(0, 1) n loop
    ends := starts + interval '1 month';
    name := 'knowledge_events_' || to_char(starts at time zone 'UTC', 'YYYY_MM');
    continue when to_regclass('kos.' || name) is not null or not kos.are_few_by_default(starts, ends);
    -- Who seals there has ended then, and what he sealed is seen.
    lock table kos.knowledge_events_default in access exclusive mode;
    continue when not kos.are_few_by_default(starts, ends);
    execute format('create table kos.%I (like kos.knowledge_events including all)', name);
    execute format('with moved as (delete from kos.knowledge_events_default where occurred_at >= $1 and occurred_at < $2 returning *)
                    insert into kos.%I select * from moved', name) using starts, ends;
    execute format('alter table kos.knowledge_events attach partition kos.%I for values from (%L) to (%L)', name, starts, ends);
    perform kos.protect_log_partition(('kos.' || name)::regclass);
    made := made + 1;
  end loop;
  return made;
end $$;

create function kos.protect_log_partition(part regclass) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  execute format('alter table %s enable row level security, force row level security', part);
  execute format('create policy operator_access on %s for all to kos_operator, kos_owner using (true)', part);
end $$;

-- Events that have a position: positions have no gaps, so the newest of each tenant is the count. Steps from tenant to
-- tenant through the key: how many seals there are doesn't matter.
create function kos.sealed_events() returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive newest as (
    (select s.tenant_id, s.position from kos.seals s order by s.tenant_id desc, s.position desc limit 1)
    union all
    select s.tenant_id, s.position
      from newest n
      cross join lateral (select e.tenant_id, e.position from kos.seals e where e.tenant_id < n.tenant_id
                           order by e.tenant_id desc, e.position desc limit 1) s
  )
  select coalesce(sum(position), 0)::bigint from newest
$$;

create function kos.log_status() returns table (
  pending_bytes bigint, pending_rows bigint, waiting_tenants bigint, oldest_seconds double precision, sealed_events bigint,
  logged_tables bigint, broken_tables bigint, losing_tables bigint, incarnation integer, commit_times boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select pg_table_size('kos.pending_1') + pg_table_size('kos.pending_2'), u.waiting, u.tenants,
         case when u.tenants = 0 then 0 when u.oldest is not null then greatest(0, extract(epoch from clock_timestamp() - u.oldest)) end,
         kos.sealed_events(),
         (select count(*) from kos.logged_tables), b.broken, b.losing,
         (select max(i.incarnation) from kos.incarnations i), current_setting('track_commit_timestamp')::boolean
    from (select count(*) as tenants, coalesce(sum(w.waiting), 0)::bigint as waiting, case when count(w.oldest) = count(*) then min(w.oldest) end as oldest
            from kos.unsealed() w) u
    cross join (select count(distinct c.table_name) as broken, count(distinct c.table_name) filter (where c.loses) as losing
                  from kos.broken_captures() c) b
$$;

-- What the worker does every few seconds beside sealing. None of it waits for long, and none is lost if it has to.
create function kos.keep_log() returns boolean
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
    noted := kos.refresh_captures();
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
grant execute on function kos.keep_log() to kos_operator;
grant execute on function kos.capture_faults(), kos.broken_captures(), kos.refresh_captures(), kos.rotate_pending(bigint),
  kos.make_log_partitions(), kos.log_status() to kos_operator;

-- Forget a tenant's log, and its keys: the last act of its removal.
create function kos.forget_log(tenant uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(kos.all_logs_key());
  perform pg_advisory_xact_lock(kos.log_key(tenant));
  delete from kos.pending_1 where tenant_id = tenant;
  delete from kos.pending_2 where tenant_id = tenant;
  delete from kos.knowledge_events where tenant_id = tenant;
  delete from kos.seals where tenant_id = tenant;
  delete from kos.tenant_keys where tenant_id = tenant;
end $$;
grant execute on function kos.forget_log(uuid) to kos_operator;
