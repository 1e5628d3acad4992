-- Queries of kos.adoption.uninstall: taking kos out of a database.

-- name: is_installed
-- Has this database a kos schema?
select exists (select from pg_namespace n join pg_class c on c.relnamespace = n.oid
                where n.nspname = 'kos' and c.relname = 'schema_versions');

-- name: own_schemas
-- What kos made here: its own schema comes last.
select schema_name from (select distinct schema_name from kos.schema_versions) s order by schema_name = 'kos', schema_name;

-- name: tenants
-- Of the directory, and those that this database serves. Not the product's, if it is this database's: their rows stay.
select t.name from kos.tenants t left join kos.placements p using (tenant_id)
 where not t.adopted or p.database_name <> current_database()
union
select f.name from kos.fence f where not f.adopted
 order by 1;

-- name: operations_at_work
-- Operations that somebody is at.
select l.subject, l.operation_id::text, o.name, l.holder
  from kos.leases l join kos.operations o using (operation_id)
 where kos.is_held(l)
 order by 1;

-- name: remains
-- What others have that stands on something of kos, and would be dropped with it.
with own (oid) as (
  select n.oid from pg_namespace n where n.nspname in (select v.schema_name from kos.schema_versions v)
), thing (class, oid) as (
  select 'pg_class'::regclass, c.oid from pg_class c where c.relnamespace in (select oid from own)
  union all
  select 'pg_proc'::regclass, p.oid from pg_proc p where p.pronamespace in (select oid from own)
  union all
  select 'pg_type'::regclass, t.oid from pg_type t where t.typnamespace in (select oid from own)
  union all
  select 'pg_namespace'::regclass, oid from own
)
select distinct format('%I.%I', n.nspname, c.relname)
  from pg_depend d
  join thing t on t.class = d.refclassid and t.oid = d.refobjid
  join lateral (
    select g.tgrelid as oid from pg_trigger g where d.classid = 'pg_trigger'::regclass and g.oid = d.objid
    union all
    select y.polrelid from pg_policy y where d.classid = 'pg_policy'::regclass and y.oid = d.objid
    union all
    select r.ev_class from pg_rewrite r where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    union all
    select a.adrelid from pg_attrdef a where d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
    union all
    select f.conrelid from pg_constraint f where d.classid = 'pg_constraint'::regclass and f.oid = d.objid
    union all
    select d.objid where d.classid = 'pg_class'::regclass) dependent on true
  join pg_class c on c.oid = dependent.oid and c.relnamespace not in (select oid from own) and c.relkind in ('r', 'p', 'v', 'm', 'f')
  join pg_namespace n on n.oid = c.relnamespace
union
-- What is of no table: functions, domains, publications and the like.
select i.type || ' ' || i.identity
  from pg_depend d
  join thing t on t.class = d.refclassid and t.oid = d.refobjid
  cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) i
 where d.deptype in ('n', 'a')
   and d.classid not in ('pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_rewrite'::regclass, 'pg_attrdef'::regclass,
                         'pg_class'::regclass, 'pg_default_acl'::regclass)
   and (d.classid <> 'pg_constraint'::regclass or exists (select from pg_constraint f where f.oid = d.objid and f.contypid <> 0))
   and not exists (select from thing o where o.class = d.classid and o.oid = d.objid)
   and (i.schema is null or to_regnamespace(quote_ident(i.schema)) not in (select oid from own))
 order by 1;

-- name: lock_notes
-- Before it is asked what stands on kos: who is taking a table in is waited for, and who begins later finds nothing.
lock table kos.logged_tables, kos.enforced_tables in access exclusive mode;

-- name: limit
-- While a lock is waited for, everyone behind it waits too.
select set_config('lock_timeout', '200ms', true);

-- name: become_owner
-- Whose everything is.
set local role kos_owner;

-- name: become_ourselves
-- Back to the role that logged in.
reset role;

-- name: drop_schema
-- With all that it holds; nobody else's things stand on it.
drop schema {schema} cascade;

-- name: default_rights
-- What kos_owner makes is for everybody again, as everywhere.
alter default privileges for role kos_owner grant execute on functions to public;

-- name: revoke_database
-- What was granted on the database when kos was installed.
revoke create, temporary on database {database} from kos_owner;

-- name: revoke_connect
-- The same.
revoke connect, temporary on database {database} from kos_app, kos_operator, kos_auditor;

-- name: roles
-- Roles are the server's: they stay.
select rolname::text from pg_roles
 where rolname in ('kos_owner', 'kos_app', 'kos_persona', 'kos_operator', 'kos_auditor', 'kos_mover', 'kos_adopter')
 order by array_position(array['kos_adopter', 'kos_persona', 'kos_app', 'kos_auditor', 'kos_mover', 'kos_operator', 'kos_owner'], rolname::text);

-- name: drop_role
-- For an administrator to run, once no other database of the server needs them.
drop role {role}

-- name: has_parameter
-- Whether the operator has a right on a parameter, which belongs to the server as roles do.
select exists (select from pg_parameter_acl p cross join aclexplode(p.paracl) a
                where p.parname = 'deadlock_timeout' and a.grantee = to_regrole('kos_operator'));

-- name: revoke_parameter
-- For the same administrator: nobody can drop a role that has rights.
revoke all on parameter deadlock_timeout from kos_operator
