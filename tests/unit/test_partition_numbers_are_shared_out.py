"""Partition numbers: each has one owner, and a joining or dying worker moves only what it must."""

from __future__ import annotations

import logging

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.protocol.metadata import MetadataResponse_v1
from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import Claim, NumberAssignor, share_out

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
    shares = share_out(2, {"away": Claim(4, frozenset({0})), "here": Claim(3, frozenset({0, 1}))})
    assert shares == {"here": frozenset({1}), "away": frozenset({0})}


@pytest.mark.parametrize(
    ("case", "count", "claims", "shares"),
    [
        ("nobody is there", 4, {}, {}),
        ("there is nothing to own", 0, {"a": Claim()}, {"a": set()}),
        ("who comes first by name gets the odd one", 3, {"b": Claim(), "a": Claim()}, {"a": {0, 1}, "b": {2}}),
        (
            "who held more gets the odd one",
            3,
            {"a": Claim(), "b": Claim(1, frozenset({1, 2}))},
            {"a": {0}, "b": {1, 2}},
        ),
        (
            "of what is too much the lowest are kept",
            2,
            {"a": Claim(), "b": Claim(1, frozenset({0, 1}))},
            {"a": {1}, "b": {0}},
        ),
        (
            "of equal claims the later name's counts",
            2,
            dict.fromkeys("ab", Claim(1, frozenset({0, 1}))),
            {"a": {1}, "b": {0}},
        ),
        ("a number that is no more is nobody's", 1, {"a": Claim(1, frozenset({0, 7}))}, {"a": {0}}),
    ],
)
def test_the_numbers_are_shared_out(
    case: str, count: int, claims: dict[str, Claim], shares: dict[str, set[int]]
) -> None:
    assert share_out(count, claims) == shares, case


Workers = dict[str, tuple[NumberAssignor, set[str]]]
"""Each worker's assignor and the topics it knows."""


def a_round(partitions: dict[str, int], workers: Workers) -> dict[str, ConsumerProtocolMemberAssignment]:
    """One rebalance: all join, one shares out, each remembers its part."""
    cluster = ClusterMetadata()
    topics = [(0, topic, False, [(0, n, 0, [0], [0]) for n in range(count)]) for topic, count in partitions.items()]
    cluster.update_metadata(MetadataResponse_v1([(0, "localhost", 9092, None)], 0, topics))
    joined = {name: assignor.metadata(subscribed) for name, (assignor, subscribed) in workers.items()}
    given_out = NumberAssignor().assign(cluster, joined)
    for name, (assignor, _) in workers.items():
        assignor.on_assignment(given_out[name])
    return given_out


def owned(given_out: dict[str, ConsumerProtocolMemberAssignment]) -> dict[str, dict[str, list[int]]]:
    """By worker and topic: which partitions it got."""
    return {name: dict(one.assignment) for name, one in given_out.items()}


FACTS, ALERTS, REPORTS = "demo.facts", "demo.alerts", "demo.reports"
LOGS = {FACTS: 4, ALERTS: 4, REPORTS: 1}


def test_partition_n_of_every_topic_goes_to_one_worker_and_stays_there_when_another_joins_and_dies() -> None:
    first, second = NumberAssignor(), NumberAssignor()
    one: Workers = {"first": (first, set(LOGS))}
    both: Workers = {**one, "another": (second, set(LOGS))}
    alone = {FACTS: [0, 1, 2, 3], ALERTS: [0, 1, 2, 3], REPORTS: [0]}
    assert owned(a_round(LOGS, one)) == {"first": alone}
    shared = {
        "first": {FACTS: [0, 1], ALERTS: [0, 1], REPORTS: [0]},
        "another": {FACTS: [2, 3], ALERTS: [2, 3], REPORTS: []},
    }
    assert owned(a_round(LOGS, both)) == shared
    assert owned(a_round(LOGS, both)) == shared, "nothing moves when nobody comes or goes"
    assert owned(a_round(LOGS, one)) == {"first": alone}


def test_who_was_away_claims_by_the_round_it_got_its_numbers_in() -> None:
    here, away = NumberAssignor(), NumberAssignor()
    a_round(LOGS, {"away": (away, set(LOGS))})
    a_round(LOGS, {"here": (here, set(LOGS))})
    a_round(LOGS, {"here": (here, set(LOGS))})
    found = owned(a_round(LOGS, {"away": (away, set(LOGS)), "here": (here, set(LOGS))}))
    assert (found["here"][FACTS], found["away"][FACTS]) == ([0, 1], [2, 3])


def test_a_topic_that_only_the_newer_worker_knows_waits_where_its_numbers_owner_does_not_read_it() -> None:
    newer, older = NumberAssignor(), NumberAssignor()
    workers: Workers = {"newer": (newer, {FACTS, ALERTS}), "older": (older, {FACTS})}
    assert owned(a_round(LOGS, workers)) == {"newer": {FACTS: [0, 1], ALERTS: [0, 1]}, "older": {FACTS: [2, 3]}}


def test_a_topic_without_partitions_is_read_by_nobody_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = a_round({FACTS: 2}, {"w": (NumberAssignor(), {FACTS, ALERTS})})
    assert owned(found) == {"w": {FACTS: [0, 1]}}
    assert [record.getMessage() for record in caplog.records] == [
        f"topic {ALERTS} has no partitions yet: nobody reads it"
    ]
    assert owned(a_round({}, {"w": (NumberAssignor(), {FACTS})})) == {"w": {}}


def test_who_joined_before_there_was_anything_claims_nothing() -> None:
    early, late = NumberAssignor(), NumberAssignor()
    a_round({}, {"z": (early, set(LOGS))})
    assert owned(a_round(LOGS, {"a": (late, set(LOGS)), "z": (early, set(LOGS))}))["a"][FACTS] == [0, 1]


def test_where_nobody_has_joined_nobody_gets_anything() -> None:
    assert a_round(LOGS, {}) == {}


def test_members_are_told_apart_by_what_they_say_on_joining() -> None:
    said = NumberAssignor().metadata({FACTS, ALERTS})
    assert said == ConsumerProtocolMemberMetadata(0, [ALERTS, FACTS], said.user_data)
    assert {one.version for one in a_round(LOGS, {"w": (NumberAssignor(), {FACTS})}).values()} == {0}
