"""Faust by the batch: an agent gets everything one fetch brought for a partition, as one value.

How to use it::

    app = faust.App("sallyport.demo", broker=..., **tuned_app_settings(datadir))
    read_by_the_batch(app)                      # before the first agent is declared

    @app.agent(batch_topic(app, "a.v1", "b.v1"))  # concurrency stays 1, always
    async def stage(batches):
        async for batch in batches:             # a Batch: topic, partition, records
            for record in batch.records:        # a Record: offset, key, value, headers, timestamp
                ...
            await writer.write(outputs)         # must be on the log before the loop turns: the turn
            acknowledges

The agent must let no exception escape (Faust would acknowledge the batch and go on): retry, set aside, or
exit.

Why: Faust spends three turns of the event loop on every message, some 10,000 a second. By the batch it spends
them once a fetch. What is written by transactions is read `read_committed`, so an aborted or fenced write is
never seen.

What Faust does is relied on below in few places, each named at the override;
`tests/unit/test_faust_is_as_we_rely_on_it.py` holds Faust to them. Committed offsets: the last offset of the batch,
plus one. Transaction markers take offsets too, so a fully read partition's committed offset may stay below
its end offset: "end minus committed" is not the number of records left.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiokafka
import faust
from aiokafka.errors import IllegalStateError
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, AppT, ConsumerMessage, Message

from streams.assignor import NumberAssignor

FETCH_MAX_WAIT_MS = 25
"""How long the broker may hold a fetch that finds nothing. aiokafka keeps one fetch in flight a broker, and a
partition that was just drained is not in it: its next record waits until the fetch returns. Faust's fixed
1,500 ms is that wait's tail."""

PREFETCH_BACKOFF_S = 0.005
"""How long aiokafka waits for buffered records to be taken before it fetches for the other partitions of that
broker. Its fixed 0.1 s is a pause of all partitions whenever one of them is busy."""

HELD_S = 0.05
"""How long a fetch may wait for records while a partition is held."""

_NOTHING = TP("", -1)
"""A partition of which there never is anything."""


class Record(Protocol):
    """One record as it is on the log. (aiokafka's own ConsumerRecord: nothing is copied.)"""

    @property
    def offset(self) -> int:
        """Position in the partition."""

    @property
    def key(self) -> bytes | None:
        """Key, as bytes."""

    @property
    def value(self) -> bytes | None:
        """Value, as bytes; None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Headers in their order; a name may occur twice."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, as the topic sets it (by the publisher or by the broker)."""


@dataclass(slots=True, eq=False)
class Batch:
    """The records that one fetch brought for one partition, at least one, in the order of their offsets."""

    topic: str
    partition: int
    records: Sequence[Record]
    comes_again: bool = False
    """The consumer has gone back to before it: who has not taken it yet must leave it, or it would overtake others."""

    @property
    def last_offset(self) -> int:
        """Offset of the last record: what is committed when the batch is done is one more."""
        return self.records[-1].offset

    def __repr__(self) -> str:
        # Faust logs values when something goes wrong; personal data must not get there.
        return f"<Batch {self.topic}-{self.partition} to {self.last_offset}: {len(self.records)} records>"


class WholeBatch(faust.Schema[None, Batch]):
    """Passes the batch on untouched: a decode error inside Faust would kill the agent, so the agent
    decodes."""

    def loads_key(self, app: AppT, message: Message, **_: Any) -> None:
        """A batch has no key of its own."""

    def loads_value(self, app: AppT, message: Message, **_: Any) -> Batch:  # noqa: ARG002
        """The batch that `BatchConsumer` put there."""
        batch = message.value
        if not isinstance(batch, Batch):
            raise TypeError("the app reads without BatchTransport: call read_by_the_batch(app)")
        return batch


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to Kafka, with a consumer configured by us.

    Faust offers no setting for isolation level, fetch wait or (without tables) the assignor.
    """

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[transport.assignor],
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            check_crcs=conf.broker_check_crcs,
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def on_start(self) -> None:
        """Start the consumer; then shorten the one pause that aiokafka offers no argument for."""
        await super().on_start()
        self._ensure_consumer()._fetcher._prefetch_backoff = PREFETCH_BACKOFF_S

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go back to what was committed, and where nothing was, to the beginning.

        aiokafka leaves a partition of which nothing was committed where it is. Faust drops what a fetch brought that a
        rebalance overtook and goes back to read it again: of a new group, or a new topic, it would never come again.
        """
        committed: Mapping[TP, int] = await super().seek_to_committed()
        new = [part for part, offset in committed.items() if not offset]
        if new:
            await self.call_thread(self._seek_to_beginning, new)
        return committed

    async def _seek_to_beginning(self, parts: Sequence[TP]) -> None:
        # To ask the broker where that is would hold up all others, for as long as one has no leader. Where the log
        # begins later, the next fetch says so, and aiokafka goes to what there is.
        consumer = self._ensure_consumer()
        for part in parts:
            consumer.seek(part, 0)


class BatchConsumer(driver.Consumer):
    """Faust's consumer, but a "message" is a batch, and what may be committed is reckoned in batches."""

    transport: BatchTransport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The batches handed to the agents and not yet committed, in the order handed out.
        self._handed_out: defaultdict[TP, deque[Batch]] = defaultdict(deque)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        # The only way to reach the aiokafka consumer's arguments.
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109  # Faust's signature
    ) -> RecordMap:
        # `Consumer.getmany` interleaves what this returns record by record; one batch a partition is one
        # "record".
        #
        # What is held is left out here, for this one fetch: aiokafka keeps the one fetch of it that it has made, and
        # goes on with the others. Faust's own `pause_partitions` takes effect while `getmany` hands out what was
        # fetched before, and then loses it: its position has gone on.
        held = self.transport.held
        if held and active_partitions is not None:
            # An empty set would mean all. And not to ask at all would be idling, for which aiokafka leaves the group.
            active_partitions = (active_partitions - held) or {_NOTHING}
            # What is let go of meanwhile is in the next call.
            timeout = min(timeout, HELD_S)
        fetched = await super()._getmany(active_partitions, timeout)
        return {tp: [Batch(tp.topic, tp.partition, records)] for tp, records in fetched.items() if records}

    def _to_message(self, tp: TP, record: Batch) -> ConsumerMessage:
        # Acknowledgement and commit go by the message's offset: the last record's stands for the whole batch.
        # Called for each batch exactly once, in order, when it is handed on: so this is where the order is
        # noted.
        message = super()._to_message(tp, record.records[-1])
        message.key, message.headers = None, None
        message.value = record  # type: ignore[assignment]  # Faust's types know bytes only; `WholeBatch` takes it out
        self._handed_out[message.tp].append(record)
        return message

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # Faust notes here every offset between two messages, to count it as acknowledged later. Between two
        # batches that is all their records, one integer each; a compacted-away hole of millions too.
        # `_new_offset` needs none of it.
        pass

    def _new_offset(self, tp: TP) -> int | None:
        # Faust commits up to the first offset it saw no acknowledgement or gap for. Its gaps miss whatever
        # follows offset 0 (it tests the last read offset for truth), so a partition whose first batch was one
        # record would never commit again. Ours: of the batches handed out, the acknowledged ones without an
        # open one before them.
        acknowledged, handed_out = self._acked_index[tp], self._handed_out[tp]
        last: int | None = None
        while handed_out and handed_out[0].last_offset in acknowledged:
            last = handed_out.popleft().last_offset
            acknowledged.discard(last)
        self._acked[tp] = list(acknowledged)
        return None if last is None else last + 1

    def last_poll(self, tp: TP) -> int:
        """When the broker last answered a fetch of a partition, with records or without: ms since 1970; 0 for never."""
        return self._thread._ensure_consumer().last_poll_timestamp(tp) or 0

    async def positions(self, parts: Iterable[TP]) -> dict[TP, int]:
        """From where each of these partitions is read next; those that are not assigned by now are left out.

        In one visit to the consumer's thread. Faust has one for each partition, and each waits for a turn of an event
        loop that may be busy: of a hundred partitions it takes longer than a worker may take to say that it lives.
        """
        wanted = list(parts)
        found: dict[TP, int] = await self._thread.call_thread(self._positions, wanted) if wanted else {}
        return found

    async def _positions(self, parts: Sequence[TP]) -> dict[TP, int]:
        consumer, found = self._thread._ensure_consumer(), {}
        for part in parts:
            with suppress(IllegalStateError):  # a rebalance took it away just now
                found[part] = await consumer.position(part)
        return found

    def rejoin(self) -> None:
        """Have the numbers shared out anew: what this worker claims has changed. From any thread.

        Faust offers no such thing. The group's leader always starts a new round so, and the others where their claim is
        another one than before.
        """
        coordinator = self._thread._ensure_consumer()._coordinator
        self._thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)

    async def perform_seek(self) -> None:
        """Go back to the committed offsets: after every rebalance, and when a fetch was overtaken by one.

        What was handed out before will come again, so it must not hold up what is committed. Faust empties the
        streams' buffers, but a batch that was about to wait for room in one is put there after that: it says itself
        that it is stale.
        """
        for tp in [*self._handed_out]:
            self._take_back(tp)
        self._acked.clear()
        self._acked_index.clear()
        await super().perform_seek()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is done before the partitions go: Faust forgets acknowledgements first and commits
        after."""
        await self.commit()
        for tp in revoked:
            self._take_back(tp)
        await super().on_partitions_revoked(revoked)

    def _take_back(self, tp: TP) -> None:
        for batch in self._handed_out.pop(tp, ()):
            batch.comes_again = True


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with our consumer."""

    Consumer = BatchConsumer
    held: Set[tuple[str, int]] = frozenset()
    """Topics and partitions of which nothing is to be handed out now."""
    assignor: NumberAssignor
    """Says which numbers this worker is given."""


def read_by_the_batch(
    app: faust.App, held: Set[tuple[str, int]] = frozenset(), assignor: NumberAssignor | None = None
) -> None:
    """Make the app read by the batch. To be called before anything of it is declared.

    `held`: topics and partitions of which nothing is to be handed out as long as they are in it. Who puts them there
    still gets what was fetched before: a batch of each topic, and what streams buffer.
    """
    transport = BatchTransport(app.conf.broker_consumer, app)
    transport.held = held
    transport.assignor = assignor or NumberAssignor()
    app.transport = transport


def batch_topic(app: faust.App, *names: str) -> Any:
    """The channel of these topics whose values are `Batch`es; Faust does not create them."""
    return app.topic(*names, schema=WholeBatch())


def tuned_app_settings(datadir: Path) -> Mapping[str, Any]:
    """Settings of a `faust.App` that reads by the batch, all but its id, broker and credentials.

    `datadir` is where Faust makes its directory; we keep nothing in it, but its default is the current
    directory.
    """
    return {
        "datadir": datadir,
        # A killed worker's partitions move after this long; Faust's default is a minute. Three heartbeats
        # fit.
        "broker_session_timeout": 6.0,
        "broker_heartbeat_interval": 2.0,
        # How long the others wait in a rebalance for a worker to finish its batch. Above the session timeout
        # it would be a hung worker that holds up all.
        "broker_rebalance_timeout": 30.0,
        "broker_request_timeout": 40.0,
        # What a successor reads again is what was done since the last commit, and an importer waits for it after
        # each day. One commit is one small request.
        "broker_commit_interval": 0.1,
        # No bound in records: a batch is bounded by bytes (next line), and a bound in records is shared by
        # all partitions of one poll, so that the first one's backlog would starve the others.
        "broker_max_poll_records": None,
        "consumer_max_fetch_size": 1024 * 1024,
        # A new group starts with the log's beginning: the log is the state.
        "consumer_auto_offset_reset": "earliest",
        # Counts batches. One in work and one ready; more would only be thrown away at a rebalance.
        "stream_buffer_maxsize": 2,
        # At a rebalance do not wait for what is in work: a partition that recovers takes no batches, and waiting for it
        # would make the group take this worker for dead. What is not committed is read again by the next owner.
        "stream_wait_empty": False,
        # Provisioning alone creates topics: none for leader election, for replies, or by declaration.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "reply_create_topic": False,
        # No tables: pictures are folded from the log.
        "store": "memory://",
        "table_standby_replicas": 0,
        # Faust's web view listens on all interfaces and shows what it has.
        "web_enabled": False,
        "processing_guarantee": "at_least_once",
        "worker_redirect_stdouts": False,
    }
