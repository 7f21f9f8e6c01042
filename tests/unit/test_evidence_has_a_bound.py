"""Evidence has a bound, and who is told what does not depend on it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.agreements import Agreement
from schemas.codec import encode
from schemas.events import Event
from schemas.site import Recipient, Site
from streams.alerts import content
from streams.backtest import SCHEMA_IDS
from streams.correlations import evidence as module
from streams.correlations.evidence import Bounded, Case, bounded, in_pieces
from streams.correlations.situation import (
    Caution,
    Cautioned,
    Confidence,
    Evidence,
    Line,
    Severity,
    Situation,
    Subject,
)
from streams.disclose import Disclose, Withhold, decide
from streams.facts import Provenance
from tests.county import DAY, MAIN, SITE, START, agency_of, event, event_id
from tests.in_memory_bus import InMemoryBus, digests, from_scratch, processed

AGENCIES = ("city-pd", "county-jail")
REPORTED = ("StreetViolenceReported", "AffiliationReported")
NOW = START + 40 * DAY


# -- who is told what ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _three_are_many() -> Iterator[None]:
    with patch.object(module, "MOST", 3):
        yield


TRAITS: dict[str, st.SearchStrategy[Any]] = {
    "agency": st.sampled_from(AGENCIES),
    "event_type": st.sampled_from(REPORTED),
    "marked": st.booleans(),
    "via": st.sampled_from(["", "county-jail number"]),
    "joined": st.booleans(),
    "shows": st.sampled_from([(), ("groups",), ("place",)]),
    "severity": st.sampled_from([None, Severity.CRITICAL, Severity.HIGH]),
    "confidence": st.sampled_from([None, *Confidence]),
    "caution": st.sampled_from([None, *Caution]),
    "line": st.sampled_from([Line.NONE, Line.ABOVE]),
    "staff": st.booleans(),
    "reference": st.booleans(),
    "supports": st.booleans(),
}
"""What two cases may differ in."""


def case_of(traits: dict[str, Any], ground: str, number: int, time: int) -> Case:
    """What one event says, in pieces; with a tear-line, or without."""
    source = Provenance(
        traits["agency"],
        traits["event_type"],
        event_id(f"{ground}-{number}"),
        START + time,
        "t",
        traits["via"],
        traits["joined"],
        traits["marked"],
    )
    torn = traits["line"] is Line.ABOVE
    staff = torn and traits["staff"]
    carries = ("", "") if traits["supports"] and not torn else (ground, source.event_id)
    above = Evidence(
        f"report {number}",
        traits["shows"],
        source,
        "ada",
        *carries,
        severity=traits["severity"],
        confidence=traits["confidence"],
        line=traits["line"],
        staff=staff,
        caution=traits["caution"],
    )
    called_by = Evidence(
        f"reference {number}", ("deconfliction_reference",), source, None, *carries, line=traits["line"], staff=staff
    )
    below = Evidence(f"grading {number}", ("reliability",), source, line=Line.BELOW, staff=staff)
    return above, *((called_by,) if traits["reference"] else ()), *((below,) if torn else ())


@st.composite
def many(draw: st.DrawFn, ground: str) -> list[Case]:
    """Cases of a ground: most of them alike, and some that differ from these in a thing or two."""
    usual = {name: draw(values) for name, values in TRAITS.items()}
    names = draw(st.lists(st.sampled_from(sorted(TRAITS)), min_size=1, max_size=2, unique=True))
    other = usual | {name: draw(TRAITS[name]) for name in names}
    times = draw(
        st.lists(
            st.tuples(st.integers(0, 99), st.integers(0, 3)), min_size=4, max_size=12, unique_by=lambda one: one[0]
        )
    )
    return [case_of(usual if which else other, ground, number, time) for number, (time, which) in enumerate(times)]


@st.composite
def agreements(draw: st.DrawFn) -> Agreement:
    source, recipient = draw(st.permutations(AGENCIES))
    fields = ("groups", "place", "time", "deconfliction_reference")
    granted = st.lists(st.sampled_from(fields), unique=True).map(tuple)
    return Agreement.model_construct(
        id=f"{source}-{draw(st.integers(0, 99))}",
        title="t",
        authority="a",
        source=source,
        recipient=recipient,
        kinds=("housing",),
        grants=draw(st.fixed_dictionaries({REPORTED[0]: granted}, optional={REPORTED[1]: granted})),
        valid_from=START,
        valid_until=None,
    )


def with_agreements(granted: Iterable[Agreement]) -> Site:
    """The site with agreements that grant what no file could: any field of any event."""
    described = {name: getattr(SITE, name) for name in Site.model_fields}
    return Site.model_construct(**{**described, "agreements": tuple({one.id: one for one in granted}.values())})


def alert_on(evidence: Iterable[Evidence]) -> dict[str, Any]:
    situation = Situation(
        ("key",),
        Severity.MEDIUM,
        "Something holds",
        (Subject("ada", "county-jail", "B-ada", "Ada"),),
        tuple(evidence),
        ("Look at it",),
        facility=MAIN,
        until=NOW + DAY,
        cautions=tuple(Cautioned(one, one.value, ()) for one in Caution),
    )
    frame = {"alert_id": "a", "state": "OPEN", "rule": "rule", "kind": "housing", "until": NOW + DAY}
    return {**frame, **content(situation)}


def told(decision: Disclose | Withhold) -> tuple[Any, ...]:
    """All that a recipient learns, or the audit, but for what was reported."""
    if isinstance(decision, Withhold):
        return decision.reason, decision.withheld
    view = {name: value for name, value in decision.view.items() if name not in ("why", "left_out")}
    called_by = [
        why["text"] for why in decision.view["why"] if why["text"].startswith("reference") and not why["agency"]
    ]
    return (
        decision.reason,
        view,
        called_by,
        decision.until,
        decision.agreements,
        decision.named,
        decision.shown,
        decision.withheld,
    )


RECIPIENTS = [
    one.model_copy(update={"kinds": ("housing",), "facilities": ()})
    for one in SITE.recipients
    if one.agency in AGENCIES
]


@settings(max_examples=200)
@given(
    many("feud"),
    st.just([]) | many("member"),
    st.lists(agreements(), min_size=1, max_size=4),
    st.sampled_from(RECIPIENTS),
)
def test_every_recipient_is_told_or_not_told_as_it_would_be_by_all_of_it(
    feud: list[Case], member: list[Case], granted: list[Agreement], recipient: Recipient
) -> None:
    site = with_agreements(granted)
    all_of_it = alert_on(item for case in (*feud, *member) for item in case)
    some = alert_on(item for ground in (feud, member) for item in in_pieces(bounded(ground)))
    assert told(decide(some, recipient, site, NOW)) == told(decide(all_of_it, recipient, site, NOW))
    assert (some["severity"], some["confidence"]) == (all_of_it["severity"], all_of_it["confidence"])


@given(many("feud"), many("member"), st.lists(agreements(), max_size=4), st.sampled_from(RECIPIENTS))
def test_how_many_more_there_are_is_told_of_what_may_be_known_only(
    feud: list[Case], member: list[Case], granted: list[Agreement], recipient: Recipient
) -> None:
    site = with_agreements(granted)
    grounds = [bounded(feud), bounded(member)]
    some = decide(alert_on(item for one in grounds for item in in_pieces(one)), recipient, site, NOW)
    if isinstance(some, Disclose):
        counted = sum(int(why["text"].split()[1]) for why in some.view["why"] if why["text"].endswith("more like this"))
        assert counted <= known_to(recipient, site, feud + member) - known_to(recipient, site, cases_of(grounds))
        torn = [why for why in some.view["why"] if not why["agency"]]
        assert not any("more like this" in why["text"] for why in torn)


def cases_of(grounds: Iterable[Bounded]) -> list[Case]:
    return [case for one in grounds for case in one.cases]


def known_to(recipient: Recipient, site: Site, given: Iterable[Case]) -> int:
    """Cases that a recipient is told of each by itself."""
    return sum(isinstance(decide(alert_on(case), recipient, site, NOW), Disclose) for case in given)


# -- which of it -----------------------------------------------------------------------------------------------------


@given(many("feud"), st.randoms(use_true_random=False), st.integers(0, 25))
def test_which_are_told_depends_neither_on_their_order_nor_on_the_parts_in_which_they_come(
    given_cases: list[Case], shuffle: random.Random, cut: int
) -> None:
    whole = bounded(given_cases)
    shuffled = shuffle.sample(given_cases, len(given_cases))
    again = bounded(shuffled)
    assert (set(again.cases), again.more) == (set(whole.cases), whole.more)
    parts = bounded(shuffled[:cut]), bounded(shuffled[cut:])
    more = {who: parts[0].more.get(who, 0) + parts[1].more.get(who, 0) for one in parts for who in one.more}
    of_parts = bounded(cases_of(parts), more)
    assert (set(of_parts.cases), of_parts.more) == (set(whole.cases), whole.more)
    assert len(whole.cases) + sum(whole.more.values()) == len(given_cases)


def report(day: int, severity: Severity | None = None) -> Case:
    source = Provenance("city-pd", "StreetViolenceReported", event_id(str(day)), START + day * DAY, "t")
    return (Evidence(f"day {day}", ("groups",), source, None, "feud", source.event_id, severity=severity),)


def test_the_gravest_are_told_then_the_newest_and_since_when() -> None:
    grave = {3, 4}
    given_cases = [report(day, Severity.CRITICAL if day in grave else None) for day in range(9)]
    found = list(in_pieces(bounded(given_cases)))
    assert [item.text for item in found] == ["day 0", "day 3", "day 4", "day 8", "And 5 more like this"]
    last, more = found[-2:]
    assert (more.source, more.ground, more.alternative, more.fields) == (
        last.source,
        "feud",
        last.alternative,
        ("groups",),
    )


USUAL: dict[str, Any] = {
    "agency": "city-pd",
    "event_type": REPORTED[0],
    "marked": True,
    "via": "",
    "joined": False,
    "shows": ("groups",),
    "severity": Severity.CRITICAL,
    "confidence": Confidence.HIGH,
    "caution": Caution.WATCH_ONLY,
    "line": Line.NONE,
    "staff": False,
    "reference": False,
    "supports": False,
}


@pytest.mark.parametrize(
    ("differs", "torn"),
    [
        ({"agency": "county-jail"}, False),
        ({"event_type": REPORTED[1]}, False),
        ({"marked": False}, False),
        ({"via": "county-jail number"}, False),
        ({"joined": True}, False),
        ({"shows": ("place",)}, False),
        ({"severity": Severity.HIGH}, False),
        ({"severity": None, "confidence": Confidence.LOW}, False),
        ({"caution": Caution.CALL_FIRST}, False),
        ({"confidence": None}, False),
        ({"line": Line.ABOVE}, False),
        ({"staff": True}, True),
        ({"reference": True}, False),
        ({"supports": True}, False),
    ],
)
def test_one_of_each_kind_is_told_however_many_graver_and_newer_ones_there_are(
    differs: dict[str, Any], torn: bool
) -> None:
    usual = {**USUAL, "line": Line.ABOVE} if torn else USUAL
    given_cases = [case_of(usual, "feud", number, number) for number in range(9)]
    given_cases[1] = other = case_of({**usual, **differs}, "feud", 1, 1)
    found = bounded(given_cases)
    assert other in found.cases
    # The three newest, the oldest, and it.
    assert sum(found.more.values()) == 9 - 5


def test_how_many_more_there_are_is_counted_apart_where_others_may_know_it() -> None:
    given_cases = [case_of({**USUAL, "marked": number % 3 == 0}, "feud", number, number) for number in range(12)]
    told_more = [item for item in in_pieces(bounded(given_cases)) if item.text.startswith("And")]
    counted = {item.source.marked: item.text for item in told_more}
    assert counted == {True: "And 2 more like this", False: "And 5 more like this"}


def test_as_many_as_can_be_told_are_all_told() -> None:
    given_cases = [report(day) for day in range(3)]
    assert list(in_pieces(bounded(given_cases))) == [item for case in given_cases for item in case]


# -- what the bus says -----------------------------------------------------------------------------------------------

HOUSED = [
    *(event("BookingReported", who, name=f"booked-{who}") for who in ("bo", "cy")),
    *(event("HousingAssigned", who, day=1, name=f"housed-{who}", unit="4-B") for who in ("bo", "cy")),
    event("AffiliationValidated", "bo", day=1, name="stg-bo", group="Eastside"),
    event("AffiliationValidated", "cy", day=1, name="stg-cy", group="Harbor"),
]


def fights(count: int) -> list[Event]:
    """Violence between two groups, one report an hour, of which each tenth makes the police expect retaliation."""
    return [
        event(
            "StreetViolenceReported",
            day=2 + number / 24,
            name=f"fight-{number}",
            groups=["Eastside", "Harbor"],
            retaliation_expected=number % 10 == 0,
        )
        for number in range(count)
    ]


@pytest.fixture
def as_shipped() -> Iterator[None]:
    with patch.object(module, "MOST", 50):
        yield


def housed_together(bus: InMemoryBus) -> dict[str, Any]:
    (alert,) = [one for one in bus.open_alerts().values() if one["rule"] == "rivals_housed_together"]
    return alert


@pytest.mark.usefixtures("as_shipped")
def test_a_feud_with_hundreds_of_reports_is_an_alert_of_a_few_kilobytes_that_says_how_many_more_there_are() -> None:
    few, many_fights = (processed(SITE, [*HOUSED, *fights(count)], START + 10 * DAY) for count in (120, 180))
    sizes = [len(encode("AlertRaised", housed_together(bus), SCHEMA_IDS["AlertRaised"])) for bus in (few, many_fights)]
    assert max(sizes) < 40_000
    assert abs(sizes[1] - sizes[0]) < 3_000, "sixty more reports would be 39,000 bytes more"
    shown = many_fights.shown_to("county-jail-watch")[housed_together(many_fights)["alert_id"]]
    told_of = [why["text"] for why in shown["why"] if why["text"].startswith("Violence")]
    (more,) = [why["text"] for why in shown["why"] if why["text"].startswith("And")]
    assert more == f"And {180 - len(told_of)} more like this"
    assert 50 <= len(told_of) <= 54
    assert shown["severity"] == "CRITICAL"


def test_it_ends_in_the_same_alerts_in_whatever_order_the_reports_come() -> None:
    history = [*HOUSED, *fights(20)]
    random.Random(7).shuffle(history)
    bus = processed(SITE, history, START + 10 * DAY)
    assert digests(bus) == from_scratch("demo", [*HOUSED, *fights(20)], START + 10 * DAY)


def test_of_a_side_with_many_members_those_are_persons_of_the_alert_who_are_told_of() -> None:
    crowd = [
        what
        for number in range(6)
        for what in (
            event("BookingReported", f"m{number}", name=f"booked-{number}"),
            event("HousingAssigned", f"m{number}", day=1, name=f"housed-{number}", unit="4-B"),
            event("AffiliationValidated", f"m{number}", day=1 + number / 24, name=f"stg-{number}", group="Eastside"),
        )
    ]
    alert = housed_together(processed(SITE, [*HOUSED, *crowd, *fights(1)], START + 3 * DAY))
    of_it = {item["person_id"] for item in alert["evidence"]} - {None}
    assert {one["person_id"] for one in alert["subjects"]} == of_it
    assert [item["text"] for item in alert["evidence"] if item["text"].startswith("And")] == ["And 3 more like this"]


def test_of_a_review_with_many_reasons_some_are_told_and_how_many_more_there_are() -> None:
    infractions = [
        event("DisciplinaryRecorded", "ada", day=2 + number, name=f"infraction-{number}") for number in range(8)
    ]
    in_custody = [event("BookingReported", "ada"), event("CustodyClassified", "ada", day=1)]
    bus = processed(SITE, [*in_custody, *infractions], START + 12 * DAY)
    (alert,) = [one for one in bus.open_alerts().values() if one["rule"] == "classification_review"]
    texts = [item["text"] for item in alert["evidence"] if item["ground"] == "reason"]
    assert (len(texts), texts[-1]) == (5, "And 4 more like this")


def test_of_many_tips_the_jail_learns_no_number_and_their_author_does() -> None:
    visit = [
        event("BookingReported", "ada", sid="S1", booked_as="Adams, Ada"),
        event("HousingAssigned", "ada", day=1, unit="4-B"),
        event("VisitScheduled", "ada", day=2, visitor_name="Cole, Dana", starts=5.5),
    ]
    tips = [
        event(
            "ContrabandTipped",
            day=3 + number / 24,
            sid="S1",
            name=f"tip-{number}",
            courier_name="Danna Cole",
            method="VISIT",
            handling="CALL_FIRST",
            deconfliction_reference=f"DC-{number}",
        )
        for number in range(7)
    ]
    bus = InMemoryBus(SITE)
    for what in (*visit, *tips):
        bus.publish(what, agency_of(what))
        bus.tick(what.head.time)
        bus.run()
    last = {
        who: [why["text"] for why in bus.history(topics.alerts_for(bus.site.name, who, "contraband"))[-1]["why"]]
        for who in ("county-jail-watch", "city-pd-intel")
    }
    assert not any("more" in text for text in last["county-jail-watch"])
    assert [text for text in last["county-jail-watch"] if "DC-" in text] == ["Deconfliction reference DC-0"]
    assert "And 3 more like this" in last["city-pd-intel"]
    # Nothing that the jail is told changed when one after the other came.
    assert len(bus.history(topics.alerts_for(bus.site.name, "county-jail-watch", "contraband"))) == 1
