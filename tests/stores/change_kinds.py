"""All kinds of change that are tried under load."""

from __future__ import annotations

from change_kinds_columns import COLUMNS
from change_kinds_constraints import CONSTRAINTS
from change_kinds_others import OTHERS
from change_kinds_pgroll import PGROLL

KINDS = (*PGROLL, *COLUMNS, *CONSTRAINTS, *OTHERS)

# What is refused, with a word of the reason. Each is of the table that most kinds are made in.
REFUSED = (
    ("reindex index goods_name", "nothing"),
    ("vacuum full goods", "nothing"),
    ("cluster goods using goods_name", "nothing"),
    ("update goods set name = 'other'", "rows"),
    ("do $$ begin null; end $$", ""),
    ("alter table goods set tablespace pg_default", "copies"),
    ("alter table goods set unlogged", "copies"),
    ("alter table goods drop column code", "without a default"),
    ("alter table goods add column total numeric generated always as (price * 2) stored", "generated"),
    ("alter table goods rename column nothing to something", "no such column"),
    ("alter table nothing add column note text", "no such table"),
)
