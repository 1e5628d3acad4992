-- Queries of kos.projections, for the operator, in a data database.

-- name: rows_at
-- Rows as they were at a position.
select key, data from kos.rows_at(%(tenant)s, %(at)s, %(schema)s, %(table)s, %(keys)s);

-- name: rows_of
-- A cursor on the rows of a snapshot; more of them are fetched than one at a time.
select key, data from kos.rows_of(%(table)s::regclass, %(tenant)s, %(columns)s);

-- name: try_lock
-- Nobody else does something about this tenant in this projection, until it is unlocked.
select pg_try_advisory_lock(kos.projection_key(%(projection)s, %(tenant)s, %(purpose)s));

-- name: lock
-- The same, waited for; it outlives the transaction that it is taken in.
select pg_advisory_lock(kos.projection_key(%(projection)s, %(tenant)s, %(purpose)s));

-- name: unlock
-- At the end of it.
select pg_advisory_unlock(kos.projection_key(%(projection)s, %(tenant)s, %(purpose)s));

-- name: epoch_of
-- The epoch that a tenant has here, and the schema of its tables if they are none of a product's; no row for one that only
-- adopted tables know, or that is gone.
select epoch, case when not adopted then schema_name end from kos.fence where tenant_id = %(tenant)s;

-- name: head
-- How far a tenant's log is.
select incarnation, position from kos.newest_seal(%(tenant)s);

-- name: length_of_next
-- How many events the next transaction has.
select coalesce(kos.end_of_transaction(%(tenant)s, %(position)s + 1) - %(position)s, 0);

-- name: event_at
-- The incarnation and the leaf of an event.
select incarnation, leaf from kos.knowledge_events where tenant_id = %(tenant)s and position = %(position)s;

-- name: is_put_back
-- Whether a tenant's log has no more what a projection has seen of it. Not of a tenant that was removed, and came again.
select %(position)s > 0
   and not exists (select from kos.knowledge_events where tenant_id = %(tenant)s and position = %(position)s and leaf = %(leaf)s)
   and not exists (select from kos.projection_leavers where projection = %(projection)s and tenant_id = %(tenant)s);

-- name: lock_incarnation
-- Two who find it out at once begin one: the lock of kos.current_incarnation().
select pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 1);

-- name: begin_incarnation
-- Unless one has begun since that event was sealed, as on another timeline, or where somebody has said so. After a second
-- restore of the same copy the database doesn't know the one that the event is of: then its number is not given again.
select kos.begin_incarnation('a projection was ahead of the log', %(incarnation)s) where kos.current_incarnation() <= %(incarnation)s;

-- name: parked
-- The rows of a tenant that a projection leaves as they were.
select schema_name, table_name, key, position, reason, parked_at, tried_at
  from kos.projection_parked
 where projection = %(projection)s and tenant_id = %(tenant)s
 order by position, schema_name, table_name, key;

-- name: park
-- One more.
insert into kos.projection_parked (projection, tenant_id, schema_name, table_name, key, position, reason)
values (%(projection)s, %(tenant)s, %(schema)s, %(table)s, %(key)s, %(position)s, %(reason)s)
    on conflict (projection, tenant_id, schema_name, table_name, key)
    do update set reason = excluded.reason, tried_at = clock_timestamp();

-- name: unpark
-- It is applied.
delete from kos.projection_parked
 where projection = %(projection)s and tenant_id = %(tenant)s and schema_name = %(schema)s and table_name = %(table)s and key = %(key)s;

-- name: unpark_table
-- The table was truncated: what was parked of it is gone.
delete from kos.projection_parked
 where projection = %(projection)s and tenant_id = %(tenant)s and schema_name = %(schema)s and table_name = %(table)s and position < %(position)s;

-- name: parked_everywhere
-- All of them in this database.
select tenant_id, schema_name, table_name, key, position, reason, parked_at, tried_at
  from kos.projection_parked
 where projection = %(projection)s
 order by tenant_id, position;

-- name: store_of
-- The store that the cursors tell of.
select identity from kos.projection_stores where projection = %(projection)s;

-- name: note_store
-- They tell of this one from now on.
insert into kos.projection_stores (projection, identity) values (%(projection)s, %(identity)s)
    on conflict (projection) do update set identity = excluded.identity, noted_at = clock_timestamp();

-- name: leavers
-- Tenants that are no more.
select tenant_id from kos.projection_leavers where projection = %(projection)s order by left_at limit 100;

-- name: has_left
-- Nothing of it is left.
delete from kos.projection_leavers where projection = %(projection)s and tenant_id = %(tenant)s;

-- name: status
-- How far each projection is, in this database.
select projection, tenants, parked, rebuilds, making from kos.projection_status();

-- name: tables
-- The logged tables, each with a mark that is another one when it was let go and taken in again, and whether they are in
-- a schema of tenants of ours.
select n.nspname, c.relname, concat(l.logged_id, '@', extract(epoch from l.logged_since)), exists (select from kos.fence f where f.schema_name = n.nspname and not f.adopted)
  from kos.logged_tables l
  join pg_class c on c.oid = l.relation
  join pg_namespace n on n.oid = c.relnamespace
 order by 1, 2;

-- name: import_snapshot
-- What another session's cut shows.
begin isolation level repeatable read read only;

-- name: set_snapshot
-- The same.
set transaction snapshot {snapshot};

-- name: set_lock_timeout
-- Who waits to truncate a table stands before us, and waits for the cut.
select set_config('lock_timeout', %(timeout)s, true);

-- name: tenants_here
-- Whoever has a log here.
select tenant_id from kos.log_tenants() tenant_id order by 1;

-- name: tenants_known
-- The same, and whoever is served here without one: its store may have what was lost when the log was put back.
select tenant_id from kos.log_tenants() tenant_id union select tenant_id from kos.fence where serving order by 1;

-- name: tables_mark
-- It is another one when a table has come or gone, or both.
select md5(string_agg(concat(logged_id, '@', extract(epoch from logged_since)), ' ' order by logged_id)) from kos.logged_tables;

-- name: made_of
-- The tables that what readers see of a tenant was made from.
select tables from kos.projection_made where projection = %(projection)s and tenant_id = %(tenant)s;

-- name: note_made
-- It is made from these.
insert into kos.projection_made (projection, tenant_id, tables) values (%(projection)s, %(tenant)s, %(tables)s)
    on conflict (projection, tenant_id) do update set tables = excluded.tables, times = kos.projection_made.times + 1, made_at = clock_timestamp();

-- name: waiting
-- The tenants that have something for a projection, with how many events and for how many seconds.
select tenant_id, head - position, extract(epoch from clock_timestamp() - since)::float8
  from kos.feed_waiting(%(feed)s, %(limit)s);

-- name: count_parked
-- How many rows its store refuses, in this database.
select count(*) from kos.projection_parked where projection = %(projection)s;

-- name: key_of
-- The columns that tell a table's rows apart, and the one that says whose they are.
select l.key_columns, l.tenant_column
  from kos.logged_tables l
  join pg_class c on c.oid = l.relation
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %(schema)s and c.relname = %(table)s;

-- name: nothing
-- Asked of a session, which enters with it.
select;

-- name: bookmark_position
-- Where a reader of the entered tenant's log has to be: position, and the incarnation of the event there; nulls if that
-- is not sealed, or was sealed while this was asked. And where the projection is, as its cursor says.
select p.position, case p.position when 0 then 0 else e.incarnation end, coalesce(c.position, 0)
  from (select kos.bookmark_position(%(incarnation)s, %(transaction)s::xid8) as position) p
  left join kos.knowledge_events e on e.tenant_id = kos.current_tenant_id() and e.position = p.position
  left join kos.feed_cursors c on c.tenant_id = kos.current_tenant_id() and c.feed = %(feed)s;
