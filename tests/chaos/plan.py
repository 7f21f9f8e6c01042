"""What goes wrong and when: a bounded plan, a pure function of a seed and the number of events that flow."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SESSION_S: Final = 6.0
"""Seconds after which a worker that says nothing counts as gone (`streams/batching.py`)."""


class Kind(StrEnum):
    """What may go wrong."""

    WORKER_KILLED = "a worker is killed -9"
    WORKER_PAUSED = "a worker is stopped past its session and woken"
    WORKER_ADDED = "a worker is added, and leaves again"
    BROKER_KILLED = "the broker is killed -9 and restarted"
    BROKER_STOPPED = "the broker stops answering"
    REGISTRY_KILLED = "the registry is killed -9 and restarted"
    REGISTRY_STOPPED = "the registry stops answering"


SECONDS: Final = {
    Kind.WORKER_KILLED: (0.0, 0.0),
    Kind.WORKER_PAUSED: (SESSION_S + 1.5, SESSION_S + 6),
    Kind.WORKER_ADDED: (4.0, 20.0),
    Kind.BROKER_KILLED: (0.0, 8.0),
    Kind.BROKER_STOPPED: (2.0, 9.0),
    Kind.REGISTRY_KILLED: (1.0, 10.0),
    Kind.REGISTRY_STOPPED: (2.0, 10.0),
}
"""How long each lasts, at least and at most; a broker or registry that was killed takes its time to start besides."""
PAIRS: Final = (
    (Kind.BROKER_KILLED, Kind.WORKER_KILLED),
    (Kind.REGISTRY_KILLED, Kind.WORKER_KILLED),
    (Kind.WORKER_PAUSED, Kind.WORKER_KILLED),
    (Kind.BROKER_KILLED, Kind.REGISTRY_KILLED),
    (Kind.WORKER_ADDED, Kind.WORKER_PAUSED),
    (Kind.BROKER_STOPPED, Kind.WORKER_PAUSED),
)
"""What goes wrong at once."""
NEEDED: Final = tuple(kind for kind in Kind if kind not in (Kind.BROKER_STOPPED, Kind.REGISTRY_STOPPED))
"""What goes wrong at least once in every plan; in a brief one a registry that hangs stands for one that was killed."""
MORE: Final = (*Kind, *(Kind.WORKER_KILLED,) * 3, Kind.WORKER_PAUSED)
"""What goes wrong besides, each as often as it is here."""
EVERY: Final = 6_000
"""Events for each moment of trouble, in a long flow."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    after: int
    """Events that were published before."""
    kind: Kind
    seconds: float
    """How long it lasts."""
    victim: int
    """Which of those that could be struck: counted from 0, over and over."""

    def __str__(self) -> str:
        lasts = f", for {self.seconds:.1f} s" if self.seconds else ""
        return f"after event {self.after:,}: {self.kind.value}{lasts}"


def plan(seed: int, events: int) -> tuple[Fault, ...]:
    """The faults of a flow of so many events, in order; each needed kind, and two at once, at least once.

    In a flow that is too short for that one after the other, each kind comes once, two at once, as brief as it may be.
    """
    choose = random.Random(f"{seed}/plan")
    brief = events < EVERY * len(NEEDED)
    moments = _brief(choose) if brief else _long(choose, events // EVERY)
    faults = []
    for number, kinds in enumerate(moments):
        # Never before anything flows, nor after: what goes wrong then breaks nothing off.
        after = int(events * (number + choose.uniform(0.3, 0.9)) / (len(moments) + 0.5))
        for kind in kinds:
            least, most = SECONDS[kind]
            seconds = least if brief else round(choose.uniform(least, most), 1)
            faults.append(Fault(after, kind, seconds, choose.randrange(100)))
    return tuple(faults)


def _brief(choose: random.Random) -> list[tuple[Kind, ...]]:
    """All that is needed once, two at once where they pair off; a registry that hangs need not be started again."""
    all_of_it = (*(kind for kind in NEEDED if kind is not Kind.REGISTRY_KILLED), Kind.REGISTRY_STOPPED)
    kinds = choose.sample(all_of_it, len(all_of_it))
    return [tuple(kinds[begin : begin + 2]) for begin in range(0, len(kinds), 2)]


def _long(choose: random.Random, count: int) -> list[tuple[Kind, ...]]:
    """All that is needed, and more, up to so many moments."""
    at_once = choose.choice(PAIRS)
    moments: list[tuple[Kind, ...]] = [at_once, *((kind,) for kind in NEEDED if kind not in at_once)]
    more = range(count - len(moments))
    moments += [choose.choice(PAIRS) if choose.random() < 0.3 else (choose.choice(MORE),) for _ in more]
    choose.shuffle(moments)
    return moments
