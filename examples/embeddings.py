"""Embeddings of atoms, for `add-embedding.sql`: 256 numbers from a model whose weights come with its package.

    pip install wordllama
    kos change start add-embedding.sql      # in the folder of both files

New code calls `embedding_of` for every atom that it writes. For another model, change the three functions, and the
number of dimensions in `add-embedding.sql`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import wordllama

Atom = tuple[str, str | None]  # its name and its value


@cache
def model() -> wordllama.inference.WordLlamaInference:
    """From the package's own folder: of itself it looks for the tokenizer elsewhere, and would download it."""
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


def embed_atoms(atoms: list[Atom]) -> list[list[float]]:
    """One embedding for each atom, in the same order. What `kos change` calls, with some hundred rows at a time."""
    return list(model().embed([text_of(*atom) for atom in atoms]))


embed_atoms.kos_batch = True  # type: ignore[attr-defined]  # rows at once, and not one by one


def embedding_of(name: str, value: str | None = None) -> str:
    """One atom's, as pgvector reads it."""
    return str(embed_atoms([(name, value)])[0].tolist())


def text_of(name: str, value: str | None) -> str:
    """What of an atom is compared."""
    return f"{name}: {value}" if value else name
