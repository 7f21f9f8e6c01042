"""rivals_housed_together in detail: who counts as a rival of whom, and what is said of each."""

from __future__ import annotations

import pytest

from streams.backtest import SCHEMAS
from streams.correlations.rivals_housed_together import CORRELATION, situations
from streams.correlations.situation import Confidence, Evidence, Severity, Situation, Subject
from streams.facts import read_fact
from streams.pictures.facility import FacilityPicture, UnitKey
from streams.records import LoggedRecord
from tests.county import DAY, MAIN, START
from tests.facility_facts import HOUSED, SAID, placed, violence

UNIT = UnitKey(MAIN, "4-A")
FEUD = violence(retaliation_expected=True)
NOW = START + DAY
ADA, BO = placed("ada"), placed("bo", groups=("Harbor",))
BOTH = placed(groups=("Eastside", "Harbor"))
ASSOCIATE, DROPOUT = (placed("bo", groups=("Harbor",), status=status) for status in ("ASSOCIATE", "DROPOUT"))


def found(*records: LoggedRecord, now: int = NOW) -> set[Situation]:
    picture = FacilityPicture(SCHEMAS)
    for record in records:
        picture.fold(record)
    return situations(picture, UNIT, now)


def test_a_situation_says_who_is_of_which_side_and_what_to_do() -> None:
    street = read_fact(FEUD).provenance
    it = street.event_id
    sure, shows = Confidence.MODERATE, ("persons", "group", "status")
    (situation,) = found(ADA, placed("bo", groups=("Harbor",), status="SUSPECT"), FEUD)
    sides = [
        ("ada", "first side", "member of the group Eastside", Confidence.HIGH),
        ("bo", "second side", "suspected member of the group Harbor", sure),
    ]
    assert situation == Situation(
        key=(MAIN, "4-A", "eastside", "harbor"),
        least_severity=Severity.HIGH,
        headline="Members of feuding groups are housed together in 4-A",
        subjects=(Subject("ada", "county-jail", "B-ada", "Ada"), Subject("bo", "county-jail", "B-bo", "Bo")),
        evidence=(
            Evidence("Violence between the groups Eastside and Harbor", ("groups",), street, None, "feud", it),
            Evidence("It happened at 5th and Main", ("place",), street, None, "feud", it),
            Evidence("Retaliation is expected", ("retaliation_expected",), street, None, "feud", it, Severity.CRITICAL),
            *(
                item
                for who, side, text, how_sure in sides
                for item in (
                    Evidence(text, shows, SAID, who, side, f"{who}/{SAID.event_id}", confidence=how_sure),
                    Evidence("housed in 4-A", ("unit",), HOUSED, who, side, f"{who}/{SAID.event_id}"),
                )
            ),
        ),
        actions=(
            "Keep the two sides apart now: separate movement, meals and recreation for this unit",
            "Find out who threatens whom, and move those who threaten to another unit, not those who are threatened",
            "Tell the next shift and the facility's gang (STG) staff",
        ),
        facility=MAIN,
        unit="4-A",
        until=START + 30 * DAY,
    )


@pytest.mark.parametrize(
    ("case", "records", "pairs"),
    [
        ("one of each side", [ADA, BO, FEUD], [("eastside", "harbor")]),
        ("nobody of the other side", [ADA, placed("bo"), FEUD], []),
        ("the other side is elsewhere", [ADA, placed("bo", "4-B", groups=("Harbor",)), FEUD], []),
        ("no feud", [ADA, BO], []),
        ("a feud with others", [ADA, BO, violence(groups=("Eastside", "Westend"))], []),
        ("who is of both groups is no rival of himself", [BOTH, FEUD], []),
        ("one of both groups, and another", [BOTH, BO, FEUD], [("eastside", "harbor")]),
        ("associates do not count", [ADA, placed("cy"), ASSOCIATE, FEUD], []),
        ("who has dropped out does not", [ADA, placed("cy"), DROPOUT, FEUD], []),
        (
            "each pair stands for itself, and a group without a feud hides none",
            [
                placed("al", groups=("Aces",)),
                ADA,
                BO,
                placed("cy", groups=("Westend",)),
                FEUD,
                violence("2", ("Westend", "Harbor")),
            ],
            [("eastside", "harbor"), ("harbor", "westend")],
        ),
        (
            "a feud with a group that is not there hides none",
            [ADA, BO, violence("2", ("Aces", "Eastside")), FEUD],
            [("eastside", "harbor")],
        ),
    ],
)
def test_who_is_a_rival_of_whom(case: str, records: list[LoggedRecord], pairs: list[tuple[str, str]]) -> None:
    assert sorted(one.key[2:] for one in found(*records)) == pairs, case


def test_the_members_of_a_side_are_told_in_an_order_of_their_own() -> None:
    cy = placed("cy", groups=("Eastside", "eastside"))
    (one,), (other,) = found(cy, ADA, BO, FEUD), found(FEUD, BO, ADA, cy)
    assert one == other
    assert [subject.person for subject in one.subjects] == ["ada", "bo", "cy"]
    assert [item.person for item in one.evidence if item.person] == ["ada", "ada", "cy", "cy", "cy", "cy", "bo", "bo"]


def test_when_the_feud_is_over_nothing_holds() -> None:
    assert [len(found(ADA, BO, FEUD, now=START + 30 * DAY + later)) for later in (-1, 0)] == [1, 0]


def test_it_is_asked_when_custody_or_the_street_changes() -> None:
    assert CORRELATION.triggers == {"PersonInCustody", "StreetViolenceReported"}
    assert CORRELATION.situations is situations
