-- Queries of the cache: what its readers ask in the session that they are in.

-- name: log_head
-- Before a row is read: how much of the log it will have.
select incarnation, position, has_written from kos.log_head();

-- name: bookmark_position
-- From where on a reader has what a bookmark stands for; null as long as that is not sealed.
select kos.bookmark_position(%(incarnation)s, %(transaction)s::xid8);
