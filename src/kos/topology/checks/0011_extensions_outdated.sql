-- name: extensions_outdated
-- Extensions are as new as the server's files for them
select x.name::text as subject,
       'warning' as severity,
       format('the database uses version %%s, the server brings %%s', x.installed_version, x.default_version) as found,
       format('alter extension %%I update', x.name) as mend
  from pg_available_extensions x
 where x.installed_version <> x.default_version;
