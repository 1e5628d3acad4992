-- Tenants' own schemas that are gone, or lack a table which another schema of this database has.
with present as (
  select n.nspname as schema_name, c.relname as table_name
    from kos.tenant_tables() as t
    join pg_class c using (oid)
    join pg_namespace n on n.oid = c.relnamespace
   where not c.relispartition
)
select f.name, format('the table %I.%I is missing', f.schema_name, expected.table_name),
       format('restore it from a backup, or take away what is left: kos tenant remove %s', f.name)
  from kos.fence f
 cross join (select distinct table_name from present) as expected
 where f.tier <> 'row'
   and not exists (select from present p
                    where p.schema_name = f.schema_name and p.table_name = expected.table_name)
 order by 1, 2;
