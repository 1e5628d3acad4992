-- What a product changes by itself while its tables are taken in is not undone with what kos has made.
-- oldest library: 1

-- The policies that a table had when row security was put on: what has come since relies on it. A library of before notes
-- none, so row security then stays rather than goes. Tables that are enforced now had those that are older than ours.
alter table kos.enforced_tables add column policies text[] not null default '{}';
update kos.enforced_tables e
   set policies = array(select y.polname::text from pg_policy y
                         where y.polrelid = e.relation and y.polname !~ '^kos_'
                           and y.oid < (select o.oid from pg_policy o where o.polrelid = e.relation and o.polname = 'kos_tenant_isolation')
                         order by 1);

-- A publication of all tables publishes these too, and PostgreSQL refuses to update or delete what it can't name. The whole
-- row names it: an index would cost every captured change, and rows are deleted with their tenant only. No row is written.
-- Whoever writes holds all three until he commits, and is not waited for: if it can't be now, upkeep does it another time.
create function kos.identify_rows() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set lock_timeout = '10ms' as $$
declare
  part regclass;
begin
  for part in select c.oid from pg_class c
               where c.oid in ('kos.pending_turn'::regclass, 'kos.pending_1'::regclass, 'kos.pending_2'::regclass) and c.relreplident = 'd' loop
    begin
      execute format('alter table %s replica identity full', part);
    exception when lock_not_available then null;
    end;
  end loop;
end $$;
select kos.identify_rows();

-- As before (0025), and what can't be named yet.
create or replace function kos.keep_log() returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  noted integer;
  nothing text;
  truncated boolean := false;
begin
  -- A server that was restored or promoted is told apart at once, not with its next change; and here, where that is
  -- committed at once: a seal that begins an incarnation keeps all others waiting until it ends.
  noted := kos.current_incarnation();
  -- Each by itself: what fails for one table stops neither partitions nor the giving back of space, and is told every
  -- time in the server's log; kos.broken_captures() names the table.
  begin
    nothing := kos.forget_dropped_tables();
    noted := kos.refresh_captures((select count(*) / 200 + 1 from kos.logged_tables)::integer,
                                  (random() * 1000000)::bigint);
  exception
    when lock_not_available then null;  -- another time
    when others then raise warning 'captures can''t be made anew: % (%)', sqlerrm, sqlstate;
  end;
  begin
    noted := kos.make_log_partitions();
  exception when lock_not_available then null;
  end;
  begin
    truncated := kos.rotate_pending();
  exception when object_not_in_prerequisite_state then
    raise warning 'the log takes no turn: % (%)', sqlerrm, sqlstate;  -- it is published, and waits for what follows
  end;
  perform kos.identify_rows();  -- last: what it locks it keeps to the end
  return truncated;
end $$;

-- As before (0013), for every tenant that the log names that the table goes on with, also under the names that the table
-- had before: what was not written since it was renamed is still true in that log.
create or replace function kos.void_log(target regclass) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  number integer := (select t.number from kos.pending_turn t);
begin
  execute format($insert$
    insert into kos.pending_%s (id, origin, transaction, tenant_id, shape_id, operation, key)
    select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), t.tenant_id, $2, 'T', '{}'
      from (select distinct e.tenant_id from kos.knowledge_events e join kos.shapes s using (shape_id)
             where s.logged_id = (select l.logged_id from kos.logged_tables l where l.relation = $1)) t
    $insert$, number)
    using target, kos.shape_of(target);
end $$;
