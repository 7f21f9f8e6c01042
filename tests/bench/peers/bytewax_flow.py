"""Bytewax with recovery: Kafka in and out by its own connectors, one stateful step that keeps each fact.

Tuned by https://docs.bytewax.io/v0.20.0/guide/concepts/recovery.html and the connectors' documentation: large batches,
operators that take whole batches, snapshots by the default interval, one recovery partition for its one worker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from tests.bench.peers.job import Job, Mind, Stopwatch

BATCH = 10_000


def main() -> None:
    job = Job.given()
    watch, mind = Stopwatch(job), Mind(job)

    class Person(StatefulBatchLogic[Any, Any, Any]):
        """The state of one key: its fact. Bytewax's message is a record as the stages want it."""

        def __init__(self, fact: bytes | None) -> None:
            self._fact = fact

        def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
            outs = []
            for message in values:
                watch.record()
                self._fact = message.value
                outs += [KafkaSinkMessage(*written) for written in mind.decide(message.partition, message)]
            return outs, StatefulBatchLogic.RETAIN

        def snapshot(self) -> bytes | None:
            return self._fact

    clients = {name: str(value) for name, value in job.kafka().items() if name != "bootstrap.servers"}
    consumer = {**clients, "fetch.queue.backoff.ms": "10"}
    producer = {**clients, "acks": "all", "enable.idempotence": "true", "linger.ms": "0"}
    flow = Dataflow("person")
    facts = op.input("facts", flow, KafkaSource([job.bootstrap], [job.input], False, -2, consumer, BATCH))
    keyed = op.flat_map_batch("keyed", facts, lambda batch: [(m.key.decode(), m) for m in batch])
    decided = op.stateful_batch("person", keyed, Person)
    outs = op.flat_map_batch("outs", decided, lambda batch: [message for _, message in batch])
    op.output("alerts", outs, KafkaSink([job.bootstrap], job.output, producer))
    recovery = Path(job.scratch)
    init_db_dir(recovery, 1)
    cli_main(flow, recovery_config=RecoveryConfig(recovery))
    watch.committed()


if __name__ == "__main__":
    main()
