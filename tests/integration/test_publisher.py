"""The Publisher on a real bus, and without one: what it accepts arrives, whole and in order, whatever goes away."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import trustme
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.schema_registry import Schema

from deploy.embedded import EmbeddedBus
from deploy.registry import writing_client
from producers.publisher import MOST_BYTES, Publisher, PublishError
from schemas import topics
from schemas.avro_files import whole_schema
from schemas.codec import schema_id_of
from schemas.events import Event, WithdrawalReason
from schemas.settings import SecretUnreadableError, Settings
from schemas.subjects import value_subject
from streams.fencing import PartitionWriter
from streams.records import Out
from tests.county import DAY, JAIL, POLICE, START, demo_site, event, event_id
from tests.working_site import WAIT_S, WorkingSite, until

pytestmark = pytest.mark.bus
ROOT = Path(__file__).parents[2]
MakeSite = Callable[..., WorkingSite]


def housing(number: int, person: str = "ada", **fields: Any) -> Event:
    """The `number`th housing of a person."""
    return event("HousingAssigned", person, day=number / 1440, name=f"housing {number}", unit="4-B", **fields)


def arrived(site: WorkingSite) -> list[str]:
    """Ids of the housings on the broker, in order; all are of one person, and so in one partition."""
    messages = site.read(topics.inbound(site.site.name, JAIL, "HousingAssigned"))
    assert len({message.partition() for message in messages}) <= 1
    return [dict(message.headers())["ce_id"].decode() for message in messages]


def ids(numbers: range) -> list[str]:
    return [event_id(f"housing {number}") for number in numbers]


def first_of_each(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


@pytest.fixture(scope="module")
def made(bus: Settings, tmp_path_factory: pytest.TempPathFactory) -> WorkingSite:
    return WorkingSite.make(bus, tmp_path_factory.mktemp("site"), "published")


# -- what is on the wire ---------------------------------------------------------------------------------------------


def test_an_event_arrives_framed_keyed_and_described(site: WorkingSite) -> None:
    what = event("BookingReported", "ada", sid="S1", name="a booking", day=0.000_000_1)
    before = datetime.now(UTC)
    site.publish([what])
    topic = topics.inbound(site.site.name, JAIL, "BookingReported")
    (message,) = site.read(topic)
    (record,) = site.records(topic)
    assert record == what.model_dump(mode="json") | {"head": record["head"]}
    assert record["head"]["event_id"] == what.head.event_id
    assert schema_id_of(message.value()) > 0
    assert message.key() == b"ada"
    said = {name: value.decode() for name, value in message.headers()}
    recorded, traced = datetime.fromisoformat(said.pop("ce_recordedtime")), said.pop("ce_traceparent")
    assert before <= recorded <= datetime.now(UTC), "when it was handed over"
    # W3C Trace Context: version, the event's id as the trace's, a span of its own, sampled.
    assert re.fullmatch(rf"00-{what.head.event_id.replace('-', '')}-[0-9a-f]{{16}}-01", traced)
    assert said == {
        "ce_specversion": "1.0",
        "ce_id": what.head.event_id,
        "ce_source": "/sallyport/county-jail/jms",
        "ce_type": "sallyport.BookingReported",
        "ce_time": "2026-09-21T14:13:20.008640Z",
        "content-type": "application/avro",
    }


def test_an_event_of_nobody_is_keyed_by_its_id(site: WorkingSite) -> None:
    what = event("StreetViolenceReported", groups=["Eastside", "Harbor"])
    site.publish([what])
    (message,) = site.read(topics.inbound(site.site.name, POLICE, "StreetViolenceReported"))
    assert message.key() == what.head.event_id.encode()


def test_a_withdrawal_is_one_however_often_it_is_made(site: WorkingSite) -> None:
    with Publisher(site.settings, site.site, JAIL) as publisher:
        publisher.publish(housing(1))
        for _ in range(2):
            made = publisher.withdraw(ids(range(1, 2))[0], WithdrawalReason.ENTERED_IN_ERROR, START + DAY, "jms")
    records = site.records(topics.inbound(site.site.name, JAIL, "EventWithdrawn"))
    assert [record["target_event_id"] for record in records] == [event_id("housing 1")] * 2
    assert {record["head"]["event_id"] for record in records} == {made.head.event_id}


# -- what it does not accept -----------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(bus: Settings, tmp_path: Path) -> Settings:
    """The bus's settings with everything switched off: nobody listens on these ports."""
    home = tmp_path / "home"
    return bus.model_copy(
        update={
            "home": home,
            "ca_file": bus.ca_path,
            "secrets": bus.secrets_path,
            "bootstrap": "127.0.0.1:1",
            "registry": "https://127.0.0.1:1/apis/ccompat/v7",
        }
    )


def a_secret(tmp_path: Path, site: str) -> Path:
    """A secrets directory with a password for a site's jail that the broker does not know."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / f"{site}.{JAIL}").write_text("not the one")
    (secrets / f"{site}.{JAIL}").chmod(0o600)
    return secrets


def test_what_an_agency_may_not_say_is_not_accepted(site: WorkingSite, nowhere: Settings) -> None:
    refused = [
        (event("StreetViolenceReported", agency=JAIL, groups=["A", "B"]), "may not publish StreetViolenceReported"),
        (event("HousingAssigned", "ada", agency=POLICE, unit="4-B"), "head.ori: .* own ORI, NY099013C"),
        (housing(1, reason="x" * 400).model_copy(update={"unit": "x" * MOST_BYTES}), "an event has at most"),
    ]
    with Publisher(nowhere, site.site, JAIL) as publisher:
        for wrong, why in refused:
            with pytest.raises(PublishError, match=why):
                publisher.publish_many([housing(1), wrong])
        assert publisher.pending == 0
    with pytest.raises(PublishError, match="no agency 'sheriff' on site published; there are county-jail, city-pd"):
        Publisher(nowhere, site.site, "sheriff")
    with pytest.raises(PublishError, match="closed"):
        publisher.publish(housing(1))


def test_a_site_that_is_not_provisioned_is_no_outage(bus: Settings, nowhere: Settings, tmp_path: Path) -> None:
    site = demo_site(name="unheard-of")
    asking = nowhere.model_copy(update={"registry": bus.registry_url, "secrets": a_secret(tmp_path, "unheard-of")})
    with Publisher(asking, site, JAIL) as publisher:
        publisher.publish(housing(1))
        with pytest.raises(
            PublishError, match=r"unheard-of\S+-value is not in the registry .* run `sallyport provision`"
        ):
            publisher.flush(30)


def test_a_right_that_is_missing_is_no_outage_and_nothing_is_lost(a_site: MakeSite, bus: Settings) -> None:
    site = a_site("no-right")
    admin = AdminClient(bus.kafka("admin"))
    mine = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, "User:no-right.county-jail", None,  # type: ignore[arg-type]
        AclOperation.ANY, AclPermissionType.ANY,
    )  # fmt: skip
    (removed,) = (future.result(30) for future in admin.delete_acls([mine]).values())
    assert removed
    until(lambda: not admin.describe_acls(mine).result(30), "the broker knows of the rights no more")
    with Publisher(bus, site.site, JAIL) as idle:
        until(lambda: idle._refused is not None, "Kafka's client said why it gave up")
        with pytest.raises(PublishError, match=r"refuses no-right.county-jail \(CLUSTER_AUTHORIZATION_FAILED\): "):
            idle.publish(housing(2))
    # Accepted while the bus is away: else it might be refused already.
    away = bus.model_copy(update={"bootstrap": "127.0.0.1:1", "ca_file": bus.ca_path, "secrets": bus.secrets_path})
    publisher = Publisher(away, site.site, JAIL)
    publisher.publish(housing(1))
    assert publisher.close(0) == 1
    # Whether the topic is refused or the client's beginning, is a matter of which comes first.
    with Publisher(bus, site.site, JAIL) as publisher:
        of_the_topic = r"no-right.county-jail.housing-assigned.v1: the broker refuses \(TOPIC"
        of_all = r"the broker refuses no-right.county-jail \(CLUSTER"
        with pytest.raises(PublishError, match=rf"({of_the_topic}|{of_all})_AUTHORIZATION_FAILED\): .* provision"):
            publisher.flush(30)
        with pytest.raises(PublishError):
            publisher.publish(housing(2))
    for future in admin.create_acls(removed).values():
        future.result(30)
    with Publisher(bus, site.site, JAIL) as publisher:
        assert publisher.flush(30) == 0
    assert arrived(site) == ids(range(1, 2))


def one_published(publisher: Publisher) -> None:
    """Publish one event and wait for it: a refusal may come with either, as soon as it is known."""
    publisher.publish(housing(1))
    publisher.flush(30)


def test_a_wrong_password_is_said(site: WorkingSite, bus: Settings, tmp_path: Path) -> None:
    secrets = a_secret(tmp_path, site.site.name)
    wrong = bus.model_copy(update={"secrets": secrets, "home": tmp_path, "ca_file": bus.ca_path})
    refusal = r"does not accept the password of published\.county-jail"
    with Publisher(wrong, site.site, JAIL) as publisher, pytest.raises(PublishError, match=refusal):
        one_published(publisher)


def test_a_broker_that_nobody_vouches_for_is_not_waited_for(site: WorkingSite, bus: Settings, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    wary = bus.model_copy(update={"ca_file": tmp_path / "other.pem", "home": tmp_path, "secrets": bus.secrets_path})
    refusal = r"not vouched for by \S*other\.pem"
    with Publisher(wary, site.site, JAIL) as publisher, pytest.raises(PublishError, match=refusal):
        one_published(publisher)
    absent = wary.model_copy(update={"ca_file": tmp_path / "absent.pem"})
    with pytest.raises(SecretUnreadableError, match=r"absent\.pem"):
        Publisher(absent, site.site, JAIL)


# -- outages ---------------------------------------------------------------------------------------------------------


def test_what_is_published_with_no_bus_at_all_waits_and_then_arrives_in_order(
    site: WorkingSite, nowhere: Settings, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    with Publisher(nowhere, site.site, JAIL, spool=spool) as publisher:
        began = time.monotonic()
        for number in range(20):
            publisher.publish(housing(number))
        publisher.publish_many(housing(number) for number in range(20, 500))
        assert publisher.flush(0.1) == 500
        assert publisher.close(0) == 500
        assert time.monotonic() - began < 100, "an outage makes nobody wait: five hundred seconds, if each did for one"
    # Registry back, broker not yet; then both.
    half = site.settings.model_copy(update={"bootstrap": "127.0.0.1:1"})
    with Publisher(half, site.site, JAIL, spool=spool) as publisher:
        publisher.publish(housing(500))
        assert publisher.close(1) == 501
    with Publisher(site.settings, site.site, JAIL, spool=spool) as publisher:
        publisher.publish(housing(501))
        assert publisher.flush(60) == 0
        assert publisher.delivered == 502
    assert arrived(site) == ids(range(502))
    assert [path.name for path in spool.iterdir()] == ["lock"]


def test_what_waited_while_its_schema_was_extended_is_read_as_it_was_written(
    a_site: MakeSite, nowhere: Settings, tmp_path: Path
) -> None:
    site, spool = a_site("extended"), tmp_path / "spool"
    topic = topics.inbound(site.site.name, JAIL, "HousingAssigned")
    with Publisher(nowhere, site.site, JAIL, spool=spool) as publisher:
        publisher.publish(housing(1, cell="12"))
        assert publisher.close(0) == 1
    extended = json.loads(whole_schema("HousingAssigned"))
    extended["fields"].insert(3, {"name": "bed", "type": ["null", "string"], "default": None})
    latest = writing_client(site.settings).register_schema(value_subject(topic), Schema(json.dumps(extended), "AVRO"))
    with Publisher(site.settings, site.site, JAIL, spool=spool) as publisher:
        assert publisher.flush(60) == 0
    (message,) = site.read(topic)
    assert schema_id_of(message.value()) not in {0, latest}
    (record,) = site.records(topic)
    assert (record["unit"], record["cell"]) == ("4-B", "12")


def publishing(site: WorkingSite, settings: Settings, spool: Path, begin: int) -> subprocess.Popen[str]:
    """A process that publishes housings from number `begin` on, for ever, and says each number once it is accepted."""
    program = f"""
from pathlib import Path
from producers.publisher import Publisher
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import read_site
from tests.county import event
site = read_site(Path({str(site.directory)!r}))
settings = Settings.model_validate_json({settings.model_dump_json()!r})
number = {begin}
with Publisher(settings, site, "county-jail", spool=Path({str(spool)!r})) as publisher:
    while True:
        publisher.publish(event("HousingAssigned", "ada", day=number / 1440, name=f"housing {{number}}", unit="4-B"))
        print(number, flush=True)
        number += 1
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )


def kill_when_accepted(process: subprocess.Popen[str], how_many: int) -> int:
    """Kill it -9 once it said so many; returns the last number that it said."""
    assert process.stdout is not None
    last = -1
    for count, line in enumerate(process.stdout, start=1):
        if line.endswith("\n"):
            last = int(line)
        if count == how_many:
            process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert last >= 0
    return last


def test_a_publisher_killed_in_an_outage_has_lost_nothing(site: WorkingSite, nowhere: Settings, tmp_path: Path) -> None:
    accepted = -1
    for _ in range(2):
        # The second one finds the bus away as well, and the first one's spool.
        accepted = kill_when_accepted(publishing(site, nowhere, tmp_path / "spool", accepted + 1), 60)
    with Publisher(site.settings, site.site, JAIL, spool=tmp_path / "spool") as publisher:
        assert publisher.flush(60) == 0
    got = arrived(site)
    # One more may have been written when a kill came: the second process publishes it again, under the same id.
    assert list(dict.fromkeys(got))[: accepted + 1] == ids(range(accepted + 1)), "all that was accepted, in order"
    assert len(got) <= accepted + 3


def test_a_publisher_killed_while_it_sends_loses_nothing_and_repeats_only_itself(
    site: WorkingSite, tmp_path: Path
) -> None:
    accepted = -1
    for how_many in (80, 150, 40):
        accepted = kill_when_accepted(publishing(site, site.settings, tmp_path / "spool", accepted + 1), how_many)
    with Publisher(site.settings, site.site, JAIL, spool=tmp_path / "spool") as publisher:
        assert publisher.flush(60) == 0
    assert first_of_each(arrived(site))[: accepted + 1] == ids(range(accepted + 1))
    values: dict[str, set[bytes]] = {}
    for message in site.read(topics.inbound(site.site.name, JAIL, "HousingAssigned")):
        values.setdefault(dict(message.headers())["ce_id"], set()).add(message.value())
    assert all(len(contents) == 1 for contents in values.values()), "a repetition has the same content"


def test_two_publishers_of_one_agency_do_not_disturb_each_other(site: WorkingSite) -> None:
    with Publisher(site.settings, site.site, JAIL) as one, Publisher(site.settings, site.site, JAIL) as other:
        for number in range(0, 100, 2):
            one.publish(housing(number))
            other.publish(housing(number + 1))
        assert one.flush(30) == other.flush(30) == 0
    got = arrived(site)
    assert sorted(got) == sorted(ids(range(100))), "each event once"
    order = {known_as: place for place, known_as in enumerate(got)}
    for numbers in (range(0, 100, 2), range(1, 100, 2)):
        places = [order[known_as] for known_as in ids(numbers)]
        assert places == sorted(places)


# -- a bus that goes away under a living publisher -------------------------------------------------------------------


@pytest.fixture
def own_bus(tmp_path: Path, settings_of_a_bus_in: Callable[[Path], Settings]) -> Iterator[tuple[EmbeddedBus, Settings]]:
    settings = settings_of_a_bus_in(tmp_path / "bus")
    with EmbeddedBus(settings) as bus:
        yield bus, settings


def broker_of(settings: Settings) -> psutil.Process:
    return next(
        child
        for child in psutil.Process().children(recursive=True)
        if "kafka.Kafka" in child.cmdline() and any(str(settings.home) in part for part in child.cmdline())
    )


async def test_a_living_publisher_and_a_workers_writer_go_on_by_themselves_when_the_bus_is_back(
    own_bus: tuple[EmbeddedBus, Settings], tmp_path: Path
) -> None:
    bus, settings = own_bus
    site = WorkingSite.make(settings, tmp_path, "living")
    raised = topics.alerts_raised(site.site.name)
    writer = PartitionWriter(settings, site.site, 0)
    # What it has begun to write waits as long as a transaction may last: here as long as a bus may take to start.
    writer._config["transaction.timeout.ms"] = int(WAIT_S * 1_000)
    await writer.open()
    await writer.write([Out(raised, 0, b"k", None, b"before")])
    with Publisher(settings, site.site, JAIL) as publisher:
        publisher.publish_many(housing(number) for number in range(100))
        assert publisher.flush(WAIT_S) == 0

        # The broker stops answering in the middle of things: what was sent is sent again, and written once.
        broker = broker_of(settings)
        broker.suspend()
        try:
            publisher.publish_many(housing(number) for number in range(100, 200))
            assert publisher.flush(2) == 100
        finally:
            broker.resume()
        assert publisher.flush(WAIT_S) == 0

        # Broker and registry go away, and come back.
        bus.stop()
        for number in range(200, 300):
            publisher.publish(housing(number))
        assert publisher.pending == 100
        before = psutil.Process().cpu_times()
        assert publisher.flush(3) == 100
        after = psutil.Process().cpu_times()
        assert after.user + after.system - before.user - before.system < 1.0, "waiting costs next to nothing"
        writing = asyncio.create_task(writer.write([Out(raised, 0, b"k", None, word) for word in (b"one", b"two")]))
        await asyncio.sleep(0.5)
        assert not writing.done(), "there is no broker"
        bus.start()
        until(lambda: publisher.pending == 0, "the spool was drained")
        assert publisher.delivered == 300
    assert arrived(site) == ids(range(300)), "in order, each once"
    await asyncio.wait_for(writing, WAIT_S)
    await writer.write([Out(raised, 0, b"k", None, b"after")])
    until(lambda: len(site.read(raised)) == 4, "four records were seen")
    assert [message.value() for message in site.read(raised)] == [b"before", b"one", b"two", b"after"]
    await writer.close()
