"""The simulated county with smaller jails: as much happens in it, and less around it."""

from __future__ import annotations

from deploy.sites import SITES_DIR
from schemas.site import Facility, Site, read_site

COUNTY = read_site(SITES_DIR / "county")


def _smaller(times: int) -> Site:
    def one(facility: Facility) -> Facility:
        units = tuple(unit.model_copy(update={"capacity": (unit.capacity or 0) // times}) for unit in facility.units)
        return facility.model_copy(update={"units": units})

    return COUNTY.model_copy(update={"facilities": tuple(map(one, COUNTY.facilities))})


SMALL_COUNTY = _smaller(4)
TINY_COUNTY = _smaller(12)
"""For weeks of it, or many of them."""
