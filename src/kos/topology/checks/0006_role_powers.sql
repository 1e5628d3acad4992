-- name: role_powers
-- Row security binds the roles that kos works with
select r.rolname::text as subject,
       'error' as severity,
       'this role is ' || case when r.rolsuper then 'a superuser' else 'allowed to bypass row security' end
         || ': tenants are not apart for it' as found,
       case when r.rolsuper then format('alter role %%I nosuperuser', r.rolname)
            else format('alter role %%I nobypassrls', r.rolname) end as mend
  from pg_roles r
 where r.rolname in (%(app)s, %(operator)s, 'kos_owner', 'kos_app', 'kos_persona', 'kos_operator', 'kos_auditor')
   and (r.rolsuper or r.rolbypassrls)
union all
select member.rolname, 'error',
       format('this role may do what %%I may: its sessions see every tenant', granted.rolname),
       format('revoke %%I from %%I', granted.rolname, member.rolname)
  from pg_roles member
  join pg_roles granted on granted.rolname in ('kos_operator', 'kos_owner')
 where member.rolname in (%(app)s, 'kos_app')
   and not member.rolsuper
   and pg_has_role(member.oid, granted.oid, 'MEMBER');
