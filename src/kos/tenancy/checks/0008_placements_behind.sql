-- Every schema of tenants is at the newest version of its database
select v.schema_name,
       format('is at version %s, others are at %s', max(v.version), n.newest),
       'kos upgrade'
  from kos.schema_versions v
  cross join (select max(version) as newest from kos.schema_versions where schema_name <> 'kos') n
 where v.schema_name <> 'kos'
 group by v.schema_name, n.newest
having max(v.version) < n.newest
 order by 1;
