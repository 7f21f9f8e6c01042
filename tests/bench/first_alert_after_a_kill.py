"""From kill -9 of a worker to the first new alert: from the log alone, and with a second worker that stands by.

    make bench-takeover ARGS="--people 5000 --json"

It starts a bus of its own in a temporary home and fills a site with the facts of a county, as identify writes them.
Workers run under the supervisor of `sallyport up`. One is killed; at once an event is published for a person of each
partition that raises an alert. Measured is the time until `alerts.raised` has them, of the partitions that the killed
worker owned; and when the next owner noticed, had folded, had reconciled, by its own log.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.embedded import EmbeddedBus
from deploy.kafka_config import ADMIN
from deploy.provision import provision
from deploy.supervisor import Supervised, Supervisor
from deploy.topic_report import all_live, topic_report
from producers.publisher import Publisher
from schemas import topics
from schemas.codec import decode
from schemas.events import Event
from schemas.registry_client import SchemaCache, registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site, read_site
from schemas.subjects import subjects
from streams.facts import TICK_KEY
from streams.fencing import hand_over
from streams.heard import NOTES, parse_note
from streams.pictures.feeds import KEPT
from streams.records import Out
from streams.standby import STANDBY
from tests.bench import takeover_page
from tests.bench.engine_stage import PEERS_PYTHON
from tests.bench.ground import framed
from tests.bench.mix import Published, county, facts, inbound
from tests.bench.performance_page import machine
from tests.county import DAY, JAIL, START, event
from tests.free_ports import settings_on_free_ports
from tests.working_site import environment, site_files, until

WAIT_S: Final = 1_200.0
PHASES: Final = {
    "noticed": r"owns \[(?P<numbers>[\d, ]*)\]",
    "folded": r"partition (?P<number>\d+) is folded: (?P<count>\d+) records read",
    "reconciled": r"partition (?P<number>\d+) is reconciled",
    "live": r"partition (?P<number>\d+) is live",
}
"""What a worker says of each, and of which partitions."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """Seconds from the kill, the last partition's of those that were taken over."""

    partitions: list[int]
    """Those that the killed worker owned."""
    phases: dict[str, float]
    first_alert: float
    all_alerts: float
    read: int
    """Records that the next owner read back."""


def fill(settings: Settings, site: Site, people: int, facts_each: int) -> int:
    """Put the facts of a county on the site's log, as if they had been processed before; returns how many."""
    ids = schema_ids(registry_client(settings), site, {subject.topic for subject in subjects(site)})
    by_record = {record: number for (_, record), number in ids.items()}
    producer = Producer({**settings.kafka(ADMIN), "enable.idempotence": True, "linger.ms": 20})
    notes: dict[bytes, Out] = {}
    written = 0

    def write(out: Out) -> None:
        nonlocal written
        hand_over(producer, framed(out, by_record))
        written += 1
        if written % 10_000 == 0:
            producer.poll(0)

    for published in county(people, facts_each):
        for out in facts(*inbound(published, site), site):
            if out.key.startswith(NOTES):
                notes[out.key] = out
            else:
                write(out)
    slots = {key: parse_note(key).slot for key in notes}
    newest = max(slots.values())
    for key, out in notes.items():
        # Older ones have gone from the log by then.
        if slots[key] >= newest - KEPT:
            write(out)
    assert producer.flush(WAIT_S) == 0
    group = Consumer({**settings.kafka(site.user("bus")), "group.id": topics.consumer_group(site.name)})
    parts = [
        TopicPartition(topic, number)
        for topic in (topics.person_facts(site.name), topics.facility_facts(site.name))
        for number in range(site.partitions)
    ]
    ends = [TopicPartition(p.topic, p.partition, group.get_watermark_offsets(p, timeout=60)[1]) for p in parts]
    group.commit(offsets=ends, asynchronous=False)
    group.close()
    return written


@contextmanager
def workers(settings: Settings, directory: Path, count: int) -> Iterator[Supervisor]:
    """So many workers, looked after as `sallyport up` does."""
    command = [sys.executable, "-P", "-m", "deploy", "worker", "--site", str(directory), "--verbose"]
    command += ["--while-lives", str(os.getpid())]
    os.environ.update(environment(settings))
    supervisor = Supervisor(
        [Supervised(f"worker {number}", command, directory / f"worker-{number}.log") for number in range(count)]
    )
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def now_us() -> int:
    return time.time_ns() // 1000


def classified(site: Site) -> list[tuple[int, str]]:
    """A person for each partition of the facts: partition and local number."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < site.partitions:
        person = f"waits-{number}"
        source, value = inbound(Published(event("BookingReported", person), JAIL), site)
        found.setdefault(facts(source, value, site)[0].partition, person)
        number += 1
    return sorted(found.items())


def infraction(person: str) -> Event:
    """What makes a review of the person's classification due."""
    day = (now_us() - START) / DAY - 1 / 24
    return event("DisciplinaryRecorded", person, day=day, name=f"{person} {now_us()}")


class Alerts:
    """The alerts of a site as they are raised."""

    def __init__(self, settings: Settings, site: Site) -> None:
        self._cache = SchemaCache(registry_client(settings))
        self._consumer = Consumer(
            {
                **settings.kafka(site.user("bus")),
                "group.id": topics.consumer_group(site.name),
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
            }
        )
        raised = [TopicPartition(topics.alerts_raised(site.name), number) for number in range(site.partitions)]
        for part in raised:
            part.offset = self._consumer.get_watermark_offsets(part, timeout=60)[1]
        self._consumer.assign(raised)

    def until_raised(self, wanted: Mapping[str, int]) -> dict[int, float]:
        """When (seconds of the wall clock) an alert was there that shows each of these events, by its partition."""
        left, found = dict(wanted), {}
        deadline = time.monotonic() + WAIT_S
        while left:
            assert time.monotonic() < deadline, "the alerts did not come"
            for message in self._consumer.consume(100, 0.01):
                value = message.value()
                if message.error() is not None or value is None or message.key() == TICK_KEY:
                    continue
                self._cache.ensure([value])
                alert = decode(value, self._cache, "AlertRaised")[1]
                for item in alert["evidence"]:
                    if item["event_id"] in left:
                        found[left.pop(item["event_id"])] = time.time()
        return found

    def close(self) -> None:
        self._consumer.close()


def said(log: Path, what: str, since: float = 0.0) -> list[tuple[float, re.Match[str]]]:
    """The lines of a worker's log that say something, with their time."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        match, written = re.search(what, line), re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3})", line)
        if match is not None and written is not None:
            at = time.mktime(time.strptime(written[1], "%Y-%m-%d %H:%M:%S")) + int(written[2]) / 1000
            if at >= since:
                found.append((at, match))
    return found


def owned(log: Path) -> list[int]:
    """What a worker owned last."""
    return [int(number) for number in said(log, PHASES["noticed"])[-1][1]["numbers"].split(",") if number.strip()]


def stands_by(settings: Settings, site: Site) -> bool:
    """Whether somebody is ready for each partition."""
    ready = {s.partition for s in topic_report(settings, site).stages if s.stage == STANDBY and s.state == "LIVE"}
    return len(ready) == site.partitions


def measure(settings: Settings, directory: Path, site: Site, count: int) -> Takeover:
    """Kill one of so many workers, and see what the next owners of its partitions do."""
    logs = [directory / f"worker-{number}.log" for number in range(count)]
    for log in logs:
        log.unlink(missing_ok=True)
    waiting = classified(site)
    since = now_us()
    with workers(settings, directory, count) as supervisor, Publisher(settings, site, JAIL) as jail:
        until(lambda: all_live(settings, site, since), "every partition is live", WAIT_S)
        if count > 1:
            until(lambda: all(log.exists() and said(log, PHASES["live"]) for log in logs), "both work", WAIT_S)
            until(lambda: stands_by(settings, site), "one stands by for each partition", WAIT_S)
            time.sleep(5)  # for a report that is older than the last rebalance
            until(lambda: stands_by(settings, site), "one stands by for each partition", WAIT_S)
        alerts = Alerts(settings, site)
        first = {person: infraction(person) for _, person in waiting}
        jail.publish_many([told for person, last in first.items() for told in (*_booked(person), last)])
        alerts.until_raised({first[person].head.event_id: number for number, person in waiting})
        victim = supervisor.processes[0].process
        assert victim is not None
        taken = owned(logs[0])
        victim.kill()
        killed = time.time()
        told = {infraction(person): number for number, person in waiting}
        jail.publish_many(list(told))
        raised = alerts.until_raised({one.head.event_id: number for one, number in told.items()})
        alerts.close()
    times = sorted(raised[number] - killed for number in taken)
    return Takeover(taken, *_phases(logs, taken, killed), times[0], times[-1], _read(logs, taken, killed))


def _booked(person: str) -> list[Event]:
    return [
        event("BookingReported", person, name=f"book {person}"),
        event("CustodyClassified", person, day=1, name=f"classify {person}"),
    ]


def _phases(logs: Sequence[Path], taken: Sequence[int], killed: float) -> tuple[dict[str, float]]:
    """When the last of the partitions that were taken over came to each phase; seconds after the kill."""
    phases = {}
    for phase, what in PHASES.items():
        when: dict[int, float] = {}
        for log in logs:
            for at, match in said(log, what, killed):
                of = match.groupdict()
                numbers = of["number"] if "number" in of else of["numbers"]
                for number in (int(n) for n in numbers.split(",") if n.strip()):
                    when.setdefault(number, at)
        phases[phase] = round(max(when[number] for number in taken) - killed, 2)
    return (phases,)


def _read(logs: Sequence[Path], taken: Sequence[int], killed: float) -> int:
    first: dict[int, int] = {}
    for log in logs:
        for _, match in said(log, PHASES["folded"], killed):
            first.setdefault(int(match["number"]), int(match["count"]))
    return sum(first[number] for number in taken)


def main(
    people: Annotated[int, typer.Option(help="People known.")] = 100_000,
    facts_each: Annotated[int, typer.Option("--facts", help="Events of each.")] = 10,
    partitions: Annotated[int, typer.Option(help="Partitions of the site.")] = 4,
    runs: Annotated[int, typer.Option(help="Kills of each kind, which alternate.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON; the page stays as it is.")] = False,
) -> None:
    """Measure the time from kill -9 of a worker to the first new alert, cold and with a standby, for the page.

    Example: python tests/bench/first_alert_after_a_kill.py --people 5000 --runs 1 --json
    """
    home = Path(tempfile.mkdtemp(prefix="sallyport-takeover-"))
    settings = settings_on_free_ports(home / "bus")
    load = os.getloadavg()[0]
    found: dict[str, list[Takeover]] = {way: [] for way in takeover_page.WAYS}
    try:
        directory = site_files(home, "takeover", partitions)
        site = read_site(directory)
        with EmbeddedBus(settings):
            provision(settings, site)
            began = time.monotonic()
            written = fill(settings, site, people, facts_each)
            typer.echo(f"{written:,} facts of {people:,} people written in {time.monotonic() - began:.0f} s", err=True)
            for run in range(runs):
                for workers_alive, (way, takeovers) in enumerate(found.items(), 1):
                    takeovers.append(measure(settings, directory, site, workers_alive))
                    typer.echo(f"run {run + 1}, {way}: {takeovers[-1].first_alert:.1f} s", err=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    result = {
        "ways": {way: [asdict(one) for one in takeovers] for way, takeovers in found.items()},
        "people": people, "facts": written, "partitions": partitions, "machine": machine(), "load": load,
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(result))
    else:
        takeover_page.write(result, PEERS_PYTHON)
        typer.echo(takeover_page.section(result))


if __name__ == "__main__":
    typer.run(main)
