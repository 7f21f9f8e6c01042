"""Contents under one event id: which of them stands does not depend on which came first."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from schemas.codec import digest
from schemas.events import Event
from streams.facts import Fact, Rarity, event_key, sort_of
from streams.pictures.variants import with_variant
from tests.county import JAIL, START, event, event_id

EVENTS: dict[bytes, Event] = {
    raw: event("CustodyEnded", "ada", name="one id", reason=reason)
    for raw, reason in ((b"1", "BAIL"), (b"2", "COURT_ORDER"), (b"3", "BAIL"), (b"4", "BAIL"))
}
"""By the bytes in which they came: some say the same in other bytes, as another version of the schema makes them."""


def read(fact: Fact) -> Event:
    return EVENTS[fact.raw]


def fact(raw: bytes, same_as: str | None = None) -> Fact:
    key, sort = event_key(JAIL, event_id("one id")), sort_of("CustodyEnded", "t", False, "")
    return Fact("p", key, "subject", sort, START, 0, raw, Rarity(same_as=same_as))


def ranked(*raws: bytes) -> list[Fact]:
    """Facts of other content, the one that stands first: that with the smaller digest of what it says."""
    said = {raw: digest(["CustodyEnded", EVENTS[raw].model_dump(mode="json")]) for raw in raws}
    return [fact(raw) for raw in sorted(raws, key=said.__getitem__)]


def raws(variants: tuple[Fact, ...]) -> list[bytes]:
    return [one.raw for one in variants]


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_contents_that_with_the_smaller_digest_stands_and_the_other_is_a_conflict(turned: bool) -> None:
    stands, falls = ranked(b"1", b"2")
    first, second = (falls, stands) if turned else (stands, falls)
    variants, conflict = with_variant((first,), second, read)
    assert variants == (stands, falls)
    assert conflict is not None
    assert (conflict.stands, conflict.falls) == (stands, falls)


def test_the_first_content_and_the_same_again_are_no_conflict() -> None:
    one = fact(b"1")
    assert with_variant((), one, read) == ((one,), None)
    another_way = replace(one, person="q")
    assert with_variant((one,), another_way, read) == ((another_way,), None)


def test_the_same_content_by_another_number_is_kept_beside_it_behind_what_names_the_person_itself() -> None:
    one = fact(b"1")
    by_a, by_b = (replace(one, rarity=Rarity(origin=number)) for number in "ab")
    # Written with another version of the schema, as well.
    assert with_variant((replace(fact(b"1"), rarity=Rarity(origin="a")),), fact(b"3"), read)[0][0].raw == b"3"
    for known, comes in permutations([one, by_a, by_b], 2):
        wanted = tuple(sorted((known, comes), key=lambda fact: fact.forwarded_from))
        assert with_variant((known,), comes, read) == (wanted, None)
    assert with_variant((one, by_a), replace(by_a), read)[0][0] is one
    assert len(with_variant((one, by_a), replace(by_a), read)[0]) == 2


@pytest.mark.parametrize(
    ("known", "comes", "order"),
    [
        (fact(b"1"), fact(b"3"), [b"1", b"3"]),
        (fact(b"3"), fact(b"1"), [b"1", b"3"]),
        (fact(b"1", "2/a"), fact(b"3", "2/a"), [b"1", b"3"]),
    ],
)
def test_the_same_said_in_other_bytes_is_no_conflict(known: Fact, comes: Fact, order: list[bytes]) -> None:
    variants, conflict = with_variant((known,), comes, read)
    assert (raws(variants), conflict) == (order, None)


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        (fact(b"1", "2/b"), fact(b"3", "1/a"), [b"3", b"1"]),
        (fact(b"3", "1/a"), fact(b"1", "2/b"), [b"3", b"1"]),
        (fact(b"1", "1/a"), fact(b"3", None), [b"3", b"1"]),
    ],
    ids=["to a stronger number", "to a weaker one", "to nobody"],
)
def test_what_joins_to_another_number_is_another_content(first: Fact, second: Fact, order: list[bytes]) -> None:
    variants, conflict = with_variant((first,), second, read)
    assert raws(variants) == order
    assert conflict is not None
    assert raws((conflict.stands, conflict.falls)) == order


def test_a_third_content_falls_to_the_one_that_stood() -> None:
    variants, conflict = with_variant((fact(b"1"), fact(b"3")), fact(b"2"), read)
    assert sorted(raws(variants)) == [b"1", b"2", b"3"]
    assert conflict is not None
    assert {conflict.stands.raw, conflict.falls.raw} == {b"1", b"2"}
