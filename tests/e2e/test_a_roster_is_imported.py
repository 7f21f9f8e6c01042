"""The main job: a jail's lists, through the real bus, give the open alerts that a from-scratch evaluation gives:
imported twice, shuffled between ticks, on one partition and on eight, with the worker killed five times in the middle.

On the real data where it lies beside the checkout, on the invented sample everywhere.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from deploy.sites import SITES_DIR
from producers.adapters.roster import Jail, Summary
from producers.publisher import Publisher
from producers.roster_import import Day, SiteClock, days, judge, publish_days
from schemas import topics
from schemas.codec import digest
from schemas.site import Site, read_site
from tests.in_memory_bus import InMemoryBus
from tests.working_site import WorkingSite

pytestmark = pytest.mark.bus
SAMPLE = tuple(sorted((Path(__file__).parents[1] / "data" / "roster").glob("2026-*.csv*")))
REAL = tuple(sorted((Path(__file__).parents[3] / "shared" / "data" / "nyc-custody").glob("*.csv.gz")))
needs_the_real_data = pytest.mark.skipif(not REAL, reason="the real data (../shared/data/nyc-custody) is not here")


def jail_of(site: Site) -> Jail:
    return Jail(site.agencies[0], site.facilities[0])


@cache
def compared(files: tuple[Path, ...]) -> tuple[list[Day], Summary]:
    """The days of an import, which are the same for every site with this jail, and their summary."""
    summary = Summary()
    return list(days(judge(files, None), None, jail_of(read_site(SITES_DIR / "nyc-history")), summary)), summary


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


def imported(site: WorkingSite, files: tuple[Path, ...], *, shuffle: int | None = None) -> int:
    """Import into the site, with the events between two ticks in random order where asked; the last tick."""
    chosen = all_days(files)
    if shuffle is not None:
        choose = random.Random(shuffle)
        chosen = [replace(day, events=tuple(choose.sample(day.events, len(day.events)))) for day in chosen]
    with Publisher(site.settings, site.site, "city-jail") as publisher:
        clock = SiteClock(site.settings, site.site, "city-jail", lambda _: None)
        publish_days(iter(chosen), publisher, clock, lambda _: None)
    return chosen[-1].tick


def recorded(site: WorkingSite) -> dict[str, str]:
    return what_they_say(site.open_alerts(), site.site)


def kill_now_and_then(site: WorkingSite, times: int, done: threading.Event) -> threading.Thread:
    """Kill the worker again and again while the import runs, each time when it has written something more."""
    facts = topics.person_facts(site.site.name)

    def killing() -> None:
        for _ in range(times):
            before = site.end_of(facts)
            while site.end_of(facts) <= before:
                if done.wait(0.05):
                    return
            site.workers[-1].kill()
            site.workers[-1].wait()
            site.start_worker()

    thread = threading.Thread(target=killing)
    thread.start()
    return thread


@pytest.mark.parametrize("partitions", [1, 8])
def test_the_sample_imported_twice_and_shuffled_gives_what_a_from_scratch_evaluation_gives(
    a_site: Callable[..., WorkingSite], partitions: int
) -> None:
    site = a_site(f"sample-{partitions}", like="nyc-history", partitions=partitions, clock="history")
    site.start_worker()
    last_tick = imported(site, SAMPLE, shuffle=partitions)
    site.until_settled(last_tick)
    expected = from_scratch(SAMPLE)
    assert len(expected) == 3, "the sample's README says whose reviews are open in the end"
    assert recorded(site) == expected
    history = len(site.records(topics.alerts_raised(site.site.name)))

    imported(site, SAMPLE)
    site.until_settled(last_tick)
    assert recorded(site) == expected
    assert len(site.records(topics.alerts_raised(site.site.name))) == history, "importing twice changes nothing"
    assert site.shown_to("city-jail-watch").keys() == expected.keys()
    assert site.shown_to("city-jail-care", "care") == {}


@needs_the_real_data
@pytest.mark.real_data
@pytest.mark.timeout(600)
def test_the_whole_real_import_twice_on_one_partition(a_site: Callable[..., WorkingSite]) -> None:
    site = a_site("whole-1", like="nyc-history", partitions=1, clock="history")
    site.start_worker()
    last_tick = imported(site, REAL)
    site.until_settled(last_tick)
    expected = from_scratch(REAL)
    assert len(expected) > 100
    assert recorded(site) == expected
    history = len(site.records(topics.alerts_raised(site.site.name)))

    imported(site, REAL)
    site.until_settled(last_tick)
    assert recorded(site) == expected
    assert len(site.records(topics.alerts_raised(site.site.name))) == history, "importing twice changes nothing"


@needs_the_real_data
@pytest.mark.real_data
@pytest.mark.timeout(600)
def test_the_whole_real_import_shuffled_on_eight_partitions_with_the_worker_killed_five_times(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("whole-8", like="nyc-history", partitions=8, clock="history")
    site.start_worker()
    done = threading.Event()
    killing = kill_now_and_then(site, 5, done)
    try:
        last_tick = imported(site, REAL, shuffle=1)
    finally:
        done.set()
        killing.join()
    assert len(site.workers) == 6, "the worker was killed five times"
    site.until_settled(last_tick)
    expected = from_scratch(REAL)
    assert recorded(site) == expected


@needs_the_real_data
@pytest.mark.real_data
def test_the_counts_in_the_documentation_are_those_of_the_real_lists() -> None:
    said = compared(REAL)[1].as_json()
    page = (Path(__file__).parents[2] / "docs" / "roster.md").read_text()
    rows = {cells[1].strip(): cells[2].strip() for line in page.splitlines() if len(cells := line.split("|")) > 3}
    events, not_carried = said["events"], said["not_carried"]
    assert f"{said['days']} days, {said['rows']:,} rows" in page
    assert rows["a stay is seen for the first time"] == f"{events['BookingReported']:,} bookings, returns included"
    assert rows["a row vanishes"] == f"{events['NoLongerListed']:,}"
    assert rows["a stay comes back after it was not listed"] == f"{said['listed_again']}"
    assert rows["a day repeats the one before"] == f"{said['repeated_days']} days"
    assert rows["the health flag"] == f"{events['CareObserved']:,} events"
    changes = f"{not_carried['top charge changed']:,} and {not_carried['legal status changed']:,}"
    assert rows["top charge or legal status flaps"] == changes
    assert rows["one id with two admissions on a day"] == f"{sum(said['set_aside'].values())} rows"
