-- Projections: what a reader of the graph or the cache asks of the log.
-- oldest library: 1

-- The end of the entered tenant's log. What a later statement of a READ COMMITTED transaction reads has everything up to
-- there, so a value that was read after this question may be kept under that position. `has_written`: what is read may
-- be this transaction's own, which nobody else is to see.
create function kos.log_head(out incarnation integer, out "position" bigint, out has_written boolean)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select s.incarnation, s.position, pg_current_xact_id_if_assigned() is not null
    from kos.newest_seal(kos.current_tenant_id()) s
$$;
grant execute on function kos.log_head() to kos_app, kos_persona;
