-- Who is at work in this transaction, and in whose tenant.
-- oldest library: 1
--
-- Everything in schema kos belongs to kos_owner, which can't log in. The identity is held in settings with
-- transaction scope (`kos.tenant_id` and others), so it can't outlive its transaction behind any pooler.

create schema kos;
revoke all on schema kos from public;
grant usage on schema kos to kos_app, kos_persona, kos_operator, kos_auditor, kos_mover;
-- For all that kos_owner makes in this database: a default of one schema could only add to what PUBLIC has.
alter default privileges revoke execute on functions from public;

-- One row per applied file, per schema: 'kos' itself, and each schema that holds tenants' tables.
create table kos.schema_versions (
  schema_name    text not null,
  version        integer not null check (version > 0),
  file_name      text not null,
  checksum       text not null,
  oldest_library integer not null,
  applied_at     timestamptz not null default now(),
  primary key (schema_name, version)
);
grant select on kos.schema_versions to kos_operator, kos_auditor;

-- The handshake: a library says its version, and learns the database's. Raises KS007 where the database has gone
-- further than that library can follow.
create function kos.handshake(library integer) returns integer
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  found_version integer;
  oldest integer;
begin
  select max(v.version), max(v.oldest_library) into found_version, oldest
    from kos.schema_versions v where v.schema_name = 'kos';
  if library < oldest then
    raise exception 'this database serves libraries from version %, not %', oldest, library
      using errcode = 'KS007', hint = 'pip install --upgrade kos', detail = oldest::text;
  end if;
  return found_version;
end $$;
grant execute on function kos.handshake(integer) to kos_app, kos_persona, kos_operator, kos_auditor;

create function kos.no_tenant() returns uuid
language plpgsql stable parallel safe as $$
begin
  raise exception 'this transaction has entered no tenant'
    using errcode = 'KS001', hint = 'select kos.enter(NAME), in the same transaction';
end $$;

-- Short bodies without a pinned search_path, so that the planner inlines them; hence every name is qualified.
create function kos.current_tenant_id() returns uuid
language sql stable parallel safe
return coalesce(nullif(pg_catalog.current_setting('kos.tenant_id', true), '')::uuid, kos.no_tenant());
comment on function kos.current_tenant_id() is 'The tenant that this transaction has entered; error KS001 where it has entered none.';

create function kos.current_persona() returns text
language sql stable parallel safe
return nullif(pg_catalog.current_setting('kos.persona', true), '');
comment on function kos.current_persona() is 'The persona that this transaction has entered with; null for the application itself.';

create function kos.current_user_id() returns text
language sql stable parallel safe
return nullif(pg_catalog.current_setting('kos.user_id', true), '');
comment on function kos.current_user_id() is 'The user on whose behalf this transaction works, as the application names its users; null if not said.';

grant execute on function kos.no_tenant(), kos.current_tenant_id(), kos.current_persona(), kos.current_user_id()
  to kos_app, kos_persona, kos_operator, kos_auditor, kos_mover;

-- UUIDv7 on every supported server: the server's own from PostgreSQL 18, the same layout before.
do $$
begin
  if current_setting('server_version_num')::integer >= 180000 then
    create function kos.uuid_v7() returns uuid language sql volatile parallel safe
      return pg_catalog.uuidv7();
  else
    create function kos.uuid_v7() returns uuid language sql volatile parallel safe
      return pg_catalog.encode(
        pg_catalog.set_bit(pg_catalog.set_bit(
          overlay(pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
                  placing substring(pg_catalog.int8send((extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint) from 3)
                  from 1 for 6),
          52, 1), 53, 1), 'hex')::uuid;
  end if;
end $$;
grant execute on function kos.uuid_v7() to kos_app, kos_persona, kos_operator, kos_mover;
