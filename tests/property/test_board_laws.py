"""Laws of the board: whatever the order of the topics and however often a record is sent, a desk shows the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import board as board_module
from consumers.board import ActionSaid, Board, CaughtUp, Entry, Notice, Said
from tests.county import demo_site
from tests.disclosed_alert import disclosed

ME = "county-jail-watch"
NOW = 1_790_000_000_000_000
SITE = demo_site(partitions=2)


@pytest.fixture(autouse=True, scope="module")
def two_are_many() -> Iterator[None]:
    """So that these few alerts may come together."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(board_module, "MANY", 1)
        yield


revisions = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["OPEN", "OPEN", "WITHDRAWN"]),
        "severity": st.sampled_from(["CRITICAL", "HIGH", "LOW"]),
        "group": st.sampled_from([None, None, "g", "h"]),
        "at": st.integers(NOW - 50, NOW),
    }
)
histories = st.dictionaries(st.sampled_from("abcd"), st.lists(revisions, max_size=5), max_size=4)
acknowledgements = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 5), st.sampled_from(["ann", "bob"]), st.integers(NOW, NOW + 3)),
    max_size=6,
)


def alerts(histories: dict[str, list[dict[str, Any]]]) -> list[list[Said]]:
    """What is said of each alert, in the order of its log."""
    return [
        [
            disclosed(alert_id=name, revision=number, recipient=ME, rule="rule", headline=f"{name}{number}", **said)
            for number, said in enumerate(history, 1)
        ]
        for name, history in histories.items()
    ]


def actions(taken: list[tuple[str, int, str, int]]) -> list[Said]:
    return [
        ActionSaid(
            {
                "action_id": str(number),
                "alert_id": name,
                "revision": revision,
                "recipient": ME,
                "action": "ACKNOWLEDGE",
                "by": by,
                "at": at,
            }
        )
        for number, (name, revision, by, at) in enumerate(taken)
    ]


def interleaved(logs: list[list[Said]], chance: random.Random) -> list[Said]:
    """The logs as one consumer may get them: each in its order, but cut and mixed anyhow."""
    places = [number for number, log in enumerate(logs) for _ in log]
    chance.shuffle(places)
    rest = [iter(log) for log in logs]
    return [next(rest[number]) for number in places]


def board_of(said: list[Said]) -> Board:
    """The board of a desk that looked all the while."""
    board = Board(SITE, ME, NOW)
    board.fold(CaughtUp(), NOW)
    for one in said:
        board.fold(one, NOW)
    return board


@given(histories, acknowledgements, st.randoms(use_true_random=False))
def test_the_order_of_the_topics_does_not_matter(
    told: dict[str, list[dict[str, Any]]], taken: list[tuple[str, int, str, int]], chance: random.Random
) -> None:
    logs = [*alerts(told), *([action] for action in actions(taken))]
    assert board_of(interleaved(logs, chance)).lines(NOW) == board_of([one for log in logs for one in log]).lines(NOW)


@given(histories, acknowledgements, st.randoms(use_true_random=False))
def test_what_is_sent_again_changes_nothing(
    told: dict[str, list[dict[str, Any]]], taken: list[tuple[str, int, str, int]], chance: random.Random
) -> None:
    said = interleaved([*alerts(told), actions(taken)], chance)
    board = board_of(said)
    before = board.lines(NOW)
    for again in chance.choices(said, k=len(said)) if said else []:
        assert board.fold(again, NOW) is None
    assert board.lines(NOW) == before


@given(histories)
def test_open_is_what_the_highest_revision_says(told: dict[str, list[dict[str, Any]]]) -> None:
    board = board_of([one for log in alerts(told) for one in log])
    open_now = {(entry.alert.alert_id, entry.alert.headline) for entry in board.open_entries(NOW)}
    assert open_now == {
        (name, f"{name}{len(history)}") for name, history in told.items() if history and history[-1]["state"] == "OPEN"
    }


def last_group(told: dict[str, list[dict[str, Any]]], entry: Entry) -> str | None:
    """What the bus said of the change that brought an alert to where it is."""
    revisions = told[entry.key]
    if not entry.is_over:
        return entry.alert.group
    was_open = max(number for number, said in enumerate(revisions) if said["state"] == "OPEN")
    return str(revisions[was_open + 1]["group"]) if revisions[was_open + 1]["group"] else None


@given(histories, acknowledgements)
def test_every_alert_is_seen_and_the_lines_are_in_order(
    told: dict[str, list[dict[str, Any]]], taken: list[tuple[str, int, str, int]]
) -> None:
    board = board_of([*(one for log in alerts(told) for one in log), *actions(taken)])
    lines = board.lines(NOW)
    alone = [line for line in lines if isinstance(line, Entry)]
    notices = [line for line in lines if isinstance(line, Notice)]
    ever_open = {name for name, history in told.items() if any(said["state"] == "OPEN" for said in history)}
    over = [entry.key for entry in alone if entry.is_over] + [e.key for notice in notices for e in notice.over]
    assert [entry for entry in alone if not entry.is_over] == board.open_entries(NOW)
    assert sorted([*over, *(entry.key for entry in board.open_entries(NOW))]) == sorted(ever_open)
    assert len({line.key for line in lines}) == len(lines)
    for notice in notices:
        assert len(notice.entries) > 1
        named = {last_group(told, entry) for entry in notice.entries}
        assert named == {None if notice.is_burst else notice.group}
    leading = [line.entries[0].rank(NOW) if isinstance(line, Notice) else line.rank(NOW) for line in lines]
    assert leading == sorted(leading)


@given(histories, acknowledgements)
def test_a_desk_that_looks_later_has_the_same_open_alerts(
    told: dict[str, list[dict[str, Any]]], taken: list[tuple[str, int, str, int]]
) -> None:
    said = [*(one for log in alerts(told) for one in log), *actions(taken)]
    later = Board(SITE, ME, NOW)
    for one in said:
        later.fold(one, NOW)
    later.fold(CaughtUp(), NOW)
    assert later.lines(NOW) == later.open_entries(NOW) == board_of(said).open_entries(NOW)
