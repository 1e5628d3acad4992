-- What tells the application's own latency, where somebody has said so: a query that returns milliseconds.
-- oldest library: 1

alter table kos.changes add column latency_query text;
