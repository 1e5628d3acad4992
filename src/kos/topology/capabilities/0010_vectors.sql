-- name: vectors
-- Search by similarity, with pgvector
select e.extversion is not null as allowed,
       case when e.extversion is not null then format('pgvector %%s is installed', e.extversion)
            when a.default_version is not null then format('pgvector %%s is at hand, but not installed', a.default_version)
            else 'the server does not have pgvector' end as reason,
       case when e.extversion is not null then ''
            when a.default_version is not null then 'create extension vector'
            else 'install pgvector on the server, then: create extension vector' end as mend
  from (select 1) one
  left join pg_extension e on e.extname = 'vector'
  left join pg_available_extensions a on a.name = 'vector';
