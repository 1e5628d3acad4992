-- The log: what was captured and waits, and what was sealed, with positions.
-- oldest library: 1
--
-- Capture (0008) writes to `pending` in the transaction that makes the change; sealing (0010) gives the committed ones
-- their positions. Rows of `pending` are never updated and never deleted: a deleted row stays in the way of every
-- scan for as long as anybody has an old snapshot. Two tables take turns, and one is truncated when it is drained.

-- What a table looked like when an event was captured, so that a change of the table never makes an event unreadable.
-- `columns`: an array of {name, type, generated, sensitive}, in the order of the images.
create table kos.shapes (
  shape_id    integer generated always as identity primary key,
  logged_id   integer not null,  -- whose shape it is, under whatever name it has now
  schema_name text not null,
  table_name  text not null,
  key_columns text[] not null,
  columns     jsonb not null,
  digest      bytea not null,  -- sha256 over what describes it; leaves name shapes by it, since numbers differ between databases
  made_at     timestamptz not null default now(),
  unique (digest, logged_id)
);
create index shapes_by_table on kos.shapes (logged_id);

create table kos.logged_tables (
  relation      regclass primary key,  -- of a partitioned table, the root
  logged_id     integer not null unique,  -- stays when the table is renamed, and in a dump's copy
  tenant_column text,                  -- null: shared by all tenants, in the log of none
  key_columns   text[] not null,
  baseline      text not null default 'none' check (baseline in ('full', 'lazy', 'none')),
  fenced        boolean not null default false,
  sensitive     jsonb not null default '{}',  -- column: 'encrypted', 'digest' or 'absent'
  numbers       jsonb not null default '{}',  -- of the columns named above, so that a renamed one is still known
  origin        integer not null default 0,  -- where the numbers count: a dump's copy has others
  logged_since  timestamptz not null default now(),
  complete_at   timestamptz,  -- when every row that was there before had its event; null: not yet, or never
  lent          regclass[] not null default '{}',  -- tables that kos_owner may read since they are logged, and only for that
  opened        boolean not null default false  -- so may it use the schema
);

create sequence kos.logged_ids as integer;
create sequence kos.pending_ids;

-- Ids rise in the order of capture within a transaction. `origin` names the cluster that `transaction` was counted in.
create table kos.pending_1 (
  id          bigint not null,
  origin      integer not null,
  transaction xid8 not null,
  tenant_id   uuid not null,
  shape_id    integer not null,
  operation   "char" not null,
  key         text[] not null,
  image       text[],  -- null element: unchanged; '\N': null; what begins with '\' has one more
  before      text[],
  context     text[]   -- user, persona, request, address, agent; and why, where it was work on all tenants
);
create table kos.pending_2 (like kos.pending_1 including all);
create index pending_1_by_tenant on kos.pending_1 (tenant_id, origin, transaction);
create index pending_2_by_tenant on kos.pending_2 (tenant_id, origin, transaction);
create view kos.pending as select * from kos.pending_1 union all select * from kos.pending_2;
-- A tenant's newest rows are found by its index; statistics of a table that is emptied all the time would mislead.
alter table kos.pending_1 set (autovacuum_analyze_scale_factor = 0.5);
alter table kos.pending_2 set (autovacuum_analyze_scale_factor = 0.5);

-- Which of the two takes what is captured now.
create table kos.pending_turn (number integer not null check (number in (1, 2)), since timestamptz not null default now());
insert into kos.pending_turn values (1);

-- An incarnation ends when a database is restored or promoted: what its old self sealed last may be lost, and is
-- sealed again with other content under the same positions.
create table kos.incarnations (
  incarnation integer generated always as identity primary key,
  identity    text not null,  -- of the running server: system, timeline, database
  origin      integer not null,
  reason      text not null,
  began_at    timestamptz not null default now()
);

create table kos.knowledge_events (
  tenant_id    uuid not null,
  position     bigint not null check (position > 0),
  incarnation  integer not null,
  transaction  xid8 not null,
  -- No foreign key: the seal joins the shapes, which nobody deletes, and a check of each row was a sixth of its time.
  shape_id     integer not null,
  operation    "char" not null check (operation in ('I', 'U', 'D', 'T', 'B')),
  aggregate_id uuid not null,
  key          text[] not null,
  image        text[],
  before       text[],
  context      text[],
  salt         uuid,  -- erased together with the image, which then can't be guessed from the leaf
  leaf         bytea not null,
  occurred_at  timestamptz not null,
  primary key (tenant_id, position, occurred_at)
) partition by range (occurred_at);
comment on table kos.knowledge_events is 'Every change of a logged table, by position: per tenant, without gaps.';
comment on column kos.knowledge_events.aggregate_id is
  'The row''s id, where its key is one uuid, or that and the tenant''s; else made of its table and key.';
comment on column kos.knowledge_events.operation is 'Inserted, updated, deleted, truncated, or found there when logging began (B).';
create table kos.knowledge_events_default partition of kos.knowledge_events default;
create index knowledge_events_by_aggregate on kos.knowledge_events (tenant_id, aggregate_id, position);

-- One row per seal, never updated: the newest of a tenant says how far its log is, and which transactions are in it.
create table kos.seals (
  tenant_id    uuid not null,
  position     bigint not null,
  events       bigint not null,
  incarnation  integer not null,
  origin       integer not null,
  snapshot     pg_snapshot not null,
  foreign_id   bigint not null,  -- ids up to here that came with a dump of another cluster are sealed
  committed_at timestamptz not null,
  sealed_at    timestamptz not null default clock_timestamp(),
  primary key (tenant_id, position)
);
-- From a moment to a position: the newest seal before it, then its successor's events by position. Times rise with
-- positions, so an index of all events by time would say the same, for a tenth of a seal's time.
create index seals_by_time on kos.seals (tenant_id, committed_at);

alter table kos.knowledge_events enable row level security, force row level security;
alter table kos.knowledge_events_default enable row level security, force row level security;
do $$
declare
  name text;
begin
  foreach name in array array['knowledge_events', 'knowledge_events_default'] loop
    execute format('create policy tenant_isolation on kos.%I as restrictive for all to kos_app
                      using (tenant_id = (select kos.current_tenant_id()))', name);
    execute format('create policy application_access on kos.%I for select to kos_app using (true)', name);
    execute format('create policy operator_access on kos.%I for all to kos_operator, kos_owner using (true)', name);
    execute format('create policy auditor_access on kos.%I for select to kos_auditor using (true)', name);
  end loop;
end $$;
grant select on kos.knowledge_events, kos.knowledge_events_default to kos_app, kos_operator, kos_auditor;
grant select on kos.shapes to kos_app, kos_operator, kos_auditor;
grant select on kos.logged_tables, kos.seals, kos.incarnations, kos.pending_turn to kos_operator, kos_auditor;
grant select on kos.pending_1, kos.pending_2 to kos_operator;

-- The log of what belongs to no tenant.
create function kos.no_tenants_log() returns uuid
language sql immutable parallel safe
return '00000000-0000-0000-0000-000000000000'::uuid;

-- Tenants that a product names by number or text have an id of ours that follows from it. A text that is a uuid, as
-- PostgreSQL writes it, is that id: kos.enter() takes it for one.
create function kos.tenant_of(value text) returns uuid
language sql immutable parallel safe
return case when value ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then value::uuid
            else coalesce(pg_catalog.md5('kos tenant ' || value)::uuid, kos.no_tenants_log()) end;
grant execute on function kos.no_tenants_log(), kos.tenant_of(text) to kos_app, kos_persona, kos_operator, kos_auditor;

create function kos.log_key(tenant_id uuid) returns bigint
language sql immutable parallel safe
return pg_catalog.hashtextextended(tenant_id::text, 1263489027);
-- Of all logs at once. Each place in the table of locks is all sessions' memory: who needs many logs takes this one
-- alone, and whoever takes a log's own has taken it shared before.
create function kos.all_logs_key() returns bigint
language sql immutable parallel safe
return kos.log_key(kos.no_tenants_log()) + 4;
grant execute on function kos.log_key(uuid), kos.all_logs_key() to kos_operator;

-- Which running server this is: a restore to another moment or a promotion has another timeline, a dump that was loaded
-- elsewhere another system or database.
create function kos.identity() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select concat_ws(' ', (select system_identifier from pg_control_system()),
                   case when pg_is_in_recovery() then 'standby' else left(pg_walfile_name(pg_current_wal_lsn()), 8) end,
                   (select oid from pg_database where datname = current_database()))
$$;

-- What transaction ids of this database are counted in. It's the same after a promotion and another in a dump's copy.
-- Called immutable so that it is asked once per session and plan: it can't change while a session lasts.
create function kos.origin() returns integer
language plpgsql immutable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return hashtext(concat((select system_identifier from pg_control_system()), ' ',
                         (select oid from pg_database where datname = current_database())));
end $$;

-- The incarnation that events are sealed in now; a new one begins by itself where the server is not the one it was.
create function kos.current_incarnation() returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  here text := kos.identity();
  newest kos.incarnations;
begin
  select * into newest from kos.incarnations order by incarnation desc limit 1;
  if newest.identity is distinct from here then
    perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 1);
    select * into newest from kos.incarnations order by incarnation desc limit 1;
    if newest.identity is distinct from here then
      insert into kos.incarnations (identity, origin, reason)
      values (here, kos.origin(), case when newest.identity is null then 'installed' else 'restored or promoted' end)
      returning * into newest;
    end if;
  end if;
  return newest.incarnation;
end $$;

-- For copies that look like their original in everything, as those of a disk do: whoever made one says so.
create function kos.begin_incarnation(reason text) returns integer
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  insert into kos.incarnations (identity, origin, reason) values (kos.identity(), kos.origin(), reason)
  returning incarnation
$$;
grant execute on function kos.identity(), kos.current_incarnation(), kos.begin_incarnation(text) to kos_operator;
