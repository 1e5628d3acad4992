-- What makes a fresh PostgreSQL a shard of an embedded stack. Run as its superuser, once; harmless to repeat.

-- name: data_directory
-- Which server answers here.
select current_setting('data_directory') as data_directory

-- name: is_marked
-- Whether the database carries the stack's marker, which is written last.
select exists (
  select from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
  where d.datname = %(database)s and s.setrole = 0 and s.setconfig @> array['kos.stack=' || %(stack)s::text]
)

-- name: add_vector
-- In template1: every database made later has it, and nobody needs superuser for it.
create extension if not exists vector

-- name: add_statistics
-- In template1, as above.
create extension if not exists pg_stat_statements

-- name: role_exists
-- Whether there is such a role.
select exists (select from pg_roles where rolname = %(role)s)

-- name: database_exists
-- Whether there is such a database.
select exists (select from pg_database where datname = %(database)s)

-- name: create_installer
-- The role that `kos upgrade` connects as. No superuser: the embedded stack must not allow more than production does.
create role {role} login createrole createdb password {password}

-- name: let_end_sessions
-- To pass on to the operator, who may have to end sessions that hold a tenant's fence.
grant pg_signal_backend to {role} with admin option

-- name: let_pass_autovacuum
-- To pass on to the operator, for whose changes of schema an autovacuum has to make way.
grant set on parameter deadlock_timeout to {role} with grant option

-- name: create_database
-- The database of kos.
create database {database} owner {owner}

-- name: mark
-- The marker: commands that only act on embedded stacks look for it.
alter database {database} set kos.stack = {stack}

-- name: marker
-- The marker as a session sees it.
select current_setting('kos.stack', true) as stack

-- name: lock_roles
-- One at a time: two sessions that alter one role at once fail with "tuple concurrently updated".
select pg_advisory_xact_lock(hashtext('kos.stack roles'))

-- name: open_app
-- Let applications log in.
alter role {role} login password {password}

-- name: open_operator
-- Let operators log in, and make databases for tenants of the database tier.
alter role {role} login createdb password {password}
