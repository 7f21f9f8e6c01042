"""Partition numbers: each has one owner, and a joining or dying worker moves only what it must."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.protocol.metadata import MetadataResponse_v1
from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import Claim, NumberAssignor, Share, share_out

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
        (
            "who is ready for what nobody has gets the odd one",
            3,
            {"a": Claim(1, frozenset({0})), "b": Claim(1, frozenset({1}), ready=frozenset({2}))},
            {"a": {0}, "b": {1, 2}},
        ),
        (
            "of two who are ready for it, who has more room gets what nobody has",
            4,
            {"a": Claim(1, frozenset({0}), ready=frozenset({1})), "b": Claim(1, ready=frozenset({1}))},
            {"a": {0, 2}, "b": {1, 3}},
        ),
        (
            "and with as much room, who comes first by name",
            5,
            {"a": Claim(1, frozenset({0}), ready=frozenset({1})), "b": Claim(1, ready=frozenset({1}))},
            {"a": {0, 1, 2}, "b": {3, 4}},
        ),
        (
            "what is too much goes first by what others are ready for who have room",
            6,
            {
                "a": Claim(1, frozenset({0, 1, 2, 3})),
                "b": Claim(1, frozenset({4, 5}), ready=frozenset({2, 3})),
                "c": Claim(1, ready=frozenset({0, 1})),
            },
            {"a": {2, 3}, "b": {4, 5}, "c": {0, 1}},
        ),
        (
            "of what nobody has, each takes first what it did not give up",
            2,
            {"a": Claim(gave_up=frozenset({0})), "b": Claim()},
            {"a": {1}, "b": {0}},
        ),
    ],
)
def test_the_numbers_are_shared_out(
    case: str, count: int, claims: dict[str, Claim], shares: dict[str, set[int]]
) -> None:
    assert share_out(count, claims) == shares, case


Workers = dict[str, tuple[NumberAssignor, set[str]]]
"""Each worker's assignor and the topics it knows."""


def cluster_of(partitions: dict[str, int]) -> ClusterMetadata:
    """What a leader knows of the topics."""
    cluster = ClusterMetadata()
    topics = [(0, topic, False, [(0, n, 0, [0], [0]) for n in range(count)]) for topic, count in partitions.items()]
    cluster.update_metadata(MetadataResponse_v1([(0, "localhost", 9092, None)], 0, topics))
    return cluster


def a_round(partitions: dict[str, int], workers: Workers) -> dict[str, ConsumerProtocolMemberAssignment]:
    """One rebalance: all join, the first shares out, each remembers its part."""
    joined = {name: assignor.metadata(subscribed) for name, (assignor, subscribed) in workers.items()}
    leader = next((assignor for assignor, _ in workers.values()), NumberAssignor())
    given_out = leader.assign(cluster_of(partitions), joined)
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
    a_round(LOGS, {"was away": (away, set(LOGS))})
    a_round(LOGS, {"here": (here, set(LOGS))})
    a_round(LOGS, {"here": (here, set(LOGS))})
    # Of claims of one round the later name's would count.
    found = owned(a_round(LOGS, {"was away": (away, set(LOGS)), "here": (here, set(LOGS))}))
    assert (found["here"][FACTS], found["was away"][FACTS]) == ([0, 1], [2, 3])


def said_by(assignor: NumberAssignor) -> dict[str, Any]:
    """What a worker tells the leader of itself."""
    said: dict[str, Any] = json.loads(assignor.metadata(LOGS).user_data)
    return said


def test_who_comes_new_follows_and_is_given_its_share_when_it_says_that_it_is_ready() -> None:
    ready, gave_up = set[int](), set[int]()
    old = NumberAssignor(1)
    new = NumberAssignor(1, lambda: frozenset(ready), lambda: frozenset(gave_up))
    both: Workers = {"old": (old, set(LOGS)), "new": (new, set(LOGS))}
    nothing: dict[str, list[int]] = {"numbers": [], "follows": [], "ready": [], "gave_up": [], "awaited": []}
    assert said_by(new) == {"epoch": 0, **nothing}
    a_round(LOGS, {"old": (old, set(LOGS))})
    given_out = a_round(LOGS, both)
    assert (old.share, new.share) == (
        Share(frozenset(range(4))),
        Share(frozenset(), frozenset(range(4)), frozenset({2, 3})),
    )
    assert [json.loads(one.user_data)["epoch"] for one in given_out.values()] == [2, 2]
    ready |= {0, 2}
    gave_up |= {3}
    claim = {"numbers": [], "follows": [0, 1, 2, 3], "ready": [0, 2], "gave_up": [3], "awaited": [2, 3]}
    assert said_by(new) == {"epoch": 2, **claim}
    a_round(LOGS, both)
    assert new.share == Share(frozenset({0, 2}), frozenset({1, 3})), "not what it gave up: what else it is ready for"


def test_who_waits_for_its_numbers_waits_for_the_same_ones_in_the_next_round() -> None:
    first, second, third = (NumberAssignor(1) for _ in range(3))
    two: Workers = {"b": (first, {FACTS}), "c": (second, {FACTS})}
    a_round({FACTS: 6}, two)
    three: Workers = {**two, "a": (third, {FACTS})}
    a_round({FACTS: 6}, three)
    waits_for = third.share.awaited
    assert len(waits_for) == 2
    # Somebody comes who would be given them, did nobody wait for them.
    a_round({FACTS: 6}, {"0": (NumberAssignor(1), {FACTS}), **three})
    assert third.share.awaited == waits_for


def test_who_stood_by_for_a_number_still_does_though_it_is_not_ready() -> None:
    workers: Workers = {name: (NumberAssignor(1), {FACTS}) for name in "abc"}
    before = {}
    for number, (name, (assignor, _)) in enumerate(workers.items()):
        # Shared out anew, a would stand by for what b has.
        before[name] = assignor.share = Share(frozenset({number}), frozenset({(number + 2) % 3}))
    a_round({FACTS: 3}, workers)
    assert {name: assignor.share for name, (assignor, _) in workers.items()} == before


def test_a_member_that_says_nothing_of_itself_is_new_and_who_is_given_nothing_has_nothing() -> None:
    nothing_said = {"w": ConsumerProtocolMemberMetadata(0, [FACTS], b"")}
    given_out = NumberAssignor().assign(cluster_of({FACTS: 1}), nothing_said)
    (one,) = given_out.values()
    assert json.loads(one.user_data) == {"epoch": 1, "numbers": [0], "standbys": [], "awaited": []}
    worker = NumberAssignor()
    worker.on_assignment(one)
    assert worker.share == Share(frozenset({0}))
    worker.on_assignment(ConsumerProtocolMemberAssignment(0, [], b""))
    assert worker.share == Share()
    assert said_by(worker)["epoch"] == 0


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
