"""The SQL of projections."""

from kos.sql import load

QUERIES = load("kos.projections")
