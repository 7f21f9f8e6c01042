"""How grave a situation is and how sure the bus is of it, as the evidence makes it; and how names are put in words."""

from __future__ import annotations

import pytest

from schemas.events import AffiliationStatus
from streams.correlations.evidence import membership_in_words
from streams.correlations.situation import (
    Caution,
    Confidence,
    Evidence,
    Severity,
    Situation,
    gravest,
    joined,
    strictest,
    surest_of_all,
)
from streams.facts import Provenance

CRITICAL, HIGH, MEDIUM, LOW = Severity
SURE, MODERATE, UNSURE = Confidence
WATCH, CALL = Caution


@pytest.mark.parametrize(
    ("least", "more", "expected"),
    [
        (LOW, [], LOW),
        (LOW, [None, None], LOW),
        (LOW, [MEDIUM, None, HIGH], HIGH),
        (HIGH, [LOW, MEDIUM], HIGH),
        (LOW, [CRITICAL, HIGH], CRITICAL),
        (MEDIUM, [HIGH], HIGH),
        (MEDIUM, [LOW], MEDIUM),
    ],
)
def test_the_gravest_evidence_counts(least: Severity, more: list[Severity | None], expected: Severity) -> None:
    assert gravest(least, more) is expected


@pytest.mark.parametrize(
    ("cautions", "expected"),
    [([], None), ([CALL], CALL), ([WATCH], WATCH), ([CALL, WATCH], WATCH), ([WATCH, CALL, CALL], WATCH)],
)
def test_of_what_must_not_be_done_the_strictest_is_obeyed(cautions: list[Caution], expected: Caution | None) -> None:
    assert strictest(iter(cautions)) is expected


@pytest.mark.parametrize(
    ("grounds", "expected"),
    [
        ([], None),
        ([("a", None)], None),
        ([("a", UNSURE), ("a", None)], UNSURE),
        ([("a", UNSURE), ("a", SURE)], SURE),
        ([("a", SURE), ("a", UNSURE)], SURE),
        ([("a", MODERATE), ("a", UNSURE)], MODERATE),
        ([("a", UNSURE), ("a", MODERATE)], MODERATE),
        ([("a", SURE), ("b", MODERATE)], MODERATE),
        ([("a", UNSURE), ("b", MODERATE)], UNSURE),
        ([("a", UNSURE), ("b", MODERATE), ("a", SURE)], MODERATE),
    ],
)
def test_a_ground_is_as_sure_as_its_best_evidence_and_the_whole_as_its_least_ground(
    grounds: list[tuple[str, Confidence | None]], expected: Confidence | None
) -> None:
    assert surest_of_all(grounds) is expected


def test_a_situation_of_which_no_evidence_says_how_sure_it_is_is_sure() -> None:
    source = Provenance("county-jail", "HousingAssigned", "e", 0, "t")
    bare = Situation(("k",), LOW, "h", (), (), ())
    graver = Evidence("x", (), source, ground="a", severity=HIGH, confidence=MODERATE)
    assert (bare.severity, bare.confidence) == (LOW, SURE)
    whole = Situation(("k",), LOW, "h", (), (graver, Evidence("y", (), source)), ())
    assert (whole.severity, whole.confidence) == (HIGH, MODERATE)


@pytest.mark.parametrize(
    ("names", "said"), [("", ""), ("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcd", "a, b, c and d")]
)
def test_names_are_said_as_one_says_them(names: str, said: str) -> None:
    assert joined(iter(names)) == said


@pytest.mark.parametrize("status", AffiliationStatus)
def test_who_is_only_suspected_is_called_so(status: AffiliationStatus) -> None:
    member = "suspected member" if status is AffiliationStatus.SUSPECT else "member"
    assert membership_in_words(status, "Eastside") == f"{member} of the group Eastside"
    assert membership_in_words(status, None) == f"{member} of a security threat group"
