"""The whole path, inbound record to alerts and disclosures, every hop: one worker, and two against one.

    make bench-whole-path ARGS=--quick
    python tests/bench/whole_path.py --help

It starts an embedded bus of its own in a temporary home (TLS and SCRAM for everybody). In each round a site of its own
gets the first half of its inbound records, of all event types but those of deliveries, tips, lists, calls and hearings;
then one worker or two, started as `sallyport worker` is, with all their stages, work through them. When nothing is left
to do, and two have shared the partitions, the other half is published at once, and the clock runs until the last is
committed through every topic: nobody's start or rebalance counts, and no stage is ahead of another when it starts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import psutil  # type: ignore[import-untyped]
import typer
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from rich.console import Console

from deploy.kafka_config import ADMIN
from producers.publisher import _cloud_events, _key
from schemas import topics
from schemas.codec import event_body, frame
from schemas.events import type_name
from schemas.registry_client import registry_client, schema_ids
from schemas.settings import Settings
from streams.agents import STAGES, input_topics
from streams.clock import wall_clock
from streams.identify import IDENTIFY
from tests.bench import whole_path_page
from tests.bench.engine_stage import PEERS_PYTHON
from tests.bench.ground import Failed, bus_of_the_bench
from tests.bench.mix import county, with_the_rare
from tests.bench.performance_page import machine
from tests.bench.watched_worker import PARTS, PROFILE, Cells
from tests.county import DAY
from tests.working_site import WAIT_S, WorkingSite

ROOT: Final = Path(__file__).parents[2]
WATCHED: Final = ROOT / "tests" / "bench" / "watched_worker.py"
LONG_AGO: Final = 300 * DAY
"""Lives begin before this: none of the events is to come."""
WARM: Final = 0.5
"""Share of the records that are worked through before the clock starts."""
WORKERS: Final = (1, 2)
NO_GROUP_YET: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.GROUP_ID_NOT_FOUND,
    }
)
"""What a broker says of a group before it leads it."""
QUIET_S: Final = 1.5
"""Seconds without anything committed after which everything is."""
RUN_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Inbound:
    """An inbound record before it is framed for a site."""

    agency: str
    kind: str
    key: bytes
    body: bytes
    headers: tuple[tuple[str, str], ...]


def inbound_of(people: int, events_each: int, start: int) -> list[Inbound]:
    """The inbound records of a county, as their agencies publish them."""
    return [
        Inbound(
            published.agency,
            type_name(published.event),
            _key(published.event),
            event_body(published.event),
            _cloud_events(published.event, published.agency, wall_clock()),
        )
        for published in with_the_rare(county(people, events_each, start=start))
    ]


def publisher(site: WorkingSite, records: Sequence[Inbound]) -> Callable[[], None]:
    """What puts the records on the inbound topics of a site: all that can be done before is."""
    names = {(r.agency, r.kind): topics.inbound(site.site.name, r.agency, r.kind) for r in records}
    ids = schema_ids(registry_client(site.settings), site.site, [*names.values()])
    config = {"enable.idempotence": True, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000}
    producer = Producer({**site.settings.kafka(ADMIN), **config})
    producer.list_topics(timeout=WAIT_S)
    failed: list[object] = []
    framed: list[tuple[str, bytes, bytes, list[tuple[str, str | bytes | None]]]] = []
    for record in records:
        topic = names[record.agency, record.kind]
        framed.append((topic, frame(ids[topic, record.kind], record.body), record.key, [*record.headers]))

    def publish() -> None:
        for topic, value, key, headers in framed:
            producer.produce(
                topic, value, key, headers=headers, on_delivery=lambda e, _: failed.append(e) if e else None
            )
            producer.poll(0)
        assert producer.flush(WAIT_S) == 0
        assert not failed, failed[0]

    return publish


@dataclass(frozen=True, slots=True)
class Look:
    """How far the workers are, and what it has cost so far."""

    at: float
    identified: int
    parts: Mapping[str, tuple[float, float]]
    """By part: records, and processor seconds."""
    deciding: float
    """Processor seconds of the workers' deciding threads."""
    all_threads: float
    kafka: float


class Watchers:
    """Looks at the workers from outside."""

    def __init__(self, workers: Sequence[int], cells: Sequence[Path], kafka: int) -> None:
        self._workers = [psutil.Process(pid) for pid in workers]
        self._cells = [Cells(path) for path in cells]
        self._kafka = psutil.Process(kafka)

    def identified(self) -> int:
        return sum(cells.records(IDENTIFY) for cells in self._cells)

    def look(self) -> Look:
        seen = [cells.all() for cells in self._cells]
        parts = {part: (sum(s[part][0] for s in seen), sum(s[part][1] for s in seen)) for part in PARTS}
        threads = [{t.id: t.user_time + t.system_time for t in worker.threads()} for worker in self._workers]
        return Look(
            time.monotonic(),
            self.identified(),
            parts,
            # A process's first thread has its number.
            sum(of_it[worker.pid] for of_it, worker in zip(threads, self._workers, strict=True)),
            sum(sum(worker.cpu_times()[:2]) for worker in self._workers),
            sum(self._kafka.cpu_times()[:2]),
        )


def work(
    site: WorkingSite, records: Sequence[Inbound], workers: int, kafka: int, profile: Path | None
) -> dict[str, Any]:
    """Let so many workers work through the records: events a second, and microseconds of processor an event."""
    before, counted = records[: int(len(records) * WARM)], records[int(len(records) * WARM) :]
    publisher(site, before)()
    cells = [site.directory / f"cells-{number}" for number in range(workers)]
    watchers = Watchers(
        [
            _start(site, path, profile and profile.with_name(f"{profile.name}-{n}.prof")).pid
            for n, path in enumerate(cells)
        ],
        cells,
        kafka,
    )
    deadline = time.monotonic() + RUN_S
    while _shared(site) != workers:
        _require(site, deadline)
        time.sleep(0.1)
    publish = publisher(site, counted)
    site.until_settled()
    half = watchers.look()
    publish()
    _until(site, watchers, half.identified + len(counted), deadline)
    end = _until_committed(site, watchers, deadline)
    if end.identified != half.identified + len(counted) or _shared(site) != workers:
        raise Failed("the partitions were shared out anew while the clock ran")
    events, seconds = len(counted), end.at - half.at
    parts = {part: (end.parts[part][1] - half.parts[part][1]) / events * 1e6 for part in PARTS}
    deciding = (end.deciding - half.deciding) / events * 1e6
    cpu = (end.all_threads - half.all_threads) / events * 1e6
    return {
        "rate": events / seconds,
        "cpu_us": cpu,
        "kafka_us": (end.kafka - half.kafka) / events * 1e6,
        "parts_us": {**parts, "loop": deciding - sum(parts.values()), "threads": cpu - deciding},
        "facts": {part: (end.parts[part][0] - half.parts[part][0]) / events for part in PARTS},
    }


def _shared(site: WorkingSite) -> int:
    """How many workers have partitions, as the group's coordinator says."""
    group = topics.consumer_group(site.site.name)
    admin = AdminClient({**site.settings.kafka(ADMIN), "log_level": 0})
    try:
        described = admin.describe_consumer_groups([group])[group].result(WAIT_S)
    except KafkaException as error:
        if error.args[0].code() not in NO_GROUP_YET:
            raise
        return 0
    return sum(bool(member.assignment.topic_partitions) for member in described.members)


def _start(site: WorkingSite, cells: Path, profile: Path | None) -> Any:
    Cells(cells)
    if profile is not None:
        os.environ[PROFILE] = str(profile)
    return site.start_worker(["-P", str(WATCHED), str(cells), "-"])


def _until(site: WorkingSite, watchers: Watchers, identified: int, deadline: float) -> Look:
    while watchers.identified() < identified:
        _require(site, deadline)
        time.sleep(0.005)
    return watchers.look()


def _until_committed(site: WorkingSite, watchers: Watchers, deadline: float) -> Look:
    """The moment after which nothing was committed any more."""
    consumer = Consumer({**site.settings.kafka(ADMIN), "group.id": topics.consumer_group(site.site.name)})
    parts = [
        TopicPartition(topic, number)
        for stage in STAGES
        for topic in input_topics(stage, site.site)
        for number in range(site.site.partitions)
    ]
    last, before = watchers.look(), [-1]
    while time.monotonic() < last.at + QUIET_S:
        _require(site, deadline)
        now = [part.offset for part in consumer.committed(parts, timeout=WAIT_S)]
        if now != before:
            last, before = watchers.look(), now
        time.sleep(0.01)
    consumer.close()
    return last


def _require(site: WorkingSite, deadline: float) -> None:
    for worker in site.workers:
        if worker.poll() is not None:
            raise Failed(f"a worker ended with {worker.returncode}: {site.said(worker)[-5000:]}")
    if time.monotonic() > deadline:
        raise Failed(f"not all was committed in {RUN_S:.0f} s")


def rounds(
    settings: Settings, kafka: int, console: Console, runs: int, people: int, events_each: int, partitions: int,
    profiles: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """All runs, one worker and two in turn."""
    start = time.time_ns() // 1000 - LONG_AGO
    console.print("Making the records ...")
    records = inbound_of(people, events_each, start)
    ran: dict[int, list[dict[str, Any]]] = {workers: [] for workers in WORKERS}
    open_in: dict[str, frozenset[tuple[str, str]]] = {}
    for number in range(runs):
        for workers in WORKERS if number % 2 == 0 else WORKERS[::-1]:
            name = f"path{number}x{workers}"
            site = WorkingSite.make(settings, settings.home, name, partitions, clock="history")
            try:
                site.tick(start)
                took = work(site, records, workers, kafka, profiles and profiles.resolve() / name)
                ran[workers].append(took)
                console.print(
                    f"round {number + 1} of {runs}, {workers} at work: {took['rate']:8,.0f} events/s "
                    f"{took['cpu_us']:6,.0f} us of processor an event"
                )
                site.until_settled()
                open_in[name] = _checked(site)
            finally:
                for worker in site.workers:
                    worker.terminate()
                    worker.wait(30)
                site.end()
    if len(set(open_in.values())) > 1:
        found = "; ".join(f"{name}: {len(alerts)}" for name, alerts in open_in.items())
        raise Failed(f"the runs differ in their open alerts: {found}")
    return {
        "runs": {str(workers): of_it for workers, of_it in ran.items()},
        "events": len(records),
        "people": people,
        "partitions": partitions,
        "warm": WARM,
        "open_alerts": len(next(iter(open_in.values()))),
    }


def _checked(site: WorkingSite) -> frozenset[tuple[str, str]]:
    """The open alerts; nothing may have been set aside, and somebody must have been told."""
    for agency in site.site.agencies:
        aside = sum(site.end_of(box.topic.name) for box in topics.dead_letter_boxes(site.site, agency.id))
        if aside:
            raise Failed(f"{aside} records of {agency.id} were set aside")
    alerts = site.open_alerts()
    if not alerts:
        raise Failed("no alert is open: nothing was compared")
    if not site.shown_to("county-jail-watch"):
        raise Failed("nobody was told of an alert")
    # Alerts keep their ids and digests: the site's name is in neither.
    return frozenset((str(alert["rule"]), str(alert["headline"])) for alert in alerts.values())


def main(
    runs: Annotated[int, typer.Option(help="Rounds, each with one worker and with two.")] = 5,
    people: Annotated[int, typer.Option(help="People of the county.")] = 5_000,
    events_each: Annotated[int, typer.Option(help="Events of each, about.")] = 10,
    partitions: Annotated[int, typer.Option()] = 4,
    profiles: Annotated[
        Path | None, typer.Option(help="A directory for a profile of each worker; it slows them.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="500 people, one round; the page stays as it is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON; the page stays as it is.")] = False,
) -> None:
    """Measure the whole path by one worker and by two, and write it into docs/performance.md.

    Example: python tests/bench/whole_path.py --quick
    """
    console = Console(stderr=True)
    if quick:
        runs, people = 1, 500
    load = os.getloadavg()[0]
    with bus_of_the_bench(console) as (settings, broker):
        found = rounds(settings, broker, console, runs, people, events_each, partitions, profiles)
    result = {**found, "machine": machine(), "load": load}
    typer.echo(json.dumps(result) if as_json else whole_path_page.section(result))
    if not (quick or as_json or profiles):
        whole_path_page.write(result, PEERS_PYTHON)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
