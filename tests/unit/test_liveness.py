"""A worker stands still if it is behind, gets on by nothing, and waits for nobody; and only then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.liveness import (
    ASLEEP_S,
    EVENT_LOOP,
    PATIENCE_S,
    Alive,
    Look,
    Memory,
    Reading,
    Recovering,
    Stalled,
    Standstill,
    Why,
    judge,
)

BEHIND = Reading("facts", 3, position=10, end=12, polled=5, decided=7)
BUSY = replace(BEHIND, position=12, waiting=900)
DONE = replace(BEHIND, position=12)
EVERY = 5.0


def looks(*seen: Reading | Recovering | None, broker: bool = True, worker: bool = True) -> list[Look]:
    """Looks every few seconds, each seeing one thing."""
    return [
        Look(
            100 + number * EVERY,
            broker,
            worker,
            (one,) if isinstance(one, Reading) else (),
            (one,) if isinstance(one, Recovering) else (),
        )
        for number, one in enumerate(seen)
    ]


def watched(seen: Iterable[Look]) -> Alive | Stalled:
    """What is said of a series of looks: the first standstill, if there is any."""
    memory = Memory()
    for look in seen:
        memory, verdict = judge(memory, look)
        if isinstance(verdict, Stalled):
            return verdict
    return Alive()


LONG = int(PATIENCE_S // EVERY) + 2
NOT_YET = int(PATIENCE_S // EVERY)


@pytest.mark.parametrize(
    ("stands", "why", "behind"),
    [
        (BEHIND, Why.NOT_FETCHED, 2),
        (BUSY, Why.NOT_PROCESSED, 900),
        (Recovering(3, (1, 400)), Why.NOT_RECOVERED, 0),
        (Recovering(3, (1, 0)), Why.NOT_RECOVERED, 0),
    ],
)
def test_what_is_behind_and_does_not_get_on_stands_still(stands: Reading | Recovering, why: Why, behind: int) -> None:
    assert watched(looks(*[stands] * NOT_YET)) == Alive()
    where = "partition 3" if isinstance(stands, Recovering) else "facts 3"
    assert watched(looks(*[stands] * LONG)) == Stalled((Standstill(why, where, PATIENCE_S, behind),))


def test_a_worker_that_does_not_answer_stands_still() -> None:
    verdict = watched(looks(*[None] * LONG, worker=False))
    assert isinstance(verdict, Stalled)
    assert [(one.why, one.where) for one in verdict.standstills] == [(Why.NOT_ANSWERED, EVENT_LOOP)]


@pytest.mark.parametrize(
    ("case", "seen"),
    [
        ("nothing is behind", looks(*[DONE] * LONG)),
        ("a log lost its tail", looks(*[replace(BEHIND, end=4)] * LONG)),
        ("the broker is away", looks(*[BEHIND] * LONG, broker=False)),
        ("it is behind and reads on", looks(*[replace(BEHIND, position=n, end=n + 1_000) for n in range(LONG)])),
        ("it is told that there is nothing", looks(*[replace(BEHIND, polled=n) for n in range(LONG)])),
        ("what waits is worked on", looks(*[replace(BUSY, decided=n) for n in range(LONG)])),
        ("it waits for the registry", looks(*[replace(BUSY, excused=True)] * LONG)),
        ("it is held, for what waits is worked on", looks(*[replace(BEHIND, held=True)] * LONG)),
        ("a refold takes long", looks(*[Recovering(3, (1, n)) for n in range(10 * LONG)])),
        ("a recovery begins again and again", looks(*[Recovering(3, (n, 0)) for n in range(LONG)])),
        ("everything is derived anew, or the registry is away", looks(*[Recovering(3, (1, 9), excused=True)] * LONG)),
        ("it owns nothing", looks(*[None] * LONG)),
    ],
)
def test_otherwise_it_is_alive(case: str, seen: list[Look]) -> None:
    assert watched(seen) == Alive(), case


def test_time_in_which_the_broker_was_away_does_not_count() -> None:
    seen = looks(*[BEHIND] * (2 * NOT_YET))
    seen[NOT_YET - 1] = replace(seen[NOT_YET - 1], broker_answered=False)
    assert watched(seen) == Alive()


ELSEWHERE = replace(DONE, topic="away")


def without_an_answer(look: Look) -> Look:
    """The look where the broker said the end of another partition only."""
    return replace(look, readings=(ELSEWHERE,), unanswered=frozenset({("facts", 3)}))


def test_a_partition_whose_end_is_not_told_hides_no_other_that_stands_still() -> None:
    away = frozenset({("away", 0)})
    assert isinstance(watched([replace(look, unanswered=away) for look in looks(*[BEHIND] * LONG)]), Stalled)


@pytest.mark.parametrize("stands", [BEHIND, BUSY])
def test_one_whose_end_is_not_told_now_and_then_is_given_that_time_and_no_more(stands: Reading) -> None:
    seen = looks(*[stands] * (2 * LONG))
    now_and_then = [without_an_answer(look) if number % 4 == 3 else look for number, look in enumerate(seen)]
    # A quarter of the time does not count.
    needed = NOT_YET + NOT_YET // 3
    assert watched(now_and_then[:needed]) == Alive()
    assert isinstance(watched(now_and_then[: needed + 1]), Stalled)


def test_one_whose_end_is_not_told_for_long_is_not_judged_by_it() -> None:
    seen = looks(*[BEHIND] * (4 * LONG))
    away = [without_an_answer(look) for look in seen[1:-NOT_YET]]
    assert watched([seen[0], *away, *seen[-NOT_YET:-1]]) == Alive()
    assert isinstance(watched([seen[0], *away, *seen[-NOT_YET:]]), Stalled)


def test_one_that_got_on_while_its_end_was_not_told_begins_anew() -> None:
    seen = looks(*[BEHIND] * NOT_YET, None, *[replace(BEHIND, position=11)] * NOT_YET)
    seen[NOT_YET] = without_an_answer(seen[NOT_YET])
    assert watched(seen) == Alive()


def test_who_was_stopped_and_woken_is_given_its_time_again() -> None:
    before = looks(*[BEHIND] * NOT_YET)
    woken = [replace(look, at=look.at + before[-1].at + 10 * ASLEEP_S) for look in before]
    assert watched([*before, *woken]) == Alive()
    assert isinstance(watched([*before, *woken, replace(woken[-1], at=woken[-1].at + 2 * EVERY)]), Stalled)


@pytest.mark.parametrize(("gap", "ended"), [(ASLEEP_S, True), (ASLEEP_S + 0.5, False)])
def test_who_is_looked_at_now_and_then_is_awake_up_to_a_limit(gap: float, ended: bool) -> None:
    seen = [replace(look, at=number * gap) for number, look in enumerate(looks(*[BEHIND] * 5))]
    assert isinstance(watched(seen), Stalled) is ended


def test_a_sleep_that_began_while_the_broker_was_away_does_not_count_either() -> None:
    away = looks(BEHIND, broker=False)
    woken = [replace(look, at=look.at + 2 * ASLEEP_S) for look in looks(*[BEHIND] * LONG)]
    assert watched([*away, *woken[:-1]]) == Alive()
    assert isinstance(watched([*away, *woken]), Stalled)


def test_what_has_stood_still_the_longest_is_told_first() -> None:
    others = [replace(BEHIND, topic=topic) for topic in ("b", "c", "a")]
    memory, verdict = judge(Memory(), Look(0, True, readings=(others[0],)))
    for number in range(1, LONG + 1):
        memory, verdict = judge(memory, Look(number * EVERY, True, readings=tuple(others)))
    assert isinstance(verdict, Stalled)
    assert [one.where for one in verdict.standstills] == ["b 3", "a 3", "c 3"]
    assert [one.seconds for one in verdict.standstills] == [LONG * EVERY, *[(LONG - 1) * EVERY] * 2]


def test_one_partition_that_stands_still_is_found_among_many_that_get_on() -> None:
    memory, verdicts = Memory(), []
    for number in range(LONG):
        gets_on = (replace(BEHIND, partition=n, position=number, end=99) for n in range(3))
        memory, verdict = judge(memory, Look(number * EVERY, True, readings=(*gets_on, BEHIND)))
        verdicts.append(verdict)
    assert isinstance(verdicts[-1], Stalled)
    assert [one.where for one in verdicts[-1].standstills] == ["facts 3"]
    assert str(verdicts[-1].standstills[0]) == "facts 3: NOT_FETCHED for 65 s, 2 behind"


readings = st.builds(
    Reading,
    st.just("facts"),
    st.integers(0, 1),
    position=st.integers(0, 3),
    end=st.integers(0, 3),
    polled=st.integers(0, 1),
    decided=st.integers(0, 1),
    waiting=st.integers(0, 1),
    held=st.booleans(),
    excused=st.booleans(),
)


@given(st.lists(st.tuples(st.floats(0.1, 30), st.booleans(), st.lists(readings, max_size=2)), max_size=60))
def test_nobody_is_ended_who_was_behind_by_the_same_for_less_than_the_patience(
    history: list[tuple[float, bool, list[Reading]]],
) -> None:
    memory, at = Memory(), 0.0
    seen: list[Look] = []
    for seconds, broker, read in history:
        at += seconds
        seen.append(Look(at, broker, readings=tuple({one.partition: one for one in read}.values())))
        memory, verdict = judge(memory, seen[-1])
        if isinstance(verdict, Stalled):
            for standstill in verdict.standstills:
                # In every look of its patience, without a gap, it was behind at the same place.
                span = [look for look in seen if look.at >= at - PATIENCE_S]
                marks = {
                    (one.position, one.polled) if standstill.why is Why.NOT_FETCHED else one.decided
                    for look in span
                    for one in look.readings
                    if f"{one.topic} {one.partition}" == standstill.where
                }
                assert all(look.broker_answered for look in span)
                assert all(
                    any(f"{one.topic} {one.partition}" == standstill.where for one in look.readings) for look in span
                )
                assert len(marks) == 1
            return
