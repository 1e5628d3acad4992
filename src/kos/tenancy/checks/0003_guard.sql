-- Tables of tenants whose writes do not pass the fence: a guard is missing or switched off.
select format('%I.%I', n.nspname, c.relname),
       'writes do not pass the fence (the guard trigger is missing or disabled)',
       format('alter table %I.%I enable trigger kos_guard', n.nspname, c.relname)
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
 where (
   select count(*) from pg_trigger g
    where g.tgrelid = c.oid and g.tgfoid = 'kos.guard()'::regprocedure and g.tgenabled in ('O', 'A')
 ) < 2
 order by 1;
