"""A draft of a rule: what can't be tried says why in one line; what fails is counted and ends nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from deploy.candidate import CandidateError, load_candidate
from schemas import topics
from streams.backtest import SCHEMAS
from streams.correlations import classification_review, rivals_housed_together
from streams.correlations.situation import Severity, Situation
from streams.pictures.facility import FacilityPicture, UnitKey
from streams.pictures.person import PersonPicture
from streams.shadow import AnyCorrelation, Candidate, Refused, Shadow, Tally, Unfit, Verdict, judge, notices
from streams.stage import FACILITY, PERSON
from tests.county import DAY, START, agency_of, demo_site, event
from tests.in_memory_bus import InMemoryBus, processed

RIVALS: AnyCorrelation = rivals_housed_together.CORRELATION
REVIEW: AnyCorrelation = classification_review.CORRELATION


def of_units(picture: FacilityPicture, unit: UnitKey, now: int) -> set[Situation]:
    return rivals_housed_together.situations(picture, unit, now)


def of_persons(picture: PersonPicture, person: str, now: int) -> set[Situation]:
    return classification_review.situations(picture, person, now)


def nothing(*_: Any) -> set[Situation]:
    return set()


DRAFT = replace(RIVALS, version=2, situations=of_units)
NEW = replace(DRAFT, name="something_new", version=1)

# -- what can be tried -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reason", "says"),
    [
        (None, Unfit.NO_CORRELATION, "no Correlation"),
        (of_units, Unfit.NO_CORRELATION, "no Correlation"),
        (replace(NEW, name=""), Unfit.NO_NAME, "a name"),
        (replace(NEW, version="2"), Unfit.NO_NAME, "a whole number"),  # type: ignore[arg-type]
        (replace(NEW, kind="weather"), Unfit.UNKNOWN_KIND, "'weather'"),  # type: ignore[arg-type]
        (replace(DRAFT, kind="release"), Unfit.OTHER_KIND, "of kind housing"),
        (replace(NEW, situations=nothing), Unfit.UNKNOWN_PICTURE, "PersonPicture or FacilityPicture"),
        (replace(DRAFT, situations=of_persons, triggers=REVIEW.triggers), Unfit.OTHER_PICTURE, "another name"),
        (replace(NEW, triggers=frozenset({"HousingAssigned"})), Unfit.UNKNOWN_TRIGGER, "HousingAssigned"),
        (replace(REVIEW, version=2, triggers=frozenset({"CareObserved"})), Unfit.UNKNOWN_TRIGGER, "CareObserved"),
        (RIVALS, Unfit.INSTALLED, "rivals_housed_together version 1 is what is installed"),
        (REVIEW, Unfit.INSTALLED, "classification_review version 1"),
    ],
)
def test_what_can_not_be_tried_is_refused_with_its_reason(given: object, reason: Unfit, says: str) -> None:
    refused = judge(given)
    assert isinstance(refused, Refused)
    assert refused.reason is reason
    assert says in refused.detail
    assert "\n" not in refused.detail


@pytest.mark.parametrize(
    ("given", "stage", "installed"),
    [
        (DRAFT, FACILITY, 1),
        (replace(REVIEW, version=7), PERSON, 1),
        (NEW, FACILITY, None),
        (replace(REVIEW, name="something_new", situations=of_persons), PERSON, None),
        # Which picture it takes is known by its name, where it does not say.
        (replace(RIVALS, version=2, situations=nothing), FACILITY, 1),
    ],
)
def test_a_draft_is_tried_in_the_stage_of_the_picture_it_takes(
    given: AnyCorrelation, stage: str, installed: int | None
) -> None:
    assert judge(given) == Candidate(given, stage, installed)


A_FILE = """
from dataclasses import replace
from schemas import topics
from streams.correlations import classification_review
CORRELATION = replace(classification_review.CORRELATION, version=2)
"""


def test_a_file_is_a_candidate_and_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "draft.py"
    for version in (2, 3):
        file.write_text(A_FILE.replace("version=2", f"version={version}"))
        assert load_candidate(file).correlation.version == version
    assert [path.name for path in tmp_path.iterdir()] == ["draft.py"], "no cache of modules is left beside it"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no such file"),
        ("x = 1\n", "it declares no CORRELATION"),
        ("CORRELATION = 1\n", "no Correlation"),
        ("x = 1\ndef f(:\n", "it can't be imported: line 2: invalid syntax"),
        ("import sys\nimport not_installed_anywhere\n", "line 2: ModuleNotFoundError: No module named"),
        ("raise ValueError('two\\nlines')\n", "line 1: ValueError: two"),
        ("raise SystemExit\n", "line 1: SystemExit"),
        (A_FILE.replace("version=2", "version=1"), "version 1 is what is installed"),
    ],
)
def test_a_file_that_holds_no_candidate_is_one_line(text: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "draft.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CandidateError) as error:
        load_candidate(file)
    assert str(error.value).startswith(f"{file}: ")
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


# -- a draft that fails ----------------------------------------------------------------------------------------------

PEOPLE = ("ada", "bo")
TWO_UNITS = [
    *(event("BookingReported", f"{person}{unit}") for person in PEOPLE for unit in "AB"),
    *(event("HousingAssigned", f"{person}{unit}", unit=f"4-{unit}") for person in PEOPLE for unit in "AB"),
    *(event("AffiliationValidated", f"ada{unit}", group="Eastside") for unit in "AB"),
    *(event("AffiliationValidated", f"bo{unit}", group="Harbor") for unit in "AB"),
    event("StreetViolenceReported", day=1, groups=["Eastside", "Harbor"]),
]


def bus_of(*more: Any) -> InMemoryBus:
    bus = processed(demo_site(partitions=1), [*TWO_UNITS, *more], START + 2 * DAY)
    assert bus.dead_letters == []
    return bus


def shadow_of(
    bus: InMemoryBus, situations: Callable[..., Any], rule: AnyCorrelation = RIVALS, stage: str = FACILITY
) -> Shadow:
    candidate = Candidate(replace(rule, version=2, situations=situations), stage, 1)
    shadow = Shadow(bus.site, 0, SCHEMAS, candidate)
    for record in bus.input_of(stage, 0):
        shadow.refold(record)
    for record in bus.logs[topics.alerts_raised(bus.site.name), 0]:
        shadow.recall(record)
    shadow.evaluate(bus.input_of(stage, 0)[-1].offset + 1)
    return shadow


def fails_in_4b(_picture: FacilityPicture, unit: UnitKey, _now: int) -> set[Situation]:
    if unit[1] == "4-B":
        raise KeyError("GARROW, ADA")
    return set()


def test_where_a_draft_fails_it_says_nothing_and_the_rest_is_judged_all_the_same() -> None:
    shadow = shadow_of(bus_of(), fails_in_4b)
    shadow.look()
    assert {one.alert["unit"]: one.verdict for one in shadow.differences} == {
        "4-A": Verdict.WITHDRAW,
        "4-B": Verdict.UNKNOWN,
    }
    line = fails_in_4b.__code__.co_firstlineno + 2
    assert dict(shadow.errors) == {f"KeyError at line {line}": 1}, "where, and nothing of whom"


def test_a_draft_that_derives_what_no_record_can_hold_fails_as_if_it_had_raised() -> None:
    def until_tomorrow(picture: FacilityPicture, unit: UnitKey, now: int) -> set[Situation]:
        found = RIVALS.situations(picture, unit, now)
        return {replace(one, until=cast(int, "tomorrow")) for one in found}

    shadow = shadow_of(bus_of(), until_tomorrow)
    shadow.look()
    assert {one.verdict for one in shadow.differences} == {Verdict.UNKNOWN}


def test_a_draft_of_persons_that_fails_says_nothing_of_that_person() -> None:
    reviewed = [
        event("CustodyClassified", "adaA", day=0.1),
        event("DisciplinaryRecorded", "adaA", day=1),
    ]

    def fails(_picture: PersonPicture, person: str, _now: int) -> set[Situation]:
        raise RuntimeError(person)

    shadow = shadow_of(bus_of(*reviewed), fails, REVIEW, PERSON)
    shadow.look()
    assert shadow.differences
    assert {one.verdict for one in shadow.differences} == {Verdict.UNKNOWN}


@pytest.mark.parametrize(
    "found",
    [
        None,
        {"no situation"},
        {Situation(("county-jail-main", "4-A"), "HIGH", "Headline", (), (), ())},  # type: ignore[arg-type]
        {Situation(("county-jail-main", "4-A"), Severity.HIGH, None, (), (), ())},  # type: ignore[arg-type]
    ],
    ids=["nothing", "text", "a severity that is none", "no headline"],
)
def test_what_no_worker_could_write_counts_as_a_failure(found: Any) -> None:
    shadow = shadow_of(bus_of(), lambda *_: found)
    shadow.look()
    assert {one.verdict for one in shadow.differences} == {Verdict.UNKNOWN}
    assert sum(shadow.errors.values()) == 2
    assert shadow.derived == []


def test_a_draft_that_fails_no_more_is_judged_again() -> None:
    bus = bus_of()
    broken = [True]

    def situations(*_: Any) -> set[Situation]:
        if broken[0]:
            raise ValueError
        return set()

    shadow = shadow_of(bus, situations)
    assert [news.difference.verdict for news in shadow.look()] == [Verdict.UNKNOWN, Verdict.UNKNOWN]
    broken[0] = False
    publish_and_process(bus, shadow)
    assert [news.difference.verdict for news in shadow.look()] == [Verdict.WITHDRAW, Verdict.WITHDRAW]


def publish_and_process(bus: InMemoryBus, shadow: Shadow) -> None:
    """More violence between the two groups, which the shadow has folded and no worker has processed."""
    begun = len(bus.input_of(FACILITY, 0))
    bus.publish(event("StreetViolenceReported", day=1.5, name="again", groups=["Eastside", "Harbor"]), "city-pd")
    for record in bus.input_of(FACILITY, 0)[begun:]:
        shadow.process(record)


# -- who would be told -----------------------------------------------------------------------------------------------


def test_who_would_be_told_is_counted_so_that_a_storm_is_seen() -> None:
    bus = bus_of()
    shadow = shadow_of(bus, nothing)
    shadow.look()
    tally = Tally()
    tally.count(shadow, bus.site)
    assert tally.verdicts == {Verdict.WITHDRAW: 2}
    assert (tally.open_now, tally.open_then, tally.same) == ({"county-jail-main": 2}, {}, 0)
    # The police's recipient takes other kinds.
    assert {who: dict(told) for who, told in tally.recipients.items()} == {
        "county-jail-watch": {"WITHDRAWN": 2},
        "county-jail-classification": {"WITHDRAWN": 2},
    }


def test_a_change_that_a_recipient_may_not_see_tells_it_nothing() -> None:
    bus = InMemoryBus(demo_site(partitions=1, agreements=()))
    for what in TWO_UNITS:
        bus.publish(what, agency_of(what))
    bus.tick(START + 2 * DAY)
    bus.run()
    shadow = shadow_of(bus, nothing)
    shadow.look()
    assert len(shadow.differences) == 2, "the alerts rest on what the police said, which is granted to nobody"
    assert [notices(one, bus.site, shadow.tick) for one in shadow.differences] == [{}, {}]


# -- when the two are compared ---------------------------------------------------------------------------------------


def test_what_the_workers_have_not_processed_is_no_difference_yet() -> None:
    bus = bus_of()
    shadow = shadow_of(bus, rivals_housed_together.situations)
    assert shadow.look() == []
    publish_and_process(bus, shadow)
    assert shadow.look() == []
    assert shadow.waiting
    # They have, and the live rule found nothing in it: so it differs.
    shadow.done_up_to(shadow.position)
    assert [news.difference.verdict for news in shadow.look()] == [Verdict.CHANGE, Verdict.CHANGE]
    assert {one.fields for one in shadow.differences} == {("evidence",)}
    assert not shadow.waiting


def test_what_was_raised_tells_how_far_the_workers_are_even_if_they_have_not_committed_it() -> None:
    bus = bus_of()
    shadow = Shadow(bus.site, 0, SCHEMAS, Candidate(DRAFT, FACILITY, 1))
    raised = bus.history(topics.alerts_raised(bus.site.name))
    for record in bus.logs[topics.alerts_raised(bus.site.name), 0]:
        shadow.recall(record)
    assert shadow.done == 1 + max(alert["cause"]["offset"] for alert in raised if alert["cause"]["stage"] == FACILITY)


def test_a_new_rule_is_not_compared_with_the_alerts_of_others() -> None:
    bus = bus_of()
    shadow = shadow_of(bus, rivals_housed_together.situations, NEW, FACILITY)
    assert shadow.recorded == []
    assert [news.difference.verdict for news in shadow.look()] == [Verdict.RAISE, Verdict.RAISE]
