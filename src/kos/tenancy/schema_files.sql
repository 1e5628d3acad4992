-- Queries of kos.tenancy.schema_files and kos.tenancy.install.

-- name: is_installed
-- Has this database a kos schema? Not by to_regclass: after waiting for an advisory lock that may answer from a
-- stale cache (tried: two installs at once), while reading the catalog takes its lock and looks anew.
select exists (
  select from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where n.nspname = 'kos' and c.relname = 'schema_versions'
);

-- name: applied_files
-- What a schema has had, with the content it had then.
select version, checksum from kos.schema_versions where schema_name = %(schema)s;

-- name: known_schemas
-- All schemas that files were applied to.
select distinct schema_name from kos.schema_versions;

-- name: record_file
-- In the file's own transaction.
insert into kos.schema_versions (schema_name, version, file_name, checksum, oldest_library)
values (%(schema)s, %(version)s, %(file)s, %(checksum)s, %(oldest)s);

-- name: lock_upgrade
-- Released at the end of the transaction.
select pg_advisory_xact_lock(1263489025);

-- name: become_owner
-- Everything that is made belongs to the role that nobody can log in as.
set local role kos_owner;

-- name: set_lock_timeout
-- For this transaction only.
select set_config('lock_timeout', %(timeout)s, true);

-- name: make_schema
-- A schema of tenants' tables.
create schema if not exists {schema};

-- name: open_schema
-- Row security says what is seen; this says only that the schema can be named.
grant usage on schema {schema} to kos_app, kos_persona, kos_operator, kos_auditor, kos_mover;

-- name: enter_schema
-- The files of tenants' tables name no schema.
set local search_path to {schema}, pg_temp;

-- name: look_from_outside
-- For this transaction only: no schema but the server's own is found without its name.
set local search_path to pg_catalog, pg_temp;

-- name: blockers
-- Sessions that hold locks on tables of kos, or have been in a transaction for longest.
select distinct a.pid, a.usename, a.application_name, a.state
  from pg_locks l
  join pg_stat_activity a using (pid)
 where l.granted and l.pid <> pg_backend_pid() and l.locktype = 'relation'
   and l.database = (select oid from pg_database where datname = current_database())
   and l.relation >= 16384
 limit 5;

-- name: missing_roles
-- Which of the six roles this server lacks.
select name from unnest(array['kos_owner', 'kos_app', 'kos_persona', 'kos_operator', 'kos_auditor', 'kos_mover']) as name
 where not exists (select from pg_roles where rolname = name)
 order by array_position(array['kos_owner', 'kos_app', 'kos_persona', 'kos_operator', 'kos_auditor', 'kos_mover'], name);

-- name: create_role
-- Roles can't log in unless the administrator lets them, or grants them to roles that can.
create role {role} nologin nosuperuser nobypassrls;

-- name: who_am_i
-- For messages.
select current_user;

-- name: is_granted
-- Does a role act for another already? From PostgreSQL 16 on, who made a role is a member that can't yet act for it.
select pg_has_role(%(member)s, %(role)s, 'USAGE');

-- name: grant_role
-- The operator, and whoever installs, act for the owner; the application may become a persona.
grant {role} to {member};

-- name: may_end_sessions
-- Can the connected role pass on the right to end sessions?
select exists (
  select from pg_auth_members m
   where m.roleid = 'pg_signal_backend'::regrole and m.member = current_user::regrole and m.admin_option
) or (select rolsuper from pg_roles where rolname = current_user);

-- name: may_pass_autovacuum
-- Does the operator lack the right to have an autovacuum make way, and can the connected role give it?
select not has_parameter_privilege('kos_operator', 'deadlock_timeout', 'SET')
   and has_parameter_privilege('deadlock_timeout', 'SET WITH GRANT OPTION');

-- name: pass_autovacuum
-- An autovacuum makes way for whoever has waited that long.
grant set on parameter deadlock_timeout to kos_operator;

-- name: grant_database
-- The owner makes schemas here; applications make temporary tables.
grant create, temporary on database {database} to kos_owner;

-- name: grant_connect
-- Where the database is closed to PUBLIC.
grant connect, temporary on database {database} to kos_app, kos_operator, kos_auditor;

-- name: has_database_grants
-- Were both done already?
select has_database_privilege('kos_owner', current_database(), 'CREATE')
   and has_database_privilege('kos_app', current_database(), 'CONNECT')
   and has_database_privilege('kos_app', current_database(), 'TEMPORARY')
   and has_database_privilege('kos_operator', current_database(), 'CONNECT');

-- name: finished_changes
-- Those that every tenant has, in their order. Of the control database.
select operation, name, sql from kos.changes where shipped and finished_at is not null order by finished_at;

-- name: making
-- For this transaction, of the control database. No parameters: their snapshot would be kept.
select pg_advisory_xact_lock_shared(hashtextextended('kos making', 1263489026));

-- name: nobody_making
-- Likewise.
select pg_advisory_xact_lock(hashtextextended('kos making', 1263489026));

-- name: has_open_change
-- Whether there is one that is not over. Of the control database.
select exists (select from kos.changes where shipped and finished_at is null);

-- name: changes_of
-- Which of them a schema has.
select operation from kos.changed_schemas where schema_name = %(schema)s;

-- name: note_changed
-- In the transaction that makes it.
insert into kos.changed_schemas (operation, schema_name, name) values (%(operation)s, %(schema)s, %(name)s);

-- name: enter_changed_schema
-- A change names no schema, and types of extensions may be in `public`.
set local search_path to {schema}, public, pg_temp;
