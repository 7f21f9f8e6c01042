"""What classification reviews the bus would have given a real jail, and what that jail did by itself; and on which
days its lists stood still; and what the city's shootings add to them: `make study`.

A jail's published lists go through the bus's own code, day by day. Each stay's first review is a case. It is held
against stays that had none up to that day and are like it: same custody level, as long in custody, with or without an
earlier infraction. In how many of both did the jail itself raise the level within thirty days?

Writes its figures into docs/real-data.md, which says what they prove and what not.
"""

from __future__ import annotations

import random
import statistics
import sys
import textwrap
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from deploy.reference import with_block
from deploy.sites import SITES_DIR
from producers.roster_import import Day
from schemas.events import CustodyClassified, CustodyEvent, CustodyLevel, Event, ListTaken, type_name
from schemas.site import read_site
from streams.backtest import Alert, AsItWent, facts_of, on_one_partition, published
from streams.identify import DeadLetter
from tests.imported_roster import REAL, all_days
from tests.study import shootings_beside_lists

PAGE: Final = Path(__file__).parents[2] / "docs" / "real-data.md"
FOLLOWED: Final = 30
"""Days after a review in which the jail may have raised the level."""
CONTROLS: Final = 5
"""Stays that one case is held against, at most."""
AGES: Final = (14, 30, 60, 120)
"""Days in custody at which one stratum ends and the next begins."""
DAY: Final = 86_400_000_000
ORDER: Final = [CustodyLevel.MINIMUM, CustodyLevel.MEDIUM, CustodyLevel.MAXIMUM]
Z: Final = 1.959964
"""For intervals of 95%."""
DRAWS: Final = 2_000
"""Of the bootstrap."""
SEED: Final = 1


@dataclass(slots=True)
class Life:
    """What lists told of one stay, by the number of the day."""

    admitted: int
    """Microseconds."""
    levels: list[tuple[int, CustodyLevel]] = field(default_factory=list)
    infractions: list[int] = field(default_factory=list)
    began: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    def level(self, day: int) -> CustodyLevel | None:
        """The level at the end of a day; None where it is not classified yet."""
        at = bisect_right(self.levels, day, key=lambda change: change[0])
        return self.levels[at - 1][1] if at else None

    def is_in_custody(self, day: int) -> bool:
        """Whether it is listed on a day."""
        return bisect_right(self.began, day) > bisect_right(self.ended, day)

    def raised_after(self, day: int) -> int | None:
        """How many days after a day the jail first gave a higher level than it had then; None within thirty: not."""
        then = self.level(day)
        if then is None:
            return None
        return next(
            (
                on - day
                for on, level in self.levels
                if 0 < on - day <= FOLLOWED and ORDER.index(level) > ORDER.index(then)
            ),
            None,
        )


class Stratum(NamedTuple):
    """In what a case and those it is held against are alike."""

    level: CustodyLevel
    age: int
    infractions: bool


class Review(NamedTuple):
    """The first review of a stay."""

    booking: str
    day: int
    reasons: tuple[str, ...]
    """Types of the events that led to it."""


class Case(NamedTuple):
    """A review, what came after it, and what came after the same day in stays like it."""

    review: Review
    raised_after: int | None
    controls: tuple[int | None, ...]


# -- from the lists --------------------------------------------------------------------------------------------------


def lives(days: Sequence[Day]) -> dict[str, Life]:
    """The stays, by booking number."""
    found: dict[str, Life] = {}
    for number, day in enumerate(days):
        for event in day.events:
            if isinstance(event, CustodyEvent):
                _tell(found.setdefault(event.booking_number, Life(event.head.time)), event, number)
    return found


def _tell(life: Life, event: Event, day: int) -> None:
    match type_name(event):
        case "BookingReported":
            life.began.append(day)
            life.admitted = event.admitted  # type: ignore[attr-defined]
        case "NoLongerListed":
            life.ended.append(day)
        case "DisciplinaryRecorded":
            life.infractions.append(day)
        case "CustodyClassified":
            assert isinstance(event, CustodyClassified)
            life.levels.append((day, event.level))


def told_by_the_bus(days: Sequence[Day]) -> list[list[Alert]]:
    """What is raised, changed and withdrawn on each day, by the bus's own code."""
    site = on_one_partition(read_site(SITES_DIR / "nyc-history"))
    by_ori, test = {agency.ori: agency for agency in site.agencies}, AsItWent(site)
    told: list[list[Alert]] = []
    for day in days:
        alerts: list[Alert] = []
        for event in day.events:
            facts = facts_of(published(event, by_ori[event.head.ori]), site)
            assert not isinstance(facts, DeadLetter), facts
            alerts += test.tell(facts)
        told.append(alerts + test.advance(day.tick))
    return told


def reviews(told: Iterable[Sequence[Alert]]) -> list[Review]:
    """The first review of each stay."""
    found: dict[str, Review] = {}
    for number, alerts in enumerate(told):
        # Of several records of one day the last: a list may bring two reasons at once.
        today = {alert["key"][2]: alert for alert in alerts if alert["rule"] == "classification_review"}
        for booking, alert in today.items():
            if alert["state"] == "OPEN":
                found.setdefault(booking, Review(booking, number, _reasons(alert)))
    return [*found.values()]


def days_of_standing_still(told: Iterable[Sequence[Alert]]) -> set[int]:
    """The days at whose end an alert says that the list stands still."""
    found: set[int] = set()
    stands = False
    for number, alerts in enumerate(told):
        for alert in alerts:
            if alert["rule"] == "feed_frozen":
                stands = alert["severity"] == "HIGH"
        if stands:
            found.add(number)
    return found


def days_that_repeat(days: Iterable[Day]) -> set[int]:
    """The days whose list says what the one before said."""
    lists = [event for day in days for event in day.events if isinstance(event, ListTaken)]
    return {number for number, event in enumerate(lists) if event.changed == 0}


def standing_still(said: set[int], repeat: set[int], days: int) -> str:
    """Both in words."""
    early = min(said, default=days)
    before = sum(day < early for day in repeat)
    words = (
        f"{len(repeat)} of the {days} lists say what the one before said. The bus would have told of "
        f"{len(said & repeat)} of them, on the day itself, and of {len(said - repeat)} others; {before} came before it "
        "knew how much usually changes."
    )
    return textwrap.fill(words, 124)


def _reasons(alert: Alert) -> tuple[str, ...]:
    return tuple(sorted({piece["event_type"] for piece in alert["evidence"] if piece["ground"] == "reason"}))


# -- matching --------------------------------------------------------------------------------------------------------


def stratum(life: Life, day: int, ends_of_days: Sequence[int]) -> Stratum | None:
    """What a stay is like on a day, before what that day brought; None where nobody reviews it."""
    level = life.level(day)
    if level not in (CustodyLevel.MINIMUM, CustodyLevel.MEDIUM):
        return None
    age = bisect_right(AGES, (ends_of_days[day] - life.admitted) // DAY)
    return Stratum(level, age, any(on < day for on in life.infractions))


def cases(
    found: Iterable[Review], stays: Mapping[str, Life], ends_of_days: Sequence[int], choose: random.Random
) -> list[Case]:
    """Each review that can be followed for thirty days, with up to five stays like it that had none so far."""
    found = [*found]
    reviewed = {review.booking: review.day for review in found}
    like: dict[int, dict[Stratum, list[str]]] = {}
    held = []
    for review in found:
        day = review.day
        if day + FOLLOWED >= len(ends_of_days):
            continue
        if day not in like:
            like[day] = defaultdict(list)
            for booking, life in stays.items():
                known = stratum(life, day, ends_of_days) if life.is_in_custody(day) else None
                if known is not None and reviewed.get(booking, len(ends_of_days)) > day:
                    like[day][known].append(booking)
        mine = stratum(stays[review.booking], day, ends_of_days)
        others = like[day].get(mine, []) if mine is not None else []
        chosen = choose.sample(others, min(CONTROLS, len(others)))
        after = tuple(stays[booking].raised_after(day) for booking in chosen)
        held.append(Case(review, stays[review.booking].raised_after(day), after))
    return held


# -- figures ---------------------------------------------------------------------------------------------------------


def wilson(found: int, of: int) -> tuple[float, float]:
    """Interval of 95% of a share (E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
    1927)."""
    if of == 0:
        return 0.0, 1.0
    share, square = found / of, Z * Z
    middle = share + square / (2 * of)
    half = Z * ((share * (1 - share) + square / (4 * of)) / of) ** 0.5
    whole = 1 + square / of
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def share_of_cases(held: Sequence[Case]) -> float:
    """Of the cases, those whose level was raised."""
    return sum(case.raised_after is not None for case in held) / len(held)


def share_of_controls(held: Sequence[Case]) -> float:
    """The same of those they are held against, each case counting alike."""
    return statistics.fmean(sum(one is not None for one in case.controls) / len(case.controls) for case in held)


def difference(held: Sequence[Case], choose: random.Random) -> tuple[float, float, float]:
    """How much larger the share of the cases is, and its interval of 95%: by bootstrap, a case with those it is held
    against drawn as one."""
    drawn = sorted(
        share_of_cases(some) - share_of_controls(some)
        for some in (choose.choices(held, k=len(held)) for _ in range(DRAWS))
    )
    low, high = drawn[int(DRAWS * 0.025)], drawn[int(DRAWS * 0.975)]
    return share_of_cases(held) - share_of_controls(held), low, high


# -- the page --------------------------------------------------------------------------------------------------------

KINDS: Final[Mapping[str, tuple[str, ...] | None]] = {
    "all": None,
    "an infraction, and nothing else": ("DisciplinaryRecorded",),
    "a validated affiliation, and nothing else": ("AffiliationValidated",),
}
"""The rows of the table: the reasons of the reviews in them; None: whatever they were."""
HEAD: Final = (
    f"| reviewed for | stays | level raised within {FOLLOWED} days | of them (95%) | of stays like them | more (95%) |",
    "| --- | ---: | ---: | --- | ---: | --- |",
)


def block(held: Sequence[Case], days: int, first_reviews: int) -> str:
    """The figures, as Markdown."""
    matched = [case for case in held if case.controls]
    of_kind = {
        name: [case for case in matched if reasons in (None, case.review.reasons)] for name, reasons in KINDS.items()
    }
    times = [case.raised_after for case in matched if case.raised_after is not None]
    first, median, third = statistics.quantiles(times, n=4)
    told = (
        f"{days} days of lists. {first_reviews:,} stays would have been reviewed at least once; {len(held):,} of them "
        f"can be followed for {FOLLOWED} days, and {len(matched):,} of these have stays to be held against, "
        f"{sum(len(case.controls) for case in matched):,} in all. Where the jail raised the level itself, it did so "
        f"after {median:.0f} days in the median, half of them between {first:.0f} and {third:.0f}."
    )
    rows = [_row(name, some) for name, some in of_kind.items() if some]
    return "\n".join([textwrap.fill(told, 124), "", *HEAD, *rows])


def _row(name: str, some: Sequence[Case]) -> str:
    found = sum(case.raised_after is not None for case in some)
    low, high = wilson(found, len(some))
    more, least, most = difference(some, random.Random(SEED))
    cells = (
        name,
        f"{len(some):,}",
        f"{found:,}",
        f"{_percent(found / len(some))} ({_percent(low)} to {_percent(high)})",
        _percent(share_of_controls(some)),
        f"{_percent(more)} ({_percent(least)} to {_percent(most)})",
    )
    return f"| {' | '.join(cells)} |"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}%"


def shootings_beside(days: Sequence[Day], alerts: Sequence[Sequence[Alert]]) -> str:
    """What the shootings of the same time add to the lists, in words; `alerts`: what is told without them."""
    listed = shootings_beside_lists.listed()
    events = shootings_beside_lists.events_of(listed, shootings_beside_lists.as_if_known(listed))
    both = shootings_beside_lists.beside(days, events)
    together = told_by_the_bus(both)
    imported = sum(len(with_them.events) - len(day.events) for with_them, day in zip(both, days, strict=True))
    without, beside = shootings_beside_lists.said(alerts), shootings_beside_lists.said(together)
    pairs = shootings_beside_lists.in_time(days, listed, days_that_repeat(days))
    known = shootings_beside_lists.lacks(days)
    return shootings_beside_lists.block(listed, imported, known, beside == without, len(without), pairs)


def main() -> int:
    """Measure, and write the page."""
    if not REAL or not shootings_beside_lists.LIST.exists():
        print("the real data is not here: see ../shared/data/README.md", file=sys.stderr)
        return 2
    days = all_days(REAL)
    alerts = told_by_the_bus(days)
    found = reviews(alerts)
    held = cases(found, lives(days), [day.tick for day in days], random.Random(SEED))
    told = block(held, len(days), len(found))
    still = standing_still(days_of_standing_still(alerts), days_that_repeat(days), len(days))
    page = with_block(PAGE.read_text(encoding="utf-8"), "the study", told)
    page = with_block(page, "lists that stand still", still)
    beside = shootings_beside(days, alerts)
    PAGE.write_text(with_block(page, "shootings beside them", beside), encoding="utf-8")
    print(f"{told}\n\n{still}\n\n{beside}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
