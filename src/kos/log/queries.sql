-- Queries of kos.log, for the operator, in a data database.

-- name: seal
-- What is committed by now gets its positions.
select kos.seal(%(tenant)s);

-- name: unsealed
-- Tenants with something to seal, the one that waits longest first.
select tenant_id from kos.unsealed(%(limit)s);

-- name: tenants_of_log
-- Whoever has a log here, or is about to.
select tenant_id from kos.log_tenants() tenant_id union select tenant_id from kos.unsealed(null);

-- name: logs_in_order
-- The locks of several tenants' logs, in one order.
select kos.log_key(t) from unnest(%(tenants)s::uuid[]) t order by 1;

-- name: lock_log
-- One of them, until it is unlocked.
select pg_advisory_lock(%(key)s);

-- name: unlock_log
-- At the end of a cut.
select pg_advisory_unlock(%(key)s);

-- name: share_logs
-- Before a lock of one.
select pg_advisory_lock_shared(kos.all_logs_key());

-- name: unshare_logs
-- After it.
select pg_advisory_unlock_shared(kos.all_logs_key());

-- name: lock_all_logs
-- Instead of many, if nobody seals just now: who waited for it would keep every sealer waiting.
select pg_try_advisory_lock(kos.all_logs_key());

-- name: unlock_all_logs
-- The same.
select pg_advisory_unlock(kos.all_logs_key());

-- name: seal_locked
-- By who holds the lock.
select kos.seal_locked(%(tenant)s);

-- name: begin_cut
-- The snapshot comes with the first query, after the locks.
begin isolation level repeatable read;

-- name: limit_cut
-- Not by a query: the snapshot would be of before the locks.
set local lock_timeout = {timeout};

-- name: lock_tables
-- A snapshot sees a table that is truncated later as empty: nobody can truncate while a cut is open.
lock table {tables} in access share mode;

-- name: tables_of_log
-- Every logged table that can be named.
select n.nspname, c.relname
  from kos.logged_tables l
  join pg_class c on c.oid = l.relation
  join pg_namespace n on n.oid = c.relnamespace
 order by 1, 2;

-- name: export_snapshot
-- For `set transaction snapshot` elsewhere.
select pg_export_snapshot();

-- name: head
-- How far a tenant's log is.
select position, incarnation from kos.newest_seal(%(tenant)s);

-- name: read_feed
-- Events after a position.
select position, event_type, schema_name, table_name, operation::text, key, event_data, incarnation,
       transaction::text, ends_transaction, leaf, occurred_at
  from kos.read_feed(%(tenant)s, %(after)s, %(leaf)s, %(limit)s);

-- name: feed_cursor
-- Where a feed stands.
select position, leaf from kos.feed_cursor(%(feed)s, %(tenant)s);

-- name: feed_next
-- The next whole transactions of a feed.
select position, event_type, schema_name, table_name, operation::text, key, event_data, incarnation,
       transaction::text, ends_transaction, leaf, occurred_at
  from kos.feed_next(%(feed)s, %(tenant)s, %(limit)s);

-- name: feed_done
-- Its consumer has stored them.
select kos.feed_done(%(feed)s, %(tenant)s, %(at)s, %(end)s, %(leaf)s);

-- name: feed_seek
-- It goes on elsewhere.
select kos.feed_seek(%(feed)s, %(tenant)s, %(at)s, %(leaf)s);

-- name: feed_drop
-- It is no more.
select kos.feed_drop(%(feed)s, %(tenant)s);

-- name: feeds
-- All of them.
select feed, tenant_id, position, head, since, moved_at from kos.feeds();

-- name: feed_waiting
-- Who has something for one.
select tenant_id, position, head, since, null from kos.feed_waiting(%(feed)s, %(limit)s);

-- name: bookmark_position
-- Where a reader has to be; null if that is not sealed.
select kos.bookmark_position(%(tenant)s, %(incarnation)s, %(transaction)s::xid8);

-- name: status
-- One row.
select * from kos.log_status();

-- name: broken_captures
-- Tables whose changes are not captured, or slowly.
select table_name, fault, loses from kos.broken_captures() order by 1, 2;

-- name: compare_log
-- One table against its log.
select tenant_id, key, fault from kos.compare_log(%(table)s::regclass) limit %(limit)s;

-- name: has_tenant
-- A tenant that the log knows, by its id or by the value that an adopted table has; null if there is none.
select max(s.tenant_id::text)::uuid
  from (values (kos.tenant_of(%(value)s)::text), (lower(%(value)s))) asked (id)
  join (select tenant_id from kos.log_tenants() tenant_id union select tenant_id from kos.unsealed(null)) s on s.tenant_id::text = asked.id;

-- name: logs_of
-- Whose log holds the rows of tenants that an adopted table has under these values.
select v, kos.tenant_of(v) from unnest(%(values)s::text[]) v;

-- name: quoted
-- A table's name as SQL writes it.
select format('%%I.%%I', %(schema)s::text, %(table)s::text);

-- name: pending_bytes
-- How much waits to be sealed, or to be given back.
select pg_table_size('kos.pending_1') + pg_table_size('kos.pending_2');

-- name: rotate_pending
-- Give the space of what is sealed back.
select kos.rotate_pending();

-- name: seal_briefly
-- One tenant, unless somebody else is at its log for longer. One statement in autocommit mode: whatever becomes of the
-- client, the transaction ends with it. The row of the first part comes before the seal begins, so the limit counts for
-- every lock that the seal waits for.
with limited as materialized (
  select set_config('lock_timeout', %(lock_timeout)s, true) as lock_timeout
)
select kos.seal(%(tenant)s) from limited where lock_timeout is not null;
