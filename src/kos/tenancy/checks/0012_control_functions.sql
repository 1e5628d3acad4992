-- Applications may not call the operator's functions
-- These run with the rights of kos_owner. Eight of them are for applications.
select format('kos.%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)),
       string_agg(r.name, ', ' order by r.name) || ' may call it, and it runs with its owner''s rights',
       format('revoke execute on function kos.%I(%s) from %s cascade', p.proname,
              pg_get_function_identity_arguments(p.oid), string_agg(r.name, ', ' order by r.name))
  from pg_proc p
  cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
  join kos.application_roles() r on r.oid = x.grantee
 where p.pronamespace = 'kos'::regnamespace
   and p.prosecdef
   and x.grantee <> p.proowner
   and p.oid not in ('kos.handshake(integer)'::regprocedure,
                     'kos.admit(text, bigint, text, text, text, inet, text, integer)'::regprocedure,
                     'kos.register_tenant(text)'::regprocedure, 'kos.current_tenant_value()'::regprocedure,
                     'kos.require_change(text, name)'::regprocedure,
                     'kos.incarnation()'::regprocedure, 'kos.bookmark_position(integer, xid8)'::regprocedure,
                     'kos.log_head()'::regprocedure)
 group by p.oid, p.proname
 order by 1;
