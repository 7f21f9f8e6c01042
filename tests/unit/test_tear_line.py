"""A tip reaches the jail as a tear-line: what, where and when; never who says so, how graded, or how many say it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.nobody_told import DELIVERIES
from deploy.sites import SITES_DIR
from schemas import topics
from schemas.agreements import Agreement
from schemas.events import DeliveryMethod, Event
from schemas.site import Site, read_site
from streams.correlations.contraband_delivery_expected import CALL, STEPS, WATCH, WRITE_DOWN
from tests.county import DAY, MAIN, POLICE, SITE, START, event
from tests.in_memory_bus import InMemoryBus, processed

WATCH_DESK, AFFAIRS, AUTHOR = "county-jail-watch", "county-jail-affairs", "city-pd-intel"
VISIT = [
    event("BookingReported", "ada", sid="S1", booked_as="Adams, Ada"),
    event("HousingAssigned", "ada", day=1, unit="4-B"),
    event("VisitScheduled", "ada", day=2, visitor_name="Cole, Dana", starts=5.5),
]
CALL_FIRST = {"kind": "CALL_FIRST", "limit": CALL}
WATCH_ONLY = {"kind": "WATCH_ONLY", "limit": WATCH}
STEPS_OF_A_VISIT = list(STEPS[DeliveryMethod.VISIT])
NARRATIVE = "She hides it in the baby's blanket, says her cousin"


def tip(name: str = "the tip", **fields: Any) -> Event:
    said = {"courier_name": "Danna Cole", "method": "VISIT", "narrative": NARRATIVE, "reliability": "C", **fields}
    return event("ContrabandTipped", **{"day": 3, **said}, sid="S1", name=name)


def told(*tips: Event, recipient: str = WATCH_DESK) -> dict[str, Any]:
    """The one alert of contraband that a recipient has in the end."""
    bus = processed(SITE, [*VISIT, *tips], START + 4 * DAY)
    (alert,) = [one for one in bus.shown_to(recipient).values() if one["kind"] == "contraband"]
    return alert


def records(bus: InMemoryBus, recipient: str) -> list[dict[str, Any]]:
    return bus.history(topics.alerts_for(bus.site.name, recipient, "contraband"))


def test_the_jail_is_told_what_where_and_when() -> None:
    alert = told(tip())
    assert alert["headline"] == "Contraband may come with a visit"
    assert [why["text"] for why in alert["why"]] == [
        "A visit was scheduled",
        "The facility's number of the visit is V-1",
        "The visitor is Cole, Dana",
        "Contraband is said to be coming",
        "It is said to be fentanyl",
        "It is said to come with a visit",
    ]
    assert (alert["facility"], alert["unit"], alert["due"]) == (MAIN, "4-B", START + int(5.5 * DAY))
    assert [subject["name"] for subject in alert["subjects"]] == ["Adams, Ada"]
    assert (alert["caution"], alert["actions"]) == (None, STEPS_OF_A_VISIT)


def test_nothing_that_the_jail_is_told_leads_to_the_author() -> None:
    alert = told(tip(deconfliction_reference="DC-77"))
    assert [(why["agency"], why["event_time"]) for why in alert["why"][3:]] == [("", None)] * 3
    assert alert["agreements"] == []
    assert alert["left_out"] == 0
    assert alert["until"] is None
    said = json.dumps({name: value for name, value in alert.items() if name != "headline"})
    for secret in (POLICE, "Danna", NARRATIVE, "grade", "points", str(tip().head.time), "S1"):
        assert secret not in said, secret


def test_a_second_tip_that_says_the_same_is_not_even_a_record_more() -> None:
    bus = processed(SITE, [*VISIT, tip()], START + 4 * DAY)
    before = records(bus, WATCH_DESK)
    bus.publish(tip("another"), POLICE)
    bus.run()
    assert records(bus, WATCH_DESK) == before != []
    raised = bus.history(topics.alerts_raised(SITE.name))
    assert [alert["revision"] for alert in raised] == [1, 2], "the bus itself knows of both"


@pytest.mark.parametrize("turned", [False, True])
def test_the_same_substance_in_another_case_or_spacing_is_not_even_a_record_more(turned: bool) -> None:
    first, second = tip(substance="oxy pills"), tip("another", substance=" Oxy  PILLS")
    if turned:
        first, second = second, first
    bus = processed(SITE, [*VISIT, first], START + 4 * DAY)
    before = records(bus, WATCH_DESK)
    for comes in (second, event("EventWithdrawn", agency=POLICE, day=4, target_event_id=first.head.event_id)):
        bus.publish(comes, POLICE)
        bus.run()
    assert records(bus, WATCH_DESK) == before != []
    (alert,) = bus.shown_to(WATCH_DESK).values()
    assert "It is said to be oxy pills" in [why["text"] for why in alert["why"]]


def test_one_of_two_tips_is_withdrawn_and_the_jail_sees_no_change() -> None:
    bus = processed(SITE, [*VISIT, tip(), tip("another")], START + 4 * DAY)
    before = records(bus, WATCH_DESK)
    bus.publish(event("EventWithdrawn", agency=POLICE, day=4, target_event_id=tip().head.event_id), POLICE)
    bus.run()
    assert records(bus, WATCH_DESK) == before


@pytest.mark.parametrize(
    ("handlings", "caution", "advised"),
    [
        (["ACT"], None, STEPS_OF_A_VISIT),
        (["CALL_FIRST"], CALL_FIRST, STEPS_OF_A_VISIT),
        (["WATCH_ONLY"], WATCH_ONLY, [WRITE_DOWN]),
        (["UNKNOWN"], CALL_FIRST, STEPS_OF_A_VISIT),
        (["ACT", "CALL_FIRST"], CALL_FIRST, STEPS_OF_A_VISIT),
        (["CALL_FIRST", "WATCH_ONLY", "ACT"], WATCH_ONLY, [WRITE_DOWN]),
    ],
)
def test_what_its_author_allows_is_obeyed_and_of_several_the_strictest(
    handlings: list[str], caution: dict[str, str] | None, advised: list[str]
) -> None:
    alert = told(*(tip(f"tip {number}", handling=h) for number, h in enumerate(handlings)))
    assert (alert["caution"], alert["actions"]) == (caution, advised)


def test_who_is_to_call_first_is_told_how_the_originator_is_found() -> None:
    alert = told(tip(handling="CALL_FIRST", deconfliction_reference="DC-77"))
    assert "Deconfliction reference DC-77" in [why["text"] for why in alert["why"]]


def test_a_second_author_to_call_is_not_to_be_seen_either() -> None:
    first = tip(handling="CALL_FIRST", deconfliction_reference="DC-77")
    bus = processed(SITE, [*VISIT, first], START + 4 * DAY)
    before = records(bus, WATCH_DESK)
    for name, reference in (("another", "DC-12"), ("a third", "DC-99")):
        bus.publish(tip(name, day=3.5, handling="CALL_FIRST", deconfliction_reference=reference), POLICE)
    bus.run()
    assert records(bus, WATCH_DESK) == before != []


def test_who_may_not_know_of_the_first_author_is_told_how_to_call_the_second() -> None:
    first = tip(handling="CALL_FIRST", deconfliction_reference="DC-77", touches_staff=True)
    second = tip("another", day=3.5, handling="CALL_FIRST", deconfliction_reference="DC-12")
    assert "Deconfliction reference DC-12" in [why["text"] for why in told(first, second)["why"]]


def test_what_touches_staff_goes_to_internal_affairs_only() -> None:
    bus = processed(SITE, [*VISIT, tip(touches_staff=True)], START + 4 * DAY)
    assert bus.shown_to(WATCH_DESK) == {}
    assert records(bus, WATCH_DESK) == []
    (alert,) = bus.shown_to(AFFAIRS).values()
    assert alert["why"][3] == {"text": "Contraband is said to be coming", "agency": "", "event_time": None}
    withheld = {
        decision["recipient"]: decision["reason"]
        for decision in bus.history(topics.disclosures(SITE.name))
        if decision["decision"] == "WITHHELD"
    }
    assert withheld[WATCH_DESK] == "INTERNAL_AFFAIRS"


def test_its_author_is_kept_from_what_touches_staff_by_a_missing_agreement_only() -> None:
    site = SITE.model_copy(update={"agreements": ()})
    bus = processed(site, [*VISIT, tip(touches_staff=True)], START + 4 * DAY)
    (decision,) = [one for one in bus.history(topics.disclosures(SITE.name)) if one["recipient"] == AUTHOR]
    assert (decision["decision"], decision["reason"]) == ("WITHHELD", "NO_AGREEMENT")


def test_beside_another_tip_one_that_touches_staff_changes_nothing_for_the_jail() -> None:
    without = processed(SITE, [*VISIT, tip()], START + 4 * DAY)
    with_it = processed(
        SITE, [*VISIT, tip("of staff", touches_staff=True, handling="WATCH_ONLY"), tip()], START + 4 * DAY
    )
    assert records(with_it, WATCH_DESK) == records(without, WATCH_DESK) != []
    assert len(with_it.shown_to(AFFAIRS)) == 2


SCORE = (
    "11 points speak for it: the recipient is known by number (6), the courier's name is alike, 98 of 100 (4) "
    "and the method is the same (1)"
)


@pytest.mark.parametrize("touches_staff", [False, True])
def test_its_author_sees_the_score_and_the_grading_and_of_the_visit_what_the_jail_grants(touches_staff: bool) -> None:
    alert = told(tip(touches_staff=touches_staff), recipient=AUTHOR)
    assert [why["text"] for why in alert["why"]] == [
        "A visit was scheduled",
        "The facility's number of the visit is V-1",
        "Contraband is said to be coming",
        "It is said to be fentanyl",
        "It is said to come with a visit",
        SCORE,
        "The source is graded C, the information 2",
    ]
    assert (alert["due"], alert["left_out"]) == (START + int(5.5 * DAY), 1), "by whom it comes was not granted"
    assert (alert["facility"], alert["unit"], alert["subjects"]) == (None, None, [])
    assert {why["agency"]: why["event_time"] for why in alert["why"]} == {
        "county-jail": None,
        POLICE: tip().head.time,
    }


# -- on the shipped sites ----------------------------------------------------------------------------------------------

COUNTY = read_site(SITES_DIR / "county")
DESK_OF = {"city-pd": "city-pd-intel", "sheriff": "sheriff-intel", "fusion-center": "fusion-desk"}
"""Of each agency of the county that gives tips."""


def in_the_county(what: Event, agency: str) -> tuple[Event, str]:
    """An event as an agency of the simulated county says it, and who says it."""
    head = what.head.model_copy(update={"ori": COUNTY.agency_by_id[agency].ori})
    return what.model_copy(update={"head": head}), agency


def county_bus(*tips: tuple[Event, str], site: Site = COUNTY) -> InMemoryBus:
    """A visit at the county's jail, and what its police say of it."""
    bus = InMemoryBus(site)
    for what, agency in [*(in_the_county(what, "county-jail") for what in VISIT), *tips]:
        bus.publish(what, agency)
    bus.tick(START + 4 * DAY)
    bus.run()
    assert bus.dead_letters == []
    return bus


@pytest.mark.parametrize("author", DESK_OF)
@pytest.mark.parametrize("touches_staff", [False, True])
def test_in_the_shipped_county_whoever_gives_a_tip_sees_its_score_and_no_other_police_a_record(
    author: str, touches_staff: bool
) -> None:
    bus = county_bus(in_the_county(tip(touches_staff=touches_staff), author))
    (alert,) = [one for one in bus.shown_to(DESK_OF[author]).values() if one["kind"] == "contraband"]
    assert SCORE in [why["text"] for why in alert["why"]]
    for other in DESK_OF.keys() - {author}:
        assert records(bus, DESK_OF[other]) == [], other


def test_in_the_shipped_county_of_two_who_tip_one_visit_each_sees_its_own_as_if_there_were_no_other() -> None:
    theirs = in_the_county(tip(reliability="A", handling="WATCH_ONLY"), "city-pd")
    another = in_the_county(tip("another", day=3.5, reliability="E", substance="a phone"), "sheriff")
    both = county_bus(theirs, another)
    for tipped in (theirs, another):
        desk = DESK_OF[tipped[1]]
        assert both.shown_to(desk) == county_bus(tipped).shown_to(desk) != {}
    assert len(both.open_alerts()) == 1, "the bus itself knows that it is one visit"


@pytest.mark.parametrize("touches_staff", [False, True])
def test_of_this_jails_staff_internal_affairs_of_another_jail_is_not_told_though_it_shares_deliveries(
    touches_staff: bool,
) -> None:
    theirs = next(a for a in COUNTY.agreements if a.id == "county-jail-to-sheriff-contraband")
    shared = theirs.model_copy(update={"id": "deliveries-to-the-prison", "recipient": "state-prison"})
    site = COUNTY.model_copy(update={"agreements": (*COUNTY.agreements, shared)})
    bus = county_bus(in_the_county(tip(touches_staff=touches_staff), "city-pd"), site=site)
    assert bus.shown_to("county-affairs") != {}
    assert bool(bus.shown_to("prison-affairs")) != touches_staff


@pytest.mark.parametrize("name", ["demo", "county"])
def test_on_the_shipped_sites_each_agency_that_gives_tips_has_a_desk_for_what_they_mean_and_every_jails_agreement(
    name: str,
) -> None:
    site = read_site(SITES_DIR / name)
    authors = {agency.id for agency in site.agencies if "ContrabandTipped" in agency.publishes}
    deliveries = {agency.id: DELIVERIES.intersection(agency.publishes) for agency in site.agencies}
    assert authors == {one.agency for one in site.recipients if {"investigation", "contraband"} <= {*one.kinds}}
    assert {
        (one.source, one.recipient): one.grants.keys()
        for one in site.agreements
        if one.recipient in authors and "contraband" in one.kinds
    } == {(jail, author): types for jail, types in deliveries.items() for author in authors if types}


def test_without_an_agreement_the_jail_is_told_nothing() -> None:
    site = SITE.model_copy(update={"agreements": ()})
    assert processed(site, [*VISIT, tip()], START + 4 * DAY).shown_to(WATCH_DESK) == {}


@pytest.mark.parametrize("field", ["reliability", "narrative", "courier_name", "recipient_name", "time", "handling"])
def test_no_agreement_can_grant_what_stays_with_the_author(field: str) -> None:
    said = {"source": POLICE, "recipient": "county-jail", "kinds": ["contraband"], "valid_from": START}
    with pytest.raises(ValueError, match=f"{field} of ContrabandTipped stays with its author"):
        Agreement.model_validate(
            {**said, "id": "a", "title": "t", "authority": "a", "grants": {"ContrabandTipped": ["method", field]}}
        )
