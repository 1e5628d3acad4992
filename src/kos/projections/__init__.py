"""Projections: graph and cache follow the log."""
