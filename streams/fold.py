"""Recovery: recall what is recorded, refold the facts, reconcile; then the stages of a partition are live.

It reads with a plain consumer that only assigns itself partitions: Faust's positions are never moved (after a seek
inside Faust a committed offset within the first batch is never passed again, and it seeks after every rebalance).
The caller has fenced the predecessor first, so that what is read here is all that was ever written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas import topics
from schemas.codec import DecodeError, decode
from schemas.registry_client import SchemaCache
from schemas.settings import Settings
from schemas.site import Site
from streams.facts import TICK_KEY
from streams.outside import REAL, Outside
from streams.partition import FOLDING, Partition
from streams.records import LoggedRecord, Out
from streams.stage import PERSON

CONSUME: Final = 2_000
"""Records taken from the consumer at a time."""
CONSUME_S: Final = 0.02
"""Seconds that one consume() gathers: it waits for all the records it was asked for, not for the first."""
TAIL: Final = 64
"""Offsets from the end of a partition in which its last record is looked for first: transactions' markers take some."""
QUIET_S: Final = 30.0
"""Seconds of waiting without a record or an end after which the broker counts as gone."""


class BrokerQuietError(Exception):
    """The broker neither sent records nor the end of a partition: the recovery is to be begun again."""


class AbandonedError(Exception):
    """The partition went to somebody else while it was recovered."""


@dataclass(slots=True)
class Progress:
    """How far the refold has come, in records of the stages' inputs."""

    done: int = 0
    total: int = 0
    read: int = 0
    """Records read back, of all topics: it grows as long as the recovery gets on."""
    deriving: bool = False
    """Everything is read: what is derived anew is compared with what is recorded, which takes what it takes."""
    abandoned: bool = False
    """Nobody waits for it any more."""

    def count(self) -> None:
        """One record more was read. Raises AbandonedError."""
        if self.abandoned:
            raise AbandonedError
        self.read += 1


@dataclass(frozen=True, slots=True)
class Recovered:
    """A partition whose stages are ready to be live."""

    positions: dict[str, int]
    """By folding stage: the first offset of its input that it has not folded."""
    outs: list[Out]
    """What reconciling wants written before anything else."""


def plain_consumer(settings: Settings, user: str, group: str, outside: Outside = REAL) -> Consumer:
    """A consumer that never joins the group, and commits nothing; it may ask what the group has committed."""
    return outside.consumer(
        {
            **settings.kafka(user),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            # One consume() that finds the queue short of a full batch must not stall half a second.
            "fetch.queue.backoff.ms": 10,
            # That a partition has ended is told by a fetch that finds nothing: it must not wait half a second for more.
            "fetch.wait.max.ms": 20,
        }
    )


def read_back(
    consumer: Consumer, parts: Iterable[tuple[str, int]], stop_at: int | None = None, start_at: int = OFFSET_BEGINNING
) -> Iterator[tuple[str, LoggedRecord]]:
    """Every record of these partitions from the beginning, or `start_at`, to the end that was there when reached.

    `stop_at` ends a partition before that offset. Raises BrokerQuietError, KafkaException.
    """
    wanted = [TopicPartition(topic, partition, start_at) for topic, partition in parts]
    open_parts = {(part.topic, part.partition) for part in wanted}
    consumer.assign(wanted)
    waited = 0.0
    while open_parts:
        messages = consumer.consume(CONSUME, CONSUME_S)
        if messages:
            waited = 0.0
        elif (waited := waited + CONSUME_S) > QUIET_S:
            raise BrokerQuietError("the broker sent nothing for half a minute while a partition was read back")
        for message in messages:
            topic, partition, error = message.topic(), message.partition(), message.error()
            if topic is None or partition is None or (topic, partition) not in open_parts:
                continue
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                open_parts.discard((topic, partition))
                continue
            offset = message.offset() or 0
            if stop_at is not None and offset >= stop_at:
                open_parts.discard((topic, partition))
                continue
            yield topic, logged(message)
    consumer.unassign()


def last_tick(site: Site, consumer: Consumer, schemas: SchemaCache) -> int:
    """The last tick of a site, microseconds; 0 before the first. Blocks. For the clock's owner, once it is alone.

    It reads the end of the region's facts: one partition, on which every tick is.
    """
    part = TopicPartition(topics.region_facts(site.name), 0)
    first, end = consumer.get_watermark_offsets(part, timeout=QUIET_S)
    back = TAIL
    while True:
        start = max(first, end - back)
        last = 0
        for _, record in read_back(consumer, [(part.topic, part.partition)], start_at=start):
            if record.key == TICK_KEY and record.value is not None:
                schemas.ensure([record.value])
                last = max(last, int(decode(record.value, schemas, "Tick")[1]["time"]))
        if last or start == first:
            return last
        back *= 100


def recover(
    partition: Partition, progress: Progress, site: Site, consumer: Consumer, schemas: SchemaCache
) -> Recovered:
    """Recover the stages of one partition number from the logs. Blocks; to be run off the event loop.

    Raises BrokerQuietError, KafkaException, RegistryAway; AbandonedError where nobody waits for it any more.

    A record that no schema or key explains is passed over, as it was when it first came: it is a dead letter already.
    """
    for topic, record in read_back(consumer, partition.outputs()):
        progress.count()
        if record.value is not None:
            schemas.ensure([record.value])
        _unless_poison(partial(partition.recall, topic, record))
    starts: dict[str, int] = {}
    positions: dict[str, int] = {}
    for name in FOLDING:
        source = TopicPartition(input_of(name, site), partition.number)
        committed = consumer.committed([source], timeout=QUIET_S)[0].offset
        starts[name], end = consumer.get_watermark_offsets(source, timeout=QUIET_S)
        # Never past the end: a log that lost its tail (power failed before it was on disk) must not make new facts,
        # which get the lost offsets again, look like old ones.
        positions[name] = min(max(committed, partition.last_cause(name) + 1, 0), end)
    progress.total = sum(max(0, positions[name] - starts[name]) for name in FOLDING)
    before = 0
    for name in FOLDING:
        source_part = (input_of(name, site), partition.number)
        for _, record in read_back(consumer, [source_part], stop_at=positions[name]):
            progress.count()
            if record.value is not None:
                schemas.ensure([record.value])
            _unless_poison(partial(partition.refold, name, record))
            progress.done = before + record.offset - starts[name] + 1
        before += max(0, positions[name] - starts[name])
        progress.done = before
    progress.deriving = True
    outs = partition.reconcile(positions)
    progress.deriving = False
    return Recovered(positions, outs)


def logged(message: Message) -> LoggedRecord:
    """A record that a consumer brought."""
    headers: Any = message.headers()  # its types allow more shapes than it returns
    return LoggedRecord(message.offset() or 0, message.key(), message.value(), headers or (), message.timestamp()[1])


def _unless_poison(take_in: Callable[[], None]) -> None:
    try:
        take_in()
    except (DecodeError, ValueError):
        return


def input_of(name: str, site: Site) -> str:
    """The topic that a folding stage reads."""
    return topics.person_facts(site.name) if name == PERSON else topics.facility_facts(site.name)
