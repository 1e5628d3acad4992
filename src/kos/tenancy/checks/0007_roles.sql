-- Row security binds the roles of kos, and no application reaches a role that it does not bind
-- Reached is what a chain of memberships leads to, whatever each of them allows: inherited, by SET ROLE, or because
-- who administers a role can grant it. A chain through another role of applications is that one's fault.
with recursive application as (
  select r.oid from kos.application_roles() r where r.acts
), membership as (
  select m.member, m.roleid, m.grantor
    from pg_auth_members m
   where m.admin_option or coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
      or coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
), chain as (
  select m.member as application, m.roleid as first, m.roleid as reached
    from membership m
   where m.member in (select a.oid from application a) and m.roleid not in (select a.oid from application a)
  union
  select c.application, c.first, m.roleid
    from chain c
    join membership m on m.member = c.reached
), reached as (
  select c.application, c.first, string_agg(r.rolname, ', ' order by r.rolname) as names
    from chain c
    join pg_roles r on r.oid = c.reached
   where r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolreplication
      or r.rolname in ('kos_owner', 'kos_operator', 'kos_auditor', 'kos_mover', 'pg_read_all_data', 'pg_write_all_data',
                       'pg_maintain', 'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
   group by c.application, c.first
)
select r.rolname::text, p.found,
       -- The superuser that the server was made with stays one.
       case when r.oid = 10 then 'revoke kos_app from ' || quote_ident(r.rolname)
            else format('alter role %I no%s', r.rolname, p.attribute) end
  from pg_roles r
  cross join lateral (
    values ('superuser', r.rolsuper, 'is a superuser: no row security applies to it', false),
           ('bypassrls', r.rolbypassrls, 'has BYPASSRLS: no row security applies to it', false),
           ('createrole', r.rolcreaterole, 'is an application''s role and may grant roles', true),
           ('replication', r.rolreplication, 'is an application''s role and may read every change in the log', true)
  ) p (attribute, has, found, applications_only)
 where p.has
   and (r.oid in (select a.oid from application a)
        or (r.rolname in ('kos_owner', 'kos_operator', 'kos_auditor', 'kos_mover') and not p.applications_only))
union all
select r.rolname::text,
       case when f.rolname = c.names then 'is an application''s role and reaches ' || c.names
            else format('is an application''s role and reaches %s through %s', c.names, f.rolname) end,
       string_agg(format('revoke %I from %I%s cascade', f.rolname, r.rolname,
                         case when current_setting('server_version_num')::integer >= 160000
                              then format(' granted by %I', g.rolname) else '' end), '; ')
  from reached c
  join pg_roles r on r.oid = c.application
  join pg_roles f on f.oid = c.first
  join membership m on m.member = c.application and m.roleid = c.first
  left join pg_roles g on g.oid = m.grantor
 group by r.rolname, f.rolname, c.names
 order by 1, 2;
