"""The main job: a jail's lists, through the real bus, give the open alerts that a from-scratch evaluation gives:
imported twice, shuffled between ticks, on one partition and on eight.

On the invented sample; on the real data: the test of crashes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from schemas import topics
from tests.imported_roster import REAL, SAMPLE, compared, from_scratch, imported, needs_the_real_data, recorded
from tests.working_site import WorkingSite

pytestmark = pytest.mark.bus


@pytest.mark.parametrize("partitions", [1, 8])
def test_the_sample_imported_twice_and_shuffled_gives_what_a_from_scratch_evaluation_gives(
    a_site: Callable[..., WorkingSite], partitions: int
) -> None:
    site = a_site(f"sample-{partitions}", like="nyc-history", partitions=partitions, clock="history")
    site.start_worker()
    last_tick = imported(site, SAMPLE, shuffle=partitions)
    site.until_settled(last_tick)
    expected = from_scratch(SAMPLE)
    assert len(expected) == 4, "the sample's README says whose reviews are open in the end, and of the list"
    assert recorded(site) == expected
    history = len(site.records(topics.alerts_raised(site.site.name)))

    imported(site, SAMPLE)
    site.until_settled(last_tick)
    assert recorded(site) == expected
    assert len(site.records(topics.alerts_raised(site.site.name))) == history, "importing twice changes nothing"
    shown = {known_as for kind in ("housing", "coordination") for known_as in site.shown_to("city-jail-watch", kind)}
    assert shown == expected.keys()
    assert site.shown_to("city-jail-care", "care") == {}


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
