-- Bookmarks: what a transaction has written, as the position from which on a reader of the log has it.
-- oldest library: 1
--
-- A bookmark is the transaction's id and the incarnation that it was counted in: both are known when it commits, its
-- position only when it is sealed.

-- The incarnation that transactions are counted in now; null on a standby, which may become another one.
create function kos.incarnation() returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if pg_is_in_recovery() then
    return null;
  end if;
  return kos.current_incarnation();
end $$;

-- Where a reader of a tenant's log has to be; null as long as the transaction runs, or is not sealed. KS028 if it was
-- counted in another incarnation than this one: what it wrote may be lost, and its id another's.
create function kos.bookmark_position(tenant uuid, counted_in integer, written xid8) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  waits boolean;
  newest kos.seals;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    -- An old snapshot shows pending rows that were sealed and truncated since as gone, and their seal as not there yet.
    raise exception 'a bookmark is looked up under READ COMMITTED' using errcode = '25001', hint = 'ask in a transaction of its own';
  elsif counted_in is distinct from kos.incarnation() then
    raise exception 'the bookmark %.% is of before this database was restored or promoted', counted_in, written
      using errcode = 'KS028', hint = 'what it stands for may be lost: read without it, and look';
  elsif not pg_visible_in_snapshot(written, pg_current_snapshot()) then
    return null;
  end if;
  -- First what waits, then the seals: each with a snapshot of its own, so what is gone from the one is in the other.
  waits := exists (select from kos.pending p
                    where p.tenant_id = tenant and p.origin = kos.origin() and p.transaction = written);
  newest := kos.newest_seal(tenant);
  if newest.origin = kos.origin() and pg_visible_in_snapshot(written, newest.snapshot) then
    -- The first seal that has seen it. So far back that nobody waits for it any more, a later one will do.
    return (select min(s.position)
              from (select * from kos.seals l where l.tenant_id = tenant and l.origin = newest.origin
                     order by l.position desc limit 100) s
             where pg_visible_in_snapshot(written, s.snapshot));
  end if;
  return case when not waits then newest.position end;  -- it has written nothing into this log
end $$;
grant execute on function kos.bookmark_position(uuid, integer, xid8) to kos_operator;

-- The same of the entered tenant, for applications.
create function kos.bookmark_position(counted_in integer, written xid8) returns bigint
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select kos.bookmark_position(kos.current_tenant_id(), counted_in, written)
$$;
grant execute on function kos.incarnation(), kos.bookmark_position(integer, xid8) to kos_app, kos_persona, kos_operator;
