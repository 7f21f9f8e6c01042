"""A contract with Faust and aiokafka: what `streams/batching.py` overrides is still there, and called as it relies on.

An upgrade that changes any of it has to fail here, loudly, and not in a county at night.
"""

from __future__ import annotations

import asyncio
import inspect
from importlib.metadata import version
from types import SimpleNamespace

import aiokafka
import faust
import pytest
from aiokafka.consumer import group_coordinator
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import IllegalStateError
from faust.app import base as app_base
from faust.tables import recovery
from faust.transport import consumer as base
from faust.transport.base import Transport
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.threads import ServiceThread

from streams.app import _Worker
from streams.assignor import NumberAssignor
from streams.batching import BatchConsumer, BatchConsumerThread, BatchTransport, WholeBatch


def source(what: object) -> str:
    return inspect.getsource(what)  # type: ignore[arg-type]


def test_the_versions_are_those_that_were_read() -> None:
    assert (version("faust-streaming"), version("aiokafka").rpartition(".")[0]) == ("0.15.3", "0.14")


@pytest.mark.parametrize(
    ("ours", "theirs", "names"),
    [
        (
            BatchConsumer,
            driver.Consumer,
            [
                "_getmany",
                "_to_message",
                "_new_consumer_thread",
                "_add_gap",
                "_new_offset",
                "perform_seek",
                "on_partitions_revoked",
            ],
        ),
        (
            BatchConsumerThread,
            driver.AIOKafkaConsumerThread,
            ["_create_worker_consumer", "on_start", "seek_to_committed"],
        ),
        (WholeBatch, faust.Schema, ["loads_key", "loads_value"]),
        (_Worker, faust.Worker, ["on_start", "_stop_on_signal"]),
    ],
)
def test_every_override_overrides_something_with_the_same_parameters(
    ours: type, theirs: type, names: list[str]
) -> None:
    overridden = {name for name in vars(ours) if callable(vars(ours)[name]) and hasattr(theirs, name)}
    assert overridden - set(dir(object)) == set(names)
    for name in names:
        assert name in vars(ours)
        mine, upstream = inspect.signature(getattr(ours, name)), inspect.signature(getattr(theirs, name))
        if ours is WholeBatch:
            # What is passed by name besides is of no use to it.
            assert list(mine.parameters)[:-1] == [
                name for name, one in upstream.parameters.items() if one.kind is not one.KEYWORD_ONLY
            ]
            continue
        assert list(mine.parameters) == list(upstream.parameters), name
        assert inspect.iscoroutinefunction(getattr(ours, name)) == inspect.iscoroutinefunction(getattr(theirs, name))


def test_the_transport_makes_our_consumer() -> None:
    assert BatchTransport.Consumer is BatchConsumer
    assert "self.Consumer(" in source(Transport.create_consumer)


def test_each_fetched_record_is_made_a_message_once_with_its_own_offset() -> None:
    reading = source(base.Consumer.getmany)
    assert "to_message = self._to_message" in reading
    assert reading.count("to_message(tp, record)") == 1


def test_what_is_committed_is_what_new_offset_says() -> None:
    assert "self._new_offset(tp)" in source(base.Consumer._filter_tps_with_pending_acks) + source(
        base.Consumer._commit_tps
    ) + source(base.Consumer._commit_offsets) + source(base.Consumer)


def test_an_acknowledged_message_goes_where_new_offset_looks() -> None:
    acknowledging = source(base.Consumer.ack)
    assert "_acked_index[tp]" in acknowledging
    assert "_acked[tp]" in acknowledging

    # What is committed already is not acknowledged again: it would wait for ever.
    assert "committed is None or offset >= committed" in acknowledging


def test_a_message_is_of_its_partition_and_can_be_given_another_value() -> None:
    made = source(driver.Consumer._to_message)
    assert "            tp,\n" in made
    record = SimpleNamespace(
        topic="a", partition=3, offset=7, timestamp=1_000, timestamp_type=0, headers=(), key=b"k", value=b"v",
        checksum=None, serialized_key_size=1, serialized_value_size=1,
    )  # fmt: skip
    of = SimpleNamespace(app=SimpleNamespace(consumer_generation_id=1))
    message = driver.Consumer._to_message(of, TP("a", 3), record)  # type: ignore[arg-type]
    message.key, message.headers, message.value = None, None, b"another"
    assert (message.tp, message.offset, message.value) == (TP("a", 3), 7, b"another")


def test_partitions_that_go_are_forgotten_with_what_was_acknowledged_of_them_and_before_they_are_committed() -> None:
    # So ours commits first, and takes back what it has handed out: it is called with what goes, by aiokafka's listener.
    revoked = source(base.Consumer.on_partitions_revoked)
    for forgotten in ("_acked", "_acked_index", "_committed_offset", "_read_offset"):
        assert f"self.{forgotten}.pop(tp, None)" in revoked
    assert revoked.index("_acked_index.pop") < revoked.index("self._on_partitions_revoked")
    assert "thread.on_partitions_revoked(ensure_TPset(revoked))" in source(driver.ConsumerRebalanceListener)
    assert "consumer.threadsafe_partitions_revoked" in source(base.ConsumerThread.on_partitions_revoked)
    assert "self.on_partitions_revoked," in source(base.ThreadDelegateConsumer.threadsafe_partitions_revoked)
    # To commit without saying what is to commit everything.
    assert inspect.signature(base.Consumer.commit).parameters["topics"].default is None
    # Only after that the flow stops, and the streams' buffers are emptied.
    stops = source(app_base.App._on_partitions_revoked)
    assert stops.index("consumer.stop_flow") < stops.index("flow_control.clear")


def test_it_goes_back_to_what_was_committed_after_each_rebalance_and_when_a_fetch_was_overtaken() -> None:
    assert "await self.perform_seek()" in source(base.Consumer.getmany)
    assert "perform_seek" in source(recovery)
    back = source(base.Consumer.perform_seek)
    assert "await self.seek_to_committed()" in back
    assert "self._committed_offset.update(" in back
    assert "read_offset.update(" in back
    assert "self._thread.seek_to_committed()" in source(base.ThreadDelegateConsumer.seek_to_committed)


def test_a_partition_of_which_nothing_was_committed_is_among_those_that_it_goes_back_in_and_stays_where_it_is() -> None:
    back = source(aiokafka.AIOKafkaConsumer.seek_to_committed)
    assert back.index("committed_offsets[tp] = offset") < back.index("if offset and offset > 0:")
    assert not inspect.iscoroutinefunction(aiokafka.AIOKafkaConsumer.seek)


def test_faust_makes_our_thread_and_the_thread_our_consumer_and_starts_it_on_its_own_loop() -> None:
    assert "self._thread = self._new_consumer_thread()" in source(base.ThreadDelegateConsumer.__init__)
    assert "self._create_worker_consumer(transport)" in source(driver.AIOKafkaConsumerThread._create_consumer)
    starting = source(driver.AIOKafkaConsumerThread.on_start)
    assert starting.index("self._consumer = self._create_consumer(") < starting.index("await self._consumer.start()")
    assert "self._fetcher = Fetcher(" in source(aiokafka.AIOKafkaConsumer.start)
    assert "return self._consumer" in source(driver.AIOKafkaConsumerThread._ensure_consumer)
    assert inspect.iscoroutinefunction(driver.AIOKafkaConsumerThread.call_thread)
    assert list(inspect.signature(driver.credentials_to_aiokafka_auth).parameters) == ["credentials", "ssl_context"]
    assert list(inspect.signature(driver.server_list).parameters) == ["urls", "default_port"]


def test_a_fetch_asks_for_what_is_active_and_gives_records_by_partition() -> None:
    assert "self._getmany(\n                    active_partitions=active_partitions," in source(
        base.Consumer._wait_next_records
    )
    assert "self._thread.getmany(active_partitions, timeout)" in source(base.ThreadDelegateConsumer._getmany)


def test_aiokafka_has_the_pause_that_is_shortened() -> None:
    assert "self._prefetch_backoff" in source(Fetcher)


def test_aiokafka_says_in_two_ways_that_a_partition_is_not_assigned() -> None:
    async def asked() -> None:
        consumer, part = aiokafka.AIOKafkaConsumer(), aiokafka.TopicPartition("a", 0)
        with pytest.raises(IllegalStateError):
            await consumer.position(part)
        with pytest.raises(AssertionError):
            consumer.highwater(part)
        with pytest.raises(AssertionError):
            consumer.last_poll_timestamp(part)

    asyncio.run(asked())


def test_faust_says_of_which_generation_it_is_before_it_tells_of_partitions() -> None:
    assigned = source(driver.ConsumerRebalanceListener.on_partitions_assigned)
    assert assigned.index("app.consumer_generation_id = ") < assigned.index("thread.on_partitions_assigned(")
    told = source(app_base.App._on_partitions_assigned)
    assert "await T(self.on_partitions_assigned.send)(assigned)" in told


def test_aiokafka_takes_the_options_that_faust_does_not_offer() -> None:
    options = inspect.signature(aiokafka.AIOKafkaConsumer.__init__).parameters
    assert {"isolation_level", "fetch_max_wait_ms", "partition_assignment_strategy", "group_instance_id"} <= set(
        options
    )


def test_the_assignor_has_what_aiokafka_calls() -> None:
    assert all(callable(getattr(NumberAssignor(), name)) for name in ("metadata", "assign", "on_assignment"))
    coordinator = source(group_coordinator)
    assert "assignor.assign(self._cluster, member_metadata)" in coordinator
    assert "assignor.name == name" in coordinator
    members, assignment = ConsumerProtocolMemberMetadata, ConsumerProtocolMemberAssignment
    assert members.SCHEMA.names == ("version", "subscription", "user_data")
    assert assignment.SCHEMA.names == ("version", "assignment", "user_data")


def test_what_is_left_out_of_a_fetch_is_kept_by_aiokafka_and_no_partitions_would_mean_all() -> None:
    assert "if partitions and tp not in partitions:" in source(Fetcher.fetched_records)
    assert "not self._subscriptions.is_assigned(tp)" in source(Fetcher.fetched_records)
    # What is kept of one partition holds up a fetch of the others no longer than the pause that is shortened.
    assert "backoff = record.calculate_backoff()" in source(Fetcher._get_actions_per_node)


def test_to_ask_for_nothing_is_not_to_idle() -> None:
    assert "fetch_context()" in source(driver.AIOKafkaConsumerThread._fetch_records)


def test_aiokafka_says_when_a_fetch_was_answered_last() -> None:
    assert "tp_state.timestamp = now_ms" in source(Fetcher)
    assert callable(aiokafka.AIOKafkaConsumer.last_poll_timestamp)


def test_a_worker_can_ask_for_another_round_of_assignment() -> None:
    assert "_rejoin_needed_fut.set_result" in source(GroupCoordinator.request_rejoin)
    assert "self.thread_loop = " in source(ServiceThread.__init__)
    # Its claim is asked for again at each round, and what it is given is there before anybody is told of partitions.
    assert "assignor.metadata(topics)" in source(group_coordinator)
    joined = source(GroupCoordinator._on_join_complete)
    assert joined.index("assignor.on_assignment(assignment)") < joined.index("on_partitions_assigned")
