"""What is said where an agency falls silent, or its list stands still: whole, and how it is known."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import pytest

from deploy.sites import SITES_DIR
from schemas.site import read_site
from streams.alerts import content
from streams.backtest import SCHEMAS
from streams.correlations import feed_frozen, feed_silent
from streams.correlations.situation import Evidence, Severity, Situation
from streams.disclose import Disclose, decide
from streams.facts import Provenance
from streams.heard import SLOT, SLOTS_AN_HOUR, Heard, Listed, note_id
from streams.pictures.facility import FacilityPicture
from streams.pictures.feeds import SLOTS_A_DAY, FeedKey
from streams.pictures.lists import ListKey

AGENCY = "county-jail"
DAY = SLOTS_A_DAY
BEGIN = 20_000 * DAY
LAST = BEGIN + 19 * DAY
AGAIN = LAST + 3 * DAY
MAIN = ListKey(AGENCY, "county-jail-main")


def picture(notes: Iterable[Heard | Listed]) -> FacilityPicture:
    made = FacilityPicture(SCHEMAS)
    for note in notes:
        if isinstance(note, Heard):
            made.feeds.fold(note)
        else:
            made.lists.fold(note)
    return made


def daily(event_type: str) -> list[Heard]:
    return [Heard(AGENCY, event_type, BEGIN + day * DAY, None, f"t.{event_type}") for day in range(20)]


def feed_said(text: str, event_type: str, slot: int, severity: Severity | None) -> Evidence:
    source = Provenance(AGENCY, event_type, note_id(AGENCY, event_type, slot), slot * SLOT, f"t.{event_type}")
    return Evidence(text, (), source, ground="feed", alternative=event_type, severity=severity)


def list_said(text: str, slot: int, severity: Severity | None) -> Evidence:
    source = Provenance(AGENCY, "ListTaken", note_id(AGENCY, MAIN.facility, slot), slot * SLOT, "t.ListTaken")
    return Evidence(text, (), source, ground="list", alternative="list", severity=severity)


def one(
    key: tuple[str, ...], facility: str | None, headline: str, actions: tuple[str, ...], *evidence: Evidence
) -> set[Situation]:
    return {
        Situation(
            key=key,
            least_severity=Severity.LOW,
            headline=headline,
            subjects=(),
            evidence=evidence,
            actions=actions,
            facility=facility,
        )
    }


of_the_feeds = partial(one, (AGENCY,), None)
of_the_list = partial(one, tuple(MAIN), MAIN.facility)


@pytest.mark.parametrize(
    ("event_type", "severity"), [("HousingAssigned", Severity.HIGH), ("VisitScheduled", Severity.MEDIUM)]
)
def test_what_has_stopped_is_said_with_the_last_and_gravely_where_nobody_knows_who_is_where(
    event_type: str, severity: Severity
) -> None:
    assert feed_silent.situations(picture(daily(event_type)), FeedKey(AGENCY), (LAST + 3 * DAY) * SLOT) == of_the_feeds(
        "What usually comes from county-jail has stopped",
        feed_silent.SILENT,
        feed_said(f"{event_type}: the last came", event_type, LAST, severity),
    )


@pytest.mark.parametrize(
    ("late", "words"),
    [((), ""), ((LAST // SLOTS_AN_HOUR + 5,), "; of 1 of the 73 hours something came late")],
)
def test_what_comes_again_is_said_with_how_much_came_late(late: tuple[int, ...], words: str) -> None:
    notes = [*daily("HousingAssigned"), Heard(AGENCY, "HousingAssigned", AGAIN, None, "t.HousingAssigned")]
    notes += [Heard(AGENCY, "HousingAssigned", AGAIN, hour, "t.HousingAssigned") for hour in late]
    assert feed_silent.situations(picture(notes), FeedKey(AGENCY), AGAIN * SLOT) == of_the_feeds(
        "What usually comes from county-jail comes again",
        feed_silent.AGAIN,
        feed_said("HousingAssigned: nothing came after", "HousingAssigned", LAST, None),
        feed_said(f"HousingAssigned: it comes again{words}", "HousingAssigned", AGAIN, None),
    )


def lists(*contents: tuple[int, int]) -> list[Listed]:
    return [
        Listed(MAIN.agency, MAIN.facility, BEGIN + day * DAY, changed, f"{content:016x}", "t.ListTaken")
        for day, (content, changed) in enumerate(contents)
    ]


CHANGING = [(0, 5_000), *((number, 4) for number in range(1, 7))]


@pytest.mark.parametrize(("repeats", "words"), [(2, "2 times more"), (3, "3 times more")])
def test_a_list_that_stands_still_is_said_with_how_often_and_what_is_usual(repeats: int, words: str) -> None:
    notes, last = lists(*CHANGING, *[(6, 0)] * repeats), BEGIN + (6 + repeats) * DAY
    assert feed_frozen.situations(picture(notes), MAIN, last * SLOT) == of_the_list(
        "The custody list of county-jail stands still",
        feed_frozen.FROZEN,
        list_said(f"What the list says was taken {words}, and nothing had changed", BEGIN + 6 * DAY, Severity.HIGH),
        list_said("Usually 4 entries change from one list to the next", last, Severity.HIGH),
    )


def test_a_list_that_changes_again_is_said_with_how_much_changed_at_once() -> None:
    large = [(0, 5_000), *((number, 9) for number in range(1, 7))]
    again = BEGIN + 8 * DAY
    assert feed_frozen.situations(picture(lists(*large, (6, 0), (7, 30))), MAIN, again * SLOT) == of_the_list(
        "The custody list of county-jail changes again",
        feed_frozen.CHANGED,
        list_said("What the list says was taken once more, and nothing had changed", BEGIN + 6 * DAY, None),
        list_said("It says something else again: 30 entries changed at once", again, None),
    )


def test_police_whose_tips_rest_on_a_jails_visits_learn_since_when_none_come_and_nothing_of_its_housing() -> None:
    county = read_site(SITES_DIR / "county")
    silent = picture([*daily("VisitScheduled"), *daily("HousingAssigned")])
    now = (LAST + 3 * DAY) * SLOT
    (situation,) = feed_silent.situations(silent, FeedKey(AGENCY), now)
    alert = {**content(situation), "rule": "feed_silent", "kind": "coordination", "state": "OPEN", "until": None}
    for desk in ("city-pd-intel", "sheriff-intel", "fusion-desk"):
        told = decide(alert, county.recipient_by_id[desk], county, now)
        assert isinstance(told, Disclose)
        assert told.view["severity"] == "MEDIUM"
        assert told.view["why"] == [
            {"text": "VisitScheduled: the last came", "agency": AGENCY, "event_time": LAST * SLOT}
        ]
