-- Queries of kos.schema_change about constraints, indexes and what else hangs on a table. They read catalogs only.

-- name: names_used
-- Whether a relation and a constraint of this name are there.
select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname = %(schema)s and c.relname = %(name)s),
       exists (select from pg_constraint k join pg_namespace n on n.oid = k.connamespace
                where n.nspname = %(schema)s and k.conname = %(name)s);

-- name: partitions
-- All partitions of a table, parents first: schema, name, its parent's name, whether it has rows itself, its owner.
select n.nspname::text, c.relname::text, p.relname::text, t.isleaf, o.rolname::text
  from pg_partition_tree(%(oid)s::oid::regclass) t
  join pg_class c on c.oid = t.relid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_class p on p.oid = t.parentrelid
  join pg_roles o on o.oid = c.relowner
 where t.level > 0
 order by t.level, 2;

-- name: index
-- An index's table, kind, and the constraint that it is of.
select t.relname::text, x.relkind::text, k.conname::text, i.indisreplident, o.rolname::text,
       array(select f.conrelid::regclass::text || '.' || f.conname from pg_constraint f
              where f.conindid = x.oid and f.contype = 'f' and f.conparentid = 0) as used_by,
       coalesce(x.reloptions, '{}') as options, exists (select from pg_inherits h where h.inhrelid = x.oid) as is_part
  from pg_index i
  join pg_class x on x.oid = i.indexrelid
  join pg_class t on t.oid = i.indrelid
  join pg_roles o on o.oid = t.relowner
  join pg_namespace n on n.oid = x.relnamespace
  left join pg_constraint k on k.conindid = x.oid and k.contype in ('p', 'u', 'x')
 where n.nspname = %(schema)s and x.relname = %(name)s;

-- name: owner
-- Who owns a relation; its kind; its storage parameters.
select o.rolname::text, c.relkind::text, coalesce(c.reloptions, '{}')
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_roles o on o.oid = c.relowner
 where n.nspname = %(schema)s and c.relname = %(name)s;
