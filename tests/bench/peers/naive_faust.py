"""Faust as its tutorial has it: an agent, one event at a time, and a Table with its changelog.

Tuned by https://faust-streaming.github.io/faust/userguide/settings.html: a producer that gathers, in a thread of
its own, fetches and buffers that are large, a table in memory, the compiled stream loop of Faust's wheel.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

import faust
from faust.types import TP

from tests.bench.peers.job import Fed, Job, Mind, Stopwatch


def main() -> None:
    job = Job.given()
    watch, mind = Stopwatch(job), Mind(job)
    app = faust.App(
        job.group,
        broker=f"kafka://{job.bootstrap}",
        broker_credentials=faust.SASLCredentials(
            username=job.user,
            password=job.password,
            mechanism="SCRAM-SHA-512",
            ssl_context=ssl.create_default_context(cafile=job.ca),
        ),
        datadir=job.scratch,
        store="memory://",
        topic_partitions=job.partitions,
        topic_replication_factor=1,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        # What it gathers and holds: more of each at a time.
        broker_commit_interval=1.0,
        consumer_max_fetch_size=4 * 1024 * 1024,
        stream_buffer_maxsize=16_384,
        producer_acks=-1,
        producer_linger=0.02,
        producer_max_batch_size=256 * 1024,
        producer_threaded=True,
        # What it would do beside.
        stream_wait_empty=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    facts, outs = app.topic(job.input, **raw), app.topic(job.output, partitions=job.partitions, **raw)
    stored = app.Table("facts", partitions=job.partitions, key_type=bytes, value_type=bytes)

    @app.agent(facts)
    async def person(stream: Any) -> None:
        async for event in stream.events():
            watch.record()
            message = event.message
            record = Fed(message.offset, event.key, event.value, message.headers or (), 0)
            for out in mind.decide(message.partition, record):
                await outs.send(key=out.key, value=out.value)
            stored[event.key] = event.value

    async def until_committed() -> None:
        consumer: Any = app.consumer
        committed = consumer._committed_offset
        while not all((committed[TP(job.input, n)] or 0) >= end for n, end in enumerate(job.ends) if end):
            await asyncio.sleep(0.01)
            if watch.all_came:
                # Not left to the interval: that would be the clock's, not the engine's.
                await app.producer.flush()
                await consumer.commit()
        # What its producer's thread has in its hand is in no queue that is flushed: each event is one record there.
        changelog = [TP(stored.changelog_topic.get_topic_name(), number) for number in range(job.partitions)]
        while sum((await consumer.highwaters(*changelog)).values()) < watch.seen:
            await asyncio.sleep(0.01)
        watch.committed()
        os._exit(0)

    app.task(until_committed)

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    faust.Worker(
        app, loglevel="WARNING", override_logging=False, redirect_stdouts=False, quiet=True, loop=loop
    ).execute_from_commandline()


if __name__ == "__main__":
    main()
