"""A city's shootings and its jail's lists in one history site: what does either tell of the other?

The list of shootings says when and where, and no group; the jail's lists say who is a validated member, and of no
group, nor in which unit anybody is. So the bus can't link them, and this shows it: even if somebody knew of every
incident which groups were at odds, no alert would be another. What is left is how they lie to each other in time.
"""

from __future__ import annotations

import random
import statistics
import textwrap
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from deploy.sites import SITES_DIR
from producers.adapters.shootings import AtOdds, Police, Shootings, read_shootings, to_import
from producers.roster_import import Day
from schemas.events import AffiliationValidated, DisciplinaryRecorded, HousingAssigned, StreetViolenceReported
from schemas.site import read_site
from streams.backtest import Alert

LIST: Final = Path(__file__).parents[3] / "shared" / "data" / "nyc-shootings" / "2022-q3.csv"
POLICE: Final = Police(read_site(SITES_DIR / "nyc-history").agency_by_id["city-pd"], ZoneInfo("America/New_York"))
INVENTED: Final = AtOdds(("One", "Another"), retaliation_expected=True)
"""What somebody could know at most of an incident: two groups, and that it goes on."""
DAY: Final = 86_400_000_000
DRAWS: Final = 2_000
SEED: Final = 1


def listed(path: Path = LIST) -> Shootings:
    """The incidents. Raises ValueError for a damaged list."""
    found = read_shootings([path], POLICE, time.time_ns() // 1000)
    if not isinstance(found, Shootings):
        raise ValueError(str(found[0]))
    return found


def events_of(shootings: Shootings, at_odds: Mapping[str, AtOdds]) -> Sequence[StreetViolenceReported]:
    """What is imported, by what is known of the groups."""
    return to_import(shootings, at_odds, POLICE).events


def as_if_known(shootings: Shootings) -> dict[str, AtOdds]:
    """What would be known if somebody knew of every incident who was at odds."""
    return dict.fromkeys(shootings.incidents, INVENTED)


def beside(days: Sequence[Day], events: Sequence[StreetViolenceReported]) -> list[Day]:
    """The days of the lists, each with the shootings up to its end, before what the list tells."""
    ends = [day.tick for day in days]
    of: list[list[StreetViolenceReported]] = [[] for _ in days]
    for event in events:
        number = bisect_left(ends, event.head.time)
        if number < len(days):
            of[number].append(event)
    return [replace(day, events=(*before, *day.events)) for day, before in zip(days, of, strict=True)]


def said(told: Iterable[Sequence[Alert]]) -> list[tuple[int, str, int, str]]:
    """All that was raised, changed and withdrawn, by day: which alert, which revision, what it says."""
    return [
        (number, alert["alert_id"], alert["revision"], alert["digest"])
        for number, alerts in enumerate(told)
        for alert in alerts
    ]


class Lacks(NamedTuple):
    """What the lists would have to say, so that a rule could use a shooting."""

    validated: int
    """Validations of a membership."""
    with_group: int
    """Of them, with a group."""
    housed: int
    """Assignments to a housing unit."""


def lacks(days: Iterable[Day]) -> Lacks:
    """What they say of it."""
    events = [event for day in days for event in day.events]
    validated = [event for event in events if isinstance(event, AffiliationValidated)]
    with_group = sum(event.group is not None for event in validated)
    return Lacks(len(validated), with_group, sum(isinstance(event, HousingAssigned) for event in events))


# -- in time ---------------------------------------------------------------------------------------------------------


def in_time(days: Sequence[Day], shootings: Shootings, repeat: set[int]) -> list[tuple[int, int]]:
    """By day on which a list and the one before say something new: incidents of the day that the list is about, and
    infractions that it lists first."""
    incidents = Counter(
        bisect_left([day.tick for day in days], POLICE.micros(incident.occurred))
        for incident in shootings.incidents.values()
    )
    return [
        (incidents[number], sum(isinstance(event, DisciplinaryRecorded) for event in day.events))
        for number, day in enumerate(days)
        if number > 0 and number not in repeat and number - 1 not in repeat
    ]


def go_together(pairs: Sequence[tuple[int, int]], choose: random.Random) -> tuple[float, float]:
    """Pearson's correlation, and how often chance alone gives one as far from nothing: by permutation."""
    incidents, infractions = [one for one, _ in pairs], [other for _, other in pairs]
    found = statistics.correlation(incidents, infractions)
    as_far = sum(
        abs(statistics.correlation(incidents, choose.sample(infractions, len(infractions)))) >= abs(found)
        for _ in range(DRAWS)
    )
    return found, as_far / DRAWS


# -- the page --------------------------------------------------------------------------------------------------------


def block(
    shootings: Shootings, imported: int, known: Lacks, same: bool, open_records: int, pairs: Sequence[tuple[int, int]]
) -> str:
    """The figures, in words. `imported`: events where every incident's groups were known; `same`: whether the alerts
    were the same then; `open_records`: how many records of alerts there were."""
    r, by_chance = go_together(pairs, random.Random(SEED))
    outcome = (
        f"all {open_records:,} records of alerts were the same"
        if same
        else "alerts were other ones: see what links them"
    )
    incidents = f"{shootings.victims:,} victims of {len(shootings.incidents):,} incidents"
    told = (
        f"{incidents}. As published, 0 of them become events: no group is named. With two invented groups for every "
        f"incident, and retaliation expected, {imported:,} events were put beside the lists, and {outcome}. "
        f"Of {known.validated:,} validated memberships on the lists {known.with_group:,} name a group; "
        f"{known.housed:,} entries name a housing unit."
    )
    near = (
        f"In time: on the {len(pairs)} days of which this list and the one before are new, incidents of the day and "
        f"infractions listed first go together with r = {r:.2f}; by chance alone {by_chance * 100:.0f}% are as far "
        "from nothing."
    )
    return "\n\n".join(textwrap.fill(text, 124) for text in (told, near))
