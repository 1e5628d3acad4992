-- Tenants, and where each lives. These tables are the directory and live in the first shard only; other data
-- databases have them empty. What is true of a database is said by its own fence (0003).
-- oldest library: 1

create table kos.shards (
  shard_id      integer generated always as identity primary key,
  name          text not null unique,  -- as in kos.toml, where the order may change
  region        text,
  database_host text not null,
  database_port integer not null check (database_port between 1 and 65535),
  database_name text not null
);

create table kos.tenants (
  tenant_id    uuid primary key default kos.uuid_v7(),
  name         text not null unique,
  service_plan text not null default 'standard',
  -- A command that was killed leaves its tenant in one of the others; the same command finishes it. What is being
  -- removed is never taken over: its rows are somebody's who has left.
  state        text not null default 'creating' check (state in ('creating', 'importing', 'removing', 'active')),
  created_at   timestamptz not null default now(),
  adopted      boolean not null default false,  -- its tables are a product's, which names it as it likes
  check (adopted or name ~ '^[a-z][a-z0-9]*(-[a-z0-9]+)*$' and length(name) <= 40)
);

create table kos.placements (
  tenant_id     uuid primary key references kos.tenants on delete cascade,
  tier          text not null check (tier in ('row', 'schema', 'database')),
  shard_id      integer not null references kos.shards,
  database_name text not null,
  schema_name   text not null,
  epoch         bigint not null check (epoch > 0)
);
create index placements_by_shard on kos.placements (shard_id, database_name);

grant select on kos.shards, kos.tenants, kos.placements to kos_app, kos_operator, kos_auditor;
grant insert, update, delete on kos.shards, kos.tenants, kos.placements to kos_operator;

-- The mission's names for the same facts.
create view kos.tenant_shards with (security_invoker = true) as
select p.tenant_id, p.shard_id, s.database_host, p.database_name
  from kos.placements p
  join kos.shards s using (shard_id);
grant select on kos.tenant_shards to kos_app, kos_operator, kos_auditor;

create function kos.conninfo_value(value text) returns text
language sql immutable parallel safe
return '''' || replace(replace(value, '\', '\\'), '''', '\''') || '''';

-- Where a tenant lives, as a connection string without credentials. Error KS002 for a tenant that is not known.
create function kos.route_to_shard(tenant_id uuid) returns text
language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
  conninfo text;
begin
  select format('host=%s port=%s dbname=%s', kos.conninfo_value(s.database_host), s.database_port,
                kos.conninfo_value(p.database_name))
    into conninfo
    from kos.placements p
    join kos.shards s using (shard_id)
   where p.tenant_id = route_to_shard.tenant_id;
  if conninfo is null then
    raise exception 'there is no tenant %', route_to_shard.tenant_id using errcode = 'KS002', hint = 'kos tenant list';
  end if;
  return conninfo;
end $$;
grant execute on function kos.conninfo_value(text), kos.route_to_shard(uuid) to kos_app, kos_operator, kos_auditor;
