-- Row security on every table of tenants, from the first version on.
-- oldest library: 1

select kos.protect(name::regclass)
  from unnest(array[
    'atoms', 'molecules', 'molecule_atoms', 'documents', 'annotations', 'relations', 'implementations',
    'capability_mappings', 'sensitive_atoms', 'knowledge_events', 'knowledge_events_default'
  ]) as name;

grant select, insert, update, delete
  on atoms, molecules, molecule_atoms, documents, annotations, relations, implementations, capability_mappings,
     sensitive_atoms
  to kos_app, kos_operator;

-- Only sealing writes events; applications read them.
grant select on knowledge_events, knowledge_events_default to kos_app, kos_operator;
grant select on knowledge_events to kos_auditor;
create policy auditor_access on knowledge_events as permissive for select to kos_auditor using (true);

-- Personas narrow what the application may see within its tenant. Permissive policies, beside the restrictive one:
-- they can never reach another tenant. No persona means the application itself.
-- Scalar subselects and a CASE: what a persona does not need is never evaluated, and for the application all that is
-- left for each row is a boolean that was computed once.
create policy persona_access on atoms as permissive for all to kos_app using (
  case when (select coalesce(kos.current_persona(), 'domain_expert') = 'domain_expert') then true
    else case (select kos.current_persona())
      when 'developer' then exists (
        select from implementations i where i.tenant_id = atoms.tenant_id and i.atom_id = atoms.id)
      when 'product_owner' then exists (
        select from capability_mappings m where m.tenant_id = atoms.tenant_id and m.atom_id = atoms.id)
      else false
    end
  end
);

do $$
declare
  name text;
begin
  foreach name in array array[
    'molecules', 'molecule_atoms', 'documents', 'annotations', 'relations', 'implementations',
    'capability_mappings', 'sensitive_atoms', 'knowledge_events', 'knowledge_events_default'
  ] loop
    execute format('create policy application_access on %I as permissive for all to kos_app using (true)', name);
  end loop;
end $$;
