"""Standing by: each number has its standbys, a number moves to who is ready for it, and nothing else moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import Claim, Share, shared_out

counts = st.integers(1, 16)
each = st.integers(1, 3)
numbers = st.frozensets(st.integers(0, 20), max_size=12)


@st.composite
def a_claim(draw: st.DrawFn) -> Claim:
    follows = draw(numbers)
    some_of_them = st.frozensets(st.sampled_from(sorted(follows))) if follows else st.just(frozenset())
    gave_up = draw(some_of_them)
    ready = draw(some_of_them) - gave_up
    return Claim(draw(st.integers(0, 5)), draw(numbers), follows, ready, gave_up, draw(some_of_them))


members = st.dictionaries(st.sampled_from("abcdef"), a_claim(), min_size=1)
Shares = dict[str, Share]


def some(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def claims_of(shares: Shares, epoch: int, *, ready: bool = True) -> dict[str, Claim]:
    """What the members say in the next round, ready for all that they stand by for, or for nothing."""
    return {
        m: Claim(epoch, s.numbers, s.standbys, s.standbys if ready else some(), awaited=s.awaited)
        for m, s in shares.items()
    }


def settled(count: int, names: list[str], standbys: int) -> Shares:
    """How it is shared out when nothing happens any more."""
    shares = shared_out(count, {name: Claim() for name in names}, standbys)
    for epoch in range(1, 5):
        shares = shared_out(count, claims_of(shares, epoch), standbys)
    return shares


CASES = [
    (
        "who is alone owns all, and nobody stands by",
        {"a": Claim()},
        {"a": Share(some(0, 1, 2, 3))},
    ),
    (
        "where nobody has anything each is given its share, and stands by for the rest",
        {"a": Claim(), "b": Claim()},
        {"a": Share(some(0, 1), some(2, 3)), "b": Share(some(2, 3), some(0, 1))},
    ),
    (
        "who comes new follows what it is to own, and the owner goes on",
        {"a": Claim(1, some(0, 1, 2, 3)), "b": Claim()},
        {"a": Share(some(0, 1, 2, 3)), "b": Share(some(), some(0, 1, 2, 3), some(2, 3))},
    ),
    (
        "who is ready is given its share, and the owner before stands by for it",
        {"a": Claim(2, some(0, 1, 2, 3)), "b": Claim(2, some(), some(0, 1, 2, 3), some(0, 1, 2, 3))},
        {"a": Share(some(0, 1), some(2, 3)), "b": Share(some(2, 3), some(0, 1))},
    ),
    (
        "ready for a part, it is given that part",
        {"a": Claim(2, some(0, 1, 2, 3)), "b": Claim(2, some(), some(0, 1, 2, 3), some(3))},
        {"a": Share(some(0, 1, 2), some(3)), "b": Share(some(3), some(0, 1, 2), some(2))},
    ),
    (
        "a dead worker's numbers go to who stood by, though one that comes new at the same time has nothing yet",
        {"b": Claim(3, some(2, 3), some(0, 1), some(0, 1)), "new": Claim()},
        {"b": Share(some(0, 1, 2, 3)), "new": Share(some(), some(0, 1, 2, 3), some(0, 1))},
    ),
    (
        "where nobody is ready for a dead worker's numbers they go by the share",
        {"b": Claim(3, some(2, 3), some(0, 1)), "new": Claim()},
        {"b": Share(some(2, 3), some(0, 1)), "new": Share(some(0, 1), some(2, 3))},
    ),
    (
        "of three, each of a dead worker's numbers goes to its own standby",
        {"b": Claim(3, some(2, 3), some(0, 4), some(0, 4)), "c": Claim(3, some(4, 5), some(1, 2), some(1, 2))},
        {"b": Share(some(0, 2, 3), some(1, 4, 5)), "c": Share(some(1, 4, 5), some(0, 2, 3))},
    ),
    (
        "who was away claims what it has lost: who is ready is before it",
        {"away": Claim(3, some(0, 1)), "here": Claim(5, some(2, 3), some(0, 1), some(0, 1))},
        {"away": Share(some(), some(0, 1, 2, 3), some(0, 1)), "here": Share(some(0, 1, 2, 3))},
    ),
    (
        "of a dead worker's numbers, one that its standby gave up goes by the share",
        {"b": Claim(3, some(2, 3), some(0, 1), some(0), some(1)), "new": Claim()},
        {"b": Share(some(0, 2, 3), some(1)), "new": Share(some(1), some(0, 2, 3), some(0))},
    ),
    (
        "who awaits a number is given it, and not one that has as few",
        {
            "a": Claim(2, some(0)),
            "b": Claim(2, some(2, 3, 4)),
            "c": Claim(2, some(1), some(4), some(4), awaited=some(4)),
        },
        {"a": Share(some(0), some(1, 2)), "b": Share(some(2, 3), some(4)), "c": Share(some(1, 4), some(0, 3))},
    ),
    (
        "who gave up one that it was to own awaits another instead",
        {"a": Claim(2, some(0, 1, 2, 3)), "b": Claim(2, some(), some(0, 1, 2, 3), some(2), some(3))},
        {"a": Share(some(0, 1, 3), some(2)), "b": Share(some(2), some(0, 1, 3), some(1))},
    ),
    (
        "who is ready for others is given these",
        {"a": Claim(2, some(0, 1, 2, 3)), "b": Claim(2, some(), some(0, 1, 2, 3), some(0, 1), some(2, 3))},
        {"a": Share(some(2, 3), some(0, 1)), "b": Share(some(0, 1), some(2, 3))},
    ),
    (
        "who gave up all has its share all the same, and recovers it from the beginning",
        {"a": Claim(2, some(0, 1, 2, 3)), "b": Claim(2, some(), some(0, 1, 2, 3), some(), some(0, 1, 2, 3))},
        {"a": Share(some(0, 1), some(2, 3)), "b": Share(some(2, 3), some(0, 1))},
    ),
    (
        "who can hold it stands by in place of one that gave it up",
        {
            "a": Claim(2, some(0, 1), some(2)),
            "b": Claim(2, some(2, 3), some(0, 4), some(4), some(0)),
            "c": Claim(2, some(4, 5), some(1, 3, 5), some(1, 3, 5)),
        },
        {
            "a": Share(some(0, 1), some(2, 5)),
            "b": Share(some(2, 3), some(4)),
            "c": Share(some(4, 5), some(0, 1, 3)),
        },
    ),
    (
        "of two who are ready, who has the fewest is given what nobody has",
        {
            "a": Claim(2, some(2), some(0, 1), some(0, 1)),
            "b": Claim(2, some(3), some(0, 1), some(0, 1)),
            "new": Claim(),
        },
        {"a": Share(some(0, 2), some(3)), "b": Share(some(1, 3), some(0, 2)), "new": Share(some(), some(1), some(1))},
    ),
    (
        "who is ready stands by rather than who only follows, and for no more than its share",
        {
            "a": Claim(2, some(0)),
            "b": Claim(2, some(1), some(0)),
            "c": Claim(2, some(2), some(0, 1), some(0, 1)),
        },
        {"a": Share(some(0), some(1)), "b": Share(some(1), some(2)), "c": Share(some(2), some(0))},
    ),
]


@pytest.mark.parametrize(("claims", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_shared_out(claims: dict[str, Claim], expected: Shares) -> None:
    count = 1 + max(number for share in expected.values() for number in share.numbers)
    assert shared_out(count, claims, 1) == expected


def test_where_each_has_two_who_stand_by_all_stays_as_it_is_while_nobody_comes_or_goes() -> None:
    names = "abcd"
    shares = {name: Share(some(number), some((number + 1) % 4, (number + 2) % 4)) for number, name in enumerate(names)}
    assert shared_out(4, claims_of(shares, 3), 2) == shares
    assert shared_out(4, claims_of(shares, 3, ready=False), 2) == shares


def test_without_standbys_a_number_moves_at_once() -> None:
    shares = shared_out(4, {"a": Claim(1, some(0, 1, 2, 3)), "b": Claim()}, 0)
    assert shares == {"a": Share(some(0, 1)), "b": Share(some(2, 3))}


@given(counts, members, each)
def test_each_number_has_one_owner_and_as_many_standbys_as_there_can_be_and_nobody_is_its_own(
    count: int, claims: dict[str, Claim], standbys: int
) -> None:
    shares = shared_out(count, claims, standbys)
    assert sorted(n for share in shares.values() for n in share.numbers) == list(range(count))
    for number in range(count):
        standing_by = [member for member, share in shares.items() if number in share.standbys]
        assert len(standing_by) == min(standbys, len(claims) - 1)
    for share in shares.values():
        assert not share.numbers & share.standbys
        assert share.awaited <= share.standbys


@given(counts, members, each)
def test_nobody_awaits_what_it_is_ready_for(count: int, claims: dict[str, Claim], standbys: int) -> None:
    """Or it would ask for another round at once, and again."""
    shares = shared_out(count, claims, standbys)
    for member, share in shares.items():
        assert not share.awaited & claims[member].ready
    given_up = {
        member: replace(claim, gave_up=claims[member].gave_up)
        for member, claim in claims_of(shares, 6, ready=False).items()
    }
    for member, share in shared_out(count, given_up, standbys).items():
        assert not share.awaited & claims[member].gave_up


@given(counts, members, each)
def test_a_number_moves_from_a_living_owner_only_to_who_is_ready_or_will_never_be(
    count: int, claims: dict[str, Claim], standbys: int
) -> None:
    shares = shared_out(count, claims, standbys)
    newest = max(claim.epoch for claim in claims.values())
    owners = {m: c.numbers for m, c in claims.items() if c.epoch == newest}
    for member, share in shares.items():
        for number in share.numbers - claims[member].ready - claims[member].gave_up:
            others = [m for m, held in owners.items() if number in held and m != member]
            assert not others or number in owners.get(member, ())


@given(counts, members, each)
def test_what_nobody_has_goes_to_one_who_is_ready(count: int, claims: dict[str, Claim], standbys: int) -> None:
    newest = max(claim.epoch for claim in claims.values())
    held = {n for c in claims.values() if c.epoch == newest for n in c.numbers}
    for member, share in shared_out(count, claims, standbys).items():
        if len(claims) > 1:
            for number in share.numbers - held - claims[member].ready:
                assert not any(number in claim.ready for claim in claims.values())


@given(counts, members, each)
def test_as_soon_as_all_are_ready_nobody_has_more_than_its_share_and_nothing_moves_any_more(
    count: int, claims: dict[str, Claim], standbys: int
) -> None:
    shares = shared_out(count, claims_of(shared_out(count, claims, standbys), 6), standbys)
    sizes = [len(share.numbers) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1
    assert not any(share.awaited for share in shares.values())
    owned = {member: share.numbers for member, share in shares.items()}
    for epoch in (7, 8):
        # Who stands by is shared out evenly when all is owned for good.
        shares = shared_out(count, claims_of(shares, epoch), standbys)
    assert {member: share.numbers for member, share in shares.items()} == owned
    assert shared_out(count, claims_of(shares, 9), standbys) == shares
    assert shared_out(count, claims_of(shares, 9, ready=False), standbys) == shares


@given(counts, st.integers(1, 5), st.data())
def test_who_comes_new_and_gives_some_up_has_its_share_in_the_end_and_waits_for_nothing(
    count: int, workers: int, data: st.DataObject
) -> None:
    shares = settled(count, [f"w{n}" for n in range(workers)], 1)
    too_large = data.draw(st.frozensets(st.integers(0, count - 1)))
    gave_up = some()
    for epoch in range(9, 12 + count):
        claims = claims_of(shares, epoch)
        new = claims.get("new", Claim())
        gave_up |= new.follows & too_large
        claims["new"] = replace(new, ready=new.follows - gave_up, gave_up=gave_up)
        shares = shared_out(count, claims, 1)
    assert len(shares["new"].numbers) == count // (workers + 1)
    assert not any(share.awaited for share in shares.values())


@given(counts, st.data())
def test_who_comes_new_is_given_what_it_gave_up_only_where_it_is_ready_for_nothing_else(
    count: int, data: st.DataObject
) -> None:
    everything = frozenset(range(count))
    gave_up = data.draw(st.frozensets(st.integers(0, count - 1)))
    claims = {"old": Claim(2, everything), "new": Claim(2, some(), everything, everything - gave_up, gave_up)}
    shares = shared_out(count, claims, 1)
    assert len(shares["new"].numbers) == count // 2
    if shares["new"].numbers & gave_up:
        assert shares["old"].numbers <= gave_up


@given(counts, st.integers(2, 6))
def test_a_dying_worker_moves_only_what_it_had(count: int, workers: int) -> None:
    before = settled(count, [f"w{n}" for n in range(workers)], 1)
    claims = claims_of(before, 9)
    dead = claims.pop("w0")
    after = shared_out(count, claims, 1)
    for member, share in after.items():
        assert before[member].numbers <= share.numbers
        # Each of its numbers to one who stood by for it.
        assert share.numbers - before[member].numbers <= before[member].standbys & dead.numbers
    # What somebody stood by for, and did not take over, it still does, as far as it need not make room for others.
    given_up = [n for m, share in after.items() for n in before[m].standbys - share.standbys - share.numbers]
    assert len(given_up) <= len(dead.numbers)


@given(counts, st.integers(1, 5))
def test_a_joining_worker_moves_nothing_until_it_is_ready_and_then_its_share(count: int, workers: int) -> None:
    before = settled(count, [f"w{n}" for n in range(workers)], 1)
    joined = shared_out(count, {**claims_of(before, 9), "new": Claim()}, 1)
    assert {m: s.numbers for m, s in joined.items() if m != "new"} == {m: s.numbers for m, s in before.items()}
    after = shared_out(count, claims_of(joined, 10), 1)
    moved = sum(len(before[member].numbers - after[member].numbers) for member in before)
    assert moved == len(after["new"].numbers) == count // (workers + 1)
