"""Soak: a real bus for an hour at a tenth of its top rate, with people who come and go. `make soak`.

    python tests/soak/soak.py --minutes 60

Every few seconds it notes the worker's and the broker's memory, what is not yet processed, and how long probes took
from publishing to the alert that they change, readable. In the end it judges by `flatness.py` whether all that stayed
as it was, and writes table and plot into docs/performance.md.
Exit codes: 0, all flat; 1, something was not.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import psutil  # type: ignore[import-untyped]
import typer
from confluent_kafka import Consumer, KafkaError, TopicPartition

from deploy import java, watchdog
from deploy.embedded import EmbeddedBus
from deploy.kafka_config import ADMIN
from producers.publisher import Publisher
from schemas import topics
from schemas.codec import decode
from schemas.registry_client import SchemaCache, registry_client
from schemas.settings import Settings
from streams.fold import plain_consumer
from tests.bench.engine_stage import PEERS_PYTHON
from tests.bench.performance_page import DOCS, PAGE, processor, replace_section
from tests.county import agency_of
from tests.free_ports import settings_on_free_ports
from tests.soak.flatness import BOUNDS, Trend, trend
from tests.soak.steady_county import PEOPLE, life, probe, rivals
from tests.working_site import WorkingSite, until

TOP_RATE: Final = 1_000
"""Events a second, published live, that one worker keeps up with on two cores: the highest such rate of those at which
latency is measured (tests/bench/publish_to_alert.py)."""
TURN_S: Final = 0.05
PROBES_A_S: Final = 4
BROKER_HEAP: Final = "256m"
"""Half of the usual: it is full in the first half of an hour, and what grows then is no garbage that waits."""
PROBE_KEEP_S: Final = 60.0
PLOT: Final = "performance-soak.svg"
LOST_S: Final = 30.0
"""Seconds after which a probe that led to no alert is lost."""
OF_THE_PAGE: Final = 30
"""Minutes that a run lasts at least whose figures are put into the page."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen in one look."""

    minute: float
    published: int
    """Events so far."""
    worker_mb: float
    broker_mb: float
    worker_cpu: float
    """Cores."""
    lag: int
    p50_ms: float | None
    """Of the probes whose alert came since the last sample; None where none did."""
    p99_ms: float | None
    probes: int


@dataclass
class Ear:
    """Hears, as a reader of what is committed, of each alert that a probe changed, and how far the stages are."""

    settings: Settings
    site: WorkingSite
    sent: dict[str, float] = field(default_factory=dict)
    """By event id of a probe: when it was handed to the publisher."""
    took: list[float] = field(default_factory=list)
    """Milliseconds, since they were last taken."""
    lags: dict[tuple[str, int], int] = field(default_factory=dict)
    deaf: str = ""
    """Why it hears nothing any more; empty while it does."""
    _ends: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen from the end of the topics on."""
        name = self.site.site.name
        consumer = plain_consumer(self.settings, ADMIN, "soak")
        wanted = [
            TopicPartition(topic, number, end)
            for topic in (topics.alerts_raised(name), topics.stage_reports(name))
            for number, end in self.site.ends(consumer, topic).items()
        ]
        consumer.assign(wanted)
        self._thread = threading.Thread(target=self._listen, args=(consumer,), name="ear", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join()

    def _listen(self, consumer: Consumer) -> None:
        schemas = SchemaCache(registry_client(self.settings))
        raised = topics.alerts_raised(self.site.site.name)
        while not self._ends.is_set():
            message = consumer.poll(0.2)
            error = message.error() if message is not None else None
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self.deaf = str(error)
                break
            value = None if message is None or error is not None else message.value()
            if message is None or value is None:
                continue
            heard = time.perf_counter()
            schemas.ensure([value])
            record = decode(value, schemas)[1]
            if message.topic() == raised:
                sent = self.sent.pop(record["cause"]["event_id"] or "", None)
                if sent is not None:
                    self.took.append((heard - sent) * 1000)
            else:
                self.lags[record["stage"], record["partition"]] = record["lag"]
        consumer.close()

    def lost(self) -> int:
        """Probes that led to no alert in time."""
        return sum(time.perf_counter() - sent > LOST_S for sent in [*self.sent.values()])


def soak(
    settings: Settings, scratch: Path, minutes: float, rate: int, every_s: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run it: the samples, and what was lost."""
    keep_s = min(300.0, max(20.0, minutes * 60 / 12))
    with EmbeddedBus(settings):
        site = WorkingSite.make(settings, scratch, "soak", partitions=4)
        worker = psutil.Process(site.start_worker().pid)
        (broker,) = [p for p in watchdog.marked(java.mark(settings.home)) if "kafka.Kafka" in p.cmdline()]
        ear = Ear(site.settings, site)
        ear.start()
        publishers = {agency.id: Publisher(site.settings, site.site, agency.id) for agency in site.site.agencies}
        try:
            publishers["county-jail"].publish_many(rivals())
            site.until_settled()
            samples = list(_samples(ear, publishers, (worker, broker), minutes, rate, every_s, keep_s, say))
            until(lambda: not ear.sent or ear.lost(), "the last probes led to alerts", LOST_S + 5)
        finally:
            ear.stop()
            for publisher in publishers.values():
                publisher.close()
            site.end()
    return {"samples": [asdict(sample) for sample in samples], "lost": len(ear.sent), "keep_s": keep_s}


def _samples(
    ear: Ear,
    publishers: Mapping[str, Publisher],
    processes: tuple[psutil.Process, psutil.Process],
    minutes: float,
    rate: int,
    every_s: float,
    keep_s: float,
    say: Callable[[str], None],
) -> Iterator[Sample]:
    """Publish at the rate, by the clock whatever the bus does; a sample every so many seconds."""
    worker, broker = processes
    events, published, probed = life(1, keep_s), 0, 0
    worker.cpu_percent()
    began, sampled = time.perf_counter(), time.perf_counter()
    while (now := time.perf_counter()) - began < minutes * 60:
        due = int((now - began) * rate) - published
        by_agency: dict[str, list[Any]] = {}
        for said in islice(events, due):
            by_agency.setdefault(agency_of(said), []).append(said)
        for agency, some in by_agency.items():
            publishers[agency].publish_many(some)
        published += due
        if (now - began) * PROBES_A_S >= probed:
            said = probe(probed, PROBE_KEEP_S)
            ear.sent[said.head.event_id] = time.perf_counter()
            publishers[agency_of(said)].publish(said)
            probed += 1
        if now - sampled >= every_s:
            sampled = now
            took, ear.took = sorted(ear.took), []
            if not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError(f"the worker ended: {ear.site.said(ear.site.workers[0])[-2_000:]}")
            if ear.deaf or (now - began > LOST_S and not ear.lags):
                raise RuntimeError(f"nothing is heard of the bus: {ear.deaf or 'no report of a stage'}")
            sample = Sample(
                minute=round((now - began) / 60, 2),
                published=published,
                worker_mb=round(worker.memory_info().rss / 2**20, 1),
                broker_mb=round(broker.memory_info().rss / 2**20, 1),
                worker_cpu=round(worker.cpu_percent() / 100, 2),
                lag=sum(ear.lags.values()),
                p50_ms=round(statistics.median(took), 1) if took else None,
                p99_ms=round(took[int(len(took) * 0.99)], 1) if took else None,
                probes=len(took),
            )
            say(_line(sample))
            yield sample
        time.sleep(max(0.0, TURN_S - (time.perf_counter() - now)))


def _line(sample: Sample) -> str:
    return (
        f"{sample.minute:6.2f} min  {sample.published:9,} events  worker {sample.worker_mb:6.1f} MB "
        f"{sample.worker_cpu:4.2f} cores  broker {sample.broker_mb:6.1f} MB  lag {sample.lag:5}  "
        f"p50 {sample.p50_ms} ms  p99 {sample.p99_ms} ms"
    )


# -- judging, and the page ---------------------------------------------------------------------------------------------


def points(samples: Sequence[Mapping[str, Any]], figure: str) -> list[tuple[float, float]]:
    """A figure of the samples that have one, each with its minute."""
    return [(sample["minute"], sample[figure]) for sample in samples if sample[figure] is not None]


def trends(samples: Sequence[Mapping[str, Any]]) -> list[Trend]:
    """What each figure did in the second half."""
    return [trend(bound, points(samples, bound.figure)) for bound in BOUNDS]


def section(found: Mapping[str, Any]) -> str:
    """What stands between the marks of the page: a line for each tenth of the run, and the judgement."""
    samples = found["samples"]
    lines = [
        "| minutes | worker, MB | broker, MB | worker, cores | not yet processed | publish to alert, p50 | p99 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    tenth = max(1, len(samples) // 10)
    for begin in range(0, len(samples), tenth):
        some = samples[begin : begin + tenth]

        of = {figure: statistics.median([v for _, v in points(some, figure)] or [0]) for figure in samples[0]}
        lines.append(
            f"| to {some[-1]['minute']:.0f} | {of['worker_mb']:,.0f} | {of['broker_mb']:,.0f} | "
            f"{of['worker_cpu']:.2f} | {of['lag']:,.0f} | {of['p50_ms']:.0f} ms | {of['p99_ms']:.0f} ms |"
        )
    judged = [
        "| in the second half | median | grew by | may grow by | |",
        "| --- | ---: | ---: | ---: | --- |",
        *(
            f"| {t.bound.title} | {t.median:,.0f} {t.bound.unit} | {t.growth:+,.1f} | "
            f"{max(t.bound.least, t.bound.growth * t.median):,.0f} | {'flat' if t.flat else '**not flat**'} |"
            for t in trends(samples)
        ),
    ]
    last = samples[-1]
    how = (
        f"{found['rate']} events a second for {last['minute']:.0f} minutes, {last['published']:,} in all, of "
        f"{PEOPLE:,} people; each event is purged after {found['keep_s']:.0f} s. Probes that led to no alert in time: "
        f"{found['lost']}. {found['cores']} cores ({found['processor']}), with a load of {found['load']:.1f} before."
    )
    plot = f"![Memory, lag and latency over the run]({PLOT})"
    return "\n\n".join(["\n".join(lines), plot, "\n".join(judged), textwrap.fill(how, 120)])


def draw(found: Mapping[str, Any], file: Path) -> None:
    """The plot, drawn in the peers' environment."""
    samples = found["samples"]

    def line(figure: str) -> list[tuple[float, float]]:
        return points(samples, figure)

    panels = [
        {"title": "memory, MB", "lines": {"worker": line("worker_mb"), "broker": line("broker_mb")}},
        {"title": "publish to alert, ms", "lines": {"p50": line("p50_ms"), "p99": line("p99_ms")}},
        {"title": "records not yet processed", "lines": {"lag": line("lag")}},
        {"title": "processor, cores", "lines": {"worker": line("worker_cpu")}},
    ]
    plot = Path(__file__).parents[1] / "bench" / "plot.py"
    given = json.dumps({"panels": panels, "across": "minutes", "file": str(file)})
    subprocess.run([str(PEERS_PYTHON), str(plot)], check=True, input=given, text=True)


def main(
    minutes: Annotated[float, typer.Option(help="How long it runs.", min=0.5)] = 60,
    rate: Annotated[int, typer.Option(help="Events a second.", min=1)] = TOP_RATE // 10,
    every: Annotated[float, typer.Option(help="Seconds between samples.", min=1)] = 10,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the plot into this file too, however short the run is.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write every sample as JSON.")] = False,
) -> None:
    """Run a bus in a steady state, and judge whether memory and latency stay flat.

    A run of half an hour or more is written into docs/performance.md.

    Example: python tests/soak/soak.py --minutes 5 --rate 100
    """
    if not PEERS_PYTHON.exists():
        raise typer.BadParameter(f"what draws the plot is not in {PEERS_PYTHON.parents[1].name}: run `make soak`")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        say = lambda line: typer.echo(line, err=True)  # noqa: E731
        settings = settings_on_free_ports(Path(scratch) / "home").model_copy(update={"kafka_heap": BROKER_HEAP})
        found = soak(settings, Path(scratch), minutes, rate, every, say)
    found |= {"rate": rate, "load": load, "cores": len(os.sched_getaffinity(0)), "processor": processor()}
    if plot is not None:
        draw(found, plot)
    if minutes >= OF_THE_PAGE:
        replace_section(PAGE, "soak", section(found), "make soak")
        draw(found, DOCS / PLOT)
    judged = trends(found["samples"])
    typer.echo(
        json.dumps(found) if as_json else "\n".join([*map(str, judged), f"{found['lost']} probes led to no alert"])
    )
    raise typer.Exit(int(bool(found["lost"]) or not all(t.flat for t in judged)))


if __name__ == "__main__":
    typer.run(main)
