"""What `sallyport topics` tells of real topics: counts, a lag that is 0 exactly when nothing is left, dead letters."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from deploy.commands.topics import topics as command
from deploy.provision import provision
from deploy.sites import SITES_DIR
from deploy.topic_report import DeadLetters, ReportError, StageStands, TopicStands, topic_report
from schemas import codec, topics
from schemas.registry_client import registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site, read_site

pytestmark = pytest.mark.bus
SECONDS = 20
NAMES = iter(range(100))


@pytest.fixture
def site(bus: Settings) -> Site:
    """A site of its own for each test, of one agency: what one leaves is not in the counts of the next."""
    demo = read_site(SITES_DIR / "demo")
    site = demo.model_copy(
        update={
            "name": f"counted-{next(NAMES)}",
            "partitions": 2,
            "agencies": demo.agencies[1:],
            "facilities": (),
            "recipients": (demo.recipient_by_id["city-pd-intel"],),
            "agreements": (),
        }
    )
    provision(bus, site)
    return site


def inbound(site: Site) -> str:
    return topics.inbound(site.name, "city-pd", "StreetViolenceReported")


def put(bus: Settings, user: str, topic: str, count: int, partition: int = 0, headers: Any = None) -> None:
    producer = Producer(bus.kafka(user))
    for number in range(count):
        producer.produce(topic, b"v", key=str(number), partition=partition, headers=headers)
    assert producer.flush(SECONDS) == 0


def put_in_transactions(bus: Settings, site: Site, topic: str, batches: Iterable[int], commit: bool = True) -> None:
    producer = Producer({**bus.kafka(site.user("bus")), "transactional.id": f"{site.name}.test"})
    producer.init_transactions(SECONDS)
    for count in batches:
        producer.begin_transaction()
        for number in range(count):
            producer.produce(topic, b"v", key=str(number), partition=0)
        if commit:
            producer.commit_transaction(SECONDS)
        else:
            producer.flush(SECONDS)
            producer.abort_transaction(SECONDS)


def end_of(bus: Settings, site: Site, topic: str) -> int:
    user = site.user("bus")
    consumer = Consumer({**bus.kafka(user), "group.id": user, "isolation.level": "read_uncommitted"})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), SECONDS)[1])
    finally:
        consumer.close()


def commit(bus: Settings, site: Site, topic: str, offset: int, partition: int = 0) -> None:
    admin = AdminClient(bus.kafka("admin"))
    group = topics.consumer_group(site.name)
    moved = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
    for future in admin.alter_consumer_group_offsets([moved]).values():
        future.result(SECONDS)


def stands(bus: Settings, site: Site, topic: str) -> TopicStands:
    return next(found for found in topic_report(bus, site).topics if found.name == topic)


def test_where_no_worker_ever_ran_everything_published_is_lag(bus: Settings, site: Site) -> None:
    put(bus, site.user("city-pd"), inbound(site), 3)
    put(bus, site.user("city-pd"), inbound(site), 2, partition=1)
    found = stands(bus, site, inbound(site))
    assert (found.records, found.exact, found.lag, found.kept) == (5, True, 5, "30 days")


def test_lag_is_what_lies_after_the_committed_offsets(bus: Settings, site: Site) -> None:
    put(bus, site.user("city-pd"), inbound(site), 5)
    put(bus, site.user("city-pd"), inbound(site), 5, partition=1)
    commit(bus, site, inbound(site), 3)
    commit(bus, site, inbound(site), 5, partition=1)
    assert stands(bus, site, inbound(site)).lag == 2
    commit(bus, site, inbound(site), 5)
    assert stands(bus, site, inbound(site)).lag == 0


def test_markers_of_transactions_are_no_lag(bus: Settings, site: Site) -> None:
    facts = topics.person_facts(site.name)
    put_in_transactions(bus, site, facts, [2, 2])
    # Two records, a marker, two records, a marker: the last record is at 4.
    assert end_of(bus, site, facts) == 6
    commit(bus, site, facts, 5)
    assert stands(bus, site, facts).lag == 0
    commit(bus, site, facts, 4)
    found = stands(bus, site, facts)
    assert (found.lag, found.exact) == (2, False)


def test_records_of_a_transaction_that_was_given_up_are_no_lag(bus: Settings, site: Site) -> None:
    facts = topics.person_facts(site.name)
    put_in_transactions(bus, site, facts, [1])
    committed = 1
    put_in_transactions(bus, site, facts, [3], commit=False)
    assert end_of(bus, site, facts) > committed + 1
    commit(bus, site, facts, committed)
    assert stands(bus, site, facts).lag == 0


def test_records_that_retention_took_are_no_lag(bus: Settings, site: Site) -> None:
    put(bus, site.user("city-pd"), inbound(site), 5)
    commit(bus, site, inbound(site), 1)
    admin = AdminClient(bus.kafka("admin"))
    for future in admin.delete_records([TopicPartition(inbound(site), 0, 4)]).values():
        future.result(SECONDS)
    found = stands(bus, site, inbound(site))
    assert (found.records, found.lag) == (1, 1)


def test_topics_that_the_workers_do_not_read_by_their_group_have_no_lag(bus: Settings, site: Site) -> None:
    alerts = topics.alerts_for(site.name, "city-pd-intel", "coordination")
    put(bus, site.user("bus"), alerts, 4)
    assert stands(bus, site, alerts).lag is None


def test_dead_letters_are_counted_by_agency_and_reason(bus: Settings, site: Site) -> None:
    topic, before = topics.dead_letters(site.name, "city-pd"), time.time_ns() // 1_000_000 * 1_000
    for reason, count in (("NOT_FRAMED", 2), ("SENSELESS_VALUE", 3)):
        put(bus, site.user("bus"), topic, count, headers=[("reason", reason.encode()), ("detail", b"x")])
    first, second = topic_report(bus, site).dead_letters
    assert (first, second) == (
        DeadLetters("city-pd", "NOT_FRAMED", 2, first.oldest),
        DeadLetters("city-pd", "SENSELESS_VALUE", 3, second.oldest),
    )
    assert before <= first.oldest <= second.oldest <= time.time_ns() // 1_000


def test_what_was_refused_of_care_is_counted_apart_and_settled_by_a_number_of_its_own(
    bus: Settings,
) -> None:
    demo = read_site(SITES_DIR / "demo")
    alone = {"agencies": demo.agencies[:1], "facilities": (), "recipients": (), "agreements": ()}
    site = demo.model_copy(update={"name": f"counted-{next(NAMES)}", "partitions": 1, **alone})
    provision(bus, site)
    for topic in (topics.dead_letters(site.name, "county-jail"), topics.care_dead_letters(site.name, "county-jail")):
        put(bus, site.user("bus"), topic, 2, headers=[("reason", b"FUTURE")])
    producer = Producer(bus.kafka(site.user("county-jail")))
    producer.produce(
        topics.settled_letters(site.name, "county-jail"), b"", "care-1", headers=[("became", b"DISMISSED")]
    )
    assert producer.flush(SECONDS) == 0
    found = topic_report(bus, site).dead_letters
    assert [(one.reason, one.count, one.care) for one in found] == [("FUTURE", 2, False), ("FUTURE", 1, True)]


def test_the_last_that_each_stage_reported_is_told(bus: Settings, site: Site) -> None:
    topic = topics.stage_reports(site.name)
    with registry_client(bus) as client:
        schema_id = schema_ids(client, site, [topic])[topic, "StageReported"]
    producer = Producer(bus.kafka(site.user("bus")))
    reports = [
        StageStands("person", 1, "LIVE", 7, 0, 0, 0, 3),
        StageStands("person", 0, "REFOLDING", 0, 9, 100, 900, 1),
        StageStands("person", 0, "REFOLDING", 0, 9, 400, 900, 2),
    ]
    for report in reports:
        value = {name: getattr(report, name) for name in StageStands.__slots__}
        producer.produce(
            topic,
            codec.encode("StageReported", value, schema_id),
            key=f"{report.stage}/{report.partition}",
        )
    assert producer.flush(SECONDS) == 0
    assert topic_report(bus, site).stages == (reports[2], reports[0])


def test_when_the_broker_took_the_last_record_is_told_by_its_own_clock(bus: Settings, site: Site) -> None:
    assert topic_report(bus, site).newest == 0
    before = time.time_ns() // 1_000_000
    producer = Producer(bus.kafka(site.user("bus")))
    for writers_own in (before - 60_000, before + 60_000):
        producer.produce(topics.dead_letters(site.name, "city-pd"), b"v", timestamp=writers_own)
    assert producer.flush(SECONDS) == 0
    assert before <= topic_report(bus, site).newest // 1000 <= time.time_ns() // 1_000_000


def test_a_site_that_is_not_provisioned_is_told_in_one_line(bus: Settings, site: Site) -> None:
    other = site.model_copy(update={"partitions": 3})
    with pytest.raises(ReportError, match="and the site provisioned"):
        topic_report(bus, other)


def test_the_command_shows_counts_lag_and_dead_letters(
    bus: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Path(shutil.copytree(SITES_DIR / "demo", tmp_path / "shown"))
    text = (directory / "site.toml").read_text(encoding="utf-8")
    (directory / "site.toml").write_text(text.replace('name = "demo"', 'name = "shown"'), encoding="utf-8")
    provision(bus, read_site(directory))
    put(bus, "shown.bus", topics.dead_letters("shown", "city-pd"), 2, headers=[("reason", b"NOT_FRAMED")])
    for name in [name for name in os.environ if name.startswith("SALLYPORT_")]:
        monkeypatch.delenv(name)
    for name, value in bus.model_dump(mode="json").items():
        if value is not None:
            monkeypatch.setenv(f"SALLYPORT_{name.upper()}", str(value))
    app = typer.Typer()
    app.command("topics")(command)
    shown = CliRunner().invoke(app, ["--site", str(directory)])
    assert shown.exit_code == 0
    assert "NOT_FRAMED" in shown.stdout
    assert "county-jail.booking-reported.v1" in shown.stdout
    report = json.loads(CliRunner().invoke(app, ["--site", str(directory), "--json"]).stdout)
    (letters,) = report["dead_letters"]
    assert (letters["agency"], letters["reason"], letters["count"]) == ("city-pd", "NOT_FRAMED", 2)
    wrong = CliRunner().invoke(app, ["--site", "atlantis"])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("sallyport: no site 'atlantis'")
    assert wrong.stderr.count("\n") == 1
