"""The outside of a simulated process: librdkafka's clients on the simulated broker, and its own skewed wall clock.

They do what the shells use of librdkafka, and raise what it raises. Assumed of it, beside what `broker.py` says:

- `produce` only queues. Records reach the broker in parts before the commit is asked for, so a producer that dies may
  leave a part of its transaction on the logs.
- `commit_transaction` and `init_transactions` raise a retriable error when they time out; the commit may have been
  decided nevertheless, and asking again tells so.
- A fenced producer learns it from its next request, by a fatal error. A record that can't be delivered makes the commit
  fail by an error that is neither retriable nor fatal.
- `consume` returns records of its partitions cut anywhere, and says once that a partition's end was reached: the last
  stable offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from greenlet import GreenletExit

from schemas import topics
from tests.simulation.broker import Entry, Part, SimulatedBroker, Transaction
from tests.simulation.seeded_loop import Process


class SimulatedOutside:
    """What one process gets its clients and its time from."""

    def __init__(self, broker: SimulatedBroker, process: Process, wall_clock: Callable[[], int]) -> None:
        self._broker = broker
        self._process = process
        self._wall_clock = wall_clock

    def producer(self, config: Mapping[str, Any]) -> Producer:
        """A producer."""
        return cast(Producer, SimulatedProducer(self._broker, self._process, config))

    def consumer(self, config: Mapping[str, Any]) -> Consumer:
        """A consumer."""
        return cast(Consumer, SimulatedConsumer(self._broker, self._process, config))

    def wall_clock(self) -> int:
        """The wall clock of this process."""
        return self._wall_clock()

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self._process.loop.time()

    def sleep(self, seconds: float) -> None:
        """Let a thread wait."""
        self._process.loop.block(seconds)


class _Client:
    def __init__(self, broker: SimulatedBroker, process: Process) -> None:
        self._broker = broker
        self._process = process
        self._loop = broker.loop

    def _reach(self, seconds: float) -> float:
        """The way of a request to the broker, in a thread. Returns the seconds left; raises when they have passed."""
        if not self._process.alive:
            raise GreenletExit
        until = self._loop.time() + seconds
        self._loop.block(self._broker.latency())
        while not self._broker.up:
            left = until - self._loop.time()
            if left <= 0 or not self._broker.back.wait(left):
                raise _timed_out()
        return max(0.0, until - self._loop.time())


def _timed_out() -> KafkaException:
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, "timed out", False, True))


def _fenced() -> KafkaException:
    return KafkaException(KafkaError(KafkaError._FENCED, "fenced", True))


class SimulatedProducer(_Client):
    """A transactional producer."""

    def __init__(self, broker: SimulatedBroker, process: Process, config: Mapping[str, Any]) -> None:
        super().__init__(broker, process)
        self._name = str(config["transactional.id"])
        self._timeout = config["transaction.timeout.ms"] / 1000
        self._raised = topics.alerts_raised(broker.site.name)
        self._epoch = -1
        self._opened = 0
        self._queued: list[tuple[Part, bytes | None, bytes | None, Any]] | None = None
        self._transaction: Transaction | None = None

    def init_transactions(self, timeout: float) -> None:
        """Fence every predecessor and wait until what it left is ended."""
        left = self._reach(timeout)
        state = self._broker.fence(self._name)
        self._process.at_a_critical_moment()
        epoch = state.epoch
        while state.transaction is not None:
            if not state.gate.wait(left):
                raise _timed_out()
        self._reach(timeout)
        if state.epoch != epoch:
            raise _fenced()
        self._epoch = epoch
        self._broker.opened += 1
        self._opened = self._broker.opened
        self._broker.note(self._process.name, "opens {} (epoch {})", self._name, epoch)

    def begin_transaction(self) -> None:
        """Begin; nothing is sent yet."""
        if self._queued is not None:
            raise KafkaException(KafkaError(KafkaError._STATE, "a transaction is under way"))
        self._queued = []

    def produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: list[tuple[str, bytes]]
    ) -> None:
        """Queue a record."""
        if (topic, partition) not in self._broker.logs:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION, "no such partition"))
        assert self._queued is not None
        self._queued.append(((topic, partition), key, value, tuple(headers)))

    def poll(self, timeout: float) -> int:
        """Nothing to serve."""
        del timeout
        return 0

    def commit_transaction(self, timeout: float) -> None:
        """Send what is queued, and have the transaction decided."""
        left = self._reach(timeout)
        assert self._queued is not None
        while self._queued:
            self._be_in_a_transaction(left)
            assert self._transaction is not None
            if self._broker.choose.random() < 0.0005:
                raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT, "not delivered", False, False, True))
            if self._transaction.state != "OPEN" or self._stale:
                raise _fenced()
            size = 1 + int(self._broker.choose.random() * len(self._queued) * 2)
            part, self._queued[:size] = self._queued[:size], []
            self._broker.write(self._transaction, part)
            if any(topic == self._raised for (topic, _), *_ in part):
                self._process.at_a_critical_moment()
            left = self._reach(left)
        if self._transaction is not None:
            decided = self._broker.commit(self._transaction)
            if not decided:
                raise _fenced()
            if any(topic == self._raised for (topic, _), _ in self._transaction.written):
                self._process.at_a_critical_moment()
            # The answer may be lost: the decision stands.
            self._reach(left)
            self._broker.note(self._process.name, "{}", _Written(self._transaction))
        self._queued, self._transaction = None, None

    @property
    def _stale(self) -> bool:
        return self._broker.id_of(self._name).epoch != self._epoch

    def _be_in_a_transaction(self, left: float) -> None:
        if self._transaction is not None:
            return
        state = self._broker.id_of(self._name)
        while state.transaction is not None and not self._stale:
            # What was committed before is not readable everywhere yet.
            if not state.gate.wait(left):
                raise _timed_out()
        transaction = self._broker.begin(self._process.name, self._opened, self._name, self._epoch)
        if transaction is None:
            raise _fenced()
        self._transaction = transaction
        self._loop.call_later(self._timeout, self._broker.time_out, transaction, context=self._loop.world.context)


class _Written:
    """Says what a transaction wrote, when the story is told."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def __str__(self) -> str:
        counts: dict[str, int] = {}
        for (topic, number), _ in self._transaction.written:
            where = f"{topic}-{number}"
            counts[where] = counts.get(where, 0) + 1
        return f"commits {self._transaction.number} of {self._transaction.name}: {counts}"


class _Message:
    __slots__ = ("_entry", "_error", "_part")

    def __init__(self, part: Part, entry: Entry | None, error: KafkaError | None = None) -> None:
        self._part = part
        self._entry = entry
        self._error = error

    def topic(self) -> str:
        return self._part[0]

    def partition(self) -> int:
        return self._part[1]

    def error(self) -> KafkaError | None:
        return self._error

    def offset(self) -> int:
        assert self._entry is not None
        return self._entry.offset

    def key(self) -> bytes | None:
        assert self._entry is not None
        return self._entry.key

    def value(self) -> bytes | None:
        assert self._entry is not None
        return self._entry.value

    def headers(self) -> list[tuple[str, bytes]]:
        assert self._entry is not None
        return list(self._entry.headers)

    def timestamp(self) -> tuple[int, int]:
        assert self._entry is not None
        return 1, self._entry.timestamp


class SimulatedConsumer(_Client):
    """A consumer that assigns itself partitions."""

    def __init__(self, broker: SimulatedBroker, process: Process, config: Mapping[str, Any]) -> None:
        super().__init__(broker, process)
        assert config["enable.auto.commit"] is False
        assert config["enable.partition.eof"] is True
        self._committed_only = config["isolation.level"] == "read_committed"
        self._positions: dict[Part, int] = {}
        self._at_end: set[Part] = set()

    def assign(self, parts: list[TopicPartition]) -> None:
        """Read these partitions, each from its offset on."""
        self._positions = {(part.topic, part.partition): max(0, part.offset) for part in parts}
        self._at_end = set()

    def unassign(self) -> None:
        """Read nothing."""
        self._positions = {}

    def consume(self, most: int, timeout: float) -> list[Any]:
        """Some records, and the ends that were reached."""
        if not self._process.alive:
            raise GreenletExit
        choose, broker = self._broker.choose, self._broker
        self._loop.block(0.001 + 0.02 * choose.random())
        if not broker.up:
            # Nothing promises that it comes back in time.
            self._loop.block(timeout + 1.0)
            return []
        found: list[Any] = []
        for part, position in self._positions.items():
            if choose.random() < 0.2:
                continue
            log = broker.logs[part]
            end = log.stable if self._committed_only else log.end
            cut = most if choose.random() < 0.7 else choose.randint(1, 5)
            records, self._positions[part] = log.read_on(position, cut, end, committed=self._committed_only)
            found += [_Message(part, entry) for entry in records]
            if records:
                self._at_end.discard(part)
            if self._positions[part] >= end and part not in self._at_end:
                self._at_end.add(part)
                found.append(_Message(part, None, KafkaError(KafkaError._PARTITION_EOF)))
        if not found:
            self._loop.block(timeout)
        return found

    def committed(self, parts: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """What the group has committed; -1001 for nothing."""
        self._reach(timeout)
        self._process.at_a_critical_moment()
        offsets = self._broker.group.offsets
        return [TopicPartition(p.topic, p.partition, offsets.get((p.topic, p.partition), -1001)) for p in parts]

    def get_watermark_offsets(self, part: TopicPartition, timeout: float) -> tuple[int, int]:
        """The first offset, and the end."""
        self._reach(timeout)
        log = self._broker.logs[part.topic, part.partition]
        return 0, log.stable if self._committed_only else log.end

    def close(self) -> None:
        """Give up."""
        self._positions = {}
