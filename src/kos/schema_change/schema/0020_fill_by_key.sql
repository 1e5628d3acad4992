-- A fill goes through a table that is not stored as a heap in the order of a key.
-- oldest library: 1

-- The key up to which all rows are done. Empty at the beginning, and where a fill goes by pages.
alter table kos.change_fills add column up_to_key text[] not null default '{}';
comment on column kos.change_fills.next_page is 'All pages before it are done; by key, in proportion to the rows.';
comment on column kos.change_fills.filenode is
  'Of the part, when it was begun: another one has other pages. By key the oid of the index: another one has other keys.';
