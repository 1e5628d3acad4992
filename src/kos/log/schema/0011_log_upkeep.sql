-- Keeping the log in order: what is broken, what waits, and giving space back.
-- oldest library: 1

-- Tables whose changes are not, or not quickly, captured: what is wrong, and whether changes are lost by it.
create function kos.broken_captures() returns table (table_name text, fault text, loses boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with part as (
    select l.relation as root, coalesce(t.relid, l.relation) as relation
      from kos.logged_tables l
      left join pg_partition_tree(l.relation) t on true
  )
  select p.relation::text, format('trigger %s is missing', wanted.name), true
    from part p
    cross join unnest(array['kos_capture_insert', 'kos_capture_update', 'kos_capture_delete', 'kos_capture_truncate']) wanted (name)
   where not exists (select from pg_trigger t where t.tgrelid = p.relation and t.tgname = wanted.name)
  union all
  select p.relation::text, format('trigger %s is disabled', t.tgname), true
    from part p join pg_trigger t on t.tgrelid = p.relation
   where t.tgname ~ '^kos_capture_' and t.tgenabled in ('D', 'R')
  union all
  -- Capture reads a row again where it has to, as after changes within changes.
  select p.relation::text, 'its rows are hidden from kos_owner', true
    from part p join pg_class c on c.oid = p.relation and c.relrowsecurity and c.relowner <> 'kos_owner'::regrole
   where not exists (select from pg_policy y where y.polrelid = p.relation and y.polpermissive and y.polcmd in ('r', '*')
                        and 'kos_owner'::regrole = any (y.polroles))
  union all
  select l.relation::text, format('kos_owner may not read %s any more', r), true
    from kos.logged_tables l, unnest(l.lent) r where not has_table_privilege('kos_owner', r, 'SELECT')
  union all
  select p.relation::text, 'the table has changed since its capture was made', false
    from part p join pg_proc f on f.proname = kos.capture_name(p.relation) and f.pronamespace = 'kos'::regnamespace
   where strpos(f.prosrc, kos.is_changed(p.relation)) = 0
  union all
  select l.relation::text, case when kos.key_of(l.relation) is null then 'its key is gone' else 'its tenant column is gone' end, true
    from kos.logged_tables l where (kos.logged(l.relation)).relation is null
$$;

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

-- Partitions of the log for this month and the next. What came before there was one stays in the default partition.
create function kos.make_log_partitions() returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
  starts timestamptz;
  name text;
  made integer := 0;
begin
  for starts in select date_trunc('month', now(), 'UTC') + n * interval '1 month' from generate_series(0, 1) n loop
    name := 'knowledge_events_' || to_char(starts at time zone 'UTC', 'YYYY_MM');
    if to_regclass('kos.' || name) is null and not exists (
      select from kos.knowledge_events_default d where d.occurred_at >= starts and d.occurred_at < starts + interval '1 month') then
      execute format('create table kos.%I partition of kos.knowledge_events for values from (%L) to (%L)',
                     name, starts, starts + interval '1 month');
      perform kos.protect_log_partition(('kos.' || name)::regclass);
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;

create function kos.protect_log_partition(part regclass) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  execute format('alter table %s enable row level security, force row level security', part);
  execute format('create policy operator_access on %s for all to kos_operator, kos_owner using (true)', part);
end $$;

create function kos.log_status() returns table (
  pending_bytes bigint, pending_rows bigint, waiting_tenants bigint, oldest_seconds double precision, sealed_events bigint,
  logged_tables bigint, broken_tables bigint, losing_tables bigint, incarnation integer, commit_times boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select pg_table_size('kos.pending_1') + pg_table_size('kos.pending_2'), u.waiting, u.tenants,
         case when u.tenants > 0 then greatest(0, extract(epoch from clock_timestamp() - u.oldest)) else 0 end,
         (select coalesce(sum(s.events), 0)::bigint from kos.seals s),
         (select count(*) from kos.logged_tables), b.broken, b.losing,
         (select max(i.incarnation) from kos.incarnations i), current_setting('track_commit_timestamp')::boolean
    from (select count(*) as tenants, coalesce(sum(w.waiting), 0)::bigint as waiting, min(w.oldest) as oldest
            from kos.unsealed() w) u
    cross join (select count(distinct c.table_name) as broken, count(distinct c.table_name) filter (where c.loses) as losing
                  from kos.broken_captures() c) b
$$;

-- What the worker does every few seconds beside sealing. None of it waits for long, and none is lost if it has to.
create function kos.keep_log() returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  noted integer;
begin
  begin
    noted := kos.refresh_captures();
    noted := kos.make_log_partitions();
  exception when lock_not_available then
    noted := 0;  -- another time
  end;
  return kos.rotate_pending();
end $$;
grant execute on function kos.keep_log() to kos_operator;
grant execute on function kos.broken_captures(), kos.refresh_captures(), kos.rotate_pending(bigint),
  kos.make_log_partitions(), kos.log_status() to kos_operator;

-- Forget a tenant's log: the last act of its removal.
create function kos.forget_log(tenant uuid) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select pg_advisory_xact_lock(kos.log_key(tenant));
  delete from kos.pending_1 where tenant_id = tenant;
  delete from kos.pending_2 where tenant_id = tenant;
  delete from kos.knowledge_events where tenant_id = tenant;
  delete from kos.seals where tenant_id = tenant;
$$;
grant execute on function kos.forget_log(uuid) to kos_operator;
