-- Loading rows of a sample. Row security forbids COPY into a tenant's table, so rows come through a temporary one.

-- name: make_incoming
-- Gone with the transaction, so it is safe behind a transaction pooler.
create temporary table incoming on commit drop as select {columns} from {table} with no data;

-- name: copy_incoming
-- The fast way in.
copy pg_temp.incoming from stdin;

-- name: insert_all
-- For a batch that is all new. `on conflict` costs a third more, which first loads need not pay.
insert into {table} (tenant_id, {columns})
select (select kos.current_tenant_id()), {columns} from pg_temp.incoming;

-- name: insert_new
-- Rows that are there already stay as they are, also where somebody has changed them.
insert into {table} (tenant_id, {columns})
select (select kos.current_tenant_id()), {columns} from pg_temp.incoming
on conflict do nothing;
