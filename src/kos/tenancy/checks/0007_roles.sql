-- Roles of kos, and roles that act for the application, that row security does not bind.
select r.rolname::text,
       case when r.rolsuper then 'is a superuser: no row security applies to it'
            when r.rolbypassrls then 'has BYPASSRLS: no row security applies to it'
            else 'acts for kos_app and owns tables of tenants' end,
       case when r.rolsuper then format('alter role %I nosuperuser', r.rolname)
            when r.rolbypassrls then format('alter role %I nobypassrls', r.rolname)
            else format('revoke kos_owner from %I', r.rolname) end
  from pg_roles r
 where (r.rolname in ('kos_owner', 'kos_app', 'kos_operator', 'kos_auditor')
        or (exists (select from pg_auth_members m where m.member = r.oid and m.roleid = 'kos_app'::regrole)))
   and (r.rolsuper or r.rolbypassrls
        or (r.rolname <> 'kos_owner' and pg_has_role(r.oid, 'kos_app', 'usage') and pg_has_role(r.oid, 'kos_owner', 'usage')))
 order by 1;
