"""Ours: a worker of the site as `sallyport worker` runs it, with the person stage alone of its stages.

Every part is the worker's own: Faust by the batch, the partition's loop, its transactional writer, the acknowledgement,
the reports. `count` puts a keyed count in the place of the stage, and leaves all else as it is: what the path costs by
itself, beside Kafka Streams.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

from faust.types import TP

from schemas.settings import Settings
from streams import app as worker
from streams.agents import Partitions, Running
from streams.batching import Batch
from streams.records import Out, Record
from streams.stage import PERSON
from tests.bench.peers.job import Job, Stopwatch


class Watched(Partitions):
    """The worker's partitions, and a stopwatch before them."""

    watch: Stopwatch

    def _decide(self, running: Running, stage: str, batch: Batch, record: Record) -> Sequence[Out]:
        self.watch.record()
        return super()._decide(running, stage, batch, record)


class Counting(Partitions):
    """How many facts there were of each person: each count on the log, as each alert would be."""

    watch: Stopwatch
    output: str

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._counts: defaultdict[bytes, int] = defaultdict(int)

    def _decide(self, running: Running, stage: str, batch: Batch, record: Record) -> Sequence[Out]:
        del running, stage
        self.watch.record()
        person = (record.key or b"").partition(b"/")[0]
        self._counts[person] += 1
        return (Out(self.output, batch.partition, person, None, self._counts[person].to_bytes(8, "big")),)


async def _until_committed(app: Any, job: Job, watch: Stopwatch) -> None:
    committed = app.consumer._committed_offset
    while not (
        watch.all_came and all((committed[TP(job.input, n)] or 0) >= end for n, end in enumerate(job.ends) if end)
    ):
        # Only where the end is near is it looked for often.
        await asyncio.sleep(0.002 if watch.all_came else 0.05)
    watch.committed()
    sys.stderr.flush()
    os._exit(0)


def main(counts: bool) -> None:
    job = Job.given()
    watch = Stopwatch(job)
    kind: Any = Counting if counts else Watched
    kind.watch, kind.output = watch, job.output
    with patch.multiple(worker, STAGES=(PERSON,), Partitions=kind):
        app, partitions = worker.build_app(Settings.model_validate_json(job.settings), job.site_as_read())
    until_committed: Callable[[], Any] = lambda: _until_committed(app, job, watch)  # noqa: E731
    app.task(until_committed)
    process = worker._Worker(
        app, loglevel="WARNING", override_logging=False, redirect_stdouts=False, quiet=True, loop=worker._new_loop()
    )
    process.partitions = partitions
    process.execute_from_commandline()


if __name__ == "__main__":
    main("count" in sys.argv[1:])
