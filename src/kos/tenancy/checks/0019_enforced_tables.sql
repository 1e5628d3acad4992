-- Adopted tables at level enforce, and their partitions, are still as they were made then
-- A partition that was attached since is bound where its table is named, and not where it is named itself.
with part as (
  select e.root, c.oid, c.relnamespace, c.relname, c.relrowsecurity and c.relforcerowsecurity as forced
    from kos.enforced_tables e
    cross join lateral (select e.relation::oid union select t.relid from pg_partition_tree(e.relation) t) tree (relation)
    join pg_class c on c.oid = tree.relation
   where e.relation = e.root
), seen as (
  select p.*, array_remove(array[
           case when not p.forced then 'row security is not on and forced' end,
           case when not exists (select from pg_policy y where y.polrelid = p.oid and y.polname = 'kos_tenant_isolation' and not y.polpermissive)
             then 'the policy kos_tenant_isolation is missing' end,
           case when not exists (select from pg_trigger g where g.tgrelid = p.oid and g.tgfoid = 'kos.guard_adopted()'::regprocedure
                                                            and g.tgenabled in ('O', 'A') and g.tgtype & 60 = 28)
             then 'no guard fires before its rows are written' end], null) as faults
    from part p
)
select format('%I.%I', n.nspname, s.relname), array_to_string(s.faults, '; '),
       format('kos adopt %s --level enforce', s.root)
  from seen s join pg_namespace n on n.oid = s.relnamespace
 where cardinality(s.faults) > 0
union all
-- One policy that lets a row through is enough. What the table had before goes on as it was; what came since was meant to
-- count. (As JSON: a database that is behind has no such column.)
select e.relation::text, format('the policy %I came later, and counts for nothing beside kos_access, which lets through all of the tenant', y.polname),
       format('drop policy kos_access on %s', e.relation)
  from kos.enforced_tables e
  join pg_policy a on a.polrelid = e.relation and a.polname = 'kos_access' and 0 = any (a.polroles)
  join pg_policy y on y.polrelid = e.relation and y.polpermissive and y.polname !~ '^kos_'
 where not to_jsonb(e) -> 'policies' ? y.polname
 order by 1;
