-- Everything in schema kos belongs to kos_owner, and nothing of tenants to an application
-- Owners switch off what protects: row security, policies, triggers.
with owned (owner, subject, kind, of_kos) as (
  select n.nspowner, quote_ident(n.nspname), 'schema', n.nspname = 'kos'
    from pg_namespace n
   where n.nspname in (select v.schema_name from kos.schema_versions v)
  union all
  select c.relowner, format('%I.%I', n.nspname, c.relname), 'table', n.nspname = 'kos'
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p', 'f', 'v', 'm')
     and (n.nspname in (select v.schema_name from kos.schema_versions v)
          or c.oid in (select k.oid from kos.kept_tables() k))
  union all
  select p.proowner, format('kos.%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)), 'routine', true
    from pg_proc p
   where p.pronamespace = 'kos'::regnamespace
)
select o.subject,
       format('belongs to %s, who can change it', r.rolname),
       format('alter %s %s owner to kos_owner', o.kind, o.subject)
  from owned o
  join pg_roles r on r.oid = o.owner
 where case when o.of_kos then r.rolname <> 'kos_owner'
            else o.owner in (select a.oid from kos.application_roles() a) end
 order by o.kind = 'schema' desc, 1;
