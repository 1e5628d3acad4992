-- What health asks of PostgreSQL.

-- name: limit_statements
-- No question of ours may hang. With transaction scope, so that it is safe behind any pooler.
select set_config('statement_timeout', %(milliseconds)s::text, true) as statements,
       set_config('lock_timeout', %(milliseconds)s::text, true) as locks;

-- name: no_transaction_timeout
-- For a session of our own. PostgreSQL 17 and newer.
set transaction_timeout = 0;

-- name: read_only
-- Questions change nothing.
set transaction read only;

-- name: server_facts
-- Which server this is, and whether it takes writes. Age is how old a replica's last replayed transaction is, null
-- on a primary or where a replica has replayed all it has received.
select current_setting('server_version') as version,
       pg_is_in_recovery() as in_recovery,
       case
         when pg_is_in_recovery() and pg_last_wal_receive_lsn() is distinct from pg_last_wal_replay_lsn()
         then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8
       end as age;

-- name: role_exists
-- Whether the server knows a role.
select exists (select from pg_roles where rolname = %(role)s) as found;
