-- Changes of schema: how fast they may be, and what has been done of them in each schema of this database.
-- oldest library: 1
--
-- kos.changes is the control database's; the others are each data database's own: what an action does and the note that
-- it is done commit together.

create table kos.changes (
  operation      uuid primary key,
  name           text not null,
  sql            text not null,
  -- Whose tables they are: true where every tenant has them, so that a tenant that is made later gets them as well.
  shipped        boolean not null,
  paused         boolean not null default false,
  max_rate       double precision check (max_rate > 0),        -- rows per second
  max_lag_ms     double precision check (max_lag_ms > 0),      -- of the slowest replica
  max_latency_ms double precision check (max_latency_ms > 0),  -- of a commit
  created_at     timestamptz not null default now(),
  finished_at    timestamptz
);
comment on table kos.changes is 'Changes of schema: their SQL, and the limits that hold while they run.';

create table kos.change_placements (
  operation   uuid not null,
  schema_name text not null,
  recipe      integer not null,
  phase       text not null check (phase in ('expand', 'fill', 'build', 'tighten', 'contract')),
  state       text not null check (state in ('running', 'done', 'failed')),
  doing       text,  -- what is under way, or waited for
  error       text,
  updated_at  timestamptz not null default clock_timestamp(),
  primary key (operation, schema_name)
);

create table kos.change_actions (
  operation   uuid not null,
  schema_name text not null,
  action      text not null,
  done_at     timestamptz not null default clock_timestamp(),
  primary key (operation, schema_name, action)
);

-- Which finished changes a schema of tenants' tables has: one that is made later gets them when it is made.
create table kos.changed_schemas (
  operation   uuid not null,
  schema_name text not null,
  changed_at  timestamptz not null default clock_timestamp(),
  primary key (operation, schema_name)
);

-- How far a fill has come: all pages before next_page are done.
create table kos.change_fills (
  operation   uuid not null,
  schema_name text not null,
  fill        text not null,
  part        text not null,
  next_page   bigint not null,
  pages       bigint not null,
  rows        bigint not null,
  started_at  timestamptz not null default clock_timestamp(),
  updated_at  timestamptz not null default clock_timestamp(),
  primary key (operation, schema_name, fill, part)
);

grant select on kos.changes, kos.change_placements, kos.change_actions, kos.change_fills, kos.changed_schemas
  to kos_operator, kos_auditor;
grant insert, update, delete on kos.changes, kos.change_placements, kos.change_actions, kos.change_fills, kos.changed_schemas
  to kos_operator;
