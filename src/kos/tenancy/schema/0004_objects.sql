-- Objects in object storage: what keeps the collector from deleting one that is, or will be, referred to.
-- oldest library: 1
--
-- A writer that is going to refer to an object holds its key shared until its transaction ends; the collector deletes
-- only under the exclusive key, having looked for references and holds after it got that. Keys are the data
-- database's own; holds stand in the control database, so they stay true when a tenant moves.

create function kos.object_key(tenant_id uuid, sha256 text) returns bigint
language sql immutable parallel safe
return pg_catalog.hashtextextended(tenant_id::text || '/' || sha256, 1263489025);
grant execute on function kos.object_key(uuid, text) to kos_app, kos_persona, kos_operator;

create table kos.object_holds (
  hold_id    uuid primary key default kos.uuid_v7(),
  tenant_id  uuid references kos.tenants on delete cascade,
  reason     text not null check (reason <> ''),
  created_by text not null,
  until      timestamptz,
  created_at timestamptz not null default now()
);
comment on table kos.object_holds is
  'While a hold is in force, no object of its tenant (null: of any tenant) is collected.';
grant select, insert, delete on kos.object_holds to kos_operator;
grant select on kos.object_holds to kos_auditor;

-- The collector holds this key shared while it deletes; whoever makes a hold takes it alone. So once a hold is made,
-- no deletion that did not know of it is still under way.
create function kos.holds_key() returns bigint
language sql immutable parallel safe
return pg_catalog.hashtextextended('kos.object_holds', 1263489025);
grant execute on function kos.holds_key() to kos_operator;
