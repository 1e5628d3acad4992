-- Views of tenants' rows read with the rights of whoever asks, and no application reads a materialized one
-- Also through other views: a view that asks with its owner's rights hides who asked. A materialized view is a copy
-- without row security.
with recursive reading as (
  select k.oid from kos.kept_tables() k
  union
  select v.oid
    from reading s
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid
                    and d.classid = 'pg_rewrite'::regclass
    join pg_rewrite r on r.oid = d.objid
    join pg_class v on v.oid = r.ev_class and v.relkind in ('v', 'm')
)
select format('%I.%I', n.nspname, v.relname),
       'a view of tenants'' rows that reads with its owner''s rights',
       format('alter view %I.%I set (security_invoker = true)', n.nspname, v.relname)
  from reading s
  join pg_class v on v.oid = s.oid
  join pg_namespace n on n.oid = v.relnamespace
 where v.relkind = 'v'
   and not exists (select from pg_options_to_table(v.reloptions) o
                    where case o.option_name when 'security_invoker' then o.option_value::boolean end)
union all
select format('%I.%I', n.nspname, v.relname),
       'a materialized view of tenants'' rows, which have no row security there, open to '
         || string_agg(distinct a.role, ', '),
       format('revoke all on %I.%I from %s cascade', n.nspname, v.relname, string_agg(distinct a.role, ', '))
  from reading s
  join pg_class v on v.oid = s.oid
  join pg_namespace n on n.oid = v.relnamespace
  join kos.application_rights() a on a.relation = v.oid
 where v.relkind = 'm'
 group by n.nspname, v.relname
 order by 1;
