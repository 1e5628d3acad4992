-- The knowledge of tenants. Run once per schema that holds tenants' tables (row tier, each schema-tier tenant, each
-- database-tier tenant), with that schema first in the search path: the same tables in every tier.
-- oldest library: 1
--
-- tenant_id is in every primary key, unique constraint and foreign key, also where a schema holds one tenant only:
-- so moves between tiers, row security and distribution need no second model.

create table atoms (
  tenant_id     uuid not null default kos.current_tenant_id(),
  id            uuid not null default kos.uuid_v7(),
  atom_type     text not null,
  name          text not null,
  value         text,
  number_value  numeric,
  boolean_value boolean,
  time_value    timestamptz,
  metadata      jsonb not null default '{}',
  confidence    real not null default 1 check (confidence between 0 and 1),
  source        text,
  version       integer not null default 1 check (version > 0),
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now(),
  deleted_at    timestamptz,
  primary key (tenant_id, id)
);
comment on table atoms is 'The smallest statements: a typed value with a name, its source and how sure it is.';
create index atoms_by_name on atoms (tenant_id, atom_type, name);

create table molecules (
  tenant_id  uuid not null default kos.current_tenant_id(),
  id         uuid not null default kos.uuid_v7(),
  name       text not null,
  rule       jsonb not null default '{}',
  version    integer not null default 1 check (version > 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  primary key (tenant_id, id),
  unique (tenant_id, name)
);
comment on table molecules is 'Rules composed of atoms.';

create table molecule_atoms (
  tenant_id   uuid not null default kos.current_tenant_id(),
  molecule_id uuid not null,
  atom_id     uuid not null,
  role        text not null,
  primary key (tenant_id, molecule_id, atom_id, role),
  foreign key (tenant_id, molecule_id) references molecules (tenant_id, id) on delete cascade,
  foreign key (tenant_id, atom_id) references atoms (tenant_id, id)
);
comment on table molecule_atoms is 'Which atoms a molecule is composed of, and as what.';
create index molecule_atoms_by_atom on molecule_atoms (tenant_id, atom_id);

create table documents (
  tenant_id      uuid not null default kos.current_tenant_id(),
  id             uuid not null default kos.uuid_v7(),
  title          text not null,
  media_type     text not null,
  content_sha256 text not null check (content_sha256 ~ '^[0-9a-f]{64}$'),
  byte_length    bigint not null check (byte_length >= 0),
  metadata       jsonb not null default '{}',
  created_at     timestamptz not null default now(),
  updated_at     timestamptz not null default now(),
  deleted_at     timestamptz,
  primary key (tenant_id, id)
);
comment on table documents is 'Documents. The content is an object, immutable and named by its SHA-256; the row refers to it.';
create index documents_by_content on documents (tenant_id, content_sha256);

create table annotations (
  tenant_id    uuid not null default kos.current_tenant_id(),
  id           uuid not null default kos.uuid_v7(),
  document_id  uuid not null,
  atom_id      uuid not null,
  start_offset integer not null check (start_offset >= 0),
  end_offset   integer not null,
  quote        text not null,
  confidence   real not null default 1 check (confidence between 0 and 1),
  created_at   timestamptz not null default now(),
  primary key (tenant_id, id),
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade,
  foreign key (tenant_id, atom_id) references atoms (tenant_id, id),
  check (end_offset > start_offset and char_length(quote) = end_offset - start_offset)
);
comment on table annotations is 'Where a document states an atom: offsets in characters, the end not included.';
create index annotations_by_document on annotations (tenant_id, document_id, start_offset);
create index annotations_by_atom on annotations (tenant_id, atom_id);

create table relations (
  tenant_id     uuid not null default kos.current_tenant_id(),
  id            uuid not null default kos.uuid_v7(),
  relation_type text not null,
  from_atom_id  uuid not null,
  to_atom_id    uuid not null,
  metadata      jsonb not null default '{}',
  created_at    timestamptz not null default now(),
  primary key (tenant_id, id),
  unique (tenant_id, from_atom_id, relation_type, to_atom_id),
  foreign key (tenant_id, from_atom_id) references atoms (tenant_id, id) on delete cascade,
  foreign key (tenant_id, to_atom_id) references atoms (tenant_id, id) on delete cascade
);
comment on table relations is 'Edges between atoms.';
create index relations_by_target on relations (tenant_id, to_atom_id, relation_type);

create table implementations (
  tenant_id  uuid not null default kos.current_tenant_id(),
  id         uuid not null default kos.uuid_v7(),
  atom_id    uuid not null,
  system     text not null,
  location   text not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  unique (tenant_id, atom_id, system, location),
  foreign key (tenant_id, atom_id) references atoms (tenant_id, id) on delete cascade
);
comment on table implementations is 'Where an atom is implemented; developers see the atoms that stand here.';

create table capability_mappings (
  tenant_id  uuid not null default kos.current_tenant_id(),
  id         uuid not null default kos.uuid_v7(),
  atom_id    uuid not null,
  capability text not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  unique (tenant_id, atom_id, capability),
  foreign key (tenant_id, atom_id) references atoms (tenant_id, id) on delete cascade
);
comment on table capability_mappings is 'Which business capability an atom serves; product owners see the atoms that stand here.';

create table sensitive_atoms (
  tenant_id         uuid not null default kos.current_tenant_id(),
  id                uuid not null default kos.uuid_v7(),
  encrypted_value   bytea not null,
  encryption_key_id varchar(100) not null,
  searchable_hash   char(64),
  range_prefix      varchar(10),
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  primary key (tenant_id, id)
);
comment on table sensitive_atoms is 'Values that are stored encrypted only, with what finds them again.';
create index sensitive_atoms_by_hash on sensitive_atoms (tenant_id, searchable_hash);

-- The log of the tenants that live here, under the mission's names; kos.knowledge_events holds it for the whole database.
create view knowledge_events with (security_invoker = true) as
select e.tenant_id, e.position, kos.event_type(s.table_name, e.operation) as event_type,
       kos.event_data(s.columns, e.image) as event_data, e.aggregate_id, e.occurred_at
  from kos.knowledge_events e
  join kos.shapes s using (shape_id);
comment on view knowledge_events is 'The log of a tenant''s changes, by position.';
