"""Projections: stores that hold nothing of their own and follow the log, such as the graph and the cache."""
