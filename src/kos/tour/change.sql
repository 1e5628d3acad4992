-- What two programs do in a tenant while its tables change: one that knows no embedding, and the one that takes its
-- place. Both write rows of their own only.

-- name: some_atom
-- Something to look for; as a rule, nothing else has its value.
select name, value from atoms where value is not null and source is distinct from 'kos tour' order by id desc limit 1;

-- name: read
-- Both.
select name, value from atoms where value = %(value)s limit 1;

-- name: write_before
-- Code of before.
insert into atoms (atom_type, name, value, source) values ('TextAtom', 'tour', %(value)s, 'kos tour') returning id;

-- name: write_after
-- Code of after: whoever writes a value gives its embedding.
insert into atoms (atom_type, name, value, source, embedding)
values ('TextAtom', 'tour', %(value)s, 'kos tour', %(embedding)s) returning id;

-- name: revise
-- Both.
update atoms set version = version + 1 where id = %(id)s;

-- name: require
-- Code of after: KS012 where the tables are not as it needs them.
select kos.require_change(%(change)s);

-- name: nearest
-- Code of after: what is like a text.
select value from atoms where source is distinct from 'kos tour' order by embedding <=> %(embedding)s limit 1;

-- name: remove
-- One's own row.
delete from atoms where id = %(id)s;

-- name: remove_all
-- What programs left that were ended.
delete from atoms where source = 'kos tour';

-- name: is_there
-- Is there such a column now?
select exists (select from pg_attribute where attrelid = to_regclass('atoms') and attname = 'embedding'
                  and not attisdropped);

-- name: filled
-- Atoms, and those with an embedding; not those of the two programs.
select count(*), count(embedding) from atoms where source is distinct from 'kos tour';
