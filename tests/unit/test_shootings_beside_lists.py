"""A jail's lists and a city's shootings of the same time in one history site: nothing follows of the shootings, until
somebody's group is known."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.sites import SITES_DIR
from producers.adapters.shootings import AtOdds, read_groups
from producers.roster_import import Day
from schemas.events import AffiliationValidated
from schemas.site import read_site
from streams.backtest import Alert, InTheEnd, facts_of, on_one_partition, published
from streams.identify import DeadLetter
from tests.imported_roster import REAL, SAMPLE, all_days, needs_the_real_data
from tests.study.classification_reviews import days_that_repeat, told_by_the_bus
from tests.study.shootings_beside_lists import (
    LIST,
    Lacks,
    as_if_known,
    beside,
    block,
    events_of,
    go_together,
    in_time,
    lacks,
    listed,
    said,
)

DATA = Path(__file__).parents[1] / "data" / "shootings"
MONTH = 31


def invented(at_odds: dict[str, AtOdds] | None = None) -> list[Day]:
    """The invented jail's eight days with the invented shootings beside them."""
    shootings = listed(DATA / "2026-q1.csv")
    known = read_groups(DATA / "groups.toml") if at_odds is None else at_odds
    return beside(all_days(SAMPLE), events_of(shootings, known))


def open_in_the_end(days: list[Day]) -> list[Alert]:
    """By the bus's own code, evaluated once."""
    site = on_one_partition(read_site(SITES_DIR / "nyc-history"))
    by_ori, test = {agency.ori: agency for agency in site.agencies}, InTheEnd(site)
    for day in days:
        for event in day.events:
            facts = facts_of(published(event, by_ori[event.head.ori]), site)
            assert not isinstance(facts, DeadLetter), facts
            test.tell(facts)
    test.advance(days[-1].tick)
    return test.end()


def of_the_street(alert: Alert) -> bool:
    """Whether an alert rests on violence outside."""
    return any(piece["event_type"] == "StreetViolenceReported" for piece in alert["evidence"])


@needs_the_real_data
@pytest.mark.real_data
def test_of_a_month_of_real_shootings_nothing_follows_for_the_real_jail_whoever_was_at_odds() -> None:
    """All the real ones of the month, as if somebody knew of each which groups it was between."""
    days = all_days(REAL[:MONTH])
    both = beside(days, events_of(listed(LIST), as_if_known(listed(LIST))))
    street = sum(len(with_them.events) - len(day.events) for with_them, day in zip(both, days, strict=True))
    assert street > 100
    is_open = open_in_the_end(both)
    assert any(alert["rule"] == "classification_review" for alert in is_open)
    assert not any(map(of_the_street, is_open))
    # For what it would take is not on the lists: of which group somebody is, and in which unit.
    known = lacks(days)
    assert known.validated > 0
    assert (known.with_group, known.housed) == (0, 0)


def test_as_the_lists_are_the_alerts_are_the_same_with_shootings_and_without() -> None:
    without = said(told_by_the_bus(all_days(SAMPLE)))
    assert without
    assert said(told_by_the_bus(invented())) == without
    assert said(told_by_the_bus(invented({}))) == without


def test_once_a_validated_member_has_a_group_a_shooting_leads_to_a_review() -> None:
    def with_group(day: Day) -> Day:
        events = tuple(
            event.model_copy(update={"group": "Harbor"}) if isinstance(event, AffiliationValidated) else event
            for event in day.events
        )
        return replace(day, events=events)

    told = [alert for alerts in told_by_the_bus([*map(with_group, invented())]) for alert in alerts]
    reviewed = {tuple(alert["key"])[2:] for alert in told if of_the_street(alert)}
    assert [(booking[:4], kind) for booking, kind in reviewed] == [("1003", "feud")]


def test_each_shooting_comes_on_its_day_and_before_what_the_list_of_that_day_tells() -> None:
    days = all_days(SAMPLE)
    both = invented()
    street = [event for day in both for event in day.events[: len(day.events) - len(days[both.index(day)].events)]]
    assert [event.head.time for event in street] == sorted(event.head.time for event in street)
    assert len(street) == 2
    assert all(event.head.time <= day.tick for day in both for event in day.events if event in street)


def test_the_days_that_are_compared_in_time_are_those_of_which_two_lists_are_new() -> None:
    days, shootings = all_days(SAMPLE), listed(DATA / "2026-q1.csv")
    assert days_that_repeat(days) == {6}
    pairs = in_time(days, shootings, {6})
    assert len(pairs) == 5
    assert sum(incidents for incidents, _ in pairs) == 2
    assert sum(infractions for _, infractions in pairs) == 5


def test_what_goes_together_by_chance_alone_is_said_to() -> None:
    plain = [(n, 2 * n + 1) for n in range(12)]
    r, by_chance = go_together(plain, random.Random(1))
    assert (round(r, 6), by_chance) == (1.0, 0.0)
    r, by_chance = go_together([(n, n * 5 % 7) for n in range(12)], random.Random(1))
    assert abs(r) < 0.5
    assert by_chance > 0.05


def test_the_page_says_what_was_found_and_never_that_nothing_is_linked_where_something_was() -> None:
    shootings, pairs = listed(DATA / "2026-q1.csv"), [(n, n * 5 % 7) for n in range(12)]
    told = block(shootings, 2, Lacks(4, 0, 0), True, 9, pairs)
    assert "6 victims of 3 incidents" in told
    assert "all 9 records of alerts were the same" in told.replace("\n", " ")
    assert "were the same" not in block(shootings, 2, Lacks(4, 0, 0), False, 9, pairs)
