"""Feuds: between whom there is violence, how long it counts, and what is known of it after a withdrawal or a purge."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.backtest import SCHEMAS
from streams.correlations.evidence import feud_evidence
from streams.correlations.situation import Severity
from streams.facts import Fact
from streams.pictures.street import Feud, Street
from tests.county import DAY, START, event
from tests.identified import fact_of


def violence(*groups: str, day: float = 0, **fields: Any) -> Fact:
    return fact_of(event("StreetViolenceReported", day=day, groups=list(groups), **fields))


def street(*facts: Fact) -> Street:
    made = Street(SCHEMAS)
    for fact in facts:
        made.add(fact)
    return made


def feuds(known: Street, group: str, day: float) -> list[tuple[tuple[str, str], int]]:
    """In short: the pairs, and how many violent events each has."""
    return [(feud.groups, len(feud.violence)) for feud in known.feuds_of(group, START + int(day * DAY))]


MICROSECOND = 1 / DAY


@pytest.mark.parametrize(
    ("fields", "last_day"),
    [
        ({}, 14),
        ({"retaliation_expected": True}, 30),
        ({"purge_day": 3}, 3),
        ({"retaliation_expected": True, "purge_day": 40}, 30),
    ],
    ids=["two weeks", "a month where retaliation is expected", "until it is purged", "no longer than its window"],
)
def test_violence_counts_until_its_window_has_passed(fields: dict[str, Any], last_day: int) -> None:
    known = street(violence("Eastside", "Harbor", **fields))
    pair = [(("eastside", "harbor"), 1)]
    assert feuds(known, "eastside", last_day - 1) == feuds(known, "harbor", last_day - 1) == pair
    before, then = START + last_day * DAY - 1, START + last_day * DAY
    assert [len(known.feuds_of("eastside", now)) for now in (before, then)] == [1, 0]
    (feud,) = known.feuds_of("eastside", before)
    assert feud.changes_at == then


def test_a_group_is_at_feud_with_each_that_an_event_names_beside_it() -> None:
    known = street(violence("Harbor", "Eastside", "Northside"), violence("Harbor", "Westend", day=1))
    assert feuds(known, "harbor", 2) == [
        (("eastside", "harbor"), 1), (("harbor", "northside"), 1), (("harbor", "westend"), 1),
    ]  # fmt: skip
    assert feuds(known, "westend", 2) == [(("harbor", "westend"), 1)]
    assert feuds(known, "nobody", 2) == []


def test_a_feud_tells_its_violence_in_order_of_time_and_names_its_groups_as_the_latest_does() -> None:
    later, sooner = violence("EASTSIDE", "Harbor  Boys", day=5), violence("eastside", "harbor boys", day=1)
    (feud,) = street(later, sooner).feuds_of("harbor boys", START + 6 * DAY)
    assert [one.fact for one in feud.violence] == [sooner, later]
    assert feud.names == ("EASTSIDE", "Harbor  Boys")
    assert feud.changes_at == START + 15 * DAY, "when the first of its windows passes"
    assert not feud.retaliation_expected
    grave = violence("eastside", "harbor boys", day=2, retaliation_expected=True)
    (feud,) = street(later, sooner, grave).feuds_of("harbor boys", START + 6 * DAY)
    assert feud.retaliation_expected


def test_a_feud_that_was_asked_about_before_is_told_as_it_is_now() -> None:
    first, second, elsewhere = (
        violence("Eastside", "Harbor"), violence("Eastside", "Harbor", day=1), violence("Northside", "Westend", day=1),
    )  # fmt: skip
    known = street(first)
    asked = [feuds(known, "eastside", 2)]
    for fact in (elsewhere, second):
        known.add(fact)
        asked.append(feuds(known, "eastside", 2))
    known.remove(first.event_key)
    asked += [feuds(known, "eastside", day) for day in (2, 14, 15, 2)]
    assert [found[0][1] if found else 0 for found in asked] == [1, 1, 2, 1, 1, 0, 1]


FOUR: tuple[str, ...] = ("Eastside", "Harbor", "Northside", "Westend")
REPORTS = tuple(
    violence(*groups, day=day, name=f"report {day}")
    for day, groups in enumerate([*combinations(FOUR, 2), *combinations(FOUR, 3), ("EASTSIDE", "Harbor")])
)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(REPORTS)), max_size=20))
def test_whatever_comes_and_goes_feuds_are_as_if_nobody_had_asked_before(changes: list[tuple[bool, Fact]]) -> None:
    known, there = Street(SCHEMAS), dict[Any, Fact]()
    for comes, fact in changes:
        if comes:
            known.add(fact)
            there[fact.event_key] = fact
        else:
            known.remove(fact.event_key)
            there.pop(fact.event_key, None)
        anew = street(*there.values())
        for group in map(str.casefold, FOUR):
            assert known.feuds_of(group, START + 12 * DAY) == anew.feuds_of(group, START + 12 * DAY)


def test_violence_whose_window_has_passed_hides_none_that_counts() -> None:
    facts = [violence("Eastside", "Harbor", day=day) for day in (*range(6), 20, 21)]
    for order in (facts, facts[::-1]):
        assert feuds(street(*order), "eastside", 22) == [(("eastside", "harbor"), 2)]


def test_the_same_fact_twice_changes_nothing() -> None:
    known, fact = Street(SCHEMAS), violence("Eastside", "Harbor")
    assert known.add(fact) == (frozenset({"eastside", "harbor"}), None)
    assert known.add(fact) == (None, None)
    assert known.facts_of(fact.event_key) == (fact,)
    assert known.groups_of(fact.event_key) == {"eastside", "harbor"}


def test_what_is_no_street_violence_is_no_feud() -> None:
    known, fact = Street(SCHEMAS), fact_of(event("BookingReported", "ada"))
    assert known.add(fact) == (None, None)
    assert known.facts_of(fact.event_key) == ()
    assert known.groups_of(fact.event_key) == frozenset()


def test_what_was_withdrawn_is_known_no_more() -> None:
    taken, stays = violence("Eastside", "Harbor"), violence("Eastside", "Westend", day=1)
    known = street(taken, stays)
    assert known.remove(taken.event_key) == {"eastside", "harbor"}
    assert feuds(known, "eastside", 2) == [(("eastside", "westend"), 1)]
    assert feuds(known, "harbor", 2) == []
    assert known.facts_of(taken.event_key) == ()
    assert known.remove(taken.event_key) == frozenset()


TWO = [violence("Eastside", group, name="one id", place=f"at {group}") for group in ("Harbor", "Westend")]


@pytest.mark.parametrize("order", [TWO, TWO[::-1]], ids=["one way", "the other way"])
def test_of_two_contents_one_stands_and_when_it_goes_the_other_does(order: list[Fact]) -> None:
    known = Street(SCHEMAS)
    assert known.add(order[0]) == (known_of(order[0]), None)
    changed, conflict = known.add(order[1])
    stands, falls = known.facts_of(order[0].event_key)
    assert conflict is not None
    assert (conflict.stands, conflict.falls) == (stands, falls)
    of_stands, of_falls = (known_of(fact) for fact in (stands, falls))
    assert changed == (of_stands | of_falls if stands is order[1] else None)
    assert known.groups_of(stands.event_key) == of_stands
    assert known.forget(falls.event_key, "of nothing") == frozenset()
    assert known.forget(stands.event_key, stands.key.variant) == of_stands | of_falls
    assert known.groups_of(falls.event_key) == of_falls
    assert known.facts_of(falls.event_key) == (falls,)
    assert known.forget(falls.event_key, falls.key.variant) == of_falls
    assert known.facts_of(falls.event_key) == ()
    assert feuds(known, "eastside", 1) == []


def known_of(fact: Fact) -> frozenset[str]:
    """The groups that a fact speaks of."""
    return street(fact).groups_of(fact.event_key)


def the_feud(*facts: Fact) -> Feud:
    (feud,) = street(*facts).feuds_of("eastside", START + 6 * DAY)
    return feud


EXPECTED = violence("Eastside", "Harbor", place="5th and Main", retaliation_expected=True)
NOWHERE = violence("Eastside", "Harbor", day=1, place="")


def test_a_feud_is_told_in_pieces_that_can_be_granted_one_by_one() -> None:
    found = list(feud_evidence([the_feud(EXPECTED, NOWHERE)], expected=Severity.CRITICAL))
    assert [(one.text, one.fields, one.severity) for one in found] == [
        ("Violence between the groups Eastside and Harbor", ("groups",), None),
        ("It happened at 5th and Main", ("place",), None),
        ("Retaliation is expected", ("retaliation_expected",), Severity.CRITICAL),
        ("Violence between the groups Eastside and Harbor", ("groups",), None),
    ]
    assert {one.ground for one in found} == {"feud"}
    facts = [EXPECTED, EXPECTED, EXPECTED, NOWHERE]
    assert [one.alternative for one in found] == [fact.event_id for fact in facts]
    assert [one.source for one in found] == [fact.provenance for fact in facts]
    assert {one.person for one in found} == {None}


def test_how_grave_a_feud_is_told_depends_on_who_asks_and_its_names_on_the_latest_event() -> None:
    known = street(violence("Eastside", "Harbor", retaliation_expected=True))
    (feud,) = known.feuds_of("harbor", START)
    for expected in (None, Severity.CRITICAL, None):
        assert [item.severity for item in feud_evidence([feud], expected=expected)][-1] is expected
    known.add(violence("EASTSIDE", "Harbor", day=1, name="it is written otherwise"))
    (feud,) = known.feuds_of("harbor", START + DAY)
    texts = [item.text for item in feud_evidence([feud]) if item.fields == ("groups",)]
    assert texts == ["Violence between the groups EASTSIDE and Harbor"] * 2


@pytest.mark.parametrize(("since", "carry"), [(-1, [True, True]), (0, [False, True]), (1, [False, False])])
def test_violence_up_to_a_moment_only_supports(since: int, carry: list[bool]) -> None:
    quiet = [
        replace(fact, time=START + day * DAY)
        for day, fact in enumerate((NOWHERE, violence("Eastside", "Harbor", place="")))
    ]
    found = list(feud_evidence([the_feud(*quiet)], since=START + since * DAY))
    assert [one.ground for one in found] == ["feud" if one else "" for one in carry]
    assert [one.alternative for one in found] == [
        fact.event_id if one else "" for fact, one in zip(quiet, carry, strict=True)
    ]
