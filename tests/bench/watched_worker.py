"""A worker as `sallyport worker` starts it, which also notes what its stages took and when each batch went on.

    python tests/bench/watched_worker.py CELLS MARKS

CELLS is a file of doubles that the bench maps too: records of each part of the deciding thread, and its processor
seconds as far as a sample tells them, kept up to date. It takes a tenth of the thread's time; "-" for none. MARKS is a
file to which it writes, when it ends, when each batch was handed over, taken, decided and committed, where there are no
CELLS; "-" for none. With BENCH_PROFILE a profile of the deciding thread is written there.
"""

from __future__ import annotations

import cProfile
import json
import mmap
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import typer

from deploy.commands.worker import worker
from streams import agents
from streams.agents import Partitions, Running
from streams.batching import Batch
from streams.clock import CLOCK
from streams.disclose import DISCLOSE, DiscloseStage
from streams.identify import IDENTIFY
from streams.partition_loop import Delivery, PartitionLoop
from streams.records import Headers, Out, Record
from streams.stage import FACILITY, PERSON

ENCODE: Final = "encode"
PARTS: Final = (IDENTIFY, PERSON, FACILITY, CLOCK, DISCLOSE, ENCODE)
"""What the deciding thread does for records. Disclose is called by person and facility, and counted apart from them."""
PROFILE: Final = "BENCH_PROFILE"
SAMPLE: Final = 17
"""One record in so many is timed, and counts for all of them: to ask the clock at each took a third of the thread's
time at 1,000 events a second. Prime, so that no rhythm of the records hides from it."""


_PLACE: Final = {part: 2 * number for number, part in enumerate(PARTS)}


class Cells:
    """Records and processor seconds of each part, in a file that several processes map."""

    def __init__(self, path: Path) -> None:
        size = 2 * 8 * len(PARTS)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), size)).cast("d")

    def count(self, part: str) -> None:
        """One more record of a part."""
        self._cells[_PLACE[part]] += 1

    def add(self, part: str, seconds: float) -> None:
        """Seconds that a part took; less than nothing for what belongs to another part."""
        self._cells[_PLACE[part] + 1] += seconds

    def records(self, part: str) -> int:
        """Records of a part so far."""
        return int(self._cells[_PLACE[part]])

    def all(self) -> dict[str, tuple[float, float]]:
        """Records and seconds of all parts."""
        return {part: (self._cells[2 * n], self._cells[2 * n + 1]) for n, part in enumerate(PARTS)}


class Mark(NamedTuple):
    """When a batch went on, nanoseconds since 1970."""

    topic: str
    partition: int
    first: int
    last: int
    handed_over: int
    taken: int
    decided: int
    committed: int


class Watch:
    """What is noted in this process."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self._inside: str | None = None
        """The part that is being timed."""
        self._seen = 0

    def timed(self, part: str, call: Callable[[], Any]) -> Any:
        """What a call returns; its processor time is noted for a part, if it is one that is timed."""
        self.cells.count(part)
        self._seen += 1
        if self._seen % SAMPLE:
            return call()
        self._inside = part
        began = time.thread_time()
        try:
            return call()
        finally:
            self.cells.add(part, SAMPLE * (time.thread_time() - began))
            self._inside = None

    def timed_within(self, part: str, call: Callable[[], Any]) -> Any:
        """The same for what another part calls, timed where that is: it is that part's time no more."""
        self.cells.count(part)
        if self._inside is None:
            return call()
        began = time.thread_time()
        try:
            return call()
        finally:
            took = SAMPLE * (time.thread_time() - began)
            self.cells.add(part, took)
            self.cells.add(self._inside, -took)


def marked(marks: list[Mark]) -> type[PartitionLoop]:
    """The worker's own loop, which notes when each batch goes on."""
    handed_over: dict[int, int] = {}

    class MarkedLoop(PartitionLoop):
        _written = 0, 0

        def hand_over(self, stage: str, delivery: Delivery) -> None:
            handed_over[id(delivery)] = time.time_ns()
            super().hand_over(stage, delivery)

        async def _process(self, deliveries: Sequence[tuple[str, Delivery]]) -> None:
            taken = time.time_ns()
            await super()._process(deliveries)
            for _, delivery in deliveries:
                batch = delivery.batch
                at = handed_over.pop(id(delivery))
                where = batch.topic, batch.partition, batch.records[0].offset, batch.last_offset
                marks.append(Mark(*where, at, taken, *self._written))

        async def write(self, outs: Sequence[Out], taken: Headers = ()) -> None:
            decided = time.time_ns()
            await super().write(outs, taken)
            self._written = decided, time.time_ns()

    return MarkedLoop


def watched(watch: Watch) -> tuple[type[Partitions], type[PartitionLoop], type[DiscloseStage]]:
    """The worker's own classes, with a watch before their doors."""

    class WatchedPartitions(Partitions):
        def _decide(self, running: Running, stage: str, batch: Batch, record: Record) -> Sequence[Out]:
            decide = super()._decide
            outs: Sequence[Out] = watch.timed(stage, lambda: decide(running, stage, batch, record))
            return outs

    class WatchedLoop(PartitionLoop):
        def _encoded(self, out: Out, taken: Headers) -> Out:
            encoded = super()._encoded
            encoding: Out = watch.timed(ENCODE, lambda: encoded(out, taken))
            return encoding

    class WatchedDisclose(DiscloseStage):
        def tell(self, alert: Any) -> list[Out]:
            tell = super().tell
            told: list[Out] = watch.timed_within(DISCLOSE, lambda: tell(alert))
            return told

    return WatchedPartitions, WatchedLoop, WatchedDisclose


def main(cells: str, marks: str) -> None:
    noted: list[Mark] = []
    profile = cProfile.Profile()
    # A history's worker gives way to what happens now; here nothing else happens.
    patches: list[AbstractContextManager[Any]] = [patch("deploy.commands.worker.GIVE_WAY", 0)]
    if cells != "-":
        partitions, loop, disclose = watched(Watch(Cells(Path(cells))))
        patches.append(patch("streams.app.Partitions", partitions))
        patches.append(patch.object(agents, "PartitionLoop", loop))
        patches.append(patch("streams.partition.DiscloseStage", disclose))
    elif marks != "-":
        patches.append(patch.object(agents, "PartitionLoop", marked(noted)))
    with ExitStack() as stack:
        for one in patches:
            stack.enter_context(one)
        try:
            profile.runcall(worker) if PROFILE in os.environ else worker()
        finally:
            if PROFILE in os.environ:
                profile.dump_stats(os.environ[PROFILE])
            if marks != "-":
                Path(marks).write_text("\n".join(json.dumps(mark) for mark in noted))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except typer.Exit as end:
        sys.exit(end.exit_code)
