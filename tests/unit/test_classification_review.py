"""classification_review in detail: what a classification does not know of yet, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import topics
from schemas.events import Event
from streams.backtest import SCHEMAS
from streams.correlations.classification_review import CHECK_HOUSING, CORRELATION, REVIEW, situations
from streams.correlations.situation import Evidence, Severity, Situation, Subject
from streams.facts import Provenance
from streams.pictures.person import PersonPicture
from tests.county import DAY, MAIN, START, agency_of, demo_site, event
from tests.in_memory_bus import InMemoryBus

NOW = START + 6 * DAY
BOOKED = event("BookingReported", "ada", name="booked").model_copy(update={"name": "Adams, Ada"})
CLASSIFIED = event("CustodyClassified", "ada", day=1, name="classified")
MEMBER = event("AffiliationValidated", "ada", day=2, name="member", group="Eastside")
EARLY = event("AffiliationValidated", "ada", day=0.5, name="early", group="Eastside")
FEUD = event("StreetViolenceReported", day=3, name="feud", groups=["Eastside", "Harbor"], place="")
OLD_FEUD = event("StreetViolenceReported", day=0.5, name="old", groups=["Eastside", "Harbor"], place="")


def infraction(day: float = 2, **fields: Any) -> Event:
    return event("DisciplinaryRecorded", "ada", day=day, name="infraction", **fields)


def found(*events: Event, now: int = NOW) -> dict[str, Situation]:
    """What holds of the one person, by what it is about."""
    bus, picture = InMemoryBus(demo_site(partitions=1)), PersonPicture(SCHEMAS)
    for what in events:
        bus.publish(what, agency_of(what))
    persons: set[str] = set()
    for record in bus.logs[topics.person_facts("demo"), 0]:
        persons |= picture.fold(record).persons
    (person,) = persons
    review = situations(picture, person, now)
    assert {(one.key[0], person_of(one)) for one in review} <= {(person, person)}
    return {one.key[-1]: one for one in review}


def person_of(situation: Situation) -> str:
    return situation.subjects[0].person


def source(what: Event, via: str = "county-jail number") -> Provenance:
    kind, agency = type(what).__name__, agency_of(what)
    topic = topics.inbound("demo", agency, kind)
    return Provenance(agency, kind, what.head.event_id, what.head.time, topic, via)


def test_what_the_facility_recorded_since_is_told_with_its_reasons() -> None:
    what = infraction(infraction="101.11", severity="MAJOR", violent=True)
    (situation,) = found(BOOKED, CLASSIFIED, what, MEMBER).values()
    who = person_of(situation)
    assert situation == Situation(
        key=(who, MAIN, "B-ada", "recorded"),
        least_severity=Severity.MEDIUM,
        headline="Classification due for review: new infraction and new validated affiliation",
        subjects=(Subject(who, "county-jail", "B-ada", "Adams, Ada"),),
        evidence=(
            Evidence("Classified minimum", ("level",), source(CLASSIFIED), who, "classified"),
            Evidence(
                "Infraction recorded: rule 101.11, major, violent",
                ("infraction", "severity", "violent"),
                source(what),
                who,
                "reason",
                what.head.event_id,
                Severity.HIGH,
            ),
            Evidence(
                "Validated: member of the group Eastside",
                ("group", "status"),
                source(MEMBER),
                who,
                "reason",
                MEMBER.head.event_id,
            ),
        ),
        actions=(
            f"{REVIEW}: an infraction and a validated affiliation came after it",
            CHECK_HOUSING,
        ),
        facility=MAIN,
    )


def test_a_feud_on_the_street_is_told_with_the_membership_that_it_concerns() -> None:
    situation = found(BOOKED, CLASSIFIED, EARLY, OLD_FEUD, FEUD)["feud"]
    who = person_of(situation)
    text, shows = "Violence between the groups Eastside and Harbor", ("groups",)
    assert situation == Situation(
        key=(who, MAIN, "B-ada", "feud"),
        least_severity=Severity.HIGH,
        headline="Classification due for review: new feud on the street",
        subjects=(Subject(who, "county-jail", "B-ada", "Adams, Ada"),),
        evidence=(
            Evidence("Classified minimum", ("level",), source(CLASSIFIED), who, "classified"),
            Evidence(
                "Validated: member of the group Eastside",
                ("group", "status"),
                source(EARLY),
                who,
                "member",
                EARLY.head.event_id,
            ),
            Evidence(text, shows, source(OLD_FEUD, "")),
            Evidence(text, shows, source(FEUD, ""), None, "feud", FEUD.head.event_id),
        ),
        actions=(f"{REVIEW}: a feud on the street came after it", CHECK_HOUSING),
        facility=MAIN,
        until=OLD_FEUD.head.time + 14 * DAY,
    )


@pytest.mark.parametrize(
    ("fields", "text", "severity"),
    [
        ({"infraction": "1.1", "severity": "MINOR", "violent": False}, "Infraction recorded: rule 1.1, minor", None),
        (
            {"infraction": "1.1", "severity": "UNKNOWN", "violent": True},
            "Infraction recorded: rule 1.1, violent",
            Severity.HIGH,
        ),
        ({"infraction": "", "severity": "MAJOR", "violent": False}, "Infraction recorded: major", Severity.HIGH),
        ({"infraction": "", "severity": "UNKNOWN", "violent": False}, "Infraction recorded", None),
    ],
)
def test_of_an_infraction_what_is_known_is_said(fields: dict[str, Any], text: str, severity: Severity | None) -> None:
    situation = found(BOOKED, CLASSIFIED, infraction(**fields))["recorded"]
    assert (situation.evidence[1].text, situation.evidence[1].severity) == (text, severity)
    assert situation.headline == "Classification due for review: new infraction"
    assert situation.actions[0] == f"{REVIEW}: an infraction came after it"


def validated(group: str | None = "Eastside", day: float = 2, **fields: Any) -> Event:
    return event("AffiliationValidated", "ada", day=day, name=f"of {group} on {day}", group=group, **fields)


def level(name: str) -> Event:
    return event("CustodyClassified", "ada", day=1, name="classified", level=name)


@pytest.mark.parametrize(
    ("case", "events", "about"),
    [
        ("nothing came since", [BOOKED, CLASSIFIED, EARLY], []),
        ("it came in the same moment", [BOOKED, CLASSIFIED, infraction(day=1)], []),
        ("so did a validation", [BOOKED, CLASSIFIED, validated(day=1)], []),
        (
            "and so did a feud",
            [
                BOOKED,
                CLASSIFIED,
                EARLY,
                FEUD.model_copy(update={"head": FEUD.head.model_copy(update={"time": START + DAY})}),
            ],
            [],
        ),
        ("it was in another stay", [BOOKED, CLASSIFIED, infraction(booking_number="B-2")], []),
        ("who was never classified needs no review", [BOOKED, infraction()], []),
        (
            "who is not in custody needs none",
            [BOOKED, CLASSIFIED, infraction(), event("CustodyEnded", "ada", day=3)],
            [],
        ),
        ("medium is reviewed", [BOOKED, level("MEDIUM"), infraction()], ["recorded"]),
        ("maximum is not", [BOOKED, level("MAXIMUM"), infraction()], []),
        ("a suspicion is a reason", [BOOKED, CLASSIFIED, validated(status="SUSPECT")], ["recorded"]),
        ("an association is none", [BOOKED, CLASSIFIED, validated(status="ASSOCIATE")], []),
        ("who has dropped out since", [BOOKED, CLASSIFIED, MEMBER, validated(day=3, status="DROPOUT")], []),
        (
            "another group's end ends nothing",
            [BOOKED, CLASSIFIED, MEMBER, validated("Harbor", 3, status="DROPOUT")],
            ["recorded"],
        ),
        ("a member's feud", [BOOKED, CLASSIFIED, EARLY, FEUD], ["feud"]),
        ("a suspect's is none", [BOOKED, CLASSIFIED, validated(day=0.5, status="SUSPECT"), FEUD], []),
        ("a feud from before", [BOOKED, CLASSIFIED, EARLY, OLD_FEUD], []),
        ("both", [BOOKED, CLASSIFIED, MEMBER, FEUD], ["feud", "recorded"]),
    ],
)
def test_when_a_classification_is_to_be_reviewed(case: str, events: list[Event], about: list[str]) -> None:
    assert sorted(found(*events)) == about, case


@pytest.mark.parametrize(
    ("group", "status", "text"),
    [
        ("Eastside", "SUSPECT", "Validated: suspected member of the group Eastside"),
        (None, "MEMBER", "Validated: member of a security threat group"),
    ],
)
def test_a_standing_is_told_as_it_was_validated(group: str | None, status: str, text: str) -> None:
    situation = found(BOOKED, CLASSIFIED, validated(group, status=status))["recorded"]
    assert situation.evidence[-1].text == text
    assert situation.headline == "Classification due for review: new validated affiliation"
    assert situation.actions[0] == f"{REVIEW}: a validated affiliation came after it"


def test_the_unit_is_the_one_where_the_person_is_now() -> None:
    housed = event("HousingAssigned", "ada", day=0.5, name="housed", unit="4-A")
    moved = event("HousingAssigned", "ada", day=4, name="moved", unit="4-B")
    both = BOOKED, CLASSIFIED, MEMBER, FEUD
    assert {one.unit for one in found(*both).values()} == {None}
    assert {one.unit for one in found(*both, housed).values()} == {"4-A"}
    assert {one.unit for one in found(*both, moved, housed).values()} == {"4-B"}


def test_who_was_never_booked_has_no_name() -> None:
    situation = found(CLASSIFIED, infraction())["recorded"]
    assert situation.subjects[0].name is None


def test_it_ends_when_the_first_of_its_feuds_changes() -> None:
    second = event("StreetViolenceReported", day=2, name="second", groups=["Eastside", "Westend"])
    situation = found(BOOKED, CLASSIFIED, EARLY, FEUD, second)["feud"]
    assert situation.until == START + 16 * DAY
    texts = [one.text for one in situation.evidence if one.ground == "feud" and one.fields == ("groups",)]
    assert texts == [
        "Violence between the groups Eastside and Harbor",
        "Violence between the groups Eastside and Westend",
    ]
    assert CORRELATION.situations is situations
