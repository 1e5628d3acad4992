-- What a product changes by itself while its tables are taken in is not undone with what kos has made.
-- oldest library: 1

-- The policies that a table had when row security was put on: what has come since relies on it. A library of before notes
-- none, so row security then stays rather than goes. Of tables that are enforced now: one without row security of its own
-- is taken to have had none, any other to have had those of now.
alter table kos.enforced_tables add column policies text[] not null default '{}';
update kos.enforced_tables e
   set policies = array(select y.polname::text from pg_policy y where y.polrelid = e.relation and y.polname !~ '^kos_' order by 1)
 where e.row_security;

-- A publication of all tables publishes these too, and PostgreSQL refuses to update or delete what it can't name. The whole
-- row names it: an index would cost every captured change, and rows are deleted with their tenant only. No row is written.
alter table kos.pending_turn replica identity full;
alter table kos.pending_1 replica identity full;
alter table kos.pending_2 replica identity full;
