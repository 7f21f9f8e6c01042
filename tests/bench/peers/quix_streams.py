"""Quix Streams: a StreamingDataFrame whose function keeps each fact in its state store, RocksDB with a changelog.

Tuned by https://docs.quix.io/quix-streams/configuration.html and its page on checkpointing: a checkpoint by its default
interval, the facts' own keys (no repartitioning), bytes in and out (no JSON), a producer that gathers.
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application
from quixstreams.context import message_context
from quixstreams.kafka.configuration import ConnectionConfig
from quixstreams.models.serializers import SerializationContext, Serializer

from tests.bench.peers.job import Fed, Job, Mind, Stopwatch, Written


class ValueOf(Serializer):
    """What is written is encoded already."""

    def __call__(self, value: Written, ctx: SerializationContext) -> bytes | None:
        del ctx
        return value.value


def main() -> None:
    job = Job.given()
    watch, mind = Stopwatch(job), Mind(job)
    app = Application(
        broker_address=ConnectionConfig.from_librdkafka_dict(job.kafka()),
        consumer_group=job.group,
        auto_offset_reset="earliest",
        commit_interval=5.0,
        consumer_extra_config={"fetch.queue.backoff.ms": 10, "queued.min.messages": 200_000},
        producer_extra_config={"acks": "all", "linger.ms": 20, "batch.num.messages": 10_000},
        state_dir=job.scratch,
        loglevel="WARNING",
    )
    facts = app.topic(job.input, key_deserializer="bytes", value_deserializer="bytes")
    outs = app.topic(job.output, key_serializer="bytes", value_serializer=ValueOf())

    def person(value: bytes, key: bytes, timestamp: int, headers: Any, state: Any) -> list[Written]:
        watch.record()
        where = message_context()
        state.set_bytes("fact", value)
        decided = mind.decide(where.partition, Fed(where.offset, key, value, headers or (), timestamp))
        if watch.all_came:
            app.stop()  # it commits its last checkpoint
        return decided

    stream = app.dataframe(facts)
    stream = stream.apply(person, stateful=True, metadata=True, expand=True)
    stream.to_topic(outs, key=lambda written: written.key)
    app.run()
    watch.committed()


if __name__ == "__main__":
    main()
