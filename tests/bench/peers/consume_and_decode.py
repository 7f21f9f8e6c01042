"""No engine at all: facts consumed in large batches and decoded, to a dict or to the typed event of the contract.

Tuned by https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md: without the half second's pause after
a full queue (`fetch.queue.backoff.ms`), thousands of records from one call.
"""

from __future__ import annotations

import io
import sys

import fastavro
from confluent_kafka import Consumer, TopicPartition

from schemas.codec import decode_event
from streams.facts import TICK_KEY
from tests.bench.peers.job import Job, Stopwatch

BATCH = 10_000


def main(typed: bool) -> None:
    job = Job.given()
    watch, schemas = Stopwatch(job), job.schemas()
    by_id = {number: schema.parsed for number, schema in schemas.items()}
    consumer = Consumer(
        {
            **job.kafka(),
            "group.id": job.group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 10,
            "queued.min.messages": 200_000,
        }
    )
    consumer.assign([TopicPartition(job.input, number, 0) for number in range(job.partitions)])
    while not watch.all_came:
        messages = consumer.consume(BATCH, 0.02)
        watch.count(len(messages))
        for message in messages:
            value = message.value()
            if message.key() == TICK_KEY or value is None:
                continue
            if typed:
                decode_event(value, schemas)
            else:
                buffer = io.BytesIO(value)
                buffer.seek(5)
                fastavro.schemaless_reader(buffer, by_id[int.from_bytes(value[1:5], "big")], None)
    watch.committed()


if __name__ == "__main__":
    main("typed" in sys.argv[1:])
