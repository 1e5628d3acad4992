-- A placement that can't be changed need not keep the others from going on: a change can leave it out.
-- oldest library: 1
--
-- Somebody says so ('leaving'), and whoever goes on with the change takes back what was done there ('left out').

alter table kos.change_placements drop constraint change_placements_state_check;
alter table kos.change_placements add constraint change_placements_state_check
  check (state in ('running', 'done', 'failed', 'leaving', 'left out'));
