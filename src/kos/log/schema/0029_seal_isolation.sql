-- Sealing and taking turns refuse any isolation but READ COMMITTED; an incarnation can begin after one that was forgotten.
-- oldest library: 1
--
-- Both lock first and look then. Under a snapshot from before the lock a seal would give positions a second time, and a
-- turn would truncate what was committed meanwhile and has no position yet.

create function kos.must_see_each_commit() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'the log is sealed under READ COMMITTED' using errcode = '25001',
      hint = 'begin isolation level read committed';
  end if;
end $$;

-- As before (0010).
create or replace function kos.seal(tenant uuid) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform kos.must_see_each_commit();
  perform pg_advisory_xact_lock_shared(kos.all_logs_key());
  perform pg_advisory_xact_lock(kos.log_key(tenant));
  return kos.seal_locked(tenant);
end $$;

-- As before (0011): without its answer nothing is truncated.
create or replace function kos.is_drained(pending regclass) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  tenant uuid;
  newest kos.seals;
  waiting boolean;
begin
  perform kos.must_see_each_commit();
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

-- Begin an incarnation with a number above `after`: a database that was restored has forgotten those that began after its
-- copy was made, and would give their numbers again. Who remembers one says it; where nobody does, they are given again.
create function kos.begin_incarnation(reason text, after integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  number integer := greatest((select max(i.incarnation) from kos.incarnations i), after) + 1;
begin
  insert into kos.incarnations (incarnation, identity, origin, reason) overriding system value
  values (number, kos.identity(), kos.origin(), reason);
  perform setval(pg_get_serial_sequence('kos.incarnations', 'incarnation'), number);
  return number;
end $$;
grant execute on function kos.begin_incarnation(text, integer) to kos_operator;
