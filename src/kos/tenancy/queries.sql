-- Queries of kos.tenancy. Control tables are those of the first shard; the fence is each data database's own.

-- name: enter
-- The whole entry.
select kos.enter(%s, %s, %s, %s, %s, %s, %s, %s);

-- name: enter_positional
-- The same as the server's protocol wants it.
select kos.enter($1, $2, $3, $4, $5, $6, $7, $8);

-- name: prepare_enter
-- Once per pooled connection, where there is no pooler between.
prepare kos_enter (text, bigint, text, text, text, inet, text, integer) as
select kos.enter($1, $2, $3, $4, $5, $6, $7, $8);

-- name: nothing
-- Travels with an entry that has no statement of its own.
select;

-- name: handshake
-- Is there a kos schema, and at which version? Raises KS007 where this library is too old for it.
select kos.handshake(%(library)s);

-- name: find_tenant
-- One tenant with its placement, by name or id. Placement columns are null while it is being made.
select t.tenant_id, t.name, p.tier, t.service_plan, t.state, s.name, s.region, p.database_name, p.schema_name,
       p.epoch, t.created_at, t.adopted
  from kos.tenants t
  left join kos.placements p using (tenant_id)
  left join kos.shards s using (shard_id)
 where t.name = %(tenant)s or t.tenant_id::text = %(tenant)s;

-- name: list_tenants
-- All tenants with their placements.
select t.tenant_id, t.name, p.tier, t.service_plan, t.state, s.name, s.region, p.database_name, p.schema_name,
       p.epoch, t.created_at, t.adopted
  from kos.tenants t
  left join kos.placements p using (tenant_id)
  left join kos.shards s using (shard_id)
 order by t.name;

-- name: claim_tenant
-- Take the name, with its placement decided, before anything is made: a killed command finds its plan again.
with tenant as (
  insert into kos.tenants (tenant_id, name, service_plan, state)
  select coalesce(%(id)s::uuid, kos.uuid_v7()), %(name)s, coalesce(%(service_plan)s, 'standard'), %(state)s
    from kos.shards
   where name = %(shard)s
  on conflict (name) do nothing
  returning tenant_id
)
insert into kos.placements (tenant_id, tier, shard_id, database_name, schema_name, epoch)
select tenant_id, %(tier)s, shard_id, %(database)s, %(schema)s, 1
  from tenant, kos.shards
 where kos.shards.name = %(shard)s
returning tenant_id;

-- name: change_service_plan
-- Of a tenant that is not whole yet, to what the command that finishes it says.
update kos.tenants set service_plan = coalesce(%(service_plan)s, service_plan)
 where name = %(name)s and state in ('creating', 'importing');

-- name: open_fence
-- Serve the tenant from this database. Repeatable.
insert into kos.fence (tenant_id, name, tier, schema_name, epoch)
values (%(id)s, %(name)s, %(tier)s, %(schema)s, %(epoch)s)
on conflict (tenant_id) do nothing;

-- name: lock_name
-- One command at a time makes or removes the tenant of a name; for this transaction, so that any pooler will do. The
-- name is written into it: a statement with parameters keeps its snapshot until the next one, so that neither a vacuum
-- nor a concurrent index would get past a command that takes long.
select pg_advisory_xact_lock(hashtextextended('kos tenant ' || {name}, 1263489026));

-- name: mark_database
-- Whose it is. Only what carries a tenant's mark is ever dropped with the tenant.
comment on database {name} is {mark};

-- name: mark_schema
-- Whose it is, as above.
comment on schema {name} is {mark};

-- name: create_marked_schema
-- In one transaction with its mark.
create schema {name} authorization kos_owner;

-- name: mark_of_database
-- No row where there is no such database; null where it has no mark.
select shobj_description(oid, 'pg_database') from pg_database where datname = %(name)s;

-- name: mark_of_schema
-- No row where there is no such schema; null where it has no mark.
select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = %(name)s;

-- name: is_empty_database
-- Nothing but what every database has: a creation that was killed before it could mark its database leaves that.
select not exists (
  select from pg_namespace
   where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
) and not exists (
  select from pg_class c
   where c.relnamespace = 'public'::regnamespace
     and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
);

-- name: set_state
-- 'creating' and 'importing' are left by commands that were killed; 'active' is whole. Only from a state that the
-- command knows of: what another one has made of the tenant meanwhile stays.
update kos.tenants set state = %(state)s where tenant_id = %(id)s and state = any (%(known)s);

-- name: lock_fence
-- The cutover's side of the fence: everyone who is inside leaves first.
select pg_advisory_xact_lock(kos.fence_key(%(id)s));

-- name: enter_to_remove
-- The guard wants an entered tenant, of the operator too.
select kos.enter(f.name, timeout_ms => 3600000) from kos.fence f where f.tenant_id = %(id)s::uuid;

-- name: tables_to_empty
-- A schema's tables of tenants, each after all the tables that refer to it.
with recursive tenant_table as (
  select c.oid, c.relname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = %(schema)s and c.relkind in ('r', 'p') and not c.relispartition
     and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
), depth as (
  select oid, 0 as steps from tenant_table
  union
  select f.confrelid, d.steps + 1
    from depth d
    join pg_constraint f on f.conrelid = d.oid and f.contype = 'f' and f.confrelid <> f.conrelid
   where d.steps < 50
)
select t.relname
  from tenant_table t
  join depth d using (oid)
 group by t.relname
 order by max(d.steps), t.relname;

-- name: delete_rows
-- One table of one tenant.
delete from {table} where tenant_id = %(id)s;

-- name: become_mover
-- Its deletions are not captured: the log goes as well.
set local role kos_mover;

-- name: become_operator
-- Again.
set local role none;

-- name: unlog_schema
-- The capture of a schema's tables, before they go.
select kos.unlog_table(l.relation)
  from kos.logged_tables l
  join pg_class c on c.oid = l.relation
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %(schema)s;

-- name: forget_log
-- What the log holds of a tenant.
select kos.forget_log(%(id)s);

-- name: forget_fence
-- This database no longer knows the tenant.
delete from kos.fence where tenant_id = %(id)s;

-- name: forget_tenant
-- The directory no longer knows the tenant (its placement goes with it).
delete from kos.tenants where tenant_id = %(id)s;

-- name: close_database
-- A new database is open to everyone.
revoke all on database {database} from public;

-- name: drop_schema
-- All of a schema-tier tenant.
drop schema if exists {schema} cascade;

-- name: forget_schema
-- What a schema that is gone had: versions and changes. Another tenant may get its name.
with changed as (delete from kos.changed_schemas where schema_name = %(schema)s),
     placements as (delete from kos.change_placements where schema_name = %(schema)s),
     actions as (delete from kos.change_actions where schema_name = %(schema)s),
     fills as (delete from kos.change_fills where schema_name = %(schema)s)
delete from kos.schema_versions where schema_name = %(schema)s;

-- name: create_database
-- The database of one database-tier tenant.
create database {database} owner kos_owner;

-- name: drop_database
-- All of a database-tier tenant; sessions in it are ended.
drop database if exists {database} with (force);

-- name: tables_of_schema
-- The tenants' tables of a schema, partitions not counted apart.
select c.relname
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %(schema)s and c.relkind in ('r', 'p') and not c.relispartition
   and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
 order by c.relname;

-- name: count_rows
-- Rows of the entered tenant in one table.
select count(*) from {table};

-- name: lift_time_limits
-- For this transaction only. The second is known from PostgreSQL 17 on.
select set_config(setting, '0', true)
  from unnest(array['idle_in_transaction_session_timeout', 'transaction_timeout']) setting
 where current_setting(setting, true) is not null;

-- name: hiding
-- A table that may hide rows of the entered tenant from the role that asks: by a restrictive policy for it, or for a
-- role whose rights it has, or because no policy lets it see them all. What binds to the entered tenant hides none.
with asked as (
  select c.oid, c.relkind in ('r', 'p') as is_table, format('%%I.%%I', n.nspname, c.relname) as name
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = %(schema)s and c.relname = any (%(tables)s)
     and (c.relkind not in ('r', 'p') or row_security_active(c.oid))
), policy as (
  select a.oid, a.name, p.polname, p.polpermissive, p.polroles,
         pg_get_expr(p.polqual, p.polrelid) in
           ('true', '(tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id))') as shows_all
    from asked a
    join pg_policy p on p.polrelid = a.oid
   where p.polcmd in ('r', '*') and p.polqual is not null
     and (0 = any (p.polroles)
          or exists (select from unnest(p.polroles) given (role) where pg_has_role(given.role, 'usage')))
), others as (
  select p.oid, p.polname,
         case when 0 = any (p.polroles) then 'kos_app, kos_persona'
              else (select string_agg(given.role::regrole::text, ', ') from unnest(p.polroles) given (role)
                     where not pg_has_role(given.role, 'usage'))
         end as roles
    from policy p
)
select p.name, format('policy %%I', p.polname),
       case when o.roles is null then format('drop policy %%I on %%s', p.polname, p.name)
            else format('alter policy %%I on %%s to %%s', p.polname, p.name, o.roles) end
  from policy p
  join others o using (oid, polname)
 where not p.polpermissive and not p.shows_all
union all
select a.name, 'no policy lets it see all of them', format('select kos.protect(%%L)', a.name)
  from asked a
 where a.is_table and not exists (select from policy p where p.oid = a.oid and p.polpermissive and p.shows_all)
union all
select a.name, 'it is no table', 'kos doctor'
  from asked a
 where not a.is_table
 order by 1, 2
 limit 1;

-- name: fence_holders
-- Who is inside a tenant.
select pid, transaction, role_name, application, state from kos.fence_holders(%(id)s);

-- name: advance_epoch
-- Raise the epoch, with the fence closed.
select kos.advance_epoch(%(id)s);

-- name: end_session
-- End a session that holds the fence for too long.
select pg_terminate_backend(%(pid)s);

-- name: set_lock_timeout
-- For this transaction only.
select set_config('lock_timeout', %(timeout)s, true);

-- name: register_shard
-- The directory's knowledge of a shard follows the configuration, by name: the order there may change.
merge into kos.shards s
using (select %(name)s::text as name, %(region)s::text as region, %(host)s::text as host, %(port)s::integer as port,
              %(database)s::text as database) as told
   on s.name = told.name
 when matched then
  update set region = told.region, database_host = told.host, database_port = told.port, database_name = told.database
 when not matched then
  insert (name, region, database_host, database_port, database_name)
  values (told.name, told.region, told.host, told.port, told.database);

-- name: has_directory_elsewhere
-- Tenants are served here, and no shard is registered: another database has the directory.
select exists (select from kos.fence) and not exists (select from kos.shards);

-- name: databases_of_shard
-- Where tenants of a shard live.
select distinct p.database_name
  from kos.placements p
  join kos.shards s using (shard_id)
 where s.name = %(shard)s
 order by 1;

-- name: databases
-- The databases that tenants live in, by shard. One that is still being made, or removed, is nobody's yet, or any more.
select distinct s.name, p.database_name
  from kos.placements p
  join kos.shards s using (shard_id)
  join kos.tenants t using (tenant_id)
 where t.state in ('active', 'importing')
 order by 1, 2;

-- name: placement_epoch
-- The directory follows the fence, where they are in different databases.
update kos.placements set epoch = %(epoch)s where tenant_id = %(id)s and epoch < %(epoch)s;

-- name: begin_cross_tenant_access
-- Committed before the work on all tenants begins.
select kos.begin_cross_tenant_access(%(reason)s);

-- name: cross_tenants
-- For this transaction: what the guard and the events ask for.
select set_config('kos.crossing', %(access)s, true);

-- name: end_cross_tenant_access
-- Also where the work has failed.
select kos.end_cross_tenant_access(%(access)s);
