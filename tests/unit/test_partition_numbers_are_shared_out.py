"""Partition numbers: each has one owner, and a joining or dying worker moves only what it must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import Claim, share_out

members = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(Claim, st.integers(0, 5), st.frozensets(st.integers(0, 20), max_size=12)),
    min_size=1,
)


@given(st.integers(0, 16), members)
def test_every_number_has_exactly_one_owner_and_nobody_has_more_than_a_fair_share(
    count: int, claims: dict[str, Claim]
) -> None:
    shares = share_out(count, claims)
    owned = sorted(number for numbers in shares.values() for number in numbers)
    assert owned == list(range(count))
    sizes = [len(numbers) for numbers in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 16), st.integers(1, 5))
def test_nothing_moves_when_nobody_comes_or_goes(count: int, workers: int) -> None:
    first = share_out(count, {f"w{n}": Claim() for n in range(workers)})
    again = share_out(count, {name: Claim(1, numbers) for name, numbers in first.items()})
    assert again == first


@given(st.integers(1, 16), st.integers(1, 5))
def test_a_dying_worker_moves_only_its_own_numbers(count: int, workers: int) -> None:
    before = share_out(count, {f"w{n}": Claim() for n in range(workers + 1)})
    after = share_out(count, {name: Claim(1, numbers) for name, numbers in before.items() if name != "w0"})
    for name, numbers in after.items():
        assert before[name] <= numbers


@given(st.integers(1, 16), st.integers(1, 5))
def test_a_joining_worker_takes_no_more_than_its_share(count: int, workers: int) -> None:
    before = share_out(count, {f"w{n}": Claim() for n in range(workers)})
    after = share_out(count, {**{n: Claim(1, held) for n, held in before.items()}, "new": Claim()})
    moved = sum(len(before[name] - after[name]) for name in before)
    assert moved == len(after["new"])


def test_the_newest_claim_wins_over_that_of_a_worker_that_was_away() -> None:
    shares = share_out(2, {"away": Claim(3, frozenset({0, 1})), "here": Claim(4, frozenset({0}))})
    assert shares == {"here": frozenset({0}), "away": frozenset({1})}
