"""Publishing on the real bus: over outages, over kill -9, with other people's clients, and by the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import DeserializingConsumer, SerializingProducer, TopicPartition
from confluent_kafka.schema_registry import topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer

from producers.publisher import Publisher, PublishError
from schemas import topics
from schemas.codec import decode_event
from schemas.events import HousingAssigned
from schemas.registry_client import SchemaCache, registry_client
from tests.county import JAIL, event
from tests.working_site import WorkingSite, until

pytestmark = pytest.mark.bus


@pytest.fixture
def site(a_site: Callable[..., WorkingSite], request: pytest.FixtureRequest) -> WorkingSite:
    return a_site(f"p{abs(hash(request.node.name)) % 10_000}", partitions=1)


def housing(number: int) -> HousingAssigned:
    made = event("HousingAssigned", "ada", day=number / 1_000, unit="4-B", cell=str(number))
    assert isinstance(made, HousingAssigned)
    return made


def arrived(site: WorkingSite) -> list[str]:
    """Cells of the housing events that are on the topic, in their order."""
    return [record["cell"] for record in site.records(topics.inbound(site.site.name, JAIL, "HousingAssigned"))]


def test_events_arrive_in_order_with_cloud_events_headers(site: WorkingSite) -> None:
    with Publisher(site.settings, site.site, JAIL) as publisher:
        for number in range(20):
            publisher.publish(housing(number))
        assert publisher.flush() == 0
        assert (publisher.pending, publisher.delivered) == (0, 20)
    assert arrived(site) == [str(number) for number in range(20)]
    message = site.read(topics.inbound(site.site.name, JAIL, "HousingAssigned"))[0]
    headers = {name: value.decode() for name, value in message.headers()}
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_id"] == housing(0).head.event_id
    assert headers["ce_type"] == "sallyport.HousingAssigned"
    assert message.key() == b"ada"


def away(site: WorkingSite) -> Any:
    """Settings under which nobody answers: neither broker nor registry."""
    return site.settings.model_copy(
        update={"bootstrap": "127.0.0.1:9", "registry": "https://127.0.0.1:9/apis/ccompat/v7"}
    )


def test_while_the_bus_is_away_events_wait_on_disk_and_drain_in_order_before_new_ones(site: WorkingSite) -> None:
    publisher = Publisher(away(site), site.site, JAIL)
    for number in range(10):
        publisher.publish(housing(number))
    assert publisher.flush(0.2) == 10
    assert publisher.close(0.1) == 10
    with Publisher(site.settings, site.site, JAIL) as again:
        again.publish(housing(10))
        assert again.flush() == 0
    assert arrived(site) == [str(number) for number in range(11)]


KILLED = """
import sys
from producers.publisher import Publisher
from schemas.settings import Settings
from deploy.sites import load_site
from tests.county import event

settings = Settings()
publisher = Publisher(settings, load_site(settings), "county-jail")
for number in range(100_000):
    publisher.publish(event("HousingAssigned", "ada", day=number / 1_000, unit="4-B", cell=str(number)))
    print(number, flush=True)
"""


def test_nothing_accepted_is_lost_over_kill_9(site: WorkingSite, tmp_path: Path) -> None:
    program = tmp_path / "publish.py"
    program.write_text(textwrap.dedent(KILLED))
    process = site.start_worker([str(program)])
    until(lambda: len(site.said(process).split()) > 100, "a hundred events were accepted")
    process.send_signal(signal.SIGKILL)
    process.wait()
    accepted = [int(number) for number in site.said(process).split()]
    with Publisher(site.settings, site.site, JAIL) as again:
        until(lambda: again.pending == 0, "the spool was drained")
    numbers = [int(cell) for cell in arrived(site)]
    assert set(accepted) <= set(numbers)
    # What was sent but not yet forgotten comes again, as the same event; the order of first arrivals stands.
    assert list(dict.fromkeys(numbers)) == sorted(set(numbers))


def test_an_agency_may_not_publish_what_is_not_its_own(site: WorkingSite) -> None:
    with Publisher(site.settings, site.site, JAIL) as publisher:
        with pytest.raises(PublishError, match="may not publish AffiliationReported"):
            publisher.publish(event("AffiliationReported", "ada", group="Eastside"))
        with pytest.raises(PublishError, match="own ORI"):
            publisher.publish(event("HousingAssigned", "ada", agency="city-pd", unit="4-B"))


def test_a_withdrawal_taken_twice_is_one_event(site: WorkingSite) -> None:
    target = housing(1)
    with Publisher(site.settings, site.site, JAIL) as publisher:
        made = [
            publisher.withdraw(target.head.event_id, reason, target.head.time, "jms")  # type: ignore[arg-type]
            for reason in ("ENTERED_IN_ERROR", "ENTERED_IN_ERROR")
        ]
    assert made[0] == made[1]


def test_other_peoples_clients_read_our_records(site: WorkingSite) -> None:
    site.publish([housing(7)])
    user = site.site.user("bus")
    client = registry_client(site.settings)
    consumer = DeserializingConsumer(
        {
            **site.settings.kafka(user),
            "group.id": topics.consumer_group(site.site.name),
            "value.deserializer": AvroDeserializer(client),
        }
    )
    consumer.assign([TopicPartition(topics.inbound(site.site.name, JAIL, "HousingAssigned"), 0, 0)])
    message = consumer.poll(30)
    assert message is not None
    told: Any = message.value()
    assert told["unit"] == "4-B"
    assert told["head"]["event_id"] == housing(7).head.event_id
    consumer.close()


def test_other_peoples_clients_publish_what_we_read(site: WorkingSite) -> None:
    topic = topics.inbound(site.site.name, JAIL, "HousingAssigned")
    client = registry_client(site.settings)
    options = {
        "auto.register.schemas": False,
        "use.latest.version": True,
        "subject.name.strategy": topic_subject_name_strategy,
    }
    producer = SerializingProducer(
        {
            **site.settings.kafka(site.site.user(JAIL)),
            "value.serializer": AvroSerializer(client, conf=options),
        }
    )
    told = housing(9)
    producer.produce(topic, value=told.model_dump(mode="python"))
    assert producer.flush(30) == 0
    (message,) = site.read(topic)
    cache = SchemaCache(client)
    cache.ensure([message.value()])
    assert decode_event(message.value(), cache, "HousingAssigned") == told


def run(site: WorkingSite, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "SALLYPORT_HOME": str(site.settings.home),
        "SALLYPORT_SITE_FILE": str(site.directory),
        "SALLYPORT_KAFKA_PORT": str(site.settings.kafka_port),
        "SALLYPORT_REGISTRY_PORT": str(site.settings.registry_port),
    }
    command = [sys.executable, "-m", "deploy", *arguments]
    return subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=False)


def as_line(number: int, **changes: Any) -> str:
    told = housing(number).model_dump(mode="json")
    return json.dumps({"type": "HousingAssigned", **told, "head": {**told["head"], "ori": SITE_ORI}, **changes})


SITE_ORI = housing(0).head.ori


def test_the_command_publishes_json_lines(site: WorkingSite) -> None:
    done = run(site, "publish", "-", "--as", JAIL, "--json", text="\n".join(map(as_line, range(3))))
    assert (done.returncode, json.loads(done.stdout)["published"]) == (0, {"HousingAssigned": 3}), done.stderr
    assert arrived(site) == ["0", "1", "2"]


def test_the_command_publishes_nothing_when_one_line_is_wrong(site: WorkingSite) -> None:
    text = "\n".join([as_line(0), as_line(1, facility=None)])
    done = run(site, "publish", "-", "--as", JAIL, text=text)
    assert done.returncode == 1
    assert "line 2: facility" in done.stderr
    assert "nothing was published" in done.stderr
    assert arrived(site) == []


def test_the_command_keeps_going_and_keeps_the_wrong_lines(site: WorkingSite, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join([as_line(0), as_line(1, unit=None), as_line(2)]))
    done = run(site, "publish", str(file), "--as", JAIL, "--keep-going")
    assert done.returncode == 1
    assert arrived(site) == ["0", "2"]
    (rejected,) = [json.loads(line) for line in (tmp_path / "events.jsonl.rejected.jsonl").read_text().splitlines()]
    assert "line 2: unit" in rejected["reasons"][0]


def test_a_person_gets_one_line_and_no_traceback(site: WorkingSite) -> None:
    for arguments in (["publish", "-", "--as", "nobody"], ["publish", "/no/such/file", "--as", JAIL]):
        done = run(site, *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("sallyport: ")
        assert len(done.stderr.splitlines()) == 1
