"""A site on the tests' real bus: provisioned, worked for by real worker processes, read back from its topics."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from deploy.kafka_config import ADMIN
from deploy.provision import KEPT_HERE, provision
from deploy.sites import SITES_DIR
from deploy.topic_settings import topic_settings
from producers.publisher import Publisher
from schemas import topics
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.registry_client import SchemaCache, registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site, read_site
from schemas.topics import all_topics
from streams.agents import input_topics
from streams.clock import wall_clock
from streams.facts import TICK_KEY
from streams.standby import STANDBY
from tests.county import agency_of

WAIT_S = 150.0
"""Seconds that anything may take before a test fails."""


def until(holds: Callable[[], object], what: str, seconds: float = WAIT_S) -> None:
    """Wait until something holds; fail saying what did not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.1)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment in which a command has these settings, and nothing else of ours."""
    given = {f"SALLYPORT_{name.upper()}": str(value) for name, value in settings.model_dump(exclude_none=True).items()}
    others = {name: value for name, value in os.environ.items() if not name.startswith("SALLYPORT_")}
    return {**others, **given, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "200", **more}


def site_files(
    parent: Path,
    name: str,
    partitions: int = 2,
    clock: str = "live",
    like: str = "demo",
    change: Callable[[Path], object] = lambda _: None,
) -> Path:
    """The directory of a site that is a shipped one under another name; `change` does to it what else is different."""
    directory = parent / name
    shutil.copytree(SITES_DIR / like, directory)
    shipped = read_site(directory)
    text = (directory / "site.toml").read_text()
    for old, new in (
        (f'name = "{shipped.name}"', f'name = "{name}"'),
        (f"partitions = {shipped.partitions}", f"partitions = {partitions}"),
        (f'clock = "{shipped.clock}"', f'clock = "{clock}"'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    (directory / "site.toml").write_text(text)
    change(directory)
    return directory


@dataclass
class _Log:
    """What was read of a topic, and the next offset of each partition."""

    messages: list[Any] = field(default_factory=list)
    next: dict[int, int] = field(default_factory=dict)


@dataclass
class WorkingSite:
    """A site, its settings, and the workers that a test started for it."""

    settings: Settings
    directory: Path
    site: Site
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _consumers: dict[tuple[str, int], Consumer] = field(default_factory=dict)
    _logs: dict[tuple[str, str], _Log] = field(default_factory=dict)
    _partitions: dict[str, int] = field(default_factory=dict)
    _schemas: SchemaCache | None = None

    @classmethod
    def make(
        cls,
        settings: Settings,
        parent: Path,
        name: str,
        partitions: int = 2,
        clock: str = "live",
        like: str = "demo",
        change: Callable[[Path], object] = lambda _: None,
    ) -> WorkingSite:
        """A shipped site under another name, provisioned."""
        directory = site_files(parent, name, partitions, clock, like, change)
        site = read_site(directory)
        provision(settings, site)
        return cls(settings.model_copy(update={"site_file": directory}), directory, site)

    def renewed(self) -> WorkingSite:
        """The same site as on its first day: topics that were written to are made anew, this machine has kept nothing.

        Users, rights and schemas stay: they are what takes long to make. For a test that needs a log of its own, and
        leaves no worker of it behind: a group has members until their session ends.
        """
        self.end()
        admin = AdminClient(self.settings.kafka(ADMIN))
        specs = {spec.name: spec for spec in all_topics(self.site)}
        ends = admin.list_offsets(
            {
                TopicPartition(spec.name, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]
                for spec in specs.values()
                for number in range(spec.partitions)
            }
        )
        written = {part.topic for part, end in ends.items() if end.result(WAIT_S).offset}
        if written:

            def there() -> set[str]:
                """Those of them that have a leader."""
                found = admin.list_topics(timeout=WAIT_S).topics
                return {n for n in written if n in found and all(p.leader >= 0 for p in found[n].partitions.values())}

            for gone in admin.delete_topics(sorted(written)).values():
                gone.result(WAIT_S)
            until(lambda: not there(), "the topics were gone")
            new = [
                NewTopic(spec.name, spec.partitions, 1, config=topic_settings(spec, 1))
                for spec in map(specs.__getitem__, sorted(written))
            ]
            for made in admin.create_topics(new).values():
                made.result(WAIT_S)
            until(lambda: there() == written, "the topics were there again")
        for part in KEPT_HERE:
            shutil.rmtree(self.settings.home / part / self.site.name, ignore_errors=True)
        return WorkingSite(self.settings, self.directory, self.site)

    # -- workers -------------------------------------------------------------------------------------------------

    def start_worker(self, program: Sequence[str] = ("-m", "deploy", "worker")) -> subprocess.Popen[bytes]:
        """Start a worker process; `program` runs another one than `sallyport worker`."""
        with (self.directory / f"worker-{len(self.workers)}.log").open("wb") as log:
            command, where = [sys.executable, *program], environment(self.settings)
            worker = subprocess.Popen(command, env=where, stdout=log, stderr=log)
        self.workers.append(worker)
        return worker

    def said(self, worker: subprocess.Popen[bytes]) -> str:
        """What a worker wrote."""
        return (self.directory / f"worker-{self.workers.index(worker)}.log").read_text()

    def end(self) -> None:
        """End every worker."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()

    # -- the way in ----------------------------------------------------------------------------------------------

    def publish(self, events: Iterable[Event]) -> None:
        """Publish events, each as its agency, and wait until the broker has them."""
        by_agency: dict[str, list[Event]] = {}
        for event in events:
            by_agency.setdefault(agency_of(event), []).append(event)
        for agency, of_it in by_agency.items():
            with Publisher(self.settings, self.site, agency) as publisher:
                publisher.publish_many(of_it)
                assert publisher.flush(WAIT_S) == 0

    def write(self, user: str, topic: str, value: bytes | None, key: bytes = b"k", partition: int = 0) -> None:
        """Put bytes on a topic as one of the site's users."""
        producer = Producer(self.settings.kafka(self.site.user(user)))
        failed: list[KafkaError] = []
        producer.produce(
            topic, value, key, partition, on_delivery=lambda error, _: failed.append(error) if error else None
        )
        assert producer.flush(WAIT_S) == 0
        assert failed == []

    def tick(self, time_us: int) -> None:
        """Put a tick on a history site's clock."""
        topic = topics.clock(self.site.name)
        ids = schema_ids(registry_client(self.settings), self.site, [topic])
        self.write("clock", topic, encode("Tick", {"time": time_us}, ids[topic, "Tick"]), TICK_KEY)

    # -- what came of it -----------------------------------------------------------------------------------------

    def read(self, topic: str, user: str = "bus") -> list[Any]:
        """All committed messages of a topic to the end that it has now, in order of partition and offset.

        What was read before is not read again: tests look often.
        """
        consumer = self._consumer(user)
        ends = self.ends(consumer, topic)
        log = self._logs.setdefault((user, topic), _Log())
        unread = {partition for partition, end in ends.items() if end > log.next.get(partition, 0)}
        consumer.assign([TopicPartition(topic, partition, log.next.get(partition, 0)) for partition in unread])
        deadline = time.monotonic() + WAIT_S
        while unread:
            assert time.monotonic() < deadline, f"{topic} was not read to its end"
            for message in consumer.consume(1_000, 0.02):
                error, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
                if error is None:
                    log.messages.append(message)
                    log.next[partition] = offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    # The end itself may be a transaction's marker: then this tells that it was reached.
                    log.next[partition] = offset
                elif error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                    continue  # a test stopped the bus, and started it again
                else:
                    raise AssertionError(error.str())
                if error is not None or log.next[partition] >= ends[partition]:
                    unread.discard(partition)
        consumer.unassign()
        return sorted(log.messages, key=lambda m: (m.partition(), m.offset()))

    def end_of(self, topic: str) -> int:
        """The end offsets of a topic's partitions, added up: it grows when something is written."""
        return sum(self.ends(self._consumer("bus"), topic).values())

    def _consumer(self, user: str) -> Consumer:
        """One consumer for each user and thread: to connect costs more than to read."""
        where = user, threading.get_ident()
        if where not in self._consumers:
            who = self.site.user(user)
            self._consumers[where] = Consumer(
                {
                    **self.settings.kafka(who),
                    "group.id": who if user != "bus" else topics.consumer_group(self.site.name),
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "isolation.level": "read_committed",
                    "auto.offset.reset": "earliest",
                    # What it is to read next waits until the last fetch has returned.
                    "fetch.wait.max.ms": 10,
                    # That the broker is away is no news where a test has killed it.
                    "log_level": 0,
                }
            )
        return self._consumers[where]

    def ends(self, consumer: Consumer, topic: str) -> dict[int, int]:
        """The end of each partition of a topic, as this consumer is told it."""
        if topic not in self._partitions:
            self._partitions[topic] = len(consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions)
        return {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=WAIT_S)[1]
            for number in range(self._partitions[topic])
        }

    def records(self, topic: str, user: str = "bus") -> list[dict[str, Any]]:
        """All records of a topic, decoded, ticks left out."""
        self._schemas = cache = self._schemas or SchemaCache(registry_client(self.settings))
        messages = [m for m in self.read(topic, user) if m.value() is not None and m.key() != TICK_KEY]
        cache.ensure([m.value() for m in messages])
        return [decode(m.value(), cache)[1] for m in messages]

    def open_alerts(self) -> dict[str, dict[str, Any]]:
        """Open alerts by id."""
        last = {alert["alert_id"]: alert for alert in self.records(topics.alerts_raised(self.site.name))}
        return {known_as: alert for known_as, alert in last.items() if alert["state"] == "OPEN"}

    def shown_to(self, recipient: str, kind: str = "housing") -> dict[str, dict[str, Any]]:
        """What a recipient has open, read as that recipient."""
        topic = topics.alerts_for(self.site.name, recipient, kind)
        last = {alert["alert_id"]: alert for alert in self.records(topic, recipient)}
        return {known_as: alert for known_as, alert in last.items() if alert["state"] == "OPEN"}

    def until_settled(self, tick: int | None = None, seconds: float = WAIT_S) -> None:
        """Wait until the stages have processed all there is, and, where given, this tick everywhere."""
        deadline, identified = time.monotonic() + seconds, 0
        while left := self._unread() or self._left_to_do(tick, identified := identified or wall_clock()):
            assert time.monotonic() < deadline, f"waited {seconds} s in vain for the workers: {left}"
            time.sleep(0.1)

    def _left_to_do(self, tick: int | None, since: int) -> str:
        """What is left to do, or seems so, as the workers reported `since`; empty where there is nothing.

        When all was identified: what a stage said before, it said of fewer facts.

        Who stands by is not asked: what a worker last said of it before it died is said by nobody again.
        """
        reports: dict[tuple[str, int], dict[str, Any]] = {}
        for report in self.records(topics.stage_reports(self.site.name)):
            reports[report["stage"], report["partition"]] = report
        for stage, number in product(("person", "facility", "disclose"), range(self.site.partitions)):
            if (stage, number) not in reports:
                return f"{stage} {number} has reported nothing"
            if tick is not None and reports[stage, number]["tick"] < tick:
                return f"time has not come: {reports[stage, number]}"
        for (stage, _), report in reports.items():
            if stage != STANDBY and (report["state"] != "LIVE" or report["lag"] or report["at"] < since):
                return f"{report}"
        return self._unfolded() or ("" if self._all_can_be_seen() else "what was committed can't be seen yet")

    def _all_can_be_seen(self) -> bool:
        """Whether the broker has marked what was committed last: readers see it a moment after the writer."""
        admin = AdminClient({**self.settings.kafka(self.site.user("bus")), "log_level": 0})
        raised = topics.alerts_raised(self.site.name)
        wanted = {
            TopicPartition(raised, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for number in range(self.site.partitions)
        }
        written, seen = (
            [future.result().offset for future in admin.list_offsets(wanted, isolation_level=level).values()]
            for level in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED)
        )
        return bool(written == seen)

    def _unfolded(self) -> str:
        """Of which facts the workers' group has not committed the last record; empty where of none.

        The lag that a worker reports is of its last fetch: where a rebalance stops it from fetching, there may be more.
        """
        ends = {
            (name, message.partition() or 0): (message.offset() or 0) + 1
            for name in (topics.person_facts(self.site.name), topics.facility_facts(self.site.name))
            for message in self.read(name)
        }
        return self._behind(ends)

    def _unread(self) -> str:
        """Of which inbound topics the workers' group has not committed the last record; empty where of none."""
        consumer = self._consumer("bus")
        ends = {
            (name, number): end
            for name in input_topics("identify", self.site)
            for number, end in self.ends(consumer, name).items()
            if end
        }
        return self._behind(ends)

    def _behind(self, ends: Mapping[tuple[str, int], int]) -> str:
        """The partitions that the workers' group has not committed to their ends; empty where there is none."""
        parts = [TopicPartition(name, number) for name, number in ends]
        committed = self._consumer("bus").committed(parts, timeout=WAIT_S) if parts else []
        return ", ".join(f"{part}" for part in committed if part.offset < ends[part.topic, part.partition])
