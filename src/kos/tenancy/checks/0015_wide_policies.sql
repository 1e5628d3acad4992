-- No policy shows every tenant's rows to all roles, to the owner, or to an application that is not bound
-- The tenant policy binds kos_app and who inherits from it; a member that does not inherit has only what names it.
select format('%I.%I', n.nspname, c.relname),
       format('policy %I is for %s, whom the tenant policy does not bind', p.polname,
              string_agg(coalesce(r.rolname, 'PUBLIC'), ', ')),
       format('alter policy %I on %I.%I to kos_app', p.polname, n.nspname, c.relname)
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_policy p on p.polrelid = c.oid and p.polpermissive
  cross join unnest(p.polroles) given
  left join pg_roles r on r.oid = given
 where given = 0
    or (r.rolname = 'kos_owner' and not (p.polname = 'capture_access' and p.polcmd = 'r'))
    or (given in (select a.oid from kos.application_roles() a where a.acts)
        and not pg_has_role(given, 'kos_app', 'usage'))
 group by n.nspname, c.relname, p.polname
 order by 1, 2;
