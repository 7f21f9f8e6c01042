"""One writer: the only way in which a stage writes.

A `PartitionWriter` is the transactional producer of one partition number: identify, person, facility and disclose of
that number write through it, so that what one batch leads to is one transaction. Opening it makes the broker fence
every predecessor of the same number: a worker that was stopped past its session and wakes finds that what it had under
way is aborted and what it writes is refused. What one batch led to is on the logs whole or not at all, and
readers (`read_committed`) never see what was aborted. See docs/decisions/0002-one-writer-a-partition.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.settings import Settings
from schemas.site import Site
from streams.outside import REAL, Outside
from streams.records import Out

log = logging.getLogger(__name__)

TRANSACTION_TIMEOUT_MS: Final = 30_000
"""The broker aborts a transaction that a vanished writer left open after so long; readers wait for that at most."""
CALL_TIMEOUT_S: Final = 30.0
OPEN_TIMEOUT_S: Final = 5.0
"""Seconds for which opening waits at a time. Who has lost the partition meanwhile asks no further: to be answered would
fence its rightful owner."""
RETRY_S: Final = 0.5
POLL_EVERY: Final = 10_000
"""Records after which delivery reports are served."""
ROOM_S: Final = 0.1
"""Seconds for which a writer waits for room in librdkafka's queue, before it tries again."""
T = TypeVar("T")


class Fenced(Exception):  # noqa: N818  # a state of the world, not a mistake
    """Another worker writes for the partition now. Nothing more may be written for it."""


class BrokenWriterError(Exception):
    """The broker refused for good, or an error left the transaction undecided: the worker must exit."""


class PartitionWriter:
    """The writer of one partition number. Its calls come one at a time, whoever makes them."""

    def __init__(self, settings: Settings, site: Site, number: int, outside: Outside = REAL) -> None:
        self._outside = outside
        self.transactional_id = f"{site.name}.partition.{number}"
        self._config = {
            **settings.kafka(site.user("bus")),
            "transactional.id": self.transactional_id,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            # A commit lingers for nothing: it only lets the records of a transaction share their requests.
            "linger.ms": 5,
            # A dead letter holds all that an inbound topic takes, and its headers.
            "message.max.bytes": 2 * 1024 * 1024,
            "queue.buffering.max.messages": 200_000,
            "socket.nagle.disable": True,
            # A commit only says that something was not written; this says what, and why.
            "delivery.report.only.error": True,
            "on_delivery": self._note_undelivered,
            # That a topic is not there is known before the transaction's time is over.
            "topic.metadata.propagation.max.ms": TRANSACTION_TIMEOUT_MS // 2,
            "log_level": 2,
        }
        self._undelivered: tuple[KafkaException, str] | None = None
        """Why a record was not taken, and the topic it was for."""
        self._producer: Producer | None = None
        # One thread: a transaction's calls belong together, and librdkafka wants them in order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self.transactional_id)
        self._turn = asyncio.Lock()
        self._is_closed = False

    async def open(self) -> None:
        """Fence every predecessor, end what it left under way, and be ready to write. Raises BrokenWriterError."""
        await self._in_thread(self._open)

    async def write(self, records: Sequence[Out]) -> None:
        """Write all of these records (values as bytes), in one transaction; returns when it has committed.

        Readers see it a moment later, when the broker has marked every partition.

        Raises Fenced, BrokenWriterError.
        """
        async with self._turn:
            await self._in_thread(lambda: self._write(records))

    async def close(self) -> None:
        """Give up the producer; what was not committed is aborted by the broker."""
        self._is_closed = True
        async with self._turn:
            await self._in_thread(self._close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _open(self) -> None:
        producer = self._outside.producer(self._config)
        self._retrying(lambda: self._ask_to_open(producer))
        self._producer = producer

    def _ask_to_open(self, producer: Producer) -> None:
        if self._is_closed:
            raise BrokenWriterError(f"{self.transactional_id} was closed before it was open")
        producer.init_transactions(OPEN_TIMEOUT_S)

    def _write(self, records: Sequence[Out]) -> None:
        producer = self._producer
        if producer is None:
            raise BrokenWriterError(f"{self.transactional_id} is not open")
        self._undelivered = None
        try:
            producer.begin_transaction()
            for number, out in enumerate(records, start=1):
                hand_over(producer, out)
                if number % POLL_EVERY == 0:
                    producer.poll(0)
            self._retrying(lambda: producer.commit_transaction(CALL_TIMEOUT_S))
        except KafkaException as error:
            if self._undelivered is not None:
                self._raise_if_final(*self._undelivered)
            self._raise_if_final(_in_full(producer, error))
            # Neither aborted nor opened again. After an abort, a record that is still on its way would open a
            # transaction that nobody ends; and to open again would fence whoever may own the partition by now. Who
            # opens it next ends what is under way, under a new epoch.
            raise BrokenWriterError(f"{self.transactional_id}: {error.args[0].name()}") from error

    def _retrying(self, call: Callable[[], object]) -> None:
        """Make a call until it is answered: the broker may be away for a while."""
        while True:
            try:
                call()
            except KafkaException as error:
                self._raise_if_final(error)
                if not error.args[0].retriable():
                    raise
                self._outside.sleep(RETRY_S)
            else:
                return

    def _note_undelivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._undelivered = KafkaException(error), message.topic() or ""

    def _raise_if_final(self, error: KafkaException, topic: str = "") -> None:
        reason: KafkaError = error.args[0]
        if reason.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):
            raise Fenced(f"{self.transactional_id} has another writer") from error
        if reason.fatal():
            raise BrokenWriterError(f"{self.transactional_id}: {reason.name()}") from error
        if reason.code() in _REFUSALS:
            raise BrokenWriterError(
                f"{self.transactional_id}: the broker refuses ({' '.join([reason.name(), topic]).strip()}): "
                "run `sallyport provision`"
            ) from error

    def _close(self) -> None:
        # Dropping the producer closes it; a transaction under way is aborted by the successor or by its timeout.
        self._producer = None


def hand_over(producer: Producer, out: Out) -> None:
    """Give a producer a record, its value as bytes; where its queue is full, as soon as the broker has taken some."""
    value = out.value
    if value is not None and not isinstance(value, bytes):
        raise TypeError("a record to be written must be encoded")
    while True:
        try:
            producer.produce(out.topic, value=value, key=out.key, partition=out.partition, headers=list(out.headers))
        except BufferError:
            producer.poll(ROOM_S)
        else:
            return


def _in_full(producer: Producer, error: KafkaException) -> KafkaException:
    """Where a producer is finished, `produce` says no more than that; a transaction's calls say why."""
    if error.args[0].code() == KafkaError._FATAL:
        try:
            producer.begin_transaction()
        except KafkaException as told:
            return told
    return error


_REFUSALS: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.MSG_SIZE_TOO_LARGE,
    }
)
"""What no retry mends."""
