-- Queries of kos.adoption: taking tables in and out. As the operator; what changes a table is run as its owner.

-- name: find_table
-- A table by its name. Not by regclass: that needs the use of its schema, which only its owner may have.
select c.oid::bigint
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %(schema)s and c.relname = %(table)s;

-- name: find_planned
-- A table that was planned for, under whatever name it has now, and the one that has its name.
select (select c.oid::bigint from pg_class c where c.oid = %(oid)s::oid and c.relkind in ('r', 'p')),
       (select c.oid::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = %(schema)s and c.relname = %(table)s);

-- name: limit
-- While a lock is waited for, everyone behind it waits too: also where a table has many partitions.
select set_config('lock_timeout', '200ms', true), set_config('statement_timeout', '200ms', true);

-- name: wait_briefly
-- For rows that somebody is changing: those that are locked already would be waited for by others.
select set_config('lock_timeout', '200ms', true);

-- name: lift_limit
-- The locks are there.
select set_config('statement_timeout', '0', true);

-- name: act_as
-- With the rights of a role that we are a member of.
set local role {role};

-- name: act_as_ourselves
-- Back to the role that logged in.
reset role;

-- name: blockers
-- Who holds a lock on a table that others have to wait for. The statement is shown to the role that runs it, so this is
-- asked as the table's owner.
select distinct a.pid, a.usename::text, coalesce(left(regexp_replace(a.query, '\s+', ' ', 'g'), 80), '')
  from pg_locks l
  join pg_stat_activity a using (pid)
 where l.granted and l.pid <> pg_backend_pid() and l.locktype = 'relation'
   and l.database = (select oid from pg_database where datname = current_database())
   and l.relation in (select %(table)s::oid::regclass union select relid from pg_partition_tree(%(table)s::oid::regclass))
 order by 1
 limit 5;

-- name: was_logged
-- Has a table of this name a log of an earlier time?
select kos.was_logged(%(table)s::oid::regclass);

-- name: adopt_table
-- Note it, make its functions, and tell what is to be run.
select role, statement from kos.adopt_table(%(table)s::oid::regclass, %(column)s, %(baseline)s, %(sensitive)s);

-- name: release_script
-- What takes the capture of a table away.
select role, statement from kos.release_script(%(table)s::oid::regclass);

-- name: adopted
-- Tables of the product that are logged here, or enforced, or both: one without a key can be kept apart, and not logged.
select n.nspname::text as schema, c.relname::text as "table", o.rolname::text as owner, c.oid::bigint as oid,
       l.relation is not null as logged, e.relation is not null as enforced,
       coalesce(l.tenant_column, e.tenant_column) as tenant_column, l.baseline, coalesce(l.sensitive, '{}') as sensitive,
       coalesce(l.logged_since, e.enforced_at) as since, l.complete_at, coalesce(l.unlogged_parts, '{}') as unlogged_parts,
       coalesce(l.faults, '{}') as faults, coalesce(l.loses, false) as loses,
       array(select distinct format('%%I on %%I.%%I', y.polname, s.nspname, p.relname)
               from kos.enforced_tables n
               join pg_policy y on y.polrelid = n.relation
               join pg_class p on p.oid = n.relation
               join pg_namespace s on s.oid = p.relnamespace
              where n.root = e.relation and not (n.row_security and n.forced)
                and y.polname !~ '^kos_'
                and not to_jsonb(n) -> 'policies' ? y.polname::text order by 1) as policies_since
  from kos.adopted_tables() l
  full join (select * from kos.enforced_tables where relation = root) e on e.relation::oid = l.relation
  join pg_class c on c.oid = coalesce(l.relation, e.relation::oid)
  join pg_namespace n on n.oid = c.relnamespace
  join pg_roles o on o.oid = c.relowner
 order by 1, 2;

-- name: sees_all
-- Does row security hide rows from the role that asks?
select not row_security_active(%(table)s::oid::regclass);

-- name: what_hides_rows
-- What hides rows of a table or partition from the copy; null: nothing. Of one that is locked, that stays so.
select kos.what_hides_rows(%(part)s::oid::regclass);

-- name: baseline_query
-- The query of the next keys, or of the rows up to the last of them.
select kos.baseline_query(%(table)s::oid::regclass, %(after)s::text[], %(upto)s::text[], %(limit)s);

-- name: log_baseline
-- Rows that were locked, as they are now.
select kos.log_baseline(%(part)s::oid::regclass, %(rows)s::text[]::tid[]);

-- name: complete_baseline
-- All rows are in the log.
select kos.complete_baseline(%(table)s::oid::regclass);

