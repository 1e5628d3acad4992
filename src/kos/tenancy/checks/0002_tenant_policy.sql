-- Tables of tenants without a restrictive policy that binds kos_app to the entered tenant, for every command.
select format('%I.%I', n.nspname, c.relname),
       'no restrictive policy binds kos_app to the entered tenant',
       format('select kos.protect(%L)', format('%I.%I', n.nspname, c.relname))
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
 where not exists (
   select from pg_policy p
    where p.polrelid = c.oid and not p.polpermissive and p.polcmd = '*'
      and p.polroles && array['kos_app'::regrole::oid, 0::oid]
      and pg_get_expr(p.polqual, p.polrelid) ~ 'tenant_id = .*current_tenant_id\(\)'
 )
 order by 1;
