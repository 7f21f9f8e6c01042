"""The one faust.App of a site's worker, and the worker as a process."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, Final

import faust
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from faust.types import TP

from schemas import topics
from schemas.codec import encode
from schemas.registry_client import NotRegisteredError, RegistryAway, SchemaCache, registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site
from streams.agents import CLOCK_NUMBER, REPORTED, STAGES, Partitions, input_topics
from streams.assignor import NumberAssignor
from streams.batching import batch_topic, read_by_the_batch, tuned_app_settings
from streams.clock import CLOCK, wall_clock
from streams.fencing import BrokenWriterError, Fenced
from streams.garbage import collect_seldom
from streams.lookout import Lookout, StalledError

log = logging.getLogger(__name__)

EXIT_FENCED: Final = 3
"""Exit code of a worker one of whose partitions has another writer while the group does not say whose it is; its
supervisor starts it again."""
EXIT_BROKEN: Final = 4
"""Exit code of a worker that met what it can't go on with."""
EXIT_STALLED: Final = 5
"""Exit code of a worker that stood still; its supervisor starts it again."""
ENDS_IN_S: Final = 8.0
"""Seconds in which a worker that a signal ends is gone, whatever the broker does: before its supervisor kills it."""
BROKER_ANSWERS_S: Final = 5.0
"""Seconds in which a broker must answer a worker that starts; its supervisor tries again."""
REPORT_EVERY_S: Final = 1.0
REPORT_HOLDS_MS: Final = 10_000
"""How long a report waits for a broker that is away: an older one says nothing. So what waits is bounded."""


class WorkerError(Exception):
    """The worker can't start; the message is one line: what is wrong, and what to do."""


def build_app(settings: Settings, site: Site) -> tuple[faust.App, Partitions]:
    """The app of a site's worker and the partitions that it will own.

    Raises SecretUnreadableError, WorkerError where the site is not provisioned or broker or registry are away.
    """
    _require_broker(settings, site)
    client = registry_client(settings)
    own = [spec.name for spec in topics.internal_topics(site)]
    told = [spec.name for recipient in site.recipients for spec in topics.recipient_topics(site, recipient)]
    try:
        ids = schema_ids(client, site, [*own, *told])
    except (RegistryAway, NotRegisteredError) as error:
        raise WorkerError(str(error)) from error
    partitions = Partitions(settings, site, SchemaCache(client), ids, _exit_on, rejoin=lambda: _rejoin(app))
    assignor = NumberAssignor(settings.standbys, partitions.standbys.ready, partitions.standbys.gave_up)
    # Faust wants a directory, though nothing is kept in it; where the bus is not ours nobody else has made it.
    datadir = settings.home / "run" / "faust"
    datadir.mkdir(mode=0o700, parents=True, exist_ok=True)
    app = faust.App(
        topics.consumer_group(site.name),
        broker=f"kafka://{settings.bootstrap_servers}",
        broker_credentials=_credentials(settings, site),
        **tuned_app_settings(datadir),
    )
    read_by_the_batch(app, partitions.held, assignor)
    for stage in STAGES:
        _declare(app, stage, site, partitions)
    app.on_partitions_assigned.connect(_on_assigned(app, partitions, assignor), weak=False)
    reporter = StageReporter(settings, site, partitions, ids[topics.stage_reports(site.name), "StageReported"])
    app.timer(REPORT_EVERY_S)(reporter.report(app))
    app.task(_watched(Lookout(settings, app, partitions, _exit_on)))
    return app, partitions


def _require_broker(settings: Settings, site: Site) -> None:
    """Raise WorkerError where the broker is away: Faust would end with its own trace of it."""
    try:
        asks = AdminClient({**settings.kafka(site.user("bus")), "log_level": 0})
        asks.list_topics(timeout=BROKER_ANSWERS_S)
    except KafkaException as error:
        raise WorkerError(
            f"the broker does not answer at {settings.bootstrap_servers} ({error.args[0].name()}): is the bus up? "
            "See SALLYPORT_BOOTSTRAP"
        ) from error


def _credentials(settings: Settings, site: Site) -> Any:
    if not settings.security_protocol.startswith("SASL"):
        return None
    user = site.user("bus")
    return faust.SASLCredentials(
        username=user,
        password=settings.password(user),
        mechanism=settings.sasl_mechanism,
        ssl_context=settings.ssl_context() if settings.security_protocol.endswith("SSL") else None,
    )


def _declare(app: faust.App, stage: str, site: Site, partitions: Partitions) -> None:
    async def body(stream: Any) -> None:
        await partitions.agent(stage, stream)

    app.agent(batch_topic(app, *input_topics(stage, site)), name=f"{site.name}.{stage}")(body)


def _on_assigned(app: faust.App, partitions: Partitions, assignor: NumberAssignor) -> Any:
    async def assigned(_: Any, parts: Iterable[TP], **__: Any) -> None:
        numbers = frozenset(part.partition for part in parts)
        await partitions.own(numbers, app.consumer_generation_id, assignor.share)

    return assigned


def _rejoin(app: faust.App) -> None:
    _consumer(app).rejoin()


def _consumer(app: faust.App) -> Any:
    """The app's, a BatchConsumer."""
    return app.consumer


def _watched(lookout: Lookout) -> Any:
    async def start() -> None:
        lookout.start(asyncio.get_running_loop())

    return start


def _exit_on(error: BaseException) -> None:
    """Leave at once: a worker that may not write has nothing to tidy up, and must not acknowledge anything."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    codes: dict[type[BaseException], int] = {Fenced: EXIT_FENCED, StalledError: EXIT_STALLED}
    code = codes.get(type(error), EXIT_BROKEN)
    # The text of an unexpected error may quote a record; its kind and place tell enough. Ours name what was refused.
    said = f": {error}" if isinstance(error, Fenced | BrokenWriterError | StalledError) else ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    log.critical("the worker exits (%s): %s%s%s", code, type(error).__name__, where, said)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


def _end_at_once() -> None:
    """End as `kill -9` would, which loses nothing: the group waits for the session, and others go on."""
    log.warning("the broker does not answer: the worker ends without it")
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0)


class StageReporter:
    """Says every second how each stage of each partition is doing. No personal data: recipients read it."""

    def __init__(self, settings: Settings, site: Site, partitions: Partitions, schema_id: int) -> None:
        config = {"enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": REPORT_HOLDS_MS}
        self._producer = Producer({**settings.kafka(site.user("bus")), **config})
        self._topic = topics.stage_reports(site.name)
        self._partitions = partitions
        self._schema_id = schema_id
        self._site = site

    def report(self, app: faust.App) -> Any:
        """The timer's task."""

        async def task() -> None:
            positions = await _consumer(app).positions(_consumer(app).assignment())
            for number, stage in product(sorted(self._partitions.running), REPORTED):
                running = self._partitions.running.get(number)
                if running is None or running.overtaken or (stage == CLOCK and number != CLOCK_NUMBER):
                    continue  # a rebalance took it away just now, its owner speaks; or nobody ever writes there
                record = {
                    "stage": stage,
                    "partition": number,
                    "state": "LIVE" if running.is_live(stage) else "REFOLDING",
                    "tick": running.tick(stage),
                    "lag": self._lag(app, positions, stage, number),
                    "done": running.progress.done,
                    "total": running.progress.total,
                    "at": wall_clock(),
                }
                self._say(record)
            for following in [*self._partitions.standbys.following.values()]:
                self._say(following.report(wall_clock()))
            self._producer.poll(0)
            await asyncio.sleep(0)

        return task

    def _say(self, record: Mapping[str, Any]) -> None:
        key = f"{record['stage']}/{record['partition']}".encode()
        value = encode("StageReported", in_hundreds(record), self._schema_id)
        self._producer.produce(self._topic, value=value, key=key, partition=0)

    def _lag(self, app: faust.App, positions: Mapping[TP, int], stage: str, number: int) -> int:
        """Records that are on the stage's input and not processed: not yet fetched, or waiting in its loop.

        The consumer's own position passes over transaction markers, which the end offset counts.
        """
        lag = 0
        for topic in input_topics(stage, self._site) if stage in STAGES else ():
            part = TP(topic, number)
            if part not in positions:
                continue
            try:
                end = app.consumer.highwater(part)
            except AssertionError:  # so aiokafka says that a rebalance took it away just now
                continue
            if end is not None:
                lag += max(0, end - positions[part])
        running = self._partitions.running.get(number)
        return lag + (running.loop.waiting.get(stage, 0) if running else 0)


def in_hundreds(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stage report that tells of no single event. How many records there are of each stage and partition, exactly,
    would tell of a tip: it is for every partition of the facilities and for none of the persons', as little else is."""
    return {
        **record,
        "lag": record["lag"] // 100 * 100,
        "done": record["done"] // 100 * 100,
        # So that it is not all done too soon.
        "total": -(-record["total"] // 100) * 100,
    }


def run_worker(settings: Settings, site: Site) -> int:
    """Run a worker until a signal ends it. Returns an exit code. Raises WorkerError, SecretUnreadableError."""
    collect_seldom()
    app, partitions = build_app(settings, site)
    worker = _Worker(
        app, loglevel="WARNING", override_logging=False, redirect_stdouts=False, quiet=True, loop=_new_loop()
    )
    worker.partitions = partitions
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


class _Worker(faust.Worker):
    """Faust's worker, which ends our loops first."""

    partitions: Partitions

    async def on_start(self) -> None:
        """Read before it is known for what: the group waits for the session of a worker that died."""
        self.partitions.stand_by()
        await super().on_start()

    async def _stop_on_signal(self, signal: Any) -> None:
        # While the broker is away Faust's consumer asks for ever to leave its group.
        at_the_latest = threading.Timer(ENDS_IN_S, _end_at_once)
        at_the_latest.daemon = True
        at_the_latest.start()
        # What is in work is finished or aborted by closing its loop. What waits will be read again by whoever owns the
        # partition next.
        await self.partitions.close()
        await super()._stop_on_signal(signal)


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop
