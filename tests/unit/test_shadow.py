"""A shadow step by step: what of the log it takes in, when the two are compared, and how a difference is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import pytest

from schemas import topics
from schemas.agreements import Kind
from schemas.codec import encode
from schemas.events import EVENT_TYPES, Event
from schemas.site import Site
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.correlations import classification_review, rivals_housed_together
from streams.correlations.situation import Severity, Situation, Subject
from streams.pictures.facility import FacilityPicture
from streams.records import LoggedRecord
from streams.shadow import (
    AnyCorrelation,
    Candidate,
    Difference,
    News,
    Notice,
    Refused,
    Shadow,
    Tally,
    Unfit,
    Verdict,
    judge,
    notices,
)
from streams.stage import FACILITY, PERSON
from tests.county import DAY, MAIN, START, agency_of, demo_site, event, members_in_one_unit
from tests.in_memory_bus import InMemoryBus, processed

SITE = demo_site(partitions=1)
ALERTS = topics.alerts_raised("demo")
REVIEW: AnyCorrelation = classification_review.CORRELATION
RIVALS: AnyCorrelation = rivals_housed_together.CORRELATION
UNIT_TRIGGERS = "ContrabandTipped, FeedHeard, ListTaken, PersonInCustody, StreetViolenceReported, TipOutcome"
PERSON_TRIGGERS = ", ".join(sorted({*EVENT_TYPES, "Stay"} - {"CareObserved", "EventWithdrawn", "ListTaken"}))


def untyped(*_: Any) -> set[Situation]:
    return set()


def of_nothing() -> set[Situation]:
    return set()


def of_units(picture: FacilityPicture, unit: Any, now: int) -> set[Situation]:
    del picture, unit, now
    return set()


def of_nobody_knows(picture: "NoSuchPicture", person: Any, now: int) -> set[Situation]:  # type: ignore[name-defined]  # noqa: F821, UP037
    del picture, person, now
    return set()


# -- what can be tried -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        (7, Unfit.NO_CORRELATION, "it is no Correlation of streams/correlations/situation.py"),
        (replace(REVIEW, name=""), Unfit.NO_NAME, "a rule has a name, and a whole number as its version"),
        (
            replace(REVIEW, kind="weather"),  # type: ignore[arg-type]
            Unfit.UNKNOWN_KIND,
            f"there is no kind 'weather'; there are {', '.join(get_args(Kind))}",
        ),
        (
            replace(REVIEW, name="new", situations=untyped),
            Unfit.UNKNOWN_PICTURE,
            "say in the signature of `situations` which picture it takes: PersonPicture or FacilityPicture",
        ),
        (
            replace(REVIEW, name="new", situations=of_nobody_knows),
            Unfit.UNKNOWN_PICTURE,
            "say in the signature of `situations` which picture it takes: PersonPicture or FacilityPicture",
        ),
        (
            replace(REVIEW, name="new", situations=set),  # type: ignore[arg-type]
            Unfit.UNKNOWN_PICTURE,
            "say in the signature of `situations` which picture it takes: PersonPicture or FacilityPicture",
        ),
        (
            replace(REVIEW, name="new", situations=of_nothing),  # type: ignore[arg-type]
            Unfit.UNKNOWN_PICTURE,
            "say in the signature of `situations` which picture it takes: PersonPicture or FacilityPicture",
        ),
        (
            replace(REVIEW, triggers=frozenset({"Weather", "Zeal"})),
            Unfit.UNKNOWN_TRIGGER,
            f"nothing called Weather triggers a rule of the person stage; what does is {PERSON_TRIGGERS}",
        ),
        (
            replace(RIVALS, triggers=frozenset({"BookingReported"})),
            Unfit.UNKNOWN_TRIGGER,
            f"nothing called BookingReported triggers a rule of the facility stage; what does is {UNIT_TRIGGERS}",
        ),
        (
            replace(REVIEW, situations=of_units, triggers=RIVALS.triggers),
            Unfit.OTHER_PICTURE,
            "the installed classification_review is evaluated in the person stage: give this one another name",
        ),
        (
            replace(RIVALS, version=2, kind="release"),
            Unfit.OTHER_KIND,
            "the installed rivals_housed_together is of kind housing: give this one another name",
        ),
        (
            REVIEW,
            Unfit.INSTALLED,
            "classification_review version 1 is what is installed: give what changed a version of its own",
        ),
    ],
    ids=lambda one: one.value if isinstance(one, Unfit) else "",
)
def test_what_can_not_be_tried_is_told_why_and_what_to_do(given: object, reason: Unfit, words: str) -> None:
    assert judge(given) == Refused(reason, words)


def test_a_rule_is_held_against_those_that_are_given_as_installed() -> None:
    new, old = replace(REVIEW, version=2), replace(RIVALS, version=9)
    assert judge(new, (), ()) == Candidate(new, PERSON, None)
    assert judge(new, (REVIEW,), ()) == Candidate(new, PERSON, 1)
    assert judge(old, (REVIEW,), (RIVALS,)) == Candidate(old, FACILITY, 1)
    always = replace(new, triggers=frozenset({"Joined", "Purged"}))
    assert judge(always) == Candidate(always, PERSON, 1)


# -- what of the log it takes in ---------------------------------------------------------------------------------------

REVIEWED = [
    event("BookingReported", "ada"),
    event("CustodyClassified", "ada", day=1),
    event("DisciplinaryRecorded", "ada", day=2, name="fine"),
]
AGAIN = event("DisciplinaryRecorded", "ada", day=2.5, name="again")


def bus_of(*events: Event, site: Site = SITE) -> InMemoryBus:
    """A bus that has processed all of it."""
    return processed(site, events, START + 3 * DAY)


def saying(**changes: Any) -> AnyCorrelation:
    """The installed rule, of whose situations something is said otherwise."""

    def situations(picture: Any, person: str, now: int) -> set[Situation]:
        return {replace(one, **changes) for one in REVIEW.situations(picture, person, now)}

    return replace(REVIEW, version=2, situations=situations)


def begun(bus: InMemoryBus, rule: AnyCorrelation, number: int = 0, stage: str = PERSON) -> Shadow:
    """A shadow that has folded and recalled all that is on the logs."""
    shadow = Shadow(bus.site, number, SCHEMAS, Candidate(rule, stage, 1))
    log = bus.input_of(stage, number)
    for record in log:
        shadow.refold(record)
    for record in bus.logs[ALERTS, number]:
        shadow.recall(record)
    shadow.evaluate(len(log))
    return shadow


def told(shadow: Shadow) -> list[tuple[bool, Verdict]]:
    return [(news.appeared, news.difference.verdict) for news in shadow.look()]


def alert_on(bus: InMemoryBus, **changes: Any) -> LoggedRecord:
    """The last record of the alerts, with changes."""
    value = {**bus.history(ALERTS)[-1], **changes}
    return LoggedRecord(99, b"k", encode("AlertRaised", value, SCHEMA_IDS["AlertRaised"]))


def test_before_anything_is_folded_nothing_is_known() -> None:
    shadow = Shadow(SITE, 0, SCHEMAS, Candidate(saying(), PERSON, 1))
    assert (shadow.position, shadow.done, shadow.tick, shadow.number) == (0, 0, 0, 0)
    assert (shadow.recorded, shadow.derived, shadow.same, shadow.look()) == ([], [], 0, [])


def test_it_folds_and_evaluates_as_the_stage_does() -> None:
    bus = bus_of(*REVIEWED)
    shadow = begun(bus, saying())
    assert (shadow.position, shadow.done, shadow.tick) == (4, 4, START + 3 * DAY)
    assert (len(shadow.recorded), len(shadow.derived), shadow.same) == (1, 1, 1)
    assert shadow.derived[0]["rule_version"] == 2
    assert told(shadow) == []


def test_what_it_folds_live_counts_from_the_next_offset_on() -> None:
    bus = bus_of(*REVIEWED)
    shadow = begun(bus, saying())
    bus.publish(AGAIN, agency_of(AGAIN))
    shadow.process(bus.input_of(PERSON, 0)[-1])
    assert (shadow.position, shadow.done, shadow.same) == (5, 4, 0)
    assert shadow.waiting
    bus.run()
    for record in bus.logs[ALERTS, 0]:
        shadow.recall(record)
    assert (shadow.done, shadow.same, shadow.waiting) == (5, 1, False)
    shadow.done_up_to(2)
    assert shadow.done == 5


def test_what_the_workers_raised_counts_when_it_has_folded_as_much() -> None:
    bus = bus_of(*REVIEWED)
    shadow = begun(bus, saying())
    bus.publish(AGAIN, agency_of(AGAIN))
    bus.run()
    for record in bus.logs[ALERTS, 0]:
        shadow.recall(record)
    assert shadow.done == 5
    assert told(shadow) == []
    assert shadow.waiting
    shadow.process(bus.input_of(PERSON, 0)[-1])
    assert told(shadow) == []
    assert (shadow.waiting, shadow.same) == (False, 1)


@pytest.mark.parametrize(
    "cause",
    [
        {"kind": "FACT", "stage": "facility", "partition": 0, "offset": 9, "event_id": None},
        {"kind": "FACT", "stage": "person", "partition": 1, "offset": 9, "event_id": None},
    ],
    ids=["of another stage", "of another partition"],
)
def test_what_others_raised_tells_it_nothing(cause: dict[str, Any]) -> None:
    bus = bus_of(*REVIEWED)
    shadow = begun(bus, saying())
    shadow.recall(alert_on(bus, cause=cause, digest="other"))
    assert (shadow.done, told(shadow)) == (4, [])


def test_what_another_rule_raised_tells_how_far_the_workers_are_and_no_more() -> None:
    bus = bus_of(*REVIEWED)
    shadow = begun(bus, saying())
    cause = {"kind": "FACT", "stage": "person", "partition": 0, "offset": 9, "event_id": None}
    shadow.recall(alert_on(bus, rule="another", cause=cause, digest="other"))
    assert (shadow.done, len(shadow.recorded), shadow.same) == (10, 1, 1)


def test_what_nobody_can_read_and_tombstones_are_passed_over() -> None:
    bus = bus_of(*REVIEWED)
    shadow = begun(bus, saying())
    for record in (LoggedRecord(7, b"k", None), LoggedRecord(7, b"k", b"?"), bus.input_of(PERSON, 0)[0]):
        shadow.recall(record)
    shadow.refold(LoggedRecord(7, b"nonsense", b"?"))
    assert (shadow.position, shadow.done, shadow.same) == (4, 4, 1)
    shadow.process(LoggedRecord(7, b"nonsense", b"?"))
    assert (shadow.position, shadow.same) == (8, 1)


# -- what they differ in -----------------------------------------------------------------------------------------------


def test_a_difference_is_news_once_and_again_when_it_says_something_else_or_is_none_any_more() -> None:
    bus = bus_of(*REVIEWED)
    shadow = begun(bus, saying(headline="Another headline"))
    (first,) = shadow.look()
    found = first.difference
    assert (first.appeared, found.partition, found.verdict, found.fields) == (True, 0, Verdict.CHANGE, ("headline",))
    assert found.alert is found.derived is shadow.derived[0]
    assert found.recorded == shadow.recorded[0]
    assert shadow.look() == []
    assert (shadow.differences, shadow.same) == ([found], 0)
    goes_on(bus, shadow, AGAIN)
    (second,) = shadow.look()
    assert (second.appeared, second.difference.verdict) == (True, Verdict.CHANGE)
    assert second.difference != found
    goes_on(bus, shadow, event("CustodyEnded", "ada", day=2.7))
    assert shadow.look() == [News(False, second.difference)]
    assert shadow.differences == []
    assert shadow.look() == []


def goes_on(bus: InMemoryBus, shadow: Shadow, what: Event) -> None:
    """Something else happens, and both have seen it."""
    bus.publish(what, agency_of(what))
    shadow.process(bus.input_of(PERSON, 0)[-1])
    bus.run()
    for record in bus.logs[ALERTS, 0]:
        shadow.recall(record)
    shadow.done_up_to(shadow.position)


def test_what_the_workers_withdrew_and_it_never_said_is_no_difference() -> None:
    bus = bus_of(*REVIEWED)
    ended = event("CustodyEnded", "ada", day=2.7)
    bus.publish(ended, agency_of(ended))
    bus.run()
    assert bus.history(ALERTS)[-1]["state"] == "WITHDRAWN"
    shadow = begun(bus, saying())
    assert (shadow.recorded, shadow.derived, shadow.look()) == ([], [], [])


def test_an_alert_that_one_side_has_not_seen_yet_keeps_no_other_from_being_told() -> None:
    people = [what for one in "abcdef" for what in reviewed(one)]
    bus = bus_of(*people)
    shadow = begun(bus, saying(headline="Another headline"))
    by_alert = {alert["alert_id"]: alert["subjects"][0]["booking_number"] for alert in bus.history(ALERTS)}
    first = min(by_alert)
    person = by_alert[first].removeprefix("B-")
    bus.publish(again := event("DisciplinaryRecorded", person, day=2.5), agency_of(again))
    shadow.process(bus.input_of(PERSON, 0)[-1])
    assert {news.difference.alert["alert_id"] for news in shadow.look()} == set(by_alert) - {first}


@pytest.mark.parametrize("stage", [PERSON, FACILITY])
def test_what_it_says_is_of_its_own_partition(stage: str) -> None:
    two = demo_site(partitions=2)
    housed = [
        what
        for person, group in (("ada", "Eastside"), ("bo", "Harbor"))
        for what in (
            *reviewed(person),
            event("HousingAssigned", person, day=1, unit="4-A"),
            event("AffiliationValidated", person, day=1, group=group),
        )
    ]
    bus = bus_of(*housed, event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"]), site=two)
    rule = {PERSON: REVIEW, FACILITY: RIVALS}[stage]
    said = [
        (number, alert["cause"]["stage"], alert["cause"]["partition"])
        for number in range(2)
        for alert in begun(bus, replace(rule, version=2), number, stage).derived
    ]
    assert said
    assert said == [(number, stage, number) for number, _, _ in said]


def test_differences_are_in_order_of_their_alerts() -> None:
    people = [what for one in "abcdef" for what in reviewed(one)]
    shadow = begun(bus_of(*people), saying(headline="Another headline"))
    found = [news.difference.alert["alert_id"] for news in shadow.look()]
    assert len(found) == 6
    assert found == sorted(found) == [one.alert["alert_id"] for one in shadow.differences]


def reviewed(person: str) -> list[Event]:
    return [
        event("BookingReported", person),
        event("CustodyClassified", person, day=1),
        event("DisciplinaryRecorded", person, day=2),
    ]


def finding(key: tuple[str, ...]) -> AnyCorrelation:
    """A rule that finds one thing of everybody."""

    def situations(picture: Any, person: str, now: int) -> set[Situation]:
        del picture, now
        subject = Subject(person, "county-jail")
        return {Situation((*key, person), Severity.LOW, "Headline", (subject,), (), (), MAIN)}

    return replace(REVIEW, version=2, situations=situations)


def test_what_only_one_of_them_says_is_raised_or_withdrawn() -> None:
    shadow = begun(bus_of(*REVIEWED), finding(("new",)))
    assert sorted(told(shadow)) == [(True, Verdict.RAISE), (True, Verdict.WITHDRAW)]
    by_verdict = {one.verdict: one for one in shadow.differences}
    assert by_verdict[Verdict.RAISE].recorded is None
    assert by_verdict[Verdict.WITHDRAW].derived is None
    assert by_verdict[Verdict.WITHDRAW].alert is by_verdict[Verdict.WITHDRAW].recorded


def test_what_it_fails_on_is_unknown_only_where_it_fails() -> None:
    def situations(picture: Any, person: str, now: int) -> set[Situation]:
        if person == first:
            raise LookupError
        return REVIEW.situations(picture, person, now)

    bus = bus_of(*reviewed("ada"), *reviewed("bo"))
    first, second = sorted(subject["person_id"] for alert in bus.history(ALERTS) for subject in alert["subjects"])
    shadow = begun(bus, replace(REVIEW, version=2, situations=situations))
    assert told(shadow) == [(True, Verdict.UNKNOWN)]
    assert [one["subjects"][0]["person_id"] for one in shadow.derived] == [second]
    assert list(shadow.errors.values()) == [1]


def test_an_error_is_told_by_its_kind_and_the_last_line_of_the_draft_that_led_to_it() -> None:
    def deeper(_: Any) -> None:
        raise OSError("of whom it was")

    def situations(picture: Any, person: str, now: int) -> set[Situation]:
        del person, now
        deeper(picture)
        return set()

    shadow = begun(bus_of(*REVIEWED), replace(REVIEW, version=2, situations=situations))
    assert dict(shadow.errors) == {f"OSError at line {deeper.__code__.co_firstlineno + 1}": 1}

    class Elsewhere:
        """No function of a file."""

        def __call__(self, *_: Any) -> set[Situation]:
            raise OSError

    shadow = begun(bus_of(*REVIEWED), replace(REVIEW, version=2, situations=Elsewhere()))
    assert dict(shadow.errors) == {"OSError": 1}


# -- who would be told -------------------------------------------------------------------------------------------------


def difference(recorded: Mapping[str, Any] | None, derived: Mapping[str, Any] | None) -> Difference:
    return Difference(0, Verdict.CHANGE, recorded, derived)


def test_each_recipient_would_be_told_what_changes_for_it() -> None:
    bus = bus_of(*REVIEWED)
    alert = bus.history(ALERTS)[-1]
    other = {**alert, "headline": "Another headline"}
    desks = ("county-jail-watch", "county-jail-classification")
    for recorded, derived, notice in (
        (None, alert, Notice.NEW),
        (alert, None, Notice.WITHDRAWN),
        (alert, other, Notice.CHANGED),
    ):
        assert notices(difference(recorded, derived), SITE, START) == dict.fromkeys(desks, notice)
    others_first = SITE.model_copy(update={"recipients": SITE.recipients[::-1]})
    assert notices(difference(None, alert), others_first, START) == dict.fromkeys(desks, Notice.NEW)
    assert notices(difference(alert, {**alert, "until": 9}), SITE, START) == {}
    assert notices(difference({**alert, "kind": "release"}, None), SITE, START) == {}
    assert notices(Difference(0, Verdict.UNKNOWN, alert, None), SITE, START) == {}


def test_who_may_see_it_only_at_another_time_would_not_be_told() -> None:
    housed = members_in_one_unit()
    bus = bus_of(*housed, event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"]))
    (alert,) = (one for one in bus.history(ALERTS) if one["rule"] == RIVALS.name)
    begins = min(one.valid_from for one in SITE.agreements)
    assert notices(difference(None, alert), SITE, begins - 1) == {}
    assert set(notices(difference(None, alert), SITE, START)) == {"county-jail-watch", "county-jail-classification"}


def test_a_tally_counts_the_partitions_as_they_stand() -> None:
    def fails(*_: Any) -> set[Situation]:
        raise OSError

    two = demo_site(partitions=2)
    bus = InMemoryBus(two)
    for what in [what for one in "abcdef" for what in reviewed(one)]:
        bus.publish(what, agency_of(what))
    bus.tick(START + 3 * DAY)
    bus.run()
    count = [len(bus.logs[ALERTS, number]) for number in range(2)]
    assert min(count) > 0
    tally = Tally()
    shadows = [begun(bus, replace(REVIEW, version=2, situations=fails), 0), begun(bus, saying(facility=None), 1)]
    for shadow in shadows:
        shadow.look()
        tally.count(shadow, two)
    assert tally.verdicts == {Verdict.UNKNOWN: count[0], Verdict.CHANGE: count[1]}
    assert tally.facilities == {MAIN: {Verdict.UNKNOWN: count[0]}, "": {Verdict.CHANGE: count[1]}}
    assert (tally.open_now, tally.open_then) == ({MAIN: sum(count)}, {"": count[1]})
    (error,) = shadows[0].errors
    assert tally.errors == {(error, 0): count[0]}
    assert (tally.same, tally.tick) == (0, START + 3 * DAY)
    for times in (1, 2):
        tally.count(begun(bus, saying(), 1), two)
        assert tally.same == times * count[1]
    tally.count(shadows[0], two)
    assert tally.errors == {(error, 0): 2 * count[0]}


def test_the_tally_is_as_late_as_the_partition_that_is_furthest_behind() -> None:
    tally = Tally()
    bus = InMemoryBus(SITE)
    bus.tick(START)
    late, early = begun(bus_of(*REVIEWED), saying()), begun(bus, saying())
    for shadow in (late, early, late):
        tally.count(shadow, SITE)
    assert tally.tick == START
