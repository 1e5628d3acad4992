-- Queries of kos.schema_change.facts: what a table is. They read catalogs; sizes ask for ACCESS SHARE for a moment.

-- name: look_from_inside
-- Types and definitions are told as the statements of a placement name them.
select set_config('search_path', quote_ident(%(schema)s) || ', public', true);

-- name: look_as
-- With the rights of whoever owns the tables: their schema may be closed to others.
set local role {role};

-- name: look_as_ourselves
-- What is of kos is closed to them.
reset role;

-- name: table
-- The table itself. Of a partitioned one, rows and pages are those of its leaves.
select c.oid::bigint as oid, n.nspname::text as schema, c.relname::text as name, o.rolname::text as owner,
       c.relkind::text as kind, c.relispartition as is_partition,
       exists (select from pg_partitioned_table p where p.partrelid = c.oid and p.partdefid <> 0) as partition_default,
       leaves.rows, leaves.pages,
       exists (select from pg_trigger g join pg_proc p on p.oid = g.tgfoid
                where g.tgrelid = c.oid and p.pronamespace = to_regnamespace('kos') and g.tgname ~ '^kos_capture')
         as logged,
       c.relkind = 'r' and not c.relispartition
         and exists (select from pg_inherits i where c.oid in (i.inhparent, i.inhrelid)) as inherits,
       array(select a.attname::text from pg_partitioned_table p
               join pg_attribute a on a.attrelid = c.oid and (a.attnum = any (p.partattrs) or exists (
                 select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.objsubid = 0
                    and d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.refobjsubid = a.attnum))
              where p.partrelid = c.oid and a.attnum > 0 order by a.attnum) as partition_key
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_roles o on o.oid = c.relowner
  cross join lateral (
    select coalesce(sum(greatest(l.reltuples, 0)), 0)::bigint as rows,
           (coalesce(sum(pg_relation_size(l.oid)), 0) / current_setting('block_size')::bigint)::bigint as pages
      from pg_class l
     where l.relkind in ('r', 'm')
       and (l.oid = c.oid or l.oid in (select t.relid from pg_partition_tree(c.oid) t where t.isleaf))) leaves
 where n.nspname = %(schema)s and c.relname = %(table)s and c.relkind in ('r', 'p', 'v', 'm', 'f');

-- name: columns
-- Its columns, in their order.
select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as not_null,
       pg_get_expr(d.adbin, d.adrelid, true) as default, a.attgenerated::text as generated,
       a.attidentity::text as identity,
       case when a.attcollation <> t.typcollation then l.oid::regcollation::text end as collation,
       pg_get_serial_sequence(format('%%I.%%I', %(schema)s::text, %(table)s::text), a.attname)::regclass::text
         as sequence,
       col_description(a.attrelid, a.attnum) as comment
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  left join pg_collation l on l.oid = a.attcollation
 where a.attrelid = %(oid)s and a.attnum > 0 and not a.attisdropped
 order by a.attnum;

-- name: constraints
-- Its constraints, but not those of other tables that refer to it.
select k.conname::text as name, k.contype::text as kind, k.convalidated as validated,
       array(select a.attname::text from unnest(k.conkey) with ordinality u (attnum, place)
               join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum order by u.place) as columns,
       pg_get_constraintdef(k.oid, true) as definition,
       case when k.contype in ('p', 'u', 'x') then x.relname::text end as index,
       case when k.contype = 'f' then k.confrelid::regclass::text end as refers_to,
       k.condeferrable as deferrable
  from pg_constraint k
  left join pg_class x on x.oid = k.conindid
 where k.conrelid = %(oid)s and k.contype <> 't'
   and (k.contype <> 'f' or k.conparentid = 0 or k.confrelid <> %(oid)s)
 order by k.conname;

-- name: indexes
-- Its indexes, and all columns that each reads. An index of a constraint depends on that, not on the columns.
select x.relname::text as name, pg_get_indexdef(i.indexrelid, 0, true) as definition, i.indisunique as unique,
       i.indisvalid as valid, i.indisprimary as primary, k.conname::text as constraint,
       i.indisreplident as replica_identity,
       array(select a.attname::text from pg_attribute a
              where a.attrelid = i.indrelid and a.attnum > 0
                and (a.attnum = any (i.indkey) or exists (
                  select from pg_depend d
                   where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                     and d.refclassid = 'pg_class'::regclass and d.refobjid = i.indrelid
                     and d.refobjsubid = a.attnum))
              order by array_position(i.indkey::int2[], a.attnum), a.attnum) as columns
  from pg_index i
  join pg_class x on x.oid = i.indexrelid
  left join pg_constraint k on k.conindid = i.indexrelid and k.conrelid = i.indrelid and k.contype in ('p', 'u', 'x')
 where i.indrelid = %(oid)s
 order by x.relname;

-- name: referred_by
-- Foreign keys of other tables, and of its own, that refer to it.
select k.conrelid::regclass::text as table, k.conname::text as name, pg_get_constraintdef(k.oid, true) as definition
  from pg_constraint k
 where k.confrelid = %(oid)s and k.contype = 'f' and k.conparentid = 0
 order by 1, 2;

-- name: triggers
-- Its triggers: not those of constraints, of partitioning, or of kos.
select g.tgname::text as name, pg_get_triggerdef(g.oid, true) as definition
  from pg_trigger g
  join pg_proc p on p.oid = g.tgfoid
 where g.tgrelid = %(oid)s and not g.tgisinternal and p.pronamespace is distinct from to_regnamespace('kos')
   and g.tgname !~ '^[!~]?kos_'
 order by g.tgname;

-- name: readers
-- What depends on a column and isn't a constraint or an index.
select distinct a.attname::text as column, r.kind, r.name
  from pg_depend d
  join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  join pg_class t on t.oid = d.refobjid
  cross join lateral (
    select case v.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'rule' end as kind,
           case when v.relkind not in ('v', 'm') then w.rulename::text when v.relnamespace = t.relnamespace then v.relname::text
             else v.oid::regclass::text end as name
      from pg_rewrite w join pg_class v on v.oid = w.ev_class
     where d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
    union all
    select 'policy', p.polname || case when p.polrelid = t.oid then '' else ' of ' || p.polrelid::regclass end from pg_policy p
     where d.classid = 'pg_policy'::regclass and p.oid = d.objid
    union all
    select 'function', p.oid::regprocedure::text from pg_proc p
     where d.classid = 'pg_proc'::regclass and p.oid = d.objid
    union all
    select 'trigger', g.tgname || case when g.tgrelid = t.oid then '' else ' of ' || g.tgrelid::regclass end from pg_trigger g
     where d.classid = 'pg_trigger'::regclass and g.oid = d.objid and not g.tgisinternal
       and g.tgname !~ '^[!~]?kos_'
    union all
    select 'statistics', s.stxname::text from pg_statistic_ext s
     where d.classid = 'pg_statistic_ext'::regclass and s.oid = d.objid
    union all
    select 'publication', b.pubname::text from pg_publication_rel e join pg_publication b on b.oid = e.prpubid
     where d.classid = 'pg_publication_rel'::regclass and e.oid = d.objid
    union all
    select 'generated column', o.attname::text from pg_attrdef f
      join pg_attribute o on o.attrelid = f.adrelid and o.attnum = f.adnum
     where d.classid = 'pg_attrdef'::regclass and f.oid = d.objid and o.attgenerated <> ''
       and o.attnum <> d.refobjsubid
    union all
    select 'generated column', o.attname::text from pg_attribute o
     where d.classid = 'pg_class'::regclass and d.objid = d.refobjid and o.attrelid = d.objid
       and o.attnum = d.objsubid and o.attgenerated <> ''
  ) r
 where d.refclassid = 'pg_class'::regclass and d.refobjid = %(oid)s and d.refobjsubid > 0
 order by 1, 2, 3;

-- name: volatile
-- Whether one of these functions gives another result each time. One name may stand for several functions.
select coalesce(bool_or(p.provolatile = 'v'), false) from pg_proc p where p.proname = any (%(functions)s);

-- name: fingerprints
-- Something per schema that is equal where these tables are, in whichever database: roles and collations go by their
-- names. It has whatever planners read. Names of the schema itself are taken out of definitions, and those of the log's
-- functions, since each table has one of its own.
select n.nspname::text as schema, md5(concat(
         (select o.rolname from pg_class t join pg_roles o on o.oid = t.relowner
           where t.relnamespace = n.oid and t.relkind in ('r', 'p')
           group by o.rolname order by count(*) desc, o.rolname limit 1),
         string_agg(md5(replace(concat_ws(E'\n',
         row(c.relname, c.relkind, c.relispartition, pg_get_userbyid(c.relowner), c.relrowsecurity,
             c.relforcerowsecurity, c.relreplident, c.reloptions, obj_description(c.oid, 'pg_class'),
             exists (select from pg_partitioned_table p where p.partrelid = c.oid and p.partdefid <> 0))::text,
         (select string_agg(row(a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                                a.attgenerated, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid),
                                a.attstattarget, array(select o from unnest(a.attoptions) o where o like 'n_distinct%%'), a.attstorage, a.attcompression,
                                col_description(c.oid, a.attnum))::text, ';' order by a.attname)
            from pg_attribute a
            left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
         (select string_agg(row(g.name, g.privilege_type, g.grantee::regrole, g.is_grantable)::text, ';'
                            order by g.name, g.privilege_type, g.grantee::regrole::text)
            from (select null::name as name, x.* from aclexplode(c.relacl) x
                  union all
                  select a.attname, x.* from pg_attribute a cross join lateral aclexplode(a.attacl) x
                   where a.attrelid = c.oid and not a.attisdropped) g
           where g.grantee <> c.relowner),
         (select string_agg(row(k.conname, k.convalidated, pg_get_constraintdef(k.oid),
                                obj_description(k.oid, 'pg_constraint'))::text, ';' order by k.conname)
            from pg_constraint k where k.conrelid = c.oid),
         (select string_agg(row(k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))::text, ';'
                            order by k.conrelid::regclass::text, k.conname)
            from pg_constraint k where k.confrelid = c.oid),
         (select string_agg(row(i.indisvalid, i.indisreplident, i.indisclustered, pg_get_indexdef(i.indexrelid),
                                obj_description(i.indexrelid, 'pg_class'))::text, ';'
                            order by i.indexrelid::regclass::text)
            from pg_index i where i.indrelid = c.oid),
         (select string_agg(row(pg_get_statisticsobjdef(s.oid), obj_description(s.oid, 'pg_statistic_ext'))::text, ';'
                            order by s.stxname)
            from pg_statistic_ext s where s.stxrelid = c.oid),
         (select string_agg(row(q.seqrelid::regclass, e.refobjsubid, q.seqtypid::regtype, q.seqstart, q.seqincrement,
                                q.seqmin, q.seqmax, q.seqcache, q.seqcycle)::text, ';'
                            order by q.seqrelid::regclass::text)
            from pg_depend e join pg_sequence q on q.seqrelid = e.objid
           where e.classid = 'pg_class'::regclass and e.refclassid = 'pg_class'::regclass and e.refobjid = c.oid
             and e.deptype in ('a', 'i')),
         (select string_agg(row(t.relid, t.parentrelid, t.isleaf, pg_get_userbyid(l.relowner))::text, ';'
                            order by t.relid::text)
            from pg_partition_tree(c.oid) t join pg_class l on l.oid = t.relid),
         (select string_agg(row(l.oid::regclass, m.amname,
                                array(select pg_get_indexdef(i.indexrelid) from pg_index i
                                       where i.indrelid = l.oid and i.indisunique order by 1))::text, ';'
                            order by l.oid::regclass::text)
            from pg_class l left join pg_am m on m.oid = l.relam
           where l.relkind in ('r', 'f') and m.amname is distinct from 'heap'
             and (l.oid = c.oid or l.oid in (select t.relid from pg_partition_tree(c.oid) t))),
         (select string_agg(regexp_replace(pg_get_triggerdef(g.oid), 'kos\.capture_[0-9a-f]+', 'kos.capture'), ';'
                            order by g.tgname)
            from pg_trigger g where g.tgrelid = c.oid and not g.tgisinternal),
         (select string_agg(u::text, ';' order by u::text) from kos.columns_in_log(c.oid) u),
         (select string_agg(row(y.polname, y.polcmd, y.polpermissive,
                                (select array_agg(r::regrole::text order by r::regrole::text) from unnest(y.polroles) r),
                                pg_get_expr(y.polqual, y.polrelid), pg_get_expr(y.polwithcheck, y.polrelid))::text, ';'
                            order by y.polname)
            from pg_policy y where y.polrelid = c.oid),
         (select string_agg(distinct v.oid::regclass::text, ';')
            from pg_depend e join pg_rewrite w on w.oid = e.objid join pg_class v on v.oid = w.ev_class
           where e.classid = 'pg_rewrite'::regclass and e.refobjid = c.oid)
       ), quote_ident(n.nspname) || '.', '')), ',' order by c.relname))) as fingerprint
  from pg_namespace n
  left join pg_class c on c.relnamespace = n.oid and c.relname = any (%(tables)s)
 where n.nspname = any (%(schemas)s)
 group by n.oid, n.nspname;

-- name: owner
-- Whose a new table is: of the role that owns most tables of the schema, or else the schema. Nobody can become
-- pg_database_owner.
select o.rolname::text
  from pg_namespace n
  left join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p')
  join pg_roles o on o.oid = coalesce(c.relowner, (select d.datdba from pg_database d
                                                     where d.datname = current_database()
                                                       and n.nspowner = 'pg_database_owner'::regrole), n.nspowner)
 where n.nspname = %(schema)s
 group by o.rolname order by count(*) desc, o.rolname limit 1;

-- name: grants
-- Who may do what with a table, but its owner. `column` is null for what is granted on all of it.
select null as column, g.privilege_type as privilege, coalesce(quote_ident(r.rolname), 'public') as grantee,
       g.is_grantable as grantable
  from pg_class c cross join lateral aclexplode(c.relacl) g left join pg_roles r on r.oid = g.grantee
 where c.oid = %(oid)s and g.grantee <> c.relowner
union all
select a.attname, g.privilege_type, coalesce(quote_ident(r.rolname), 'public'), g.is_grantable
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  cross join lateral aclexplode(a.attacl) g left join pg_roles r on r.oid = g.grantee
 where a.attrelid = %(oid)s and a.attnum > 0 and g.grantee <> c.relowner
 order by 1 nulls first, 2, 3;

-- name: relation_kind
-- What has this name in the schema.
select c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %(schema)s and c.relname = %(name)s;

-- name: checked_domain
-- Whether a type is a domain with a constraint, perhaps that of a domain which it is made of: PostgreSQL then rewrites the
-- table for a new column. Before version 17 it keeps a domain's NOT NULL in the type alone.
with recursive bases (oid) as (
  select to_regtype(%(type)s)::oid
  union all
  select t.typbasetype from bases b join pg_type t on t.oid = b.oid where t.typtype = 'd')
select exists (select from bases b join pg_type t on t.oid = b.oid
                where t.typtype = 'd'
                  and (t.typnotnull or exists (select from pg_constraint k where k.contypid = t.oid)));

-- name: resolved
-- A type as the catalog tells it; what its values are stored as, which is another type for a domain, as `base` and
-- `modifier` say; and whether an index of the one is one of the other: not where they sort otherwise, nor where its
-- operators are for types of a sort. A domain has no modifier of its own.
select format_type(t.oid, case when t.typtype = 'd' then -1 else %(modifier)s end),
       format_type(b.oid, %(modifier)s), t.typcollation = b.typcollation and (t.oid = b.oid or b.typcategory not in ('A', 'C', 'E', 'R'))
  from pg_type t, pg_type b
 where t.oid = to_regtype(%(type)s) and b.oid = %(base)s::oid;

-- name: bases
-- These types, and what domains among them are made of.
with recursive bases (oid) as (
  select to_regtype(asked.type)::oid from unnest(%(types)s::text[]) as asked (type)
  union
  select t.typbasetype from bases b join pg_type t on t.oid = b.oid where t.typtype = 'd')
select format_type(oid, null) from bases where oid is not null;

-- name: read_only
-- Nothing that is asked may write.
set local transaction_read_only = on;

-- name: unique_keys
-- The indexes that a foreign key may refer to, with their columns.
select x.relname::text, array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality u (attnum, place)
                                join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
                               where u.place <= i.indnkeyatts order by u.place), i.indisprimary
  from pg_index i join pg_class x on x.oid = i.indexrelid
 where i.indrelid = %(oid)s and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null
   and i.indexprs is null;

-- name: assignment
-- Whether PostgreSQL takes a value of one type for a column of the other, and what the one is called. What is not told by
-- a cast alone (rows, arrays, polymorphic types) is taken.
with recursive bases (side, oid) as (
  values ('source', %(source)s::oid), ('target', to_regtype(%(target)s)::oid)
  union all
  select b.side, t.typbasetype from bases b join pg_type t on t.oid = b.oid where t.typtype = 'd')
select bool_or(s.oid = t.oid or s.typtype in ('p', 'c') or t.typtype in ('p', 'c') or 'A' in (s.typcategory, t.typcategory)
               or t.typcategory = 'S'
               or exists (select from pg_cast c where c.castsource = s.oid and c.casttarget = t.oid and c.castcontext <> 'e')),
       format_type(%(source)s::oid, null)
  from bases one join pg_type s on s.oid = one.oid, bases other join pg_type t on t.oid = other.oid
 where one.side = 'source' and other.side = 'target';

-- name: publications
-- Those that send all columns of a table.
select p.pubname::text
  from pg_publication p
 where exists (select from pg_publication_tables t join pg_class c on c.relname = t.tablename
                 join pg_namespace n on n.oid = c.relnamespace and n.nspname = t.schemaname
                 left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
                where t.pubname = p.pubname and r.prattrs is null
                  and (c.oid = %(oid)s or c.oid in (select relid from pg_partition_tree(%(oid)s::oid))))
 order by 1;

-- name: unidentified
-- A table, or a part of one, whose rows are published, and can't be named to subscribers; with the publication.
select l.oid::regclass::text, p.pubname::text
  from pg_class l
  left join pg_index i on i.indrelid = l.oid and ((l.relreplident = 'd' and i.indisprimary)
                                                  or (l.relreplident = 'i' and i.indisreplident))
  join pg_publication_tables t on true
  join pg_publication p on p.pubname = t.pubname and case when %(deletes)s then p.pubdelete else p.pubupdate end
  join pg_class c on c.relname = t.tablename
  join pg_namespace n on n.oid = c.relnamespace and n.nspname = t.schemaname
 where l.relkind = 'r' and (l.oid = %(oid)s or l.oid in (select relid from pg_partition_tree(%(oid)s::oid)))
   and (c.oid = l.oid or c.oid in (select relid from pg_partition_ancestors(l.oid)))
   and l.relreplident <> 'f' and i.indexrelid is null
 limit 1;

-- name: may_not_create
-- Of these schemas and roles, the pairs in which the role lacks CREATE on the schema.
select asked.schema, asked.owner
  from unnest(%(schemas)s::text[], %(owners)s::text[]) as asked (schema, owner)
 where not has_schema_privilege(asked.owner, asked.schema, 'CREATE')
 order by 1, 2;

-- name: immutable
-- Whether all functions of these names give the same result always. One that isn't there yet may not, nor what is made of
-- a domain or a row, whose types are others.
select coalesce(bool_and(p.provolatile is not distinct from 'i'), true)
       and not exists (select from unnest(%(types)s::text[]) named left join pg_type t on t.oid = to_regtype(named)
                        where coalesce(t.typtype in ('d', 'c'), true))
  from unnest(%(functions)s::text[]) as asked (name) left join pg_proc p on p.proname = asked.name;

-- name: safe_cast
-- Whether there is a cast that PostgreSQL does unasked: those lose nothing.
select exists (select from pg_cast c
                where c.castsource = to_regtype(%(source)s) and c.casttarget = to_regtype(%(target)s)
                  and c.castcontext = 'i');

-- name: needs_rights
-- Whether one of these functions may be closed to some, or ask what is; and whether one of these tables forces row
-- security, so that its owner sees other rows than who writes.
select exists (select from unnest(%(functions)s::text[]) as asked (name)
                where not exists (select from pg_proc p where p.proname = asked.name
                                     and p.pronamespace = 'pg_catalog'::regnamespace)
                   or exists (select from pg_proc p where p.proname = asked.name
                                 and p.pronamespace <> 'pg_catalog'::regnamespace)),
       exists (select from pg_class c where c.relname = any (%(tables)s) and c.relforcerowsecurity);

-- name: not_ours
-- Whether one of these types isn't PostgreSQL's own, or isn't there yet: it is found by its name, in a schema that may be
-- closed to some.
select coalesce(bool_or(t.typnamespace is distinct from 'pg_catalog'::regnamespace), false)
  from unnest(%(types)s::text[]) as asked (name) left join pg_type t on t.oid = to_regtype(asked.name);

-- name: open_schema
-- Where everybody may create something: so it is in `public` of a database that is older than PostgreSQL 15.
select n.nspname::text
  from pg_namespace n cross join aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x
 where n.nspname in (%(schema)s, 'public') and x.grantee = 0 and x.privilege_type = 'CREATE'
 order by 1 limit 1;

-- name: columns_in_log
-- Of a logged table: columns that its log knows rows or tenants by, or hides.
select column_name, use from kos.columns_in_log(%(oid)s::oid);
