-- Every statement that writes to a table of tenants passes the fence first
-- Bits of tgtype: 1 for each row, 2 before, 4 insert, 8 delete, 16 update, 32 truncate, 64 instead. A guard with a
-- condition, or for an update of some columns only, does not count.
select format('%I.%I', n.nspname, c.relname),
       'writes do not pass the fence: no guard fires before '
         || concat_ws(', ', case when g.events & 4 = 0 then 'INSERT' end, case when g.events & 16 = 0 then 'UPDATE' end,
                      case when g.events & 8 = 0 then 'DELETE' end, case when g.events & 32 = 0 then 'TRUNCATE' end),
       format('select kos.protect(%L)', format('%I.%I', n.nspname, c.relname))
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral (
    select coalesce(bit_or(g.tgtype), 0) as events
      from pg_trigger g
     where g.tgrelid = c.oid and g.tgfoid = 'kos.guard()'::regprocedure and g.tgenabled in ('O', 'A')
       and g.tgtype & 67 = 2 and g.tgqual is null and g.tgattr = ''
  ) g
 where g.events & 60 <> 60
 -- A trigger that a partition has from its parent is mended there.
 order by c.relispartition, 1;
