-- An operation can wait for somebody who says to go on, or to go back.
-- oldest library: 1

alter table kos.operations drop constraint operations_state_check;
alter table kos.operations add constraint operations_state_check check (state in
  ('planned', 'running', 'waiting', 'failed', 'finished', 'rolling_back', 'rollback_failed', 'rolled_back'));

alter table kos.operation_events drop constraint operation_events_what_check, drop constraint operation_events_check;
alter table kos.operation_events
  add constraint operation_events_what_check check (what in ('started', 'done', 'failed', 'waiting', 'finished',
    'rollback_started', 'undo_started', 'undone', 'undo_failed', 'rolled_back')),
  add constraint operation_events_check
    check ((step is null) = (what in ('waiting', 'finished', 'rollback_started', 'rolled_back')));
