-- name: collation_version
-- Text is sorted as it was when the indexes were built
select current_database() as subject,
       'warning' as severity,
       format('the collation was version %%s when this database was made and is %%s now: indexes on text may be wrong',
              d.datcollversion, pg_database_collation_actual_version(d.oid)) as found,
       format('reindex database %%1$I; alter database %%1$I refresh collation version', current_database()) as mend
  from pg_database d
 where d.datname = current_database() and d.datcollversion <> pg_database_collation_actual_version(d.oid);
