-- name: encoding
-- The database holds text as UTF-8
select current_database() as subject,
       'error' as severity,
       format('the database is in %%s: not every text can be stored', pg_encoding_to_char(d.encoding)) as found,
       'create another with encoding ''UTF8'' template template0, and name it in kos.toml' as mend
  from pg_database d
 where d.datname = current_database() and pg_encoding_to_char(d.encoding) <> 'UTF8';
