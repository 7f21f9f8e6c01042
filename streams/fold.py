"""Recovery: recall what is recorded, refold the facts, reconcile; then the stages of a partition are live.

A `Fold` is as much of that as was done: from nothing, or from where one has come who stood by (`streams/standby.py`).
Both are brought up by `catch_up`, batch by batch: no more is in memory than what was folded and what is being read.

It reads with a plain consumer that only assigns itself partitions: Faust's positions are never moved (after a seek
inside Faust a committed offset within the first batch is never passed again, and it seeks after every rebalance).
The caller has fenced the predecessor first, so that what is read here is all that was ever written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas import topics
from schemas.codec import decode
from schemas.registry_client import SchemaCache
from schemas.settings import Settings
from schemas.site import Site
from streams.facts import TICK_KEY
from streams.outside import REAL, Outside
from streams.partition import FOLDING, Partition
from streams.records import LoggedRecord, Out
from streams.stage import input_of

log = logging.getLogger(__name__)

CONSUME: Final = 2_000
"""Records taken from the consumer at a time."""
QUEUED_KB: Final = 16 * 1024
"""Kilobytes that a consumer fetches ahead of who reads."""
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


class OutdatedError(Exception):
    """What was folded is not what is on the log: it lost its tail, or what was to be read next."""


Part = tuple[str, int]
"""Topic and partition."""


@dataclass(slots=True)
class Progress:
    """How far the refold has come, in records of the stages' inputs."""

    done: int = 0
    total: int = 0
    read: int = 0
    """Records read back, of all topics, or written: it grows as long as the recovery gets on."""
    deriving: bool = False
    """Everything is read: what is derived anew is compared with what is recorded, which takes what it takes."""
    waits: bool = False
    """The registry is away: nothing can be read without it."""
    abandoned: bool = False
    """Nobody waits for it any more."""
    between: Callable[[], None] | None = None
    """Called between two batches; what it raises ends the reading."""

    def count(self, records: int) -> None:
        """So many records more were read, or written. Raises AbandonedError."""
        self.read += records
        self.waits = False
        if self.abandoned:
            raise AbandonedError
        if self.between is not None:
            self.between()

    @contextmanager
    def derives(self) -> Iterator[None]:
        """Meanwhile nothing is read, and yet it gets on."""
        self.deriving = True
        try:
            yield
        finally:
            self.deriving = False

    def forget(self) -> None:
        """It begins again."""
        self.done = self.total = 0


@dataclass(slots=True)
class Fold:
    """The stages of a partition number, and how far each log is in them. Nothing in it is anywhere but on the logs."""

    partition: Partition
    recalled: dict[Part, int] = field(default_factory=dict)
    """By output: the first offset that was not recalled; none for one of which nothing was."""
    folded: dict[str, int] = field(default_factory=dict)
    """By folding stage: the first offset of its input that is not folded; none before the first."""

    def input_of(self, name: str) -> Part:
        """What a folding stage reads."""
        return input_of(name, self.partition.site), self.partition.number


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the inputs of a partition number stand, by folding stage."""

    first: Mapping[str, int]
    """Offset at which the log begins."""
    silent: Mapping[str, int]
    """Up to here nothing is to be said of what is folded: all of it was processed, and what it led to is written."""
    last: Mapping[str, int]
    """The log's end."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A partition whose stages are ready to be live."""

    positions: dict[str, int]
    """By folding stage: the first offset of its input that it has not folded."""
    outs: Iterator[Out]
    """What reconciling wants written before anything else, derived as it is asked for: the stages are live when all of
    it was. No more of it is in memory than is being written."""


def plain_consumer(settings: Settings, user: str, group: str, outside: Outside = REAL) -> Consumer:
    """A consumer that never joins the group, and commits nothing; it may ask what the group has committed."""
    return outside.consumer(
        {
            **settings.kafka(user),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            # Who goes on from an offset that the log no longer has, or not yet again, must not begin anew unawares.
            "auto.offset.reset": "error",
            "queued.max.messages.kbytes": QUEUED_KB,
            # One consume() that finds the queue short of a full batch must not stall half a second.
            "fetch.queue.backoff.ms": 10,
            # That a partition has ended is told by a fetch that finds nothing: it must not wait half a second for more.
            "fetch.wait.max.ms": 20,
            # While the broker is away whoever goes on would say so twenty times a second.
            "log_level": 2,
        }
    )


def read_back(
    consumer: Consumer, parts: Iterable[Part], stop_at: int | None = None, start_at: int = OFFSET_BEGINNING
) -> Iterator[tuple[str, LoggedRecord]]:
    """Every record of these partitions from the beginning, or `start_at`, to the end that was there when reached.

    `stop_at` ends a partition before that offset. Raises BrokerQuietError, KafkaException.
    """
    for batch in batches_back(consumer, dict.fromkeys(parts, start_at), stop_at):
        for (topic, _), record in batch:
            yield topic, record


def batches_back(
    consumer: Consumer, starts: Mapping[Part, int], stop_at: int | None = None, most: int = CONSUME
) -> Iterator[list[tuple[Part, LoggedRecord]]]:
    """The same by the batch, of up to `most` records, each partition from an offset of its own."""
    open_parts = set(starts)
    consumer.assign([TopicPartition(*part, start) for part, start in starts.items()])
    waited = 0.0
    while open_parts:
        messages = consumer.consume(most, CONSUME_S)
        if messages:
            waited = 0.0
        elif (waited := waited + CONSUME_S) > QUIET_S:
            raise BrokerQuietError("the broker sent nothing for half a minute while a partition was read back")
        batch = []
        for message in messages:
            part, error = (message.topic() or "", message.partition() or 0), message.error()
            if part not in open_parts:
                continue
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                open_parts.discard(part)
                continue
            record = logged(message)
            if stop_at is not None and record.offset >= stop_at:
                open_parts.discard(part)
                continue
            batch.append((part, record))
        if batch:
            yield batch
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


def recover(fold: Fold, progress: Progress, consumer: Consumer, schemas: SchemaCache) -> Recovered:
    """Recover the stages of one partition number from the logs, from where `fold` has come. Blocks; to be run off the
    event loop.

    Raises BrokerQuietError, KafkaException, RegistryAway, OutdatedError; AbandonedError where nobody waits for it any
    more.
    """
    number = fold.partition.number
    log.info("partition %s is read back %s", number, f"from {fold.folded}" if fold.folded else "from the beginning")
    catch_up(fold, progress, consumer, schemas)
    log.info("partition %s is folded: %s records read", number, progress.read)
    return Recovered(dict(fold.folded), fold.partition.reconcile(fold.folded))


def catch_up(
    fold: Fold,
    progress: Progress,
    consumer: Consumer,
    schemas: SchemaCache,
    at_a_time: int = CONSUME,
    most: int | None = None,
) -> bool:
    """Recall all that is recorded by now, and fold silently what was processed before.

    False: there is more than the `most` records, about, that were to be read. Between two batches `fold` is always what
    the logs say up to where it has come, however this ends.

    Raises what `recover` raises. A record of which nothing can be made is passed over, as it was when it first came: it
    is a dead letter already.
    """
    partition, room = fold.partition, most
    starts = {part: fold.recalled.get(part, OFFSET_BEGINNING) for part in partition.outputs()}
    for batch in batches_back(consumer, starts, most=at_a_time):
        _ensure(schemas, batch)
        for part, record in batch:
            with _POISON:
                partition.recall(part[0], record)
            fold.recalled[part] = record.offset + 1
        progress.count(len(batch))
        if room is not None and (room := room - len(batch)) <= 0:
            return False
    ends = _ends(fold, consumer)
    total = sum(max(0, ends.silent[name] - _start(fold, name, ends)) for name in FOLDING)
    progress.done, progress.total = 0, total
    for name in FOLDING:
        begin, until = _start(fold, name, ends), ends.silent[name]
        before = progress.done
        if begin < until:
            for read in _refolded(fold, name, until, consumer, schemas, at_a_time):
                progress.done = before + fold.folded[name] - begin
                progress.count(read)
                if room is not None and (room := room - read) <= 0:
                    return False
        # Compaction leaves holes, and markers of transactions take offsets: there is nothing between.
        fold.folded[name] = until
        progress.done = before + until - begin
        if until > ends.first[name] and not partition.stage(name).tick:
            _fold_to_a_tick(fold, name, ends.last[name], progress, consumer, schemas, at_a_time)
    return True


def _refolded(
    fold: Fold, name: str, until: int, consumer: Consumer, schemas: SchemaCache, at_a_time: int
) -> Iterator[int]:
    """Fold a stage's input silently from where it has come, batch by batch: how many records each had."""
    start = {fold.input_of(name): fold.folded.get(name, OFFSET_BEGINNING)}
    for batch in batches_back(consumer, start, until, at_a_time):
        _ensure(schemas, batch)
        for _, record in batch:
            with _POISON:
                fold.partition.refold(name, record)
        fold.folded[name] = batch[-1][1].offset + 1
        yield len(batch)


def _fold_to_a_tick(
    fold: Fold, name: str, end: int, progress: Progress, consumer: Consumer, schemas: SchemaCache, at_a_time: int
) -> None:
    """Fold silently up to the first tick, where one is on the log at all.

    All ticks have one key, and compaction leaves the last: it may be after where the stages had come. Without it they
    would be reconciled as in 1970: feuds live that are long over, agreements not in force yet.
    """
    source, until = fold.input_of(name), fold.folded[name]
    ticks = (
        record.offset
        for batch in batches_back(consumer, {source: until}, end, at_a_time)
        for _, record in batch
        if record.key == TICK_KEY and record.value is not None
    )
    tick = next(ticks, None)
    if tick is None:
        return
    for read in _refolded(fold, name, tick + 1, consumer, schemas, at_a_time):
        progress.count(read)


def ends_of(fold: Fold, consumer: Consumer) -> Mapping[str, int]:
    """The ends of what a partition number reads as they are now, by folding stage."""
    sources = {name: TopicPartition(*fold.input_of(name)) for name in FOLDING}
    return {name: consumer.get_watermark_offsets(source, timeout=QUIET_S)[1] for name, source in sources.items()}


def is_past(fold: Fold, ends: Mapping[str, int], consumer: Consumer) -> bool:
    """Whether no record before these ends, by folding stage, stands after what is folded: there may be markers of
    transactions."""
    return not any(
        next(batches_back(consumer, {fold.input_of(name): fold.folded[name]}, end, most=1), None)
        for name, end in ends.items()
        if fold.folded[name] < end
    )


_POISON: Final = suppress(Exception)
"""What is passed over: when the record first came, whatever it raised made it a dead letter."""


def _ensure(schemas: SchemaCache, batch: Iterable[tuple[Part, LoggedRecord]]) -> None:
    schemas.ensure([record.value for _, record in batch if record.value is not None])


def _start(fold: Fold, name: str, ends: Ends) -> int:
    return fold.folded.get(name, ends.first[name])


def _ends(fold: Fold, consumer: Consumer) -> Ends:
    """Where the inputs stand. Raises OutdatedError where what was folded can't be gone on from."""
    sources = {name: TopicPartition(*fold.input_of(name)) for name in FOLDING}
    committed = consumer.committed(list(sources.values()), timeout=QUIET_S)
    first: dict[str, int] = {}
    silent: dict[str, int] = {}
    last: dict[str, int] = {}
    for (name, source), done in zip(sources.items(), committed, strict=True):
        first[name], last[name] = consumer.get_watermark_offsets(source, timeout=QUIET_S)
        folded = fold.folded.get(name)
        if folded is not None and not first[name] <= folded <= last[name]:
            raise OutdatedError(f"{source.topic} {source.partition} is from {first[name]} to {last[name]}")
        # Never past the end: a log that lost its tail (power failed before it was on disk) must not make new facts,
        # which get the lost offsets again, look like old ones.
        silent[name] = min(max(done.offset, fold.partition.last_cause(name) + 1, folded or 0, first[name]), last[name])
    return Ends(first, silent, last)


def logged(message: Message) -> LoggedRecord:
    """A record that a consumer brought."""
    headers: Any = message.headers()  # its types allow more shapes than it returns
    return LoggedRecord(message.offset() or 0, message.key(), message.value(), headers or (), message.timestamp()[1])
