"""The people of the simulated county: whoever shares a name does so on purpose, and clerks make mistakes."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

from producers.simulator.people import FAMILY, GIVEN, SHORTEST_MISSPELT, People, misspelt, written
from streams.names import LEAST_LIKENESS, likeness

NAMES = sorted({*GIVEN, *FAMILY})


@pytest.mark.parametrize("names", [GIVEN, FAMILY, NAMES], ids=["given", "family", "both"])
def test_no_two_names_are_alike(names: list[str]) -> None:
    assert len(names) == len(set(names))
    alike = [
        pair
        for pair in combinations(names, 2)
        if JaroWinkler.similarity(pair[0].casefold(), pair[1].casefold()) >= LEAST_LIKENESS - 0.05
    ]
    assert alike == []


def test_a_namesake_is_another_person_born_on_another_day() -> None:
    people = People(random.Random(1), "1")
    one = people.somebody()
    other = people.namesake(one)
    assert other.has_name_of(one)
    assert (other.born, other.sid, other.number) != (one.born, one.sid, one.number)
    assert other.born != one.born
    assert other.sid != one.sid


def test_a_name_is_given_twice_only_when_all_were_given() -> None:
    people = People(random.Random(1), "1")
    first = [people.somebody().name for _ in range(len(GIVEN) * len(FAMILY))]
    assert len(set(first)) == len(first)
    assert people.somebody().name == first[0]


@given(st.integers(0, 10_000))
def test_a_mistake_is_one_letters(seed: int) -> None:
    choose = random.Random(seed)
    name = People(choose, "1").somebody().name
    assert DamerauLevenshtein.distance(misspelt(name, choose), name) <= 1


def test_a_short_name_is_written_as_it_is() -> None:
    assert misspelt("Ivo Abe", random.Random(1)) == "Ivo Abe"
    assert min(len(part) for part in ("Ivo", "Abe")) < SHORTEST_MISSPELT


@given(st.integers(0, 10_000))
def test_however_it_is_written_it_is_the_same_name(seed: int) -> None:
    choose = random.Random(seed)
    person = People(choose, "1").somebody()
    assert likeness(written(person, choose), person.name) == 1.0
