-- Every change of a tenant's tables is in its log.
-- oldest library: 1

select kos.log_table(name::regclass, 'tenant_id', 'full')
  from unnest(array[
    'atoms', 'molecules', 'molecule_atoms', 'documents', 'annotations', 'relations', 'implementations',
    'capability_mappings', 'sensitive_atoms'
  ]) as name;
