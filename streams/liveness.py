"""Liveness: a worker is alive as long as what is behind gets on. Pure: what was seen in, who stands still out.

A consumer can stop fetching and say nothing (faust 640), a loop can wait for an answer that never comes, an event loop
can be blocked: heartbeats go on from another thread, and the group takes the worker for alive. So what counts is
progress against lag, and the end of each partition is asked of the broker by somebody else than the consumer that is
judged.

Being behind is no fault. And who is told again and again that there is nothing to read is not silent, wherever the end
may be: markers of transactions and records that were aborted take offsets, too. Only who is behind, gets on by nothing
for `PATIENCE_S`, and waits for nobody outside stands still.

Where the broker does not say the end of one partition, only that one is not judged: its leader is away, and the others
may stand still all the while.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PATIENCE_S: Final = 60.0
"""Seconds without progress after which who is behind stands still. More than any call waits that is tried again."""
ASLEEP_S: Final = 20.0
"""Seconds between two looks after which the worker itself was asleep, and nothing can be said of the time between."""
EVENT_LOOP: Final = "event loop"
"""What stands still if nothing else can be seen."""


class Why(StrEnum):
    """What does not get on."""

    NOT_FETCHED = "NOT_FETCHED"
    """The broker has records of a topic; the consumer's position does not move, and no fetch is answered."""
    NOT_PROCESSED = "NOT_PROCESSED"
    """Fetched records wait, and none is processed."""
    NOT_RECOVERED = "NOT_RECOVERED"
    """A partition is recovered, and nothing is read back."""
    NOT_ANSWERED = "NOT_ANSWERED"
    """The worker's own event loop or its consumer's thread do not answer."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a topic of a live partition is read."""

    topic: str
    partition: int
    position: int
    """Next offset that the consumer would fetch: it passes over markers and what was aborted."""
    end: int
    """Offset up to which readers see the partition, as the broker says."""
    polled: int
    """When a fetch was last answered, in whatever unit."""
    decided: int
    """Records that the partition's loop has decided on, of any topic."""
    waiting: int = 0
    """Bytes, about, that were fetched and are not processed."""
    held: bool = False
    """Nothing more is fetched until some of what waits is processed."""
    excused: bool = False
    """It waits for the registry."""


@dataclass(frozen=True, slots=True)
class Recovering:
    """How far the recovery of a partition has come."""

    partition: int
    progress: tuple[int, ...]
    """Other than before: it got on, or began again."""
    excused: bool = False
    """All is read, and it computes; or it waits for the registry."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen in one look."""

    at: float
    """Seconds, of a clock that never goes back."""
    broker_answered: bool
    worker_answered: bool = True
    readings: tuple[Reading, ...] = ()
    recovering: tuple[Recovering, ...] = ()
    unanswered: frozenset[tuple[str, int]] = frozenset()
    """Topics and partitions that are read here and whose end the broker did not say, where it said others'."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """Something that is behind and does not get on."""

    why: Why
    where: str
    seconds: float
    """How long it has been so."""
    behind: int = 0
    """Offsets between the consumer's position and the end; for NOT_PROCESSED the bytes that wait."""

    def __str__(self) -> str:
        """As a log says it; no personal data."""
        return f"{self.where}: {self.why} for {self.seconds:.0f} s, {self.behind} behind"


@dataclass(frozen=True, slots=True)
class Alive:
    """Everything gets on, is done, or waits for somebody else."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """The worker is to be ended: what stands still, the longest first."""

    standstills: tuple[Standstill, ...]


@dataclass(frozen=True, slots=True)
class _Behind:
    """One thing that is behind, now."""

    why: Why
    where: str
    mark: tuple[int, ...]
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Since when each thing that is behind has not got on."""

    at: float | None = None
    since: Mapping[tuple[Why, str], tuple[tuple[int, ...], float]] = field(default_factory=dict)


def judge(memory: Memory, look: Look, patience: float = PATIENCE_S) -> tuple[Memory, Alive | Stalled]:
    """What a look says, with what was seen before; and what is to be remembered for the next one."""
    if not look.broker_answered or (memory.at is not None and look.at - memory.at > ASLEEP_S):
        # Nobody can get on without the broker; and a worker that slept finds out by the fence, or just goes on.
        return Memory(look.at), Alive()
    passed = 0.0 if memory.at is None else look.at - memory.at
    unjudged = {_where(*part) for part in look.unanswered}
    # Nobody gets on by a partition that has no leader, so that time does not count. What was before it does: else one
    # that is away again and again would hide whoever stands still at it in between.
    since = {
        (why, where): (mark, began + passed)
        for (why, where), (mark, began) in memory.since.items()
        if where in unjudged
    }
    standstills = []
    for one in _behind(look):
        mark, began = memory.since.get((one.why, one.where), (one.mark, look.at))
        if mark != one.mark:
            began = look.at
        since[one.why, one.where] = one.mark, began
        if look.at - began >= patience:
            standstills.append(Standstill(one.why, one.where, look.at - began, one.behind))
    verdict = Stalled(tuple(sorted(standstills, key=lambda s: (-s.seconds, s.where)))) if standstills else Alive()
    return Memory(look.at, since), verdict


def _where(topic: str, partition: int) -> str:
    return f"{topic} {partition}"


def _behind(look: Look) -> Iterable[_Behind]:
    if not look.worker_answered:
        yield _Behind(Why.NOT_ANSWERED, EVENT_LOOP, ())
        return
    for one in look.readings:
        where = _where(one.topic, one.partition)
        if one.waiting and not one.excused:
            yield _Behind(Why.NOT_PROCESSED, where, (one.decided,), one.waiting)
        if one.position < one.end and not one.held:
            yield _Behind(Why.NOT_FETCHED, where, (one.position, one.polled), one.end - one.position)
    for recovery in look.recovering:
        if not recovery.excused:
            yield _Behind(Why.NOT_RECOVERED, f"partition {recovery.partition}", recovery.progress)
