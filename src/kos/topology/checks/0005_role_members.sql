-- name: role_members
-- The logins in kos.toml may act as the roles that kos works with
select l.login as subject,
       'error' as severity,
       format('this role is no member of %%I', l.role) as found,
       format('grant %%I to %%I', l.role, l.login) as mend
  from (values (%(app)s::text, 'kos_app'), ('kos_app', 'kos_persona'), (%(operator)s, 'kos_operator')) l (login, role)
  join pg_roles member on member.rolname = l.login
  join pg_roles granted on granted.rolname = l.role
 where not pg_has_role(member.oid, granted.oid, 'USAGE');
