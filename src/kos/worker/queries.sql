-- What the worker asks in each data database, as the operator.

-- name: backend
-- Who serves this session; another than the one that took the connection, where a pooler is between.
select pg_backend_pid();

-- name: try_to_lead
-- Of this session, until it ends. The second number is kos's own, as in all its advisory locks.
select pg_try_advisory_lock(hashtextextended('kos worker', 1263489026));

-- name: end_silent_leader
-- End the session that leads, if it was silent for so long: its worker is frozen, or its machine is gone. A leader asks
-- several times per second. One whose question is being answered is given longer.
select pg_terminate_backend(a.pid), a.pid
  from pg_locks l
  join pg_stat_activity a using (pid)
 where l.locktype = 'advisory'
   and l.granted
   and l.database = (select oid from pg_database where datname = current_database())
   and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('kos worker', 1263489026)
   and l.objsubid = 1
   and clock_timestamp() - a.state_change
       > make_interval(secs => case a.state when 'active' then %(answering)s else %(silent)s end::float8);

-- name: unsealed
-- Tenants with committed rows that have no position yet, the longest waiting first: how many rows, and for how long.
select tenant_id, waiting, case when oldest is not null then greatest(extract(epoch from clock_timestamp() - oldest), 0) end::float8
  from kos.unsealed(%(most)s)
 order by oldest nulls first, tenant_id;

-- name: unsealed_among
-- The same of these tenants only, which costs no more than they have waiting.
select tenant_id, waiting, case when oldest is not null then greatest(extract(epoch from clock_timestamp() - oldest), 0) end::float8
  from kos.unsealed_among(%(tenants)s)
 order by oldest nulls first, tenant_id;

-- name: rotate
-- Keep the log in order: captures of changed tables, next month's partition, the space of what is drained.
with limited as materialized (
  select set_config('lock_timeout', %(lock_timeout)s, true) as lock_timeout
)
select kos.keep_log() from limited where lock_timeout is not null;

-- name: log_status
-- What the metrics say of the log.
select pending_rows, broken_tables from kos.log_status();
