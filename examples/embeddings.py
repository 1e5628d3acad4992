"""Embeddings of atoms, for `add-embedding.sql`: 64 numbers from a small model that comes with a package.

    pip install tokenlearn-static-model
    kos change start add-embedding.sql      # in the folder of both files

New code calls `embedding_of` for every atom that it writes. For another model, change the two functions, and the
number of dimensions in `add-embedding.sql`.
"""

from __future__ import annotations

from static_model import get_embeddings

Atom = tuple[str, str | None]  # its name and its value


def embed_atoms(atoms: list[Atom]) -> list[list[float]]:
    """One embedding for each atom, in the same order. What `kos change` calls, with some hundred rows at a time."""
    return list(get_embeddings([text_of(*atom) for atom in atoms]))


embed_atoms.kos_batch = True  # type: ignore[attr-defined]  # rows at once, and not one by one


def embedding_of(name: str, value: str | None = None) -> str:
    """One atom's, as pgvector reads it."""
    return str(embed_atoms([(name, value)])[0])


def text_of(name: str, value: str | None) -> str:
    """What of an atom is compared."""
    return f"{name}: {value}" if value else name
