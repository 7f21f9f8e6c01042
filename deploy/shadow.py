"""The shell of `streams/shadow.py`: reads the facts and what was raised, as the workers' user; writes nothing.

The consumer assigns itself partitions, joins no group and commits nothing. How far the live workers are it asks of
their group.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.acls import BUS
from deploy.broker_says import in_a_line
from schemas import topics
from schemas.registry_client import RegistryAway, SchemaCache, registry_client
from schemas.settings import Settings
from schemas.site import Site
from streams.fold import CONSUME, BrokerQuietError, logged, plain_consumer, read_back
from streams.records import Record
from streams.shadow import Candidate, Shadow
from streams.stage import input_of

CONNECT_S: Final = 10.0
"""Seconds for which a broker is asked whether it is there."""
CONSUME_S: Final = 0.1
"""Seconds that one look for new records takes, on the live log."""
ASK_EVERY_S: Final = 1.0
"""Seconds between two questions how far the workers are: they commit every few seconds."""
RETRY_S: Final = 1.0
"""Seconds before the registry is asked again."""
_PASSING: Final = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE}
"""Errors of a bus that is away: Kafka's client connects again by itself."""

Progress = Callable[[int, int], None]
"""Told how many records of how many were read back."""


class ShadowError(Exception):
    """The logs can't be read; the message is one line: what is wrong, and what to do."""


class Shadowing:
    """The logs of a site under a candidate. A context manager, which closes what it opened.

    Its methods raise ShadowError. They block.
    """

    def __init__(self, settings: Settings, site: Site, candidate: Candidate) -> None:
        """Connect. Raises ShadowError, SecretUnreadableError."""
        self._settings = settings
        self._site = site
        self._candidate = candidate
        self._facts = input_of(candidate.stage, site)
        self._raised = topics.alerts_raised(site.name)
        user = site.user(BUS)
        try:
            # Who can't connect is told so in one line: the consumer's own client would go on about it on stderr.
            quiet = logging.getLogger("sallyport.kafka")
            found = AdminClient(settings.kafka(user), logger=quiet).list_topics(self._facts, timeout=CONNECT_S)
            if (error := found.topics[self._facts].error) is not None:
                raise KafkaException(error)
        except KafkaException as error:
            raise self._away(error) from error
        self._schemas = SchemaCache(registry_client(settings))
        self._consumer: Consumer = plain_consumer(settings, user, topics.consumer_group(site.name))
        self._read_of_raised: dict[int, int] = {}
        """By partition number: the first offset of what was raised that is not read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def _away(self, error: Exception) -> ShadowError:
        said = in_a_line(error) if isinstance(error, KafkaException) else str(error)
        return ShadowError(
            f"the bus at {self._settings.bootstrap_servers} does not answer as asked ({said}): "
            "is it up (`sallyport up`), and the site provisioned?"
        )

    # -- up to where the workers are -----------------------------------------------------------------------------

    def shadows(self, progress: Progress) -> Iterator[Shadow]:
        """The shadow of each partition number, evaluated where the live workers are; one at a time is read back."""
        try:
            numbers = range(self._site.partitions)
            sizes = [end - first for first, end in (self._offsets(self._facts, number) for number in numbers)]
            for number in numbers:
                yield self._shadow(number, partial(self._told, progress, sum(sizes[:number]), sum(sizes)))
                progress(sum(sizes[: number + 1]), sum(sizes))
        except (KafkaException, BrokerQuietError, RegistryAway) as error:
            raise self._away(error) from error

    @staticmethod
    def _told(progress: Progress, before: int, total: int, done: int) -> None:
        progress(before + done, total)

    def _shadow(self, number: int, progress: Callable[[int], None]) -> Shadow:
        shadow = Shadow(self._site, number, self._schemas, self._candidate)
        first, end = self._offsets(self._facts, number)
        committed = self._committed([number])[number]
        # Where the group has committed nothing, or what it had is forgotten, all there is is what there is to compare.
        position = min(committed, end) if committed >= 0 else end
        self._refold(shadow, number, 0, position, lambda offset: progress(offset - first + 1))
        for _, record in read_back(self._consumer, [(self._raised, number)]):
            self._decodable(record)
            shadow.recall(record)
            self._read_of_raised[number] = record.offset + 1
        # While the facts were read the workers went on: what they raised tells how far at least.
        self._refold(shadow, number, position, shadow.done, lambda _: None)
        shadow.evaluate(max(position, shadow.done))
        return shadow

    def _refold(self, shadow: Shadow, number: int, start: int, stop: int, progress: Callable[[int], None]) -> None:
        if start < stop:
            for _, record in read_back(self._consumer, [(self._facts, number)], stop_at=stop, start_at=start):
                self._decodable(record)
                shadow.refold(record)
                progress(record.offset)

    # -- on the live log -----------------------------------------------------------------------------------------

    def follow(self, shadows: Mapping[int, Shadow], ended: Callable[[], bool]) -> Iterator[None]:
        """Go on with the log, until `ended`: the shadows take in what comes. Yields whenever one may look at them."""
        try:
            self._consumer.assign(
                [TopicPartition(self._facts, number, shadow.position) for number, shadow in shadows.items()]
                + [TopicPartition(self._raised, number, self._read_of_raised.get(number, 0)) for number in shadows]
            )
            asked, far = 0.0, dict[int, tuple[int, int]]()
            while not ended():
                if time.monotonic() - asked > ASK_EVERY_S:
                    asked, far = time.monotonic(), self._how_far(shadows, far)
                for message in self._consumer.consume(CONSUME, CONSUME_S):
                    self._take_in(shadows, message, ended)
                for number, (committed, end) in far.items():
                    if self._read_of_raised.get(number, 0) >= end:
                        shadows[number].done_up_to(committed)
                yield
        except KafkaException as error:
            raise self._away(error) from error

    def _how_far(
        self, shadows: Mapping[int, Shadow], before: Mapping[int, tuple[int, int]]
    ) -> dict[int, tuple[int, int]]:
        """By partition number: the offset up to which the workers have processed the facts, and the offset up to which
        all is to be read that they had raised by then. In this order: alerts are written before offsets are committed.
        """
        try:
            committed = self._committed(list(shadows))
            return {number: (committed[number], self._offsets(self._raised, number)[1]) for number in shadows}
        except KafkaException as error:
            if error.args[0].code() not in _PASSING:
                raise
            return dict(before)

    def _take_in(self, shadows: Mapping[int, Shadow], message: Message, ended: Callable[[], bool]) -> None:
        topic, number, offset, error = message.topic(), message.partition(), message.offset(), message.error()
        if error is not None and error.code() not in {*_PASSING, KafkaError._PARTITION_EOF}:
            raise KafkaException(error)
        if number is None or offset is None or number not in shadows:
            return
        if error is None:
            record = logged(message)
            while not self._is_decodable(record):
                if ended():
                    return
                time.sleep(RETRY_S)
            if topic == self._raised:
                shadows[number].recall(record)
            else:
                shadows[number].process(record)
        if topic == self._raised and (error is None or error.code() == KafkaError._PARTITION_EOF):
            # The end of a partition may be a transaction's marker: then only this tells that it was reached.
            self._read_of_raised[number] = offset + 1 if error is None else offset

    # -- asking --------------------------------------------------------------------------------------------------

    def _decodable(self, record: Record) -> None:
        if record.value is not None:
            self._schemas.ensure([record.value])

    def _is_decodable(self, record: Record) -> bool:
        """Whether the registry could be asked for what is needed to decode it."""
        try:
            self._decodable(record)
        except RegistryAway:
            return False
        return True

    def _offsets(self, topic: str, number: int) -> tuple[int, int]:
        return self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=CONNECT_S)

    def _committed(self, numbers: list[int]) -> dict[int, int]:
        """By partition number of the facts: the offset that the workers have committed; below 0 for none."""
        parts = self._consumer.committed([TopicPartition(self._facts, n) for n in numbers], timeout=CONNECT_S)
        return {part.partition: part.offset for part in parts}
