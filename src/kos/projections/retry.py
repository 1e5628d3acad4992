"""Trying again what a store has refused."""

from __future__ import annotations

from kos import errors
from kos.projections.follow import Parked, as_of, park, parked_rows, unpark
from kos.projections.generation import Site, only


def retry(site: Site) -> tuple[int, list[Parked]]:
    """Put the parked rows of a tenant where the projection is; how many that were, and those that are refused still.

    A row is taken as it was when it was parked, and put as the log has it where the projection is now: so what came
    since is not lost, and nothing comes back.

    Raises:
        ProjectionNotReady, ProjectionBusy, StoreUnavailable
    """
    refused, done = [], 0
    with site.store.operator(site.place) as connection, only(connection, site, "apply"):
        standing = site.projection.live(site.whose)
        if standing is None:
            raise errors.ProjectionNotReady(site.projection.name, str(site.tenant))
        for row in parked_rows(connection, site.projection, site.tenant).values():
            try:
                tried = as_of(connection, site.tenant, row, standing.reached.position)
                site.projection.apply(site.whose, standing, tried, standing.reached)
            except errors.ChangeRejected as error:
                refused.append(Parked(row.table, row.key, row.position, error.reason))
            else:
                unpark(connection, site.projection, site.tenant, row)
                done += 1
        park(connection, site.projection, site.tenant, refused)  # with what was said this time
    return done, refused
