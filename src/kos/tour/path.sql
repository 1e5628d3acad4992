-- Queries of the tour's step that asks the graph, inside a tenant.

-- name: add_product
-- A product that depends on a package which is there.
with product as (
  insert into atoms (atom_type, name) values ('EntityAtom', %(product)s) returning id
)
insert into relations (relation_type, from_atom_id, to_atom_id)
select 'depends_on', p.id, a.id
  from product p
 cross join (select id from atoms where atom_type = 'EntityAtom' and name = %(package)s order by id limit 1) a;

-- name: remove_product
-- With its relations.
delete from atoms where atom_type = 'EntityAtom' and name = %(product)s;
