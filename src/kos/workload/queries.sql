-- Queries of kos.workload. They run in a tenant's session, so tables have no schema and rows no tenant_id.
--
-- Every row, relation and revision carries a tag that names its attempt: 'workload:RUN:ATTEMPT:ITEM'. Ids are made
-- by the database on purpose: a transaction that is applied twice leaves two rows, and can be told from one.

-- name: open_counters
-- One counter per client: each transaction of that client raises it, so half a transaction shows.
insert into atoms (atom_type, name, number_value, source)
select 'NumberAtom', 'transactions', 0, tag from unnest(%(tags)s::text[]) as tag
returning id, source;

-- name: count_up
-- The last statement of every transaction that writes.
update atoms set number_value = number_value + 1, updated_at = now() where id = %(counter)s;

-- name: create_atoms
-- New atoms, one per tag.
insert into atoms (atom_type, name, value, number_value, source)
select made.atom_type, made.name, made.value, made.number, made.tag
  from unnest(%(types)s::text[], %(names)s::text[], %(values)s::text[], %(numbers)s::numeric[], %(tags)s::text[])
       as made(atom_type, name, value, number, tag)
returning id;

-- name: relate
-- An edge from a new atom to an earlier one.
insert into relations (relation_type, from_atom_id, to_atom_id, metadata)
values ('derived_from', %(from)s, %(to)s, jsonb_build_object('tag', %(tag)s::text, 'to', %(to)s::uuid));

-- name: revise
-- A new value; the list of revisions keeps who made it, so an update that is lost or repeated shows.
update atoms
   set number_value = %(number)s, version = version + 1, updated_at = now(),
       metadata = jsonb_set(metadata, array['revisions'], coalesce(metadata -> 'revisions', '[]') || to_jsonb(%(tag)s::text))
 where id = %(id)s and deleted_at is null;

-- name: retire
-- A soft delete: the row stays, and says who retired it.
update atoms
   set deleted_at = now(), number_value = %(number)s, version = version + 1, updated_at = now(),
       metadata = jsonb_set(metadata, array['revisions'], coalesce(metadata -> 'revisions', '[]') || to_jsonb(%(tag)s::text))
 where id = %(id)s and deleted_at is null;

-- name: read_atom
-- A point read.
select name, number_value, version from atoms where id = %(id)s;

-- name: list_by_type
-- The first page of a list, as a screen shows it.
select id, name, number_value from atoms where atom_type = %(type)s and deleted_at is null order by name limit 20;

-- name: traces
-- What runs left in a tenant: counters and rows of %(run)s everywhere, and in a tenant of the workload also what
-- bears no run's tag at all. Rows of other runs belong to other ledgers. `changed`: the content is not what its tags
-- say, see number_of() and seal() in transactions.py.
with trace as (
  select 'atom' as what, id, source as tag, number_value as number,
         (value, number_value, version) is distinct from (
           md5(concat_ws(':', atom_type, name, source)),
           ('x' || left(md5(coalesce(metadata -> 'revisions' ->> -1, source)), 7))::bit(28)::integer / 100.0,
           1 + case jsonb_typeof(metadata -> 'revisions') when 'array' then jsonb_array_length(metadata -> 'revisions')
               else 0 end
         ) as changed
    from atoms
  union all
  select 'relation', r.id, r.metadata ->> 'tag', null,
         (r.relation_type, r.to_atom_id::text, split_part(f.source, ':', 3)) is distinct from
         ('derived_from', r.metadata ->> 'to', split_part(r.metadata ->> 'tag', ':', 3))
    from relations r
    join atoms f on f.id = r.from_atom_id
  union all
  select 'revision of atom', id, revision, null, false
    from atoms, jsonb_array_elements_text(metadata -> 'revisions') as revision
   where jsonb_typeof(metadata -> 'revisions') = 'array'
  -- The load writes nothing to the other tables.
  union all
  select 'molecule', id, null, null, false from molecules
  union all
  select 'part of molecule', molecule_id, null, null, false from molecule_atoms
  union all
  select 'document', id, null, null, false from documents
  union all
  select 'annotation', id, null, null, false from annotations
  union all
  select 'implementation', id, null, null, false from implementations
  union all
  select 'capability mapping', id, null, null, false from capability_mappings
  union all
  select 'sensitive atom', id, null, null, false from sensitive_atoms
)
select what, id, tag, number, changed
  from trace
 where starts_with(tag, %(run)s)
    or (%(own)s and (tag is null or not starts_with(tag, 'workload:')));
