-- A tenant's schema is there, and has tables
select f.name, format('the schema %I has no tables of tenants, or is gone', f.schema_name),
       format('restore it from a backup, or take away what is left: kos tenant remove %s', f.name)
  from kos.fence f
 where not f.adopted and not exists (
   select from kos.tenant_tables() t
     join pg_class c using (oid)
     join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = f.schema_name
 )
 order by 1;
