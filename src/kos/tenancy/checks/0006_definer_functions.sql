-- Functions that run with their owner's rights pin their search path
select format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
       'runs with its owner''s rights and does not pin search_path',
       format('alter function %I.%I(%s) set search_path = pg_catalog, pg_temp',
              n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
 where p.prosecdef
   and n.nspname not in ('pg_catalog', 'information_schema')
   and not exists (select from unnest(p.proconfig) as setting where setting like 'search_path=%')
   and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
 order by 1;
