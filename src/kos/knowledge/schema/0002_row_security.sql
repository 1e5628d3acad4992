-- Row security on every table of tenants, from the first version on.
-- oldest library: 1

select kos.protect(name::regclass)
  from unnest(array[
    'atoms', 'molecules', 'molecule_atoms', 'documents', 'annotations', 'relations', 'implementations',
    'capability_mappings', 'sensitive_atoms'
  ]) as name;

grant select, insert, update, delete
  on atoms, molecules, molecule_atoms, documents, annotations, relations, implementations, capability_mappings,
     sensitive_atoms
  to kos_app, kos_persona, kos_operator, kos_mover;

-- Only sealing writes events; applications read them. Personas don't: the log shows what their policies hide.
grant select on knowledge_events to kos_app, kos_operator, kos_auditor;

do $$
declare
  name text;
begin
  -- Permissive policies, beside the restrictive one: they can never reach another tenant.
  foreach name in array array[
    'molecules', 'molecule_atoms', 'documents', 'annotations', 'relations', 'implementations',
    'capability_mappings', 'sensitive_atoms'
  ] loop
    execute format('create policy application_access on %I as permissive for all to kos_app, kos_persona using (true)', name);
  end loop;
end $$;

create policy application_access on atoms as permissive for all to kos_app using (true);

-- What a persona may see of its tenant's atoms. Only sessions that entered with a persona have this role, so for the
-- application itself nothing of this is planned, opened or evaluated.
create policy persona_access on atoms as permissive for all to kos_persona using (
  case (select kos.current_persona())
    when 'domain_expert' then true
    when 'developer' then exists (
      select from implementations i where i.tenant_id = atoms.tenant_id and i.atom_id = atoms.id)
    when 'product_owner' then exists (
      select from capability_mappings m where m.tenant_id = atoms.tenant_id and m.atom_id = atoms.id)
    else false
  end
);
