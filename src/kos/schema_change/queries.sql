-- Queries of kos.schema_change that are not of one kind of change: what was done where, and who is in the way.

-- name: act_as
-- With the rights of the role that owns the table.
set local role {role};

-- name: act_as_ourselves
-- Back to the role that logged in.
reset role;

-- name: commit
-- Now, and not when we say the next thing; what our next COMMIT ends has nothing in it.
commit and chain;

-- name: limit_transaction
-- Nobody waits behind us for longer than that. The change's tables are those of its placement. An autovacuum makes way
-- for whoever has waited for `deadlock_timeout`, so we set that, where we may, to less than what we wait. Who is frozen
-- in the middle of it, or cut off, is soon shut out, and nobody waits for rows that he has locked. What the database or
-- the role says of other limits is for the application; reading all rows takes as long as it takes.
select set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('search_path', quote_ident(%(schema)s) || ', public', true),
       set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', %(idle)s, true),
       case when current_setting('transaction_timeout', true) <> '' then set_config('transaction_timeout', '0', true) end,
       case when has_parameter_privilege('deadlock_timeout', 'SET')
            then set_config('deadlock_timeout', extract(milliseconds from %(lock_timeout)s::interval)::integer / 2 || 'ms', true) end;

-- name: limit_look
-- For a session that only looks.
select set_config('lock_timeout', %(lock_timeout)s, false);

-- name: become
-- For a statement that can't run in a transaction; the session ends with its work.
set role {role};

-- name: search
-- For the same: functions and operator classes may be in the placement's schema. Nothing ends it: it waits for as long
-- as there are transactions that are older, and nobody waits behind it.
select set_config('search_path', quote_ident(%(schema)s) || ', public', false),
       set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false),
       set_config('idle_in_transaction_session_timeout', '0', false),
       case when current_setting('transaction_timeout', true) <> '' then set_config('transaction_timeout', '0', false) end;

-- name: as_before
-- As the session began. PostgreSQL before 17 has no transaction_timeout.
select set_config('search_path', null, false), set_config('lock_timeout', null, false),
       set_config('statement_timeout', null, false), set_config('idle_in_transaction_session_timeout', null, false),
       case when current_setting('transaction_timeout', true) <> '' then set_config('transaction_timeout', null, false) end;

-- name: note_change
-- Once.
insert into kos.changes (operation, name, sql, shipped, paused, max_rate, max_lag_ms, max_latency_ms, latency_query)
values (%(operation)s, %(name)s, %(sql)s, %(shipped)s, %(paused)s, %(max_rate)s, %(max_lag_ms)s, %(max_latency_ms)s,
        %(latency_query)s)
on conflict do nothing;

-- name: forget_change
-- It was taken back.
delete from kos.changes where operation = %(operation)s;

-- name: end_change
-- From now on it is part of the schema.
update kos.changes set finished_at = clock_timestamp() where operation = %(operation)s and finished_at is null;

-- name: limits
-- As they are now.
select paused, max_rate, max_lag_ms, max_latency_ms, latency_query from kos.changes where operation = %(operation)s;

-- name: throttle
-- What is not said stays.
update kos.changes
   set paused = coalesce(%(paused)s, paused),
       max_rate = case when %(set_rate)s then %(max_rate)s else max_rate end,
       max_lag_ms = case when %(set_lag)s then %(max_lag_ms)s else max_lag_ms end,
       max_latency_ms = case when %(set_latency)s then %(max_latency_ms)s else max_latency_ms end,
       latency_query = case when %(set_query)s then %(latency_query)s else latency_query end
 where operation = %(operation)s
returning paused, max_rate, max_lag_ms, max_latency_ms, latency_query;

-- name: ask_to_stop
-- Whoever is at it now.
update kos.changes c set stopping = l.token from kos.leases l
 where c.operation = %(operation)s and l.operation_id = c.operation;

-- name: is_stopping
-- Whether that run was asked to.
select exists (select from kos.changes where operation = %(operation)s and stopping = %(token)s);

-- name: announce
-- New code can count on it in all schemas of this database that it is started in; or in one of them.
insert into kos.changed_schemas (operation, schema_name, name)
select operation, schema_name, %(name)s
  from kos.change_placements
 where operation = %(operation)s and state = 'done' and schema_name = coalesce(%(schema)s, schema_name)
on conflict do nothing;

-- name: still_there
-- A session that has ended holds no lock any more.
select;

-- name: refresh_captures
-- The log notes columns under the names that they have now, for copies that are dumped from here on.
select kos.refresh_captures();

-- name: of_this_name
-- Changes that code in one of these schemas can count on by this name.
select distinct operation, schema_name from kos.changed_schemas
 where name = %(name)s and schema_name = any(%(schemas)s) and not left_out;

-- name: other_text
-- One of these changes that is not of this text.
select operation from kos.changes where operation = any(%(operations)s) and sql <> %(sql)s limit 1;

-- name: withdraw
-- Of this database: new code is refused before anything is taken back.
delete from kos.changed_schemas where operation = %(operation)s;

-- name: has_schema
-- A tenant may have gone meanwhile.
select exists (select from pg_namespace where nspname = %(schema)s);

-- name: schemas_in_use
-- Those of tenants that can be entered.
select distinct schema_name::text from kos.fence;

-- name: schemas_like
-- The schemas of this database that a pattern of LIKE finds, by name; not the server's own.
select nspname::text from pg_namespace
 where nspname like any(%(patterns)s) and nspname not like 'pg\_%%' and nspname not in ('information_schema', 'kos')
 order by 1;

-- name: limit_locks
-- Of a message of several statements, which began with the first lock: what is left for the next.
select set_config('lock_timeout', ceil(greatest(1, 1000 * extract(epoch from
         statement_timestamp() + {limit}::interval - clock_timestamp())))::integer || 'ms', true)

-- name: lock_first
-- All locks that a transaction needs, a table before its partitions. A view before the tables, as whoever uses it has
-- them; but only one that reads nothing else, since its lock is one of what it reads too.
do $locks$
declare
  each record;
begin
  for each in
    with recursive tree (oid, own, root, level) as (
      select c.oid, c.relname = {table}, c.relname, 0
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = {schema}
         and (c.relname = any ({tables}::text[]) or quote_ident(c.relname) = any ({tables}::text[]))
         and (c.relkind in ('r', 'p') or c.relkind = 'v' and not exists (
               select from pg_rewrite r
                 join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
                 join pg_class o on d.refclassid = 'pg_class'::regclass and o.oid = d.refobjid
                where r.ev_class = c.oid and o.oid <> c.oid
                  and (o.relnamespace <> n.oid or not (o.relname = any ({tables}::text[])
                                                       or quote_ident(o.relname) = any ({tables}::text[])))))
      union all
      select i.inhrelid, t.own, t.root, t.level + 1 from tree t join pg_inherits i on i.inhparent = t.oid where {whole})
    select c.oid, c.oid::regclass::text as name
      from tree t join pg_class c on c.oid = t.oid
     where c.relkind in ('r', 'p', 'v')
       and (pg_has_role(c.relowner, 'USAGE') or has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'))
     group by c.oid
     order by c.relkind <> 'v', {sign} * dense_rank() over (order by bool_or(t.own), min(t.root)), max(t.level), 2
  loop
    perform set_config('lock_timeout', ceil(greatest(1, 1000 * extract(epoch from
              statement_timestamp() + {limit}::interval - clock_timestamp())))::integer || 'ms', true);
    if exists (select from pg_class where oid = each.oid) then  -- a partition may have gone meanwhile
      execute format('lock table only %s in {mode} mode', each.name);
    end if;
  end loop;
end $locks$

-- name: note_placement
-- Where a placement stands. That it is left out stays said.
insert into kos.change_placements as p (operation, schema_name, recipe, phase, state)
values (%(operation)s, %(schema)s, %(recipe)s, %(phase)s, %(state)s)
on conflict (operation, schema_name) do update
   set phase = case when p.state = 'left out' then p.phase else excluded.phase end,
       state = case when p.state = 'left out' then p.state else excluded.state end,
       error = %(error)s, doing = null, updated_at = clock_timestamp();

-- name: leave_out
-- Unless what only old code needs is being dropped there: no row then. Whoever begins with that notes it before he looks
-- whether the placement is left out.
with left_out as (
  insert into kos.change_placements as p (operation, schema_name, recipe, phase, state)
  values (%(operation)s, %(schema)s, %(recipe)s, 'expand', 'left out')
  on conflict (operation, schema_name) do update set state = 'left out', updated_at = clock_timestamp()
   where p.phase <> 'contract'
  returning true as said
), refused as (
  insert into kos.changed_schemas (operation, schema_name, name, left_out)
  select %(operation)s, %(schema)s, %(name)s, true from left_out
  on conflict (operation, schema_name) do update set left_out = true)
select said from left_out;

-- name: is_left_out
-- After it was noted what is begun.
select exists (select from kos.change_placements
                where operation = %(operation)s and schema_name = %(schema)s and state = 'left out');

-- name: note_doing
-- What is under way, for whoever asks.
update kos.change_placements set doing = %(doing)s, updated_at = clock_timestamp()
 where operation = %(operation)s and schema_name = %(schema)s and doing is distinct from %(doing)s;

-- name: placements
-- What this database knows of a change.
select schema_name, recipe, phase, state, doing, error, updated_at
  from kos.change_placements where operation = %(operation)s order by schema_name;

-- name: fills
-- How far the rows are, by schema, and how long fills have run: there may be days between those of start and of finish.
select f.schema_name, sum(f.rows)::bigint, sum(f.next_page)::bigint, sum(f.pages)::bigint,
       (select extract(epoch from sum(upper(t.at) - lower(t.at)))::double precision
          from unnest(range_agg(tstzrange(f.started_at, f.updated_at))) as t (at))
  from kos.change_fills f where f.operation = %(operation)s group by f.schema_name;

-- name: is_done
-- Whether an action has happened here.
select exists (select from kos.change_actions
                where operation = %(operation)s and schema_name = %(schema)s and action = %(action)s);

-- name: is_part
-- Whether a table is a partition of another, both of the schema, and no longer being detached.
select exists (select from pg_inherits i
                 join pg_class part on part.oid = i.inhrelid
                 join pg_class parent on parent.oid = i.inhparent
                 join pg_namespace n on n.oid = parent.relnamespace and n.oid = part.relnamespace
                where n.nspname = %(schema)s and part.relname = %(table)s and parent.relname = %(parent)s
                  and not i.inhdetachpending);

-- name: note_action
-- In the transaction of the action itself.
insert into kos.change_actions (operation, schema_name, action) values (%(operation)s, %(schema)s, %(action)s)
on conflict do nothing;

-- name: forget_action
-- In the transaction that takes it back.
delete from kos.change_actions where operation = %(operation)s and schema_name = %(schema)s and action = %(action)s
returning action;

-- name: forget_fills
-- They begin anew.
delete from kos.change_fills where operation = %(operation)s and schema_name = %(schema)s;

-- name: repeat_fill
-- All rows that there are then.
update kos.change_fills set next_page = 0, up_to_key = '{}'
 where operation = %(operation)s and schema_name = %(schema)s and fill = %(fill)s;

-- name: forget_placements
-- Of this database, and of a change that is over.
with actions as (delete from kos.change_actions where operation = %(operation)s),
     fills as (delete from kos.change_fills where operation = %(operation)s)
delete from kos.change_placements where operation = %(operation)s;

-- name: key_of
-- The columns of a table's primary key, in its order.
select a.attname::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_index i on i.indrelid = c.oid and i.indisprimary
  cross join lateral unnest(i.indkey) with ordinality k (attnum, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
 where n.nspname = %(schema)s and c.relname = %(table)s
 order by k.place;

-- name: see_all_rows
-- Or none: where row security would hide some, that is an error.
select set_config('row_security', 'off', true);

-- name: rows_against
-- Some of those that a constraint would refuse.
select {keys} from {table} where {against} limit {most};

-- name: find_index
-- Whether there is such an index, whether it can be used, and whether it is one of that table.
select i.indisvalid, t.relname = %(table)s
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_class t on t.oid = i.indrelid
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %(schema)s and c.relname = %(index)s;

-- name: drop_index
-- Without a lock that anybody could wait for.
drop index concurrently if exists {index};

-- name: blockers
-- Who holds a lock on a table (or on a part of it), or on any of the schemas, the oldest transaction first. One that is
-- prepared has no session, and its name instead of a query.
select a.pid, a.usename::text, coalesce(a.state, a.backend_type),
       left(regexp_replace(nullif(a.query, '<insufficient privilege>'), '\s+', ' ', 'g'), 120),
       round(extract(epoch from clock_timestamp() - a.xact_start))::integer
  from pg_locks l
  join pg_class c on c.oid = l.relation
  join pg_namespace n on n.oid = c.relnamespace
  join lateral (
    select s.pid, s.usename, s.state, s.backend_type, s.query, s.xact_start from pg_stat_activity s where s.pid = l.pid
    union all
    select null, p.owner, 'prepared transaction', null, p.gid, p.prepared
      from pg_prepared_xacts p
      join pg_locks x on x.locktype = 'transactionid' and x.transactionid = p.transaction
     where l.pid is null and x.virtualtransaction = l.virtualtransaction) a on true
 where l.database = (select oid from pg_database where datname = current_database())
   and n.nspname = any(%(schemas)s)
   and (%(tables)s::text[] is null or c.relname = any(%(tables)s))
   and (%(modes)s::text[] is null or l.mode = any(%(modes)s))
   and l.granted and l.pid is distinct from pg_backend_pid()
 group by a.pid, a.usename, a.state, a.backend_type, a.query, a.xact_start
 order by a.xact_start nulls last
 limit 3;

-- name: index_progress
-- What a concurrent build of an index is at, or its removal, and whom it waits for. For a prepared transaction it waits by
-- the transaction's id; PostgreSQL tells nobody then, or the session that has got the place of who prepared it.
select coalesce(p.phase, 'waiting for those who may use it'), coalesce(p.blocks_done, 0), coalesce(p.blocks_total, 0),
       case when x.gid is null then a.pid end, coalesce(x.owner, a.usename)::text,
       case when x.gid is null then coalesce(a.state, a.backend_type) else 'prepared transaction' end,
       coalesce(x.gid, left(regexp_replace(nullif(a.query, '<insufficient privilege>'), '\s+', ' ', 'g'), 120))
  from (select %(pid)s::integer as pid) own
  left join pg_stat_progress_create_index p on p.pid = own.pid
  left join pg_locks l on l.pid = own.pid and l.locktype = 'transactionid' and not l.granted
  left join pg_prepared_xacts x on x.transaction = l.transactionid
  left join pg_stat_activity a
    on a.pid = coalesce(nullif(p.current_locker_pid, 0), (pg_blocking_pids(own.pid))[1])
 where p.pid is not null or a.pid is not null or x.gid is not null;

