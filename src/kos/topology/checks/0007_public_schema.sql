-- name: public_schema
-- Only roles that were allowed to may create things in schema public
select n.nspname::text as subject,
       'warning' as severity,
       'every role may create functions here, and it is on everybody''s search path' as found,
       'revoke create on schema public from public' as mend
  from pg_namespace n
  cross join aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
 where n.nspname = 'public' and a.grantee = 0 and a.privilege_type = 'CREATE';
