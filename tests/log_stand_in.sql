-- What the worker needs of the log, small enough to be steered by tests: rows wait in kos.waiting, and kos.outcome says
-- what a tenant's seal does. For tests only; the product's own functions have the same signatures.
drop function kos.unsealed(integer), kos.unsealed_among(uuid[]), kos.seal(uuid), kos.rotate_pending(bigint), kos.log_status();
create table kos.waiting (tenant_id uuid not null, id bigint generated always as identity, at timestamptz not null default clock_timestamp());
create table kos.positions (tenant_id uuid not null, id bigint not null unique, sealed_by integer not null default pg_backend_pid());
create table kos.outcome (tenant_id uuid primary key, seconds float8 not null default 0, fails boolean not null default false, holds_back boolean not null default false);
create table kos.rotations (at timestamptz not null default clock_timestamp());
grant select, insert, update, delete on kos.waiting, kos.positions, kos.outcome, kos.rotations to kos_operator;

create function kos.unsealed(max_tenants integer)
returns table (tenant_id uuid, waiting bigint, oldest timestamptz) language sql as $$
  select w.tenant_id, count(*), min(w.at) from kos.waiting w group by w.tenant_id order by min(w.at) limit max_tenants
$$;

create function kos.unsealed_among(tenants uuid[])
returns table (tenant_id uuid, waiting bigint, oldest timestamptz) language sql as $$
  select w.tenant_id, count(*), min(w.at) from kos.waiting w where w.tenant_id = any (tenants) group by w.tenant_id
$$;

create function kos.seal(tenant uuid) returns bigint language plpgsql volatile as $$
declare
  told kos.outcome;
  sealed bigint;
begin
  perform pg_advisory_xact_lock(hashtextextended('seal ' || tenant::text, 0));
  select * into told from kos.outcome o where o.tenant_id = tenant;
  if told.fails then
    raise exception 'this tenant is poisoned' using errcode = 'XX001';
  end if;
  if told.holds_back then
    return 0;
  end if;
  perform pg_sleep(coalesce(told.seconds, 0));
  with taken as (delete from kos.waiting w where w.tenant_id = tenant returning w.id)
  insert into kos.positions (tenant_id, id) select tenant, id from taken;
  get diagnostics sealed = row_count;
  return sealed;
end $$;

create function kos.rotate_pending() returns boolean language sql as $$
  insert into kos.rotations default values returning true
$$;

create function kos.log_status(out pending_rows bigint, out oldest_seconds float8, out broken_tables integer)
language sql as $$
  select count(*), coalesce(extract(epoch from clock_timestamp() - min(at)), 0)::float8, 3 from kos.waiting
$$;
