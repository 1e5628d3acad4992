-- Atoms get an embedding, so that similar ones are found: kos change start add-embedding.sql

-- kos: fill atoms.embedding with embeddings:embed_atoms(name, value)
alter table atoms add column embedding vector(256) not null;

create index concurrently atoms_by_embedding on atoms using hnsw (embedding vector_cosine_ops);
