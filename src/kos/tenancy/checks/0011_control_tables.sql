-- Of the tables of kos, applications may read the directory and the log, move their feeds' cursors, and do nothing else
select format('kos.%I', c.relname),
       format('%s may %s', a.role, string_agg(distinct a.privilege, ', ')),
       format('revoke %s on kos.%I from %s cascade', string_agg(distinct a.privilege, ', '), c.relname, a.role)
  from pg_class c
  join kos.application_rights() a on a.relation = c.oid
 where c.relnamespace = 'kos'::regnamespace
   and not (a.privilege = 'SELECT' and c.relname in ('shards', 'tenants', 'placements', 'tenant_shards',
                                                      'shapes', 'knowledge_events', 'knowledge_events_default'))
   and not (a.privilege in ('SELECT', 'INSERT', 'UPDATE', 'DELETE') and c.relname = 'feed_cursors' and a.role = 'kos_app')
 group by c.relname, a.role
 order by 1, 2;
