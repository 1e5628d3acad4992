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
  stopping       bigint,  -- the lease's token of the run that somebody has asked to stop
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

-- Which changes new code can count on in a schema: those that are started there, or finished. A schema of tenants' tables
-- that is made later gets the finished ones when it is made.
create table kos.changed_schemas (
  operation   uuid not null,
  schema_name text not null,
  name        text not null,
  changed_at  timestamptz not null default clock_timestamp(),
  primary key (operation, schema_name)
);

-- For code that needs a change: KS012 in a schema that has not got it. Called in a tenant, that is the tenant's schema.
create function kos.require_change(name text, schema_name name default current_schema()) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from kos.changed_schemas c
                  where c.schema_name = require_change.schema_name and c.name = require_change.name) then
    raise exception 'the change % is not there in schema %', require_change.name, require_change.schema_name
      using errcode = 'KS012', hint = 'kos change status';
  end if;
end $$;
grant execute on function kos.require_change(text, name) to kos_app, kos_persona, kos_operator;

-- How far a fill has come: all pages before next_page are done.
create table kos.change_fills (
  operation   uuid not null,
  schema_name text not null,
  fill        text not null,
  part        text not null,
  next_page   bigint not null,
  pages       bigint not null,
  rows        bigint not null,
  filenode    bigint not null,  -- of the part, when it was begun: another one has other pages
  started_at  timestamptz not null default clock_timestamp(),
  updated_at  timestamptz not null default clock_timestamp(),
  primary key (operation, schema_name, fill, part)
);

grant select on kos.changes, kos.change_placements, kos.change_actions, kos.change_fills, kos.changed_schemas
  to kos_operator, kos_auditor;
grant insert, update, delete on kos.changes, kos.change_placements, kos.change_actions, kos.change_fills, kos.changed_schemas
  to kos_operator;

-- The triggers of a change only set columns of the row that is written, so they run no other statement. Their names begin
-- with `!` or `~`, to be the first and the last. All else is as it was.
create or replace function kos.has_nested_changes(target regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from pg_trigger t
     where t.tgrelid = target and not t.tgisinternal and t.tgname !~ '^[!~]?kos_' and t.tgenabled <> 'D'
  ) or exists (
    select from pg_constraint f
     where f.contype = 'f' and f.confrelid = target and (f.confdeltype in ('c', 'n', 'd') or f.confupdtype in ('c', 'n', 'd'))
       and (f.conrelid = target
            or exists (select from pg_trigger t where t.tgrelid = f.conrelid and not t.tgisinternal and t.tgname !~ '^[!~]?kos_')
            or exists (select from pg_constraint g where g.contype = 'f' and g.confrelid = f.conrelid
                          and (g.confdeltype in ('c', 'n', 'd') or g.confupdtype in ('c', 'n', 'd'))))
  ) or exists (
    -- One statement on the other table can change a row here more than once, and the transition tables are shared.
    select from pg_constraint f
     where f.contype = 'f' and f.conrelid = target and (f.confdeltype in ('n', 'd') or f.confupdtype in ('c', 'n', 'd'))
  )
$$;

grant execute on function kos.has_nested_changes(regclass), kos.root_of(regclass) to kos_operator;

-- What the events of work on all tenants say: who, and why. The reason whole: beside a name, a text becomes one.
create or replace function kos.crossing_context() returns text[]
language sql stable set search_path = pg_catalog, pg_temp
return case when kos.crossing() is not null then array[session_user::text, '', '', '', '', kos.crossing()] end;
