"""One hop through Faust by the batch: latency at 1,000 records a second and top rate, with and without transactions.

    python tests/bench/one_hop.py --help

It starts an embedded bus of its own in a temporary home. The hop runs in a process of its own, as a worker does:
it copies each batch of one topic to another, by one transaction (`PartitionWriter`) or by an idempotent producer whose
delivery reports are awaited. What decision 0001 rests on; ratios in one run, medians of several.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.embedded import EmbeddedBus
from deploy.provision import provision
from deploy.sites import SITES_DIR
from schemas import topics
from schemas.settings import Settings
from schemas.site import Site, read_site
from tests.free_ports import settings_on_free_ports

RATE = 1_000
RECORD = 200
"""Bytes of a record, about those of an event."""
STAMP = struct.Struct(">q")


def site_of(partitions: int) -> Site:
    return read_site(SITES_DIR / "demo").model_copy(update={"name": "hop", "partitions": partitions})


def source(site: Site) -> str:
    return topics.person_facts(site.name)


def sink(site: Site) -> str:
    return topics.alerts_raised(site.name)


def hop(settings: Settings, site: Site, transactional: bool) -> None:
    """The hop itself: until it is killed."""
    import faust

    from streams.app import _credentials
    from streams.batching import batch_topic, read_by_the_batch, tuned_app_settings
    from streams.fencing import PartitionWriter
    from streams.records import Out

    app = faust.App(
        topics.consumer_group(site.name),
        broker=f"kafka://{settings.bootstrap_servers}",
        broker_credentials=_credentials(settings, site),
        **tuned_app_settings(settings.home / "run" / "faust"),
    )
    read_by_the_batch(app)
    writers: dict[int, PartitionWriter] = {}
    loops: dict[int, asyncio.Queue[Any]] = {}
    tasks = []
    idempotent = Producer({**settings.kafka(site.user("bus")), "enable.idempotence": True, "linger.ms": 0})

    async def write(number: int, outs: Sequence[Out]) -> None:
        if transactional:
            if number not in writers:
                writers[number] = PartitionWriter(settings, site, number)
                await writers[number].open()
            await writers[number].write(outs)
        else:
            await asyncio.to_thread(_awaited, idempotent, outs)

    async def loop(number: int) -> None:
        try:
            await forward(number)
        except BaseException as error:
            print(f"the hop ends: {error!r}", file=sys.stderr, flush=True)
            os._exit(4)

    async def forward(number: int) -> None:
        while True:
            events = [await loops[number].get()]
            while not loops[number].empty():
                events.append(loops[number].get_nowait())
            records = [record for _, event in events for record in event.value.records]
            await write(number, [Out(sink(site), number, r.key or b"", None, r.value) for r in records])
            for stream, event in events:
                await stream.ack(event)

    @app.agent(batch_topic(app, source(site)))
    async def copy(stream: Any) -> None:
        async for event in stream.noack().events():
            number = event.value.partition
            if number not in loops:
                loops[number] = asyncio.Queue(16)
                tasks.append(asyncio.create_task(loop(number)))
            await loops[number].put((stream, event))

    event_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(event_loop)
    faust.Worker(
        app, loglevel="ERROR", override_logging=False, redirect_stdouts=False, quiet=True, loop=event_loop
    ).execute_from_commandline()


def _awaited(producer: Producer, outs: Sequence[Any]) -> None:
    reports: list[Any] = []
    for out in outs:
        producer.produce(
            out.topic, out.value, out.key, out.partition, on_delivery=lambda error, _: reports.append(error)
        )
        producer.poll(0)
    while len(reports) < len(outs):
        producer.poll(0.001)
    if any(reports):
        raise RuntimeError(f"a record was not taken: {next(filter(None, reports))}")


def _consumer(settings: Settings, site: Site) -> Consumer:
    consumer = Consumer(
        {
            **settings.kafka(site.user("bus")),
            "group.id": topics.consumer_group(site.name),
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 5,
            "fetch.queue.backoff.ms": 2,
        }
    )
    parts = [TopicPartition(sink(site), n) for n in range(site.partitions)]
    for part in parts:
        part.offset = consumer.get_watermark_offsets(part, timeout=10)[1]
    consumer.assign(parts)
    return consumer


def latency(settings: Settings, site: Site, seconds: float) -> list[float]:
    """Milliseconds from publishing to reading, of every record, at RATE."""
    consumer = _consumer(settings, site)
    producer = Producer({**settings.kafka(site.user("bus")), "enable.idempotence": True, "linger.ms": 0})
    found: list[float] = []
    began = time.monotonic()
    sent, wanted = 0, int(RATE * seconds)
    while len(found) < wanted:
        due = min(wanted, int((time.monotonic() - began) * RATE))
        while sent < due:
            stamp = STAMP.pack(time.time_ns()) + bytes(RECORD)
            producer.produce(source(site), stamp, str(sent % 5_000), sent % site.partitions)
            sent += 1
        producer.poll(0)
        came = [m.value() or b"" for m in consumer.consume(500, 0.001) if m.error() is None]
        found.extend((time.time_ns() - STAMP.unpack_from(value)[0]) / 1e6 for value in came)
        if time.monotonic() - began > seconds * 3 + 60:
            raise RuntimeError(f"only {len(found)} of {wanted} records came through")
    consumer.close()
    return found


def top_rate(settings: Settings, site: Site, records: int) -> float:
    """Records a second through the hop when its input is full: from the first that comes out to the last."""
    producer = Producer(
        {
            **settings.kafka(site.user("bus")),
            "enable.idempotence": True,
            "linger.ms": 20,
            "queue.buffering.max.messages": records,
        }
    )
    consumer = _consumer(settings, site)
    value = STAMP.pack(0) + bytes(RECORD)
    for number in range(records):
        producer.produce(source(site), value, str(number % 5_000), number % site.partitions)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()
    first, count = 0.0, 0
    deadline = time.monotonic() + 120
    while count < records:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {count} of {records} records came through")
        batch = [m for m in consumer.consume(5_000, 0.05) if m.error() is None]
        if batch and not first:
            first = time.monotonic()
        count += len(batch)
    return records / (time.monotonic() - first)


def measure(settings: Settings, site: Site, transactional: bool, seconds: float, records: int) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = [sys.executable, __file__, "--hop", settings.model_dump_json(), "--partitions", str(site.partitions)]
    process = subprocess.Popen([*arguments, *(["--transactions"] if transactional else [])], env=environment)
    try:
        latency(settings, site, 3)  # warm
        times = sorted(latency(settings, site, seconds))
        # The input is filled while the hop stands still, so that the rate is its own.
        process.kill()
        process.wait()
        process = subprocess.Popen([*arguments, *(["--transactions"] if transactional else [])], env=environment)
        rate = top_rate(settings, site, records)
    finally:
        process.kill()
        process.wait()
    return {
        "p50_ms": round(times[len(times) // 2], 1),
        "p99_ms": round(times[int(len(times) * 0.99)], 1),
        "records_per_s": round(rate),
    }


def main(
    runs: Annotated[int, typer.Option(help="Alternating runs of each kind.")] = 3,
    seconds: Annotated[float, typer.Option(help="Seconds at 1,000 records a second.")] = 10,
    records: Annotated[int, typer.Option(help="Records of the top rate.")] = 200_000,
    partitions: Annotated[int, typer.Option()] = 4,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    hop_settings: Annotated[str | None, typer.Option("--hop", hidden=True)] = None,
    transactions: Annotated[bool, typer.Option("--transactions", hidden=True)] = False,
) -> None:
    """Measure one hop. Example: python tests/bench/one_hop.py --runs 3 --json"""
    if hop_settings is not None:
        hop(Settings.model_validate_json(hop_settings), site_of(partitions), transactions)
        return
    with tempfile.TemporaryDirectory() as home:
        settings = settings_on_free_ports(Path(home))
        site = site_of(partitions)
        with EmbeddedBus(settings):
            provision(settings, site)
            found: dict[str, list[dict[str, float]]] = {"transactions": [], "idempotent": []}
            for _ in range(runs):
                for kind, measured in found.items():
                    measured.append(measure(settings, site, kind == "transactions", seconds, records))
    medians = {
        kind: {name: statistics.median(run[name] for run in measured) for name in measured[0]}
        for kind, measured in found.items()
    }
    if as_json:
        typer.echo(json.dumps({"medians": medians, "runs": found}))
    else:
        for kind, figures in medians.items():
            typer.echo(
                f"{kind:12}  p50 {figures['p50_ms']} ms  p99 {figures['p99_ms']} ms  {figures['records_per_s']:,.0f}/s"
            )


if __name__ == "__main__":
    typer.run(main)
