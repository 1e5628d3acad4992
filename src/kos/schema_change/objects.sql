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
       array(select array[f.conrelid::regclass::text, f.conname::text] from pg_constraint f
              where f.conindid = x.oid and f.contype = 'f' and f.conparentid = 0) as used_by,
       coalesce(x.reloptions, '{}') as options, exists (select from pg_inherits h where h.inhrelid = x.oid) as is_part,
       array(select r.relname::text from pg_constraint f join pg_class r on r.oid = f.conrelid
              where f.conindid = x.oid and f.contype = 'f' and f.conparentid = 0 and r.relnamespace = n.oid) as users
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

-- name: privileges
-- Who may do what with a relation, but its owner: column, privilege, role ('public' for all), whether to give it on.
select g.name, lower(g.privilege_type), coalesce(r.rolname::text, 'public'), g.is_grantable
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral (
    select null::text as name, x.* from aclexplode(c.relacl) x
    union all
    select a.attname::text, x.*
      from pg_attribute a cross join lateral aclexplode(a.attacl) x
     where a.attrelid = c.oid and not a.attisdropped) g
  left join pg_roles r on r.oid = g.grantee
 where n.nspname = %(schema)s and c.relname = %(name)s and g.grantee <> c.relowner;

-- name: object_owner
-- Who owns a type or function of this name.
select o.rolname::text
  from pg_namespace n
  cross join lateral (
    select t.typowner as owner from pg_type t where t.typnamespace = n.oid and t.typname = %(name)s
    union all
    select p.proowner from pg_proc p where p.pronamespace = n.oid and p.proname = %(name)s) f
  join pg_roles o on o.oid = f.owner
 where n.nspname = %(schema)s
 limit 1;

-- name: statistics
-- The table that extended statistics of this name are of, and who owns it.
select c.relname::text, o.rolname::text
  from pg_statistic_ext s
  join pg_class c on c.oid = s.stxrelid
  join pg_roles o on o.oid = c.relowner
  join pg_namespace n on n.oid = s.stxnamespace
 where n.nspname = %(schema)s and s.stxname = %(name)s;

-- name: column_settings
-- What ANALYZE is told about a column: its target, if it has one of its own, and its options. Other options are notes of
-- the server's own, as Debian's PostgreSQL 15.20 keeps (pg_attver).
select case when a.attstattarget >= 0 then a.attstattarget end,
       array(select o from unnest(a.attoptions) o where o like 'n_distinct%%')
  from pg_attribute a
 where a.attrelid = %(oid)s and a.attname = %(column)s;

-- name: comments
-- What is said about the constraints and indexes of a table: the kind, the name, the text.
select 'constraint', k.conname::text, obj_description(k.oid, 'pg_constraint')
  from pg_constraint k
 where k.conrelid = %(oid)s and obj_description(k.oid, 'pg_constraint') is not null
union all
select 'index', x.relname::text, obj_description(x.oid, 'pg_class')
  from pg_index i join pg_class x on x.oid = i.indexrelid
 where i.indrelid = %(oid)s and obj_description(x.oid, 'pg_class') is not null
 order by 1, 2;

-- name: clustered
-- The index that a table is clustered by.
select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
 where i.indrelid = %(oid)s and i.indisclustered;

-- name: statistics_definition
-- Extended statistics as they are made, and what is said about them.
select pg_get_statisticsobjdef(s.oid), obj_description(s.oid, 'pg_statistic_ext')
  from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
 where n.nspname = %(schema)s and s.stxname = %(name)s;

-- name: sequence
-- A sequence: its name and options; the greatest value is null where it is that of its type.
select c.relname::text, s.seqstart, s.seqincrement, s.seqmin,
       case when s.seqmax <> case s.seqtypid when 'smallint'::regtype then 32767 when 'integer'::regtype then 2147483647
                               else 9223372036854775807 end then s.seqmax end,
       s.seqcache, s.seqcycle
  from pg_sequence s join pg_class c on c.oid = s.seqrelid
 where s.seqrelid = %(sequence)s::regclass;

-- name: routines
-- The functions that a table's triggers call, wherever they are, and all others of the schema that PostgreSQL knows only
-- as text; not those of kos and of extensions.
select n.nspname::text as schema, p.proname::text as name, p.oid::regprocedure::text as signature,
       l.lanname::text as language, p.prosrc as body, g.tgname::text as trigger,
       coalesce(string_to_array(encode(g.tgargs, 'escape'), '\000'), '{}') as arguments,
       g.tgoldtable is not null or g.tgnewtable is not null as named_rows,
       exists (select from unnest(p.proargtypes) a (type) join pg_type t on t.oid = a.type
                where t.typrelid = %(oid)s::oid) as takes
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  join pg_language l on l.oid = p.prolang
  left join pg_trigger g
    on g.tgfoid = p.oid and not g.tgisinternal and g.tgparentid = 0 and g.tgname !~ '^[!~]?kos_'
   and (g.tgrelid = %(oid)s::oid or g.tgrelid in (select r.relid from pg_partition_tree(%(oid)s::oid::regclass) r))
 where p.prosqlbody is null and n.nspname <> 'kos'
   and (g.oid is not null
        or (n.nspname = %(schema)s and not exists (
              select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')))
 order by 1, 2, 3, 6;

-- name: out_of_order
-- A trigger of a table, or of a part of it, that fires before the first of ours or after the last one. PostgreSQL goes by
-- the bytes of their names.
select g.tgname::text, g.tgrelid::regclass::text
  from pg_trigger g
 where (g.tgrelid = %(oid)s::oid or g.tgrelid in (select t.relid from pg_partition_tree(%(oid)s::oid::regclass) t))
   and not g.tgisinternal and g.tgparentid = 0 and g.tgenabled <> 'D' and g.tgname !~ '^[!~]?kos_'
   and (g.tgtype & 3) = 3 and (g.tgtype & 20) <> 0  -- before, for each row, on insert or update
   and (g.tgname::text collate "C" < %(first)s or g.tgname::text collate "C" > %(last)s)
 order by 2, 1
 limit 1;

-- name: function
-- Functions of this name: their bodies, and the tables of this schema that have triggers which call them.
select p.prosrc,
       array(select distinct c.relname::text from pg_trigger g join pg_class c on c.oid = g.tgrelid
              join pg_namespace s on s.oid = c.relnamespace
              where g.tgfoid = p.oid and not g.tgisinternal and s.nspname = %(schema)s)
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
 where n.nspname = %(function_schema)s and p.proname = %(name)s;

-- name: hanging
-- What hangs on a column, but for what the change has made: dropping the column drops that too, or is refused for it. Up to
-- the first colon it is what PostgreSQL knows it by. A default that the column `twin` has as well is that one's, and all
-- columns of a table are in the view that is its new name.
select distinct case d.classid
         when 'pg_constraint'::regclass then (
           select format('constraint %s: %s%s', k.conname, nullif(k.conrelid, a.attrelid)::regclass || ', ',
                         pg_get_constraintdef(k.oid, true))
             from pg_constraint k
            where k.oid = d.objid and k.contype <> 'n' and k.conname !~ '^kos_' and (k.contype <> 'f' or k.conparentid = 0))
         when 'pg_trigger'::regclass then (
           select 'trigger ' || g.tgname from pg_trigger g
            where g.oid = d.objid and not g.tgisinternal and g.tgname !~ '^[!~]?kos_')
         when 'pg_rewrite'::regclass then (
           select pg_describe_object('pg_class'::regclass, w.ev_class, 0) from pg_rewrite w
            where w.oid = d.objid and w.ev_class is distinct from to_regclass({view}))
         when 'pg_attrdef'::regclass then (
           select case when f.adrelid = a.attrelid and f.adnum = a.attnum then 'default: ' || pg_get_expr(f.adbin, f.adrelid, true)
                       else pg_describe_object(d.classid, d.objid, 0) end
             from pg_attrdef f
            where f.oid = d.objid and not exists (
              select from pg_attribute t join pg_attrdef o on o.adrelid = t.attrelid and o.adnum = t.attnum
               where f.adnum = a.attnum and t.attrelid = a.attrelid and t.attname = {twin}
                 and pg_get_expr(o.adbin, o.adrelid) = pg_get_expr(f.adbin, f.adrelid)))
         when 'pg_class'::regclass then (
           select case when x.relkind in ('i', 'I') then format('index %s: %s', x.relname, pg_get_indexdef(x.oid, 0, true))
                       else pg_describe_object(d.classid, d.objid, d.objsubid) end
             from pg_class x where x.oid = d.objid and x.relkind <> 'S' and x.relname !~ '^kos_')
         else pg_describe_object(d.classid, d.objid, d.objsubid) end as what
  from pg_attribute a
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid and d.refobjsubid = a.attnum
 where a.attrelid = to_regclass({table}) and a.attname = {column}
union
select 'not null' from pg_attribute a where a.attrelid = to_regclass({table}) and a.attname = {column} and a.attnotnull

-- name: own_of_partitions
-- What partitions of a table have on a column that the table itself has not given them: the partition, and what it is.
select c.relname::text, o.what
  from pg_partition_tree(to_regclass({table})) t
  join pg_class c on c.oid = t.relid and t.level > 0
  join pg_attribute b on b.attrelid = to_regclass({table}) and b.attname = {column}
  join pg_attribute a on a.attrelid = c.oid and a.attname = b.attname
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  left join pg_attrdef f on f.adrelid = b.attrelid and f.adnum = b.attnum
  cross join lateral (
    select 'default' as what where pg_get_expr(d.adbin, d.adrelid) is distinct from pg_get_expr(f.adbin, f.adrelid)
    union all
    select 'NOT NULL' where a.attnotnull <> b.attnotnull
    union all
    select 'settings'
     where coalesce(a.attstattarget, -1) not in (-1, coalesce(b.attstattarget, -1))
        or (a.attstorage, a.attcompression) <> (b.attstorage, b.attcompression)
        or exists (select from unnest(a.attoptions) s where s like 'n_distinct%')
    union all
    select 'comment' where col_description(c.oid, a.attnum) is not null
    union all
    select 'grants' where a.attacl is not null
    union all
    select 'index ' || x.relname
      from pg_index i join pg_class x on x.oid = i.indexrelid
     where i.indrelid = c.oid
       and (not x.relispartition or i.indisreplident or i.indisclustered or obj_description(x.oid, 'pg_class') is not null)
       and not exists (select from pg_constraint k where k.conindid = x.oid and k.conrelid = c.oid)
       and (a.attnum = any (i.indkey) or exists (
             select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = x.oid
                and e.refclassid = 'pg_class'::regclass and e.refobjid = c.oid and e.refobjsubid = a.attnum))
    union all
    select 'constraint ' || k.conname
      from pg_constraint k
     where k.conrelid = c.oid and a.attnum = any (k.conkey) and k.conparentid = 0 and k.coninhcount = 0
    union all
    select 'foreign key ' || k.conname
      from pg_constraint k
     where k.confrelid = c.oid and a.attnum = any (k.confkey) and k.conparentid = 0 and k.contype = 'f'
    union all
    select pg_describe_object(e.classid, e.objid, e.objsubid)
      from pg_depend e
     where e.refclassid = 'pg_class'::regclass and e.refobjid = c.oid and e.refobjsubid = a.attnum
       and (e.classid in ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass,
                          'pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass)
            or (e.classid = 'pg_trigger'::regclass and exists (
                  select from pg_trigger g where g.oid = e.objid and not g.tgisinternal and g.tgparentid = 0)))) o
 where o.what !~ 'kos_[0-9a-f]{{6}}'
 order by 1, 2;
