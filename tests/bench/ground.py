"""The ground that the engines of the bench run on: a broker of its own, sites full of facts, and what came of them."""

from __future__ import annotations

import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from rich.console import Console

from deploy.embedded import EmbeddedBus
from deploy.kafka_config import ADMIN
from deploy.provision import provision
from schemas import topics
from schemas.codec import decode, encode
from schemas.registry_client import SchemaCache, registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site
from schemas.subjects import subjects
from streams.backtest import SCHEMAS
from streams.facts import TICK_KEY
from streams.fold import plain_consumer, read_back
from streams.records import Out
from tests.bench.mix import SITE, county, facts, inbound
from tests.bench.peers.job import Job
from tests.county import DAY, START
from tests.free_ports import settings_on_free_ports

LAST_TICK: Final = START + DAY
WAIT_S: Final = 60.0


class Failed(Exception):  # noqa: N818  # a result of the bench
    """Who is measured did not do what was to be done; the message says who and what."""


@contextmanager
def bus_of_the_bench(console: Console) -> Iterator[tuple[Settings, int]]:
    """An embedded bus in a temporary home, and the process number of its broker; who has Failed ends the bench.

    SIGTERM ends it as Ctrl-C does: an engine that is left running would take its part of what is measured next.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory() as home:
        settings = settings_on_free_ports(Path(home))
        try:
            with EmbeddedBus(settings) as bus:
                yield settings, next(process.process.pid for process in bus._processes if process.name == "Kafka")
        except Failed as error:
            console.print(f"The bench failed: {error}", style="red", markup=False)
            raise typer.Exit(1) from error


def person_facts(people: int, facts_each: int) -> list[Out]:
    """The person facts of a county, as identify writes them for the mix's own site, in the order they came."""
    topic = topics.person_facts(SITE.name)
    outs = (out for told in county(people, facts_each) for out in facts(*inbound(told, SITE), SITE))
    return [out for out in outs if out.topic == topic]


@dataclass(frozen=True, slots=True)
class FilledSite:
    """A provisioned site whose person facts are on the log, between two ticks: feuds are live, and timers end."""

    site: Site
    ids: dict[str, int]
    """By record of the contract: its schema's id."""
    ends: list[int]
    """Of each partition of the person facts: the offset after its last record."""
    facts_of: Counter[bytes]
    """By person: how many facts there are."""
    keys: int
    """Different keys among them."""

    @property
    def input(self) -> str:
        """The topic of the facts."""
        return topics.person_facts(self.site.name)


def fill(settings: Settings, name: str, partitions: int, outs: Sequence[Out], times: int = 1) -> FilledSite:
    """Provision a site and put these facts, so many times over, on its log."""
    site = SITE.model_copy(update={"name": name, "partitions": partitions, "clock": "history"})
    provision(settings, site)
    ids = schema_ids(registry_client(settings), site, {subject.topic for subject in subjects(site)})
    by_record = {record: number for (_, record), number in ids.items()}
    topic = topics.person_facts(name)
    set_on_topic(settings, topic, KEEP_EVERYTHING)
    producer = Producer(
        {
            **settings.kafka(ADMIN),
            "enable.idempotence": True,
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    failed: list[object] = []
    ends, facts_of, keys = [0] * partitions, Counter[bytes](), {TICK_KEY}

    def write(out: Out) -> None:
        producer.produce(
            topic,
            out.value if isinstance(out.value, bytes) else None,
            out.key,
            out.partition,
            headers=list(out.headers),
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        ends[out.partition] += 1
        facts_of[out.key.partition(b"/")[0]] += 1

    here = [framed(out, by_record) for out in outs]
    keys |= {out.key for out in here}
    ticks = [encode("Tick", {"time": time}, by_record["Tick"]) for time in (START, LAST_TICK)]
    for number in range(partitions):
        write(Out(topic, number, TICK_KEY, None, ticks[0]))
    for _ in range(times):
        for count, out in enumerate(here):
            write(out)
            if count % 10_000 == 0:
                producer.poll(0)
    for number in range(partitions):
        write(Out(topic, number, TICK_KEY, None, ticks[1]))
    assert producer.flush(WAIT_S) == 0
    assert not failed, failed[0]
    return FilledSite(site, by_record, ends, facts_of, len(keys))


def framed(out: Out, ids: dict[str, int]) -> Out:
    """The same fact, its bytes framed as the registry has the schema; a note has none."""
    value = out.value
    assert isinstance(value, bytes)
    if not value:
        return out
    record = SCHEMAS[int.from_bytes(value[1:5], "big")].name
    return out._replace(value=value[:1] + ids[record].to_bytes(4, "big") + value[5:])


KEEP_EVERYTHING: Final = {"cleanup.policy": "delete", "retention.ms": "-1"}
"""Settings of a topic whose every record is to be read in the end: no compaction meanwhile."""


def set_on_topic(settings: Settings, topic: str, values: Mapping[str, str]) -> None:
    """Set Kafka's settings of a topic."""
    entries = [ConfigEntry(name, v, incremental_operation=AlterConfigOpType.SET) for name, v in values.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    _wait(settings, lambda admin: admin.incremental_alter_configs([resource]))


def make_topic(settings: Settings, name: str, partitions: int) -> None:
    """A plain topic for what an engine writes."""
    _wait(settings, lambda admin: admin.create_topics([NewTopic(name, partitions, 1)]))


def forget_group(settings: Settings, group: str) -> None:
    """Remove a consumer group's committed offsets, so that the next run begins at the beginning."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            _wait(settings, lambda admin: admin.delete_consumer_groups([group]))
        except KafkaException as error:
            # Its member was killed; the broker notices after the session's time.
            if error.args[0].code() != KafkaError.NON_EMPTY_GROUP or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _wait(settings: Settings, ask: Callable[[AdminClient], Mapping[Any, Future[Any]]]) -> None:
    admin = AdminClient({**settings.kafka(ADMIN), "log_level": 0})  # what is asked ends with it
    for asked in ask(admin).values():
        asked.result(WAIT_S)


# -- what came of it -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alerts:
    """What an engine wrote of alerts."""

    open: dict[str, str]
    """Those open in the end: id to digest."""
    history: frozenset[tuple[str, int, str]]
    """Every record: id, revision, digest."""


def alerts(settings: Settings, filled: FilledSite, topic: str) -> Alerts:
    """The alerts that an engine wrote on a topic, perhaps among other records."""
    cache = SchemaCache(registry_client(settings))
    last: dict[str, dict[str, Any]] = {}
    history = set()
    for _, value in _records(settings, topic, filled.site.partitions):
        if value is None or int.from_bytes(value[1:5], "big") != filled.ids["AlertRaised"]:
            continue
        cache.ensure([value])
        alert = decode(value, cache, "AlertRaised")[1]
        last[alert["alert_id"]] = alert
        history.add((alert["alert_id"], alert["revision"], alert["digest"]))
    return Alerts(
        {a: str(alert["digest"]) for a, alert in last.items() if alert["state"] == "OPEN"}, frozenset(history)
    )


def counts(settings: Settings, topic: str, partitions: int) -> Counter[bytes]:
    """By key: the last count, summed over partitions."""
    last: dict[bytes, int] = {}
    for key, value in _records(settings, topic, partitions):
        last[key or b""] = int.from_bytes(value or b"", "big")
    return Counter(last)


def stored_facts(settings: Settings, engine: str, job: Job) -> int:
    """How many facts an engine's durable state holds, by different keys."""
    if engine == "bytewax":
        with sqlite3.connect(next(Path(job.scratch).glob("*.sqlite3"))) as store:
            return int(
                store.execute("SELECT COUNT(DISTINCT state_key) FROM snaps WHERE step_id LIKE '%stored%'").fetchone()[0]
            )
    changelog = {"faust": f"{job.group}-facts-changelog", "quix": f"changelog__{job.group}--{job.input}--default"}[
        engine
    ]
    return len({key for key, _ in _records(settings, changelog, job.partitions)})


def _records(settings: Settings, topic: str, partitions: int) -> Iterable[tuple[bytes | None, bytes | None]]:
    consumer = plain_consumer(settings, ADMIN, "bench-reads-back")
    try:
        for _, record in read_back(consumer, [(topic, number) for number in range(partitions)]):
            yield record.key, record.value
    finally:
        consumer.close()
