-- Queries of kos.schema_change.latency: what the application feels of a fill.

-- name: smallest_commit
-- Its commit has to reach the disk, and what the primary waits for, as every writer's has.
select pg_logical_emit_message(true, 'kos', '');

-- name: read_only
-- For a query that somebody gave: it may look, for as long as that, and nothing of it stays.
set transaction read only;

-- name: limit_query
-- In the same transaction.
select set_config('statement_timeout', %(timeout)s, true), set_config('lock_timeout', %(timeout)s, true);

-- name: fetch
-- One row is right, two are too many.
fetch 2 from kos_latency;

-- name: find_statements
-- Where pg_stat_statements is, if this database has it and shows us the statements of others.
select n.nspname::text
  from pg_extension e
  join pg_namespace n on n.oid = e.extnamespace
 where e.extname = 'pg_stat_statements'
   and pg_has_role('pg_read_all_stats', 'USAGE') and has_schema_privilege(n.oid, 'USAGE');

-- name: statements
-- What the application has run here since the statistics began, without what a fill runs as a table's owner, and without
-- BEGIN, settings and their like, which are many and short. A text that PostgreSQL had no room for is the application's.
select s.userid::bigint, s.queryid, s.calls, s.total_exec_time
  from {schema}.pg_stat_statements s
 where s.dbid = (select oid from pg_database where datname = current_database()) and s.toplevel
   and s.userid not in (select oid from pg_roles where rolname = any (%(ours)s) or rolname = session_user)
   and (s.query is null
        or s.query ~* '^(\s|--[^\n]*\n|/\*([^*]|\*[^/])*\*/)*(select|insert|update|delete|merge|with|values|table|copy|call)\y'
           and s.query !~* '/\* kos fill \*/|^\s*select\s+(pg_catalog\.)?set_config\y');

-- name: is_at_work
-- Whether a statement of the application is under way: it will be among the statistics when it ends.
select exists (select from pg_stat_activity a
                where a.datname = current_database() and a.backend_type = 'client backend' and a.state = 'active'
                  and a.usename <> all (%(ours)s) and a.usename <> session_user);
