-- Queries of kos.adoption.effects: who and what would notice that a table has row security.

-- name: roles
-- The roles that log in and use these tables: as owners, by what they (or roles that they act for) were granted, or at
-- this moment. Not those of kos.
select r.rolname as role, r.rolsuper as superuser, r.rolbypassrls as bypasses,
       to_regrole('kos_app') is not null and pg_has_role(r.oid, to_regrole('kos_app'), 'USAGE') as is_application,
       count(*) filter (where pg_has_role(r.oid, c.relowner, 'USAGE'))::integer as owns,
       count(*) filter (where has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
                          and has_schema_privilege(r.oid, c.relnamespace, 'USAGE'))::integer as uses,
       (select count(*) from pg_stat_activity a
         where a.usesysid = r.oid and a.datname = current_database() and a.pid <> pg_backend_pid())::integer as sessions
  from pg_roles r
  cross join pg_class c
 where c.oid = any (%(oids)s::oid[])
   and r.rolname <> all (array['kos_owner', 'kos_app', 'kos_persona', 'kos_operator', 'kos_auditor', 'kos_adopter'])
   and (r.rolsuper or to_regrole('kos_operator') is null or not pg_has_role(r.oid, to_regrole('kos_operator'), 'USAGE'))
   and (r.rolcanlogin or pg_has_role(r.oid, c.relowner, 'USAGE'))
 group by r.oid, r.rolname, r.rolsuper, r.rolbypassrls
having count(*) filter (where has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
                          and has_schema_privilege(r.oid, c.relnamespace, 'USAGE')) > 0
 order by r.rolsuper, r.rolname;

-- name: views
-- Views over these tables, also through other views; a materialized one is read by its owner when it is refreshed.
with recursive reading (oid) as (
  select unnest(%(oids)s::oid[])
  union
  select r.ev_class
    from reading s
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid
                    and d.classid = 'pg_rewrite'::regclass
    join pg_rewrite r on r.oid = d.objid
)
select format('%%I.%%I', n.nspname, v.relname) as name, o.rolname as owner, v.relkind = 'm' as materialized,
       exists (select from pg_options_to_table(v.reloptions) x
                where case x.option_name when 'security_invoker' then x.option_value::boolean end) as of_caller
  from reading s
  join pg_class v on v.oid = s.oid and v.relkind in ('v', 'm')
  join pg_namespace n on n.oid = v.relnamespace
  join pg_roles o on o.oid = v.relowner
 order by 1;

-- name: definer_functions
-- Functions that run with the rights of a role that uses these tables: row security asks for that role, not the caller.
select format('%%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as name,
       o.rolname as owner
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  join pg_roles o on o.oid = p.proowner
 where p.prosecdef
   and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.nspname <> all (%(own)s)
   and not exists (select from pg_depend d
                    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
   and exists (select from unnest(%(oids)s::oid[]) t (oid)
                where has_table_privilege(p.proowner, t.oid, 'SELECT, INSERT, UPDATE, DELETE'))
 order by 1;

-- name: policies
-- Policies that these tables have already, apart from ours.
select format('%%I.%%I', n.nspname, c.relname) as "table", p.polname as name, p.polpermissive as permissive
  from pg_policy p
  join pg_class c on c.oid = p.polrelid
  join pg_namespace n on n.oid = c.relnamespace
 where p.polrelid = any (%(oids)s::oid[]) and p.polname !~ '^kos_'
 order by 1, 2;

-- name: find_statements
-- Where pg_stat_statements is, if this database has it.
select n.nspname as schema
  from pg_extension e
  join pg_namespace n on n.oid = e.extnamespace
 where e.extname = 'pg_stat_statements';

-- name: statements
-- What was run on these tables and does not name the tenant column, or can't be done under row security. Constants are
-- left out by pg_stat_statements; utility statements that could hold a secret are not asked for.
select r.rolname as role, s.calls::bigint as calls,
       left(regexp_replace(s.query, '\s+', ' ', 'g'), 200) as statement
  from {schema}.pg_stat_statements s
  join pg_roles r on r.oid = s.userid
 where s.dbid = (select oid from pg_database where datname = current_database())
   and r.rolname <> all (array['kos_owner', 'kos_app', 'kos_persona', 'kos_operator', 'kos_auditor', 'kos_adopter'])
   and s.query ~* '^\s*(select|insert|update|delete|merge|with|copy|truncate|refresh)\y'
   and s.query ~* %(tables)s
   and (s.query !~* %(column)s or s.query ~* '^\s*(copy|truncate|refresh)\y')
 order by s.calls desc
 limit 20;
