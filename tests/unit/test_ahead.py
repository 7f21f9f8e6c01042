"""What is derived ahead: which focuses are still to be looked at, and of which something is still to be written."""

from __future__ import annotations

from streams.ahead import Ahead


def test_of_what_is_stale_so_much_is_taken_as_is_asked_for_and_what_is_taken_is_stale_no_more() -> None:
    ahead = Ahead(stale={"a", "b", "c"})
    first = ahead.some(2)
    assert len(first) == 2
    assert ahead.stale == {"a", "b", "c"} - set(first)
    assert {*first, *ahead.some(2)} == {"a", "b", "c"}
    assert ahead.stale == set()
    assert ahead.some(2) == []


def test_a_focus_is_unsettled_as_long_as_it_lacked_something_when_it_was_looked_at_last() -> None:
    ahead: Ahead[str] = Ahead()
    ahead.note("a", lacks=True)
    ahead.note("b", lacks=True)
    assert ahead.unsettled == {"a", "b"}
    ahead.note("a", lacks=False)
    assert ahead.unsettled == {"b"}
    ahead.note("c", lacks=False)
    assert ahead.unsettled == {"b"}


def test_when_all_is_written_nothing_is_stale_or_unsettled() -> None:
    ahead = Ahead(begun=True, stale={"a"}, unsettled={"b"})
    ahead.settled()
    assert ahead == Ahead(begun=True)
