"""The simulated county with jails a quarter as large: as much happens in it, and less around it."""

from __future__ import annotations

from deploy.sites import SITES_DIR
from schemas.site import Facility, Site, read_site

COUNTY = read_site(SITES_DIR / "county")


def _smaller(facility: Facility) -> Facility:
    units = tuple(unit.model_copy(update={"capacity": (unit.capacity or 0) // 4}) for unit in facility.units)
    return facility.model_copy(update={"units": units})


SMALL_COUNTY: Site = COUNTY.model_copy(update={"facilities": tuple(map(_smaller, COUNTY.facilities))})
