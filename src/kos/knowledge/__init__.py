"""The shipped schema of Knowledge OS: atoms, molecules, documents, annotations, relations and what belongs to them.

Promise: the same tables in every tier; every row belongs to one tenant; rows refer to objects, never the other way
round. Words: see `docs/glossary.md`.
"""

from kos.tenancy import install

TENANT_TABLES = (
    "atoms",
    "molecules",
    "molecule_atoms",
    "documents",
    "annotations",
    "relations",
    "implementations",
    "capability_mappings",
    "sensitive_atoms",
)
"""The tables of a tenant; one that is referred to stands before the ones that refer to it."""

__all__ = ["TENANT_TABLES", "install"]
