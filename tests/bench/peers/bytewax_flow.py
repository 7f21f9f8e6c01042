"""Bytewax with recovery: Kafka in and out by its own connectors, a step that decides, a stateful one that keeps facts.

They are two, because a stateful step takes a batch in the order of its keys: a person's facts one after the other,
which is less work, and another history than the log's.

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
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from tests.bench.peers.job import Job, Mind, Stopwatch

BATCH = 10_000


class Nowhere(DynamicSink[Any]):
    """For the step that keeps facts: nothing comes out of it."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Any]:
        del step_id, worker_index, worker_count
        return _Nothing()


class _Nothing(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        del items


def main() -> None:
    job = Job.given()
    watch, mind = Stopwatch(job), Mind(job)

    class StoredFact(StatefulBatchLogic[Any, Any, Any]):
        """The state of one key: its fact."""

        def __init__(self, fact: bytes | None) -> None:
            self._fact = fact

        def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
            self._fact = values[-1].value
            return [], StatefulBatchLogic.RETAIN

        def snapshot(self) -> bytes | None:
            return self._fact

    def decide(batch: list[Any]) -> list[Any]:
        """What follows from a batch in the order of the log. Bytewax's message is a record as the stages want it."""
        outs = []
        for message in batch:
            watch.record()
            outs += [KafkaSinkMessage(*written) for written in mind.decide(message.partition, message)]
        return outs

    clients = {name: str(value) for name, value in job.kafka().items() if name != "bootstrap.servers"}
    consumer = {**clients, "fetch.queue.backoff.ms": "10"}
    producer = {**clients, "acks": "all", "enable.idempotence": "true", "linger.ms": "0"}
    flow = Dataflow("person")
    facts = op.input("facts", flow, KafkaSource([job.bootstrap], [job.input], False, -2, consumer, BATCH))
    keyed = op.flat_map_batch("keyed", facts, lambda batch: [(m.key.decode(), m) for m in batch])
    op.output("nothing", op.stateful_batch("stored", keyed, StoredFact), Nowhere())
    decided = op.flat_map_batch("person", facts, decide)
    op.output("alerts", decided, KafkaSink([job.bootstrap], job.output, producer))
    recovery = Path(job.scratch)
    init_db_dir(recovery, 1)
    cli_main(flow, recovery_config=RecoveryConfig(recovery))
    watch.committed()


if __name__ == "__main__":
    main()
