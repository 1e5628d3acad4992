-- The statements of the tour's step about isolation, as it shows them. {owner} is the id of the tenant that must not
-- be reached, {name} its name.

-- name: count_there
-- The table where the owner's rows are, named in full.
select count(*) from knowledge.atoms;

-- name: ask_for_tenant
-- The owner's rows, asked for by its id.
select count(*) from knowledge.atoms where tenant_id = {owner};

-- name: change_there
-- A change of the owner's rows.
update knowledge.atoms set value = 'mine' where tenant_id = {owner};

-- name: plant_row
-- A row in the owner's name.
insert into atoms (tenant_id, atom_type, name) select {owner}, '', '';

-- name: enter_too
-- A second tenant in one transaction.
select kos.enter({name});

-- name: enter_old
-- The epoch before the present one.
select kos.enter({name}, {epoch});
