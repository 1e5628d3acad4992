-- A placement that can't be changed need not keep the others from going on: a change can leave it out.
-- oldest library: 1
--
-- From when somebody says so, nothing more is done there, and code that needs the change is refused. What was done is
-- taken back at the end. That it was left out is kept: no upgrade makes up for it in one go, on the rows that were the
-- reason.

alter table kos.change_placements drop constraint change_placements_state_check;
alter table kos.change_placements add constraint change_placements_state_check
  check (state in ('running', 'done', 'failed', 'left out'));
alter table kos.changed_schemas add column left_out boolean not null default false;

create or replace function kos.require_change(name text, schema_name name default current_schema()) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from kos.changed_schemas c
                  where c.schema_name = require_change.schema_name and c.name = require_change.name and not c.left_out) then
    raise exception 'the change % is not there in schema %', require_change.name, require_change.schema_name
      using errcode = 'KS012', hint = 'kos change status';
  end if;
end $$;
