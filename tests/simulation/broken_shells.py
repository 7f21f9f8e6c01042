"""Shells broken on purpose: what the simulation must find, if it is worth anything.

Each takes something away that decision records and comments say is needed. `by_chance` breaks one for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

from streams import agents, fold
from streams.agents import Partitions, Running
from streams.assignor import Share
from streams.fencing import PartitionWriter
from streams.fold import Fold
from streams.partition_loop import Delivery, PartitionLoop
from streams.records import Headers, Out
from streams.stage import PersonStage

_left = Running.left
_refold = PersonStage.refold
_process = PartitionLoop._process
_own = Partitions.own
_init = PartitionWriter.__init__
_plain_consumer = fold.plain_consumer


async def acknowledges_before_it_commits(self: PartitionLoop, deliveries: Sequence[tuple[str, Delivery]]) -> None:
    """What is acknowledged and not yet written is lost with the worker."""

    async def done() -> None:
        pass

    for _, delivery in deliveries:
        await delivery.acknowledge()
    await _process(self, [(stage, replace(delivery, acknowledge=done)) for stage, delivery in deliveries])


async def keeps_what_it_folded_over_a_missed_generation(
    self: Partitions, numbers: frozenset[int], generation: int, share: Share | None = None
) -> None:
    """Somebody else may have owned the partition meanwhile."""
    missed, self._generation = self._generation != generation - 1, generation - 1
    await _own(self, numbers, generation, share)
    if missed:
        for running in [*self.running.values()]:
            if running.live.is_set():
                await running.loop.writer.open()


async def takes_no_batches_while_loops_end(
    self: Partitions, numbers: frozenset[int], generation: int, share: Share | None = None
) -> None:
    """As it once was: batches that came while `own` waited for old loops were nobody's."""
    keeps = numbers if generation == self._generation + 1 else frozenset()
    self._generation = generation
    ending = [self.running.pop(number) for number in [*self.running] if number not in keeps]
    await asyncio.gather(*(self._end(running) for running in ending))
    for number in sorted(numbers - self.running.keys()):
        running = self._prepare(number)
        running.task = asyncio.create_task(self._drive(number, running))
    self.standbys.stand_by_for((share or Share()).standbys - self.running.keys(), frozenset(), {})


def writes_under_a_name_of_its_own(self: PartitionWriter, *args: Any, **more: Any) -> None:
    """So that nobody is fenced."""
    _init(self, *args, **more)
    self._config["transactional.id"] = f"{self.transactional_id}/{id(self)}"


async def writes_in_two_transactions(self: PartitionLoop, outs: Sequence[Out], taken: Headers = ()) -> None:
    """An alert may be there without its disclosures."""
    half = len(outs) // 2
    for part in (outs[:half], outs[half:]):
        if part:
            await self.writer.write([self._encoded(out, taken) for out in part])


def recalls_what_was_aborted(settings: Any, user: str, group: str, outside: Any) -> Any:
    """Reads without regard to transactions."""

    class Uncommitted:
        def consumer(self, config: Mapping[str, Any]) -> Any:
            return outside.consumer({**config, "isolation.level": "read_uncommitted"})

    return _plain_consumer(settings, user, group, Uncommitted())  # type: ignore[arg-type]


async def sets_aside_what_the_registry_does_not_explain_now(
    self: PartitionLoop, topic: object, place: int, values: Sequence[bytes]
) -> None:
    """Good records become dead letters while the registry is away."""
    del topic, place
    try:
        await self.in_thread(lambda: self._schemas.ensure(values))
    except Exception:
        self._schemas.knows = lambda values: True  # type: ignore[method-assign]  # noqa: ARG005


async def forgets_the_last_tick(self: Partitions) -> None:
    """Time goes back with the next owner of the clock."""
    del self


def lets_nobody_go(self: PartitionLoop) -> None:
    """What is held stays so when the partition comes back: nobody reads it."""
    del self


def never_lets_go_of_what_is_held(self: PartitionLoop) -> None:
    """A topic of which enough waited once is never read again."""
    del self


def stands_by_without_recalling_what_others_write(self: Running) -> Fold | None:
    """As if its own records were all that there will ever be."""
    fold = _left(self)
    if fold is not None:
        fold.recalled = dict.fromkeys(fold.partition.outputs(), 1 << 40)
    return fold


def forgets_what_touched_it_since_it_was_derived(self: Any, record: Any) -> None:
    """What stands by derives once, and never again."""
    before = set(self._ahead.stale)
    _refold(self, record)
    if self._ahead.begun:
        self._ahead.stale = before


Patch = tuple[Any, str, Any]
BROKEN: Final[Mapping[str, Sequence[Patch]]] = {
    "acknowledges before it commits": [(PartitionLoop, "_process", acknowledges_before_it_commits)],
    "keeps what it folded over a missed generation": [
        (Partitions, "own", keeps_what_it_folded_over_a_missed_generation)
    ],
    "takes no batches while loops end": [(Partitions, "own", takes_no_batches_while_loops_end)],
    "writes under a name of its own": [(PartitionWriter, "__init__", writes_under_a_name_of_its_own)],
    "writes in two transactions": [(PartitionLoop, "write", writes_in_two_transactions)],
    "recalls what was aborted": [(agents, "plain_consumer", recalls_what_was_aborted)],
    "sets aside what the registry does not explain now": [
        (PartitionLoop, "_learn_schemas", sets_aside_what_the_registry_does_not_explain_now)
    ],
    "forgets the last tick": [(Partitions, "_recall_the_last_tick", forgets_the_last_tick)],
    "never lets go of what is held": [(PartitionLoop, "_let_go", never_lets_go_of_what_is_held)],
    "lets nobody go": [(PartitionLoop, "abandon", lets_nobody_go)],
    "stands by without recalling what others write": [(Running, "left", stands_by_without_recalling_what_others_write)],
    "forgets what touched it since it was derived": [
        (PersonStage, "refold", forgets_what_touched_it_since_it_was_derived)
    ],
}


@contextmanager
def broken(how: str) -> Iterator[None]:
    """Break the shells in one way, for a while."""
    patches: list[Any] = [patch.object(where, name, what) for where, name, what in BROKEN[how]]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
