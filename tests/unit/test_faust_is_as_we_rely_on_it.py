"""A contract with Faust and aiokafka: what `streams/batching.py` overrides is still there, and called as it relies on.

An upgrade that changes any of it has to fail here, loudly, and not in a county at night.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version

import aiokafka
import pytest
from aiokafka.consumer import group_coordinator
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.transport import consumer as base
from faust.transport.base import Transport
from faust.transport.drivers import aiokafka as driver
from mode.threads import ServiceThread

from streams.assignor import NumberAssignor
from streams.batching import BatchConsumer, BatchConsumerThread, BatchTransport


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
            ["_getmany", "_to_message", "_new_consumer_thread", "_add_gap", "_new_offset", "perform_seek"],
        ),
        (
            BatchConsumerThread,
            driver.AIOKafkaConsumerThread,
            ["_create_worker_consumer", "on_start", "seek_to_committed"],
        ),
    ],
)
def test_every_override_overrides_something_with_the_same_parameters(
    ours: type, theirs: type, names: list[str]
) -> None:
    for name in names:
        assert name in vars(ours)
        mine, upstream = inspect.signature(getattr(ours, name)), inspect.signature(getattr(theirs, name))
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


def test_aiokafka_has_the_pause_that_is_shortened() -> None:
    assert "self._prefetch_backoff" in source(Fetcher)


def test_aiokafka_takes_the_options_that_faust_does_not_offer() -> None:
    options = inspect.signature(aiokafka.AIOKafkaConsumer.__init__).parameters
    assert {"isolation_level", "fetch_max_wait_ms", "partition_assignment_strategy", "group_instance_id"} <= set(
        options
    )


def test_the_assignor_has_what_aiokafka_calls() -> None:
    assert all(callable(getattr(NumberAssignor(), name)) for name in ("metadata", "assign", "on_assignment"))


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
