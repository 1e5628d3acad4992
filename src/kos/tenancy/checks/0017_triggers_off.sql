-- No application's session runs with triggers switched off, or may switch them off
-- Under session_replication_role = replica no guard fires, and no foreign key is checked.
select coalesce(r.rolname, 'every role') || coalesce(' in ' || d.datname, ''),
       'sessions begin with session_replication_role = replica: no guard fires in them',
       case when s.setrole = 0 and s.setdatabase <> 0
              then format('alter database %I reset session_replication_role', d.datname)
            else format('alter role %s%s reset session_replication_role', coalesce(quote_ident(r.rolname), 'all'),
                        ' in database ' || quote_ident(d.datname)) end
  from pg_db_role_setting s
  left join pg_roles r on r.oid = s.setrole
  left join pg_database d on d.oid = s.setdatabase
 where 'session_replication_role=replica' = any (s.setconfig)
   and (s.setrole = 0 or s.setrole in (select a.oid from kos.application_roles() a where a.acts))
   and (s.setdatabase = 0 or d.datname = current_database())
union all
select r.name,
       'may set session_replication_role: no guard fires under replica',
       format('revoke set, alter system on parameter session_replication_role from %s cascade', r.name)
  from pg_parameter_acl p
  cross join aclexplode(p.paracl) x
  join kos.application_roles() r on r.oid = x.grantee
 where p.parname = 'session_replication_role'
 group by r.name
 order by 1;
