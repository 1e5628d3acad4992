-- name: see_sessions
-- Say who holds a lock or a fence, and what they are doing
select coalesce(r.may, false) as allowed,
       case when r.may is null then 'the role kos_owner does not exist yet'
            when r.may then 'kos_owner sees other sessions'
            else 'kos_owner sees that other sessions are there, not what they do' end as reason,
       case when r.may is null then 'kos upgrade; then: grant pg_read_all_stats to kos_owner'
            when r.may then ''
            else 'grant pg_read_all_stats to kos_owner' end as mend
  from (select 1) one
  left join (select pg_has_role(oid, 'pg_read_all_stats', 'USAGE') as may
               from pg_roles where rolname = 'kos_owner') r on true;
