-- A restrictive policy binds applications to the entered tenant, for what they read and what they write
-- The expression must be the very one that kos.protect() makes: whether another one says the same can't be told from
-- its text. Read under a search path of pg_catalog alone, the text names every function and operator with its schema.
select format('%I.%I', n.nspname, c.relname),
       'no restrictive policy binds kos_app and kos_persona to the entered tenant for reading and writing',
       format('select kos.protect(%L)', format('%I.%I', n.nspname, c.relname))
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
 where not exists (
   select from pg_policy p
    where p.polrelid = c.oid and not p.polpermissive and p.polcmd = '*'
      and (0 = any (p.polroles) or p.polroles @> array['kos_app'::regrole::oid, 'kos_persona'::regrole::oid])
      and array[pg_get_expr(p.polqual, p.polrelid), pg_get_expr(coalesce(p.polwithcheck, p.polqual), p.polrelid)]
          = array_fill('(tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id))'::text, array[2])
 )
 order by 1;
