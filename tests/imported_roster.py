"""A jail's lists imported into a site of the tests' bus, and what a from-scratch evaluation makes of them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from deploy.sites import SITES_DIR
from producers.adapters.roster import Jail, Summary
from producers.publisher import Publisher
from producers.roster_import import Day, SiteClock, days, judge, publish_days
from schemas.codec import digest
from schemas.site import Site, read_site
from tests.in_memory_bus import InMemoryBus
from tests.working_site import WorkingSite

SAMPLE = tuple(sorted((Path(__file__).parent / "data" / "roster").glob("2026-*.csv*")))
ENDED = date(2026, 10, 31)
"""The last day that has ended, for all of these lists."""
REAL = tuple(sorted((Path(__file__).parents[2] / "shared" / "data" / "nyc-custody").glob("*.csv.gz")))
needs_the_real_data = pytest.mark.skipif(not REAL, reason="the real data (../shared/data/nyc-custody) is not here")


def thinned(files: tuple[Path, ...], one_in: int, into: Path) -> tuple[Path, ...]:
    """The same lists of every so many-th person, chosen by number: all that happens to a jail, in a smaller one."""
    made = []
    for file in files:
        with gzip.open(file, "rt", newline="") as whole:
            head, *rows = whole
        of_some = [row for row in rows if int(digest(row.split(",", 1)[0])[:8], 16) % one_in == 0]
        made.append(into / file.name)
        with gzip.open(made[-1], "wt", newline="") as some:
            some.writelines([head, *of_some])
    return tuple(made)


def jail_of(site: Site) -> Jail:
    return Jail(site.agencies[0], site.facilities[0])


@cache
def compared(files: tuple[Path, ...]) -> tuple[list[Day], Summary]:
    """The days of an import, which are the same for every site with this jail, and their summary."""
    summary = Summary()
    return list(days(judge(files, None, ENDED), None, jail_of(read_site(SITES_DIR / "nyc-history")), summary)), summary


def all_days(files: tuple[Path, ...]) -> list[Day]:
    return compared(files)[0]


@cache
def from_scratch(files: tuple[Path, ...]) -> dict[str, str]:
    """The open alerts by the pure stages: every event first, then time."""
    site = read_site(SITES_DIR / "nyc-history")
    bus = InMemoryBus(site.model_copy(update={"partitions": 1}))
    for day in all_days(files):
        for event in day.events:
            bus.publish(event, site.agencies[0].id)
    bus.tick(all_days(files)[-1].tick)
    bus.run()
    return what_they_say(bus.open_alerts(), site)


def what_they_say(alerts: Mapping[str, Mapping[str, Any]], site: Site) -> dict[str, str]:
    """Open alerts by id, as digests of what they say; without the name of the site, which is part of topics' names."""
    content = ("severity", "confidence", "facility", "unit", "headline", "subjects", "evidence", "actions", "until")

    def said(alert: Mapping[str, Any]) -> str:
        return digest(json.dumps([alert[name] for name in content], sort_keys=True).replace(f'"{site.name}.', '"'))

    return {known_as: said(alert) for known_as, alert in alerts.items()}


def imported(site: WorkingSite, files: tuple[Path, ...], *, shuffle: int | None = None, since: int = 0) -> int:
    """Import into the site, with the events between two ticks in random order where asked; the last tick.

    `since` is the first day that is published: those before it are compared only.
    """
    chosen = all_days(files)[since:]
    if shuffle is not None:
        choose = random.Random(shuffle)
        chosen = [replace(day, events=tuple(choose.sample(day.events, len(day.events)))) for day in chosen]
    with Publisher(site.settings, site.site, "city-jail") as publisher:
        clock = SiteClock(site.settings, site.site, "city-jail", lambda _: None)
        publish_days(iter(chosen), publisher, clock, lambda _: None, lambda _: None)
    return chosen[-1].tick


def recorded(site: WorkingSite) -> dict[str, str]:
    return what_they_say(site.open_alerts(), site.site)
