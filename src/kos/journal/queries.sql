-- Queries of kos.journal. Fences and checkpoints are each data database's own; all else is the control database's.

-- name: lock_subject
-- One runner at a time asks for a subject's lease; released at the end of the transaction.
select pg_advisory_xact_lock(hashtextextended('kos lease ' || %(subject)s, 1263489027));

-- name: find_lease
-- Who has the lease, and whether it can be taken over: its time is up, or its session is gone.
select l.operation_id, o.name, l.holder, l.token, l.until < clock_timestamp(),
       l.has_session and pg_try_advisory_xact_lock(kos.lease_key(l.subject, l.token))
  from kos.leases l
  join kos.operations o using (operation_id)
 where l.subject = %(subject)s;

-- name: take_lease
-- With the next token.
insert into kos.leases (subject, token, operation_id, holder, has_session, until)
values (%(subject)s, nextval('kos.lease_tokens'), %(operation)s, %(holder)s, %(has_session)s,
        clock_timestamp() + %(seconds)s * interval '1 s')
on conflict (subject) do update
   set token = excluded.token, operation_id = excluded.operation_id, holder = excluded.holder,
       has_session = excluded.has_session, until = excluded.until, taken_at = clock_timestamp()
returning token;

-- name: hold_session_lock
-- Until this session ends. Its key is of this token, so a frozen holder's lock is in nobody's way.
select pg_advisory_lock(kos.lease_key(%(subject)s, %(token)s));

-- name: name_session
-- So that whoever takes over can end it, and whoever looks at the server sees what it is.
select set_config('application_name', %(name)s, false);

-- name: as_new
-- A connection of ours that did something else before; its name stays. What `kos.topology.postgres` says comes after it.
reset session authorization; reset all; select pg_advisory_unlock_all();

-- name: end_sessions
-- Of runners that had this operation before; a server works on for a client that is gone.
select pg_terminate_backend(pid)
  from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid()
   and starts_with(application_name, %(prefix)s) and application_name <> %(own)s;

-- name: beat
-- No row: another one has the lease. It could have it with the same token: the sequence goes back with a control database
-- that was restored, or lost its tail in a failover.
update kos.leases set until = clock_timestamp() + %(seconds)s * interval '1 s'
 where subject = %(subject)s and token = %(token)s and operation_id = %(operation)s and holder = %(holder)s
returning until;

-- name: check_lease
-- Shared until the transaction ends: a taker over waits for it. No row: another one has the lease.
select token from kos.leases
 where subject = %(subject)s and token = %(token)s and operation_id = %(operation)s and holder = %(holder)s
   for share;

-- name: give_back_lease
-- Only one's own.
delete from kos.leases
 where subject = %(subject)s and token = %(token)s and operation_id = %(operation)s and holder = %(holder)s;

-- name: set_lock_timeout
-- For this transaction only.
select set_config('lock_timeout', %(timeout)s, true);

-- name: raise_fence
-- Let this token in, and no lower one any more. Waits for transactions that have passed with a lower one. No row: the
-- fence was there, or higher.
insert into kos.lease_fences (subject, token) values (%(subject)s, %(token)s)
on conflict (subject) do update set token = excluded.token where kos.lease_fences.token < excluded.token
returning token;

-- name: find_fence
-- The last token that was let in here.
select token from kos.lease_fences where subject = %(subject)s;

-- name: skip_tokens
-- By taking them: to set the sequence could set it back, beside somebody who takes one.
select count(nextval('kos.lease_tokens')) from generate_series(1, %(behind)s);

-- name: pass_lease
-- KS011 where another one has the lease.
select kos.pass_lease(%(subject)s, %(token)s);

-- name: store_plan
-- Before the first step.
insert into kos.operations (operation_id, name, subject, plan, library, created_by)
values (%(operation)s, %(name)s, %(subject)s, %(plan)s, %(library)s, %(created_by)s);

-- name: next_id
-- Its time is part of it, so ids sort as operations were made.
select kos.uuid_v7();

-- name: note_event
-- The sequence is what its writer has seen: a second writer meets the primary key.
insert into kos.operation_events (operation_id, sequence, step, what, result, token)
values (%(operation)s, %(sequence)s, %(step)s, %(what)s, %(result)s, %(token)s);

-- name: set_state
-- Kept in step with the events, in the event's transaction.
update kos.operations set state = %(state)s, updated_at = clock_timestamp() where operation_id = %(operation)s;

-- name: note_place
-- Before anything is written there.
insert into kos.operation_places (operation_id, shard, database_name)
values (%(operation)s, %(shard)s, %(database)s)
on conflict do nothing;

-- name: places
-- Where the operation has written, or was about to.
select shard, database_name from kos.operation_places where operation_id = %(operation)s order by 1, 2;

-- name: databases
-- Which of these there are; asked of another database of the same server.
select datname::text from pg_database where datname = any(%(databases)s);

-- name: operations
-- Newest first, with who is at it now.
select o.operation_id, o.name, o.subject, o.state, o.plan, o.library, o.created_by, o.created_at, o.updated_at,
       l.holder
  from kos.operations o
  left join kos.leases l on l.operation_id = o.operation_id and kos.is_held(l)
 where (%(subject)s::text is null or o.subject = %(subject)s)
   and (not %(unfinished)s or o.state not in ('finished', 'rolled_back'))
 order by o.created_at desc, o.operation_id desc
 limit %(limit)s;

-- name: find_operations
-- Those whose id begins so. Two are enough to know that it is not unique.
select o.operation_id, o.name, o.subject, o.state, o.plan, o.library, o.created_by, o.created_at, o.updated_at,
       l.holder
  from kos.operations o
  left join kos.leases l on l.operation_id = o.operation_id and kos.is_held(l)
 where starts_with(o.operation_id::text, %(prefix)s)
 order by o.operation_id
 limit 2;

-- name: events
-- Of these operations, in order.
select operation_id, sequence, step, what, result, token, at
  from kos.operation_events
 where operation_id = any(%(operations)s)
 order by operation_id, sequence;

-- name: write_checkpoint
-- In the batch's transaction.
insert into kos.checkpoints (operation_id, step, value, done)
values (%(operation)s, %(step)s, %(value)s, %(done)s)
on conflict (operation_id, step) do update
   set value = excluded.value, done = excluded.done, at = clock_timestamp();

-- name: read_checkpoint
-- The last one of a step here.
select value, done from kos.checkpoints where operation_id = %(operation)s and step = %(step)s;

-- name: read_progress
-- How far steps have come, in this database.
select operation_id, step, done from kos.checkpoints where operation_id = any(%(operations)s) and done is not null;

-- name: forget_checkpoints
-- Of an operation that is over.
delete from kos.checkpoints where operation_id = %(operation)s;
