-- Queries of kos.adoption.enforce. What changes a table runs as its owner.

-- name: find_relation
-- A table as it is now, and what row security needs to know of it.
select c.oid::bigint as oid, n.nspname::text as schema, c.relname::text as name, o.rolname::text as owner,
       kos.tenant_kind(c.oid, %(column)s) as kind,
       (select format_type(a.atttypid, a.atttypmod) from pg_attribute a
         where a.attrelid = c.oid and a.attname = %(column)s and not a.attisdropped) as type
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_roles o on o.oid = c.relowner
 where c.oid = %(oid)s::oid;

-- name: parts
-- A table and its partitions that are not enforced yet, each with its flags, and with what the roles of kos were not
-- granted on it: that is noted, and revoked when the table is released. A query can name a partition, whose own policies
-- count then.
select c.oid::bigint as oid, n.nspname::text as schema, c.relname::text as name, o.rolname::text as owner,
       c.relrowsecurity as row_security, c.relforcerowsecurity as forced,
       (select coalesce(jsonb_agg(jsonb_build_array(wanted.privilege, wanted.role) order by wanted.role, wanted.privilege), '[]')
          from (values ('SELECT', 'kos_operator'), ('INSERT', 'kos_operator'), ('UPDATE', 'kos_operator'),
                       ('DELETE', 'kos_operator'), ('SELECT', 'kos_auditor'), ('SELECT', 'kos_owner')) wanted (privilege, role)
         where not exists (
           select from aclexplode(c.relacl) x
            where x.grantee = wanted.role::regrole and x.privilege_type = wanted.privilege)) as rights,
       array(select y.polname::text from pg_policy y where y.polrelid = c.oid and y.polname !~ '^kos_' order by 1) as policies
  from (select %(oid)s::oid as oid union select t.relid from pg_partition_tree(%(oid)s::oid) t) part
  join pg_class c on c.oid = part.oid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_roles o on o.oid = c.relowner
  left join kos.enforced_tables e on e.relation = c.oid
 where e.relation is null
    or c.oid = any (%(noted)s::oid[])
 order by c.oid <> %(oid)s::oid, c.oid;

-- name: schema_rights_missing
-- The same of its schema. What another enforced table has noted is this one's as well: the last that goes revokes it.
select r.role
  from (values ('kos_operator'), ('kos_auditor'), ('kos_owner')) r (role)
 where not exists (
   select from pg_namespace n cross join aclexplode(n.nspacl) x
    where n.nspname = %(schema)s and x.privilege_type = 'USAGE' and x.grantee in (0, r.role::regrole))
    or exists (
   select from kos.enforced_tables e join pg_class c on c.oid = e.relation
    where c.relnamespace = (select n.oid from pg_namespace n where n.nspname = %(schema)s) and e.schema_granted ? r.role);

-- name: schema_owner
-- Who may grant on it.
select o.rolname::text
  from pg_namespace n join pg_roles o on o.oid = n.nspowner
 where n.nspname = %(schema)s;

-- name: note_enforced
-- What was there, in the transaction that changes it.
insert into kos.enforced_tables (relation, root, tenant_column, row_security, forced, granted, schema_granted, policies)
values (%(oid)s::oid, %(root)s::oid, %(column)s, %(row_security)s, %(forced)s, %(granted)s, %(schema_granted)s, %(policies)s);

-- name: noted
-- A table's note and those of its partitions, the table first; `policies` are those that have come since.
select e.relation::oid::bigint as oid, n.nspname::text as schema, c.relname::text as name, o.rolname::text as owner,
       e.row_security, e.forced, e.granted as rights, e.schema_granted,
       array(select y.polname::text from pg_policy y
              where y.polrelid = c.oid and y.polname !~ '^kos_' and y.polname <> all (e.policies) order by 1) as policies
  from kos.enforced_tables e
  join pg_class c on c.oid = e.relation
  join pg_namespace n on n.oid = c.relnamespace
  join pg_roles o on o.oid = c.relowner
 where e.root = %(oid)s::oid
 order by e.relation <> e.root, c.oid;

-- name: schema_still_needs
-- Roles whose right on the schema another enforced table has noted.
select distinct jsonb_array_elements_text(e.schema_granted)
  from kos.enforced_tables e join pg_class c on c.oid = e.relation
 where e.root <> %(oid)s::oid and c.relnamespace = (select n.oid from pg_namespace n where n.nspname = %(schema)s);

-- name: forget_enforced
-- With its partitions.
delete from kos.enforced_tables where root = %(oid)s::oid;

-- name: enforced_tables
-- Which tables are enforced, without their partitions.
select n.nspname::text, c.relname::text
  from kos.enforced_tables e
  join pg_class c on c.oid = e.relation
  join pg_namespace n on n.oid = c.relnamespace
 where e.relation = e.root
 order by 1, 2;

-- name: note_fenced
-- Capture asks for the fence of every tenant whose rows were written, on tables that have a guard.
update kos.logged_tables set fenced = %(fenced)s where relation = %(oid)s::oid;

-- name: capture_anew
-- Functions only: no lock on the table.
select kos.make_capture(part.oid)
  from unnest(%(oids)s::oid[]) part (oid)
 where exists (select from kos.logged_tables l where l.relation = %(oid)s::oid);

-- name: lock_table
-- Partitions too.
lock table {table} in access exclusive mode;

-- name: may_use_kos
-- By a grant of its own or by what it is a member of: then that is not ours to take back.
select has_schema_privilege(%(owner)s, 'kos', 'USAGE');

-- name: lend_schema
-- The owner makes triggers of it and policies with functions of schema kos, in this transaction only.
grant usage on schema kos to {owner};

-- name: lend_guard
-- The same.
grant execute on function kos.guard_adopted() to {owner};

-- name: take_schema_back
-- What exists goes on without these rights.
revoke usage on schema kos from {owner};

-- name: take_guard_back
-- The same.
revoke execute on function kos.guard_adopted() from {owner};

-- name: grant_right
-- Row security says what is seen.
grant {privilege} on {table} to {role};

-- name: revoke_right
-- The same again.
revoke {privilege} on {table} from {role};

-- name: grant_schema
-- To name its tables.
grant usage on schema {schema} to {role};

-- name: revoke_schema
-- The same again.
revoke usage on schema {schema} from {role};

-- name: enforce
-- The isolation binds PUBLIC, so that neither a policy of the product's nor a view of somebody's goes round it; who may
-- cross is asked inside. An OR keeps indexes from being used: so applications have the same once more without it.
-- Scalar subselects are evaluated once per query.
alter table {table} enable row level security, force row level security;
create policy kos_tenant_isolation on {table} as restrictive for all to public
  using ((select kos.may_cross_tenants()) or {column} = (select kos.{value}()))
  with check ((select kos.may_cross_tenants()) or {column} = (select kos.{value}()));
create policy kos_tenant_index on {table} as restrictive for all to kos_app, kos_persona
  using ({column} = (select kos.{value}()))
  with check ({column} = (select kos.{value}()));
create policy kos_operator_access on {table} as permissive for all to kos_operator, kos_mover using (true) with check (true);
create policy kos_auditor_access on {table} as permissive for select to kos_auditor using (true);
create policy kos_capture_access on {table} as permissive for select to kos_owner using (true);
create trigger kos_guard before insert or update or delete on {table}
  for each statement execute function kos.guard_adopted();
create trigger kos_guard_truncate before truncate on {table}
  for each statement execute function kos.guard_adopted();

-- name: allow
-- What the roles of the product could see before, within their tenant.
create policy kos_access on {table} as permissive for all to {role} using (true) with check (true);

-- name: relax
-- The way back.
drop trigger kos_guard on {table};
drop trigger kos_guard_truncate on {table};
drop policy kos_tenant_isolation on {table};
drop policy kos_tenant_index on {table};
drop policy kos_operator_access on {table};
drop policy kos_auditor_access on {table};
drop policy kos_capture_access on {table};
drop policy if exists kos_access on {table};

-- name: stop_forcing
-- As it was.
alter table {table} no force row level security;

-- name: disable
-- As it was.
alter table {table} disable row level security;
