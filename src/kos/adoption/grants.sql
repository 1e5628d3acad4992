-- The rights that kos needs to change somebody's tables, as printed for an administrator. kos runs none of them.

-- name: make_adopter
-- A role between kos and the owners of tables, which inherits nothing: kos acts for an owner only where it says so. If
-- the operator inherited from an application that is a member of kos_app, the tenant policy would bind the operator.
create role kos_adopter noinherit

-- name: grant_adopter
-- Once.
grant kos_adopter to {operator}

-- name: grant_owner
-- For each role that owns tables which are to be taken in.
grant {owner} to kos_adopter

-- name: grant_create
-- For schema kos.
grant create on database {database} to kos_owner

-- name: grant_schema
-- For each schema that neither PUBLIC nor kos may use: capture reads rows again where it has to.
grant usage on schema {schema} to kos_owner
