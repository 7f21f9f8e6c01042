"""The lookout: looks every few seconds whether the worker gets on, and says when it stands still.

A thread of its own, with a client of its own: what it watches may be the event loop or the consumer's thread. What it
sees is judged by `liveness.py`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as NoAnswer
from typing import Any, Final

from aiokafka.errors import IllegalStateError
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from faust.types import TP

from schemas.settings import Settings
from streams.agents import STAGES, Partitions, Running, input_topics
from streams.liveness import PATIENCE_S, Look, Memory, Reading, Recovering, Stalled, judge

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
ANSWER_S: Final = 5.0
"""Seconds in which the broker, and the worker's own threads, are to answer a look."""
Ends = Mapping[tuple[str, int], int]
Seen = tuple[tuple[Reading, ...], tuple[Recovering, ...], frozenset[tuple[str, int]]]
"""How live partitions are read, how far others are recovered, and live ones whose end is not told."""


class StalledError(Exception):
    """The worker stands still. It must exit: its supervisor starts another."""


class Lookout:
    """Watches the partitions of one worker, in its event loop `loop`, whose consumer Faust's app has."""

    def __init__(
        self,
        settings: Settings,
        app: Any,
        partitions: Partitions,
        on_stalled: Callable[[StalledError], None],
        patience: float = PATIENCE_S,
    ) -> None:
        config = {**settings.kafka(partitions.site.user("bus")), "log_level": 2}
        self._admin = AdminClient(config)
        self._app = app
        self._partitions = partitions
        self._on_stalled = on_stalled
        self._patience = patience

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch until the process ends."""
        threading.Thread(target=self._watch, args=(loop,), name="lookout", daemon=True).start()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        memory = Memory()
        while True:
            time.sleep(LOOK_EVERY_S)
            try:
                memory, verdict = judge(memory, self._look(loop), self._patience)
            except Exception as error:
                # Whatever it is: nobody else watches.
                log.warning("a look at the worker failed: %s", type(error).__name__)
                continue
            if isinstance(verdict, Stalled):
                for standstill in verdict.standstills:
                    log.critical("the worker stands still: %s", standstill)
                self._on_stalled(StalledError())
                return

    def _look(self, loop: asyncio.AbstractEventLoop) -> Look:
        # The ends first: what is seen of the worker is later, so that nothing seems to be behind that is not.
        ends = self._ends()
        if ends is None:
            return Look(time.monotonic(), broker_answered=False)
        seeing = asyncio.run_coroutine_threadsafe(self._see(ends), loop)
        try:
            readings, recovering, unanswered = seeing.result(ANSWER_S)
        except Exception as error:
            # Whatever it is: nobody would watch any more. What can't be looked at for long is as good as still.
            seeing.cancel()
            if not isinstance(error, NoAnswer):
                log.warning("the worker could not be looked at: %s", type(error).__name__)
            return Look(time.monotonic(), broker_answered=True, worker_answered=False)
        return Look(time.monotonic(), True, True, readings, recovering, unanswered)

    def _ends(self) -> Ends | None:
        """The ends, as far as they are told, of the partitions that are read here, for who reads what is committed;
        None where nothing is told: the broker is away."""
        parts = [
            TopicPartition(topic, number)
            for number in list(self._partitions.running)
            for stage in STAGES
            for topic in input_topics(stage, self._partitions.site)
        ]
        try:
            if not parts:
                # Nothing to ask the ends of, and yet: is anybody there?
                self._admin.list_topics(timeout=ANSWER_S)
                return {}
            latest = {part: OffsetSpec.latest() for part in parts}  # type: ignore[no-untyped-call]
            asked = self._admin.list_offsets(
                latest, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER_S
            )
        except KafkaException:
            return None
        # A partition without a leader has no answer; the others have theirs.
        ends = {
            (part.topic, part.partition): future.result().offset
            for part, future in asked.items()
            if future.exception() is None
        }
        return ends or None

    async def _see(self, ends: Ends) -> Seen:
        owned = list(self._partitions.running.items())
        live = {
            TP(topic, number): (running, stage)
            for number, running in owned
            for stage in STAGES
            if running.is_live(stage)
            for topic in input_topics(stage, self._partitions.site)
        }
        wanted = {part: whose for part, whose in live.items() if part in ends}
        positions = await self._app.consumer.positions(wanted.keys() & self._app.consumer.assignment())
        readings = [
            reading
            for part, (running, stage) in wanted.items()
            if part in positions
            if (reading := self._reading(running, stage, part, positions[part], ends)) is not None
        ]
        recovering = []
        for number, running in owned:
            if not running.live.is_set() and not running.waits:
                progress = running.progress
                # Another object: it began again.
                marks = (id(progress), progress.read)
                recovering.append(Recovering(number, marks, progress.deriving or progress.waits))
        return (
            tuple(readings),
            tuple(recovering),
            frozenset((part.topic, part.partition) for part in live if part not in ends),
        )

    def _reading(self, running: Running, stage: str, part: TP, position: int, ends: Ends) -> Reading | None:
        """How a topic is read; None for one that a rebalance has just taken."""
        try:
            polled = self._app.consumer.last_poll(part)
        except (IllegalStateError, AssertionError):
            return None
        return Reading(
            part.topic,
            part.partition,
            position,
            ends[part.topic, part.partition],
            polled,
            running.loop.decided,
            running.loop.unprocessed(stage, part.topic),
            (part.topic, part.partition) in self._partitions.held,
            running.loop.asks_the_registry(stage, part.topic),
        )
