-- The journal of operations: what was planned, what has happened, who is at it, and how far a batch has come.
-- oldest library: 1
--
-- Operations, events, places and leases are those of the control database (the first shard); other data databases
-- have these tables empty. Lease fences and checkpoints are each data database's own: a batch commits together with
-- its checkpoint, and only while its runner still has the lease.

create table kos.operations (
  operation_id uuid primary key,
  name         text not null,
  subject      text not null check (subject <> ''),
  plan         jsonb not null,
  state        text not null default 'planned' check (state in
                 ('planned', 'running', 'failed', 'finished', 'rolling_back', 'rollback_failed', 'rolled_back')),
  library      text not null,
  created_by   text not null,
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now()
);
comment on table kos.operations is
  'One row per operation: its plan, stored before its first step, and its state, which is the fold of its events.';
-- What one operation has begun, no other may build upon: it is finished or rolled back first.
create unique index operations_unfinished on kos.operations (subject) where state not in ('finished', 'rolled_back');
create index operations_by_time on kos.operations (created_at, operation_id);

-- The moves that the library refuses as well (kos/journal/history.py), for whoever writes here without it.
create function kos.refuse_move() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if old.state in ('finished', 'rolled_back') and new.state <> old.state
     or old.state in ('rolling_back', 'rollback_failed') and new.state not in ('rolling_back', 'rollback_failed', 'rolled_back') then
    raise exception 'the operation % is %, it can''t become %', old.operation_id, old.state, new.state
      using errcode = 'KS010', hint = 'kos operation show ' || old.operation_id;
  end if;
  if (new.operation_id, new.name, new.subject, new.plan) is distinct from (old.operation_id, old.name, old.subject, old.plan) then
    raise exception 'the plan of the operation % is fixed', old.operation_id
      using errcode = 'KS010', hint = 'kos operation show ' || old.operation_id;
  end if;
  return new;
end $$;
create trigger refuse_move before update on kos.operations for each row execute function kos.refuse_move();

create table kos.operation_events (
  operation_id uuid not null references kos.operations,
  sequence     integer not null check (sequence > 0),
  step         text check ((step is null) = (what in ('finished', 'rollback_started', 'rolled_back'))),
  what         text not null check (what in ('started', 'done', 'failed', 'finished',
                 'rollback_started', 'undo_started', 'undone', 'undo_failed', 'rolled_back')),
  result       jsonb,
  token        bigint not null,
  at           timestamptz not null default clock_timestamp(),
  primary key (operation_id, sequence)
);
-- A step is done once, and undone once.
create unique index operation_events_once on kos.operation_events (operation_id, step, what)
 where what in ('done', 'undone');

-- What has happened has happened.
create function kos.refuse_rewriting() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'the journal is only ever added to'
    using errcode = 'KS010', hint = 'kos operation show ' || old.operation_id;
end $$;
create trigger refuse_rewriting before update or delete on kos.operation_events
  for each row execute function kos.refuse_rewriting();
create trigger refuse_rewriting before delete on kos.operations
  for each row execute function kos.refuse_rewriting();

-- Where an operation has written or is about to: whoever takes its lease over raises the fence there.
create table kos.operation_places (
  operation_id  uuid not null references kos.operations,
  shard         text not null,
  database_name text not null,
  primary key (operation_id, shard, database_name)
);

-- Who is at work on a subject. Tokens rise over all subjects and are never given twice.
create sequence kos.lease_tokens as bigint;
create table kos.leases (
  subject      text primary key,
  token        bigint not null,
  operation_id uuid not null references kos.operations,
  holder       text not null,
  -- The holder's session holds kos.lease_key(): whoever can take that knows that the holder is gone. Behind a pooler
  -- a session is nobody's, and only time tells.
  has_session  boolean not null,
  until        timestamptz not null,
  taken_at     timestamptz not null default clock_timestamp()
);

create function kos.lease_key(subject text, token bigint) returns bigint
language sql immutable parallel safe
return pg_catalog.hashtextextended(subject || ' ' || token, 1263489027);

-- Is the holder of a lease at work? Its session lives (where it has one), and its heart has beaten.
create function kos.is_held(lease kos.leases) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select lease.until > clock_timestamp() and (not lease.has_session or exists (
    select from pg_locks l
     where l.locktype = 'advisory'
       and l.granted
       and l.database = (select oid from pg_database where datname = current_database())
       and (l.classid::bigint << 32 | l.objid::bigint) = kos.lease_key(lease.subject, lease.token)
       and l.objsubid = 1
  ))
$$;

-- The last token that was let in here, by subject. Rows stay: if they went, a runner that woke up late could come back.
create table kos.lease_fences (
  subject text primary key,
  token   bigint not null
);

-- How far a step has come, in the database where its batches are.
create table kos.checkpoints (
  operation_id uuid not null,
  step         text not null,
  value        jsonb not null,
  done         bigint,
  at           timestamptz not null default clock_timestamp(),
  primary key (operation_id, step)
);

-- Pass the fence of a lease for the rest of this transaction, or raise KS011. The row's lock comes first and the check
-- after it: whoever takes the lease over updates the row, so it waits for this transaction, or this one sees it.
create function kos.pass_lease(subject text, token bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  here bigint;
begin
  select f.token into here from kos.lease_fences f where f.subject = pass_lease.subject for share;
  if here is distinct from pass_lease.token then
    raise exception 'the lease of % was taken over', pass_lease.subject
      using errcode = 'KS011', hint = 'kos operation list', detail = coalesce(here::text, 'no fence');
  end if;
end $$;

grant select on kos.operations, kos.operation_events, kos.operation_places, kos.leases, kos.lease_fences,
  kos.checkpoints to kos_operator, kos_auditor;
grant insert on kos.operations, kos.operation_events, kos.operation_places, kos.leases, kos.lease_fences,
  kos.checkpoints to kos_operator;
grant update on kos.operations, kos.leases, kos.lease_fences, kos.checkpoints to kos_operator;
grant delete on kos.leases, kos.checkpoints to kos_operator;
grant usage on sequence kos.lease_tokens to kos_operator;
grant execute on function kos.lease_key(text, bigint), kos.is_held(kos.leases) to kos_operator, kos_auditor;
grant execute on function kos.pass_lease(text, bigint) to kos_operator;
