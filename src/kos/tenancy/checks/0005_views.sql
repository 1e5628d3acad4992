-- Views over tables of tenants that read with their owner's rights, and materialized views, which have no row security.
select distinct format('%I.%I', n.nspname, v.relname),
       case v.relkind when 'm' then 'a materialized view of tenants'' rows that kos_app may read'
            else 'a view of tenants'' rows that reads with its owner''s rights' end,
       case v.relkind when 'm' then format('revoke select on %I.%I from kos_app', n.nspname, v.relname)
            else format('alter view %I.%I set (security_invoker = true)', n.nspname, v.relname) end
  from pg_class v
  join pg_namespace n on n.oid = v.relnamespace
  join pg_rewrite r on r.ev_class = v.oid
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
 where d.refobjid in (select oid from kos.tenant_tables())
   and v.oid <> d.refobjid
   and ((v.relkind = 'v' and not coalesce('security_invoker=true' = any (v.reloptions)
                                          or 'security_invoker=on' = any (v.reloptions)
                                          or 'security_invoker=1' = any (v.reloptions), false))
        or (v.relkind = 'm' and has_table_privilege('kos_app', v.oid, 'select')))
 order by 1;
