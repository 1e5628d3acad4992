-- What health asks of PostgreSQL.

-- name: limit_statements
-- No question of ours may hang. With transaction scope, so that it is safe behind any pooler.
select set_config('statement_timeout', %(milliseconds)s::text, true) as statements,
       set_config('lock_timeout', %(milliseconds)s::text, true) as locks;

-- name: own_session
-- What a database or a role says of these is for the application. Our own statements lock first and look then, which needs
-- a new snapshot for each, and take as long as they take. Behind a transaction pooler a session's settings would be for
-- whoever comes next, and by `options` other poolers take none; so what must not run under another isolation refuses it
-- by itself (kos.seal). PostgreSQL before 17 has no transaction_timeout.
select set_config('default_transaction_isolation', 'read committed', false), set_config('statement_timeout', '0', false),
       set_config('idle_session_timeout', '0', false),
       case when current_setting('transaction_timeout', true) <> '' then set_config('transaction_timeout', '0', false) end;

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
