"""Other people's clients, as confluent-kafka ships them, read what we write and write what we read."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from confluent_kafka import DeserializingConsumer, KafkaError, Producer, SerializingProducer, TopicPartition
from confluent_kafka.schema_registry import topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer

from schemas import topics
from schemas.codec import decode_event, encode_event
from schemas.events import EVENT_TYPES, Event
from schemas.registry_client import SchemaCache, registry_client
from schemas.settings import Settings
from streams.facts import parse_key
from tests.county import JAIL, POLICE, agency_of, event, today
from tests.working_site import WAIT_S, WorkingSite

pytestmark = pytest.mark.bus

EVENTS: dict[str, Event] = {
    "BookingReported": event("BookingReported", "ada", sid="S1", name="b", charges=["a", "b"], purge_day=900),
    "HousingAssigned": event("HousingAssigned", "ada", unit="4-B", cell="7", reason="Ünïcode ✓"),
    "CustodyClassified": event("CustodyClassified", "ada", instrument="objective-2021"),
    "DisciplinaryRecorded": event("DisciplinaryRecorded", "ada", severity="MAJOR", violent=True),
    "AffiliationValidated": event("AffiliationValidated", "ada", group=None, status="SUSPECT", criteria=[]),
    "NoLongerListed": event("NoLongerListed", "ada"),
    "CustodyEnded": event("CustodyEnded", "ada", reason="TURNOVER", receiving_agency="NY0303000"),
    "AffiliationReported": event("AffiliationReported", None, sid="S1", group="Eastside"),
    "StreetViolenceReported": event("StreetViolenceReported", groups=["Eastside", "Harbor"]),
    "ContrabandTipped": event(
        "ContrabandTipped", sid="S1", courier_name="Cole, Dana", expected_from=1, expected_until=2
    ),
    "TipOutcome": event("TipOutcome", target_event_id=str(uuid.uuid4())),
    "VisitScheduled": event("VisitScheduled", "ada", visitor_name="Cole, Dana", starts=1),
    "VisitCancelled": event("VisitCancelled", "ada"),
    "VisitCompleted": event("VisitCompleted", "ada"),
    "MailReceived": event("MailReceived", "ada", sender_name="Cole, Dana"),
    "DepositReceived": event("DepositReceived", "ada"),
    "MovementScheduled": event("MovementScheduled", "ada", returns=1),
    "ContrabandSeized": event("ContrabandSeized", "ada", reference="V-1"),
    "CallCompleted": event("CallCompleted", "ada"),
    "HearingScheduled": event("HearingScheduled", sid="S1", starts=1, part="Part 7"),
    "HearingCancelled": event("HearingCancelled", sid="S1"),
    "ListTaken": event("ListTaken"),
    "CareObserved": event("CareObserved", "ada", active=False),
    "EventWithdrawn": event("EventWithdrawn", agency=POLICE, target_event_id=str(uuid.uuid4())),
}


@pytest.fixture(scope="module")
def site(bus: Settings, tmp_path_factory: pytest.TempPathFactory) -> WorkingSite:
    return WorkingSite.make(bus, tmp_path_factory.mktemp("site"), "foreign", partitions=1)


@pytest.fixture(scope="module")
def worked(bus: Settings, tmp_path_factory: pytest.TempPathFactory) -> WorkingSite:
    made = WorkingSite.make(bus, tmp_path_factory.mktemp("worked"), "foreign-worked", partitions=1)
    made.start_worker()
    return made


def topic_of(site: WorkingSite, what: Event) -> str:
    return topics.inbound(site.site.name, agency_of(what), type(what).__name__)


def test_there_is_an_example_of_every_event() -> None:
    assert EVENTS.keys() == EVENT_TYPES.keys()


@pytest.mark.parametrize("kind", EVENTS)
def test_their_deserializer_reads_our_record(site: WorkingSite, kind: str) -> None:
    site.publish([EVENTS[kind]])
    topic = topic_of(site, EVENTS[kind])
    consumer = DeserializingConsumer(
        {
            **site.settings.kafka(site.site.user("bus")),
            "group.id": topics.consumer_group(site.site.name),
            "value.deserializer": AvroDeserializer(registry_client(site.settings)),
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(WAIT_S)
    consumer.close()
    assert message is not None
    told: Any = message.value()
    assert EVENT_TYPES[kind].model_validate(told) == EVENTS[kind]


@pytest.mark.parametrize("kind", EVENTS)
def test_we_read_what_their_serializer_writes(site: WorkingSite, kind: str) -> None:
    told = EVENTS[kind]
    topic = topic_of(site, told)
    options = {
        "auto.register.schemas": False,
        "use.latest.version": True,
        "subject.name.strategy": topic_subject_name_strategy,
    }
    producer = SerializingProducer(
        {
            **site.settings.kafka(site.site.user(agency_of(told))),
            "value.serializer": AvroSerializer(registry_client(site.settings), conf=options),
        }
    )
    failed: list[KafkaError] = []
    producer.produce(
        topic,
        key=b"theirs",
        value=told.model_dump(mode="python"),
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
    assert producer.flush(WAIT_S) == 0
    assert failed == []
    (message,) = [message for message in site.read(topic) if message.key() == b"theirs"]
    cache = SchemaCache(registry_client(site.settings))
    cache.ensure([message.value()])
    assert decode_event(message.value(), cache, kind) == told


def sent(site: WorkingSite, compression: str, topic: str, *values: bytes) -> list[KafkaError]:
    """Send records in one batch, compressed as other people's clients do it: what the broker refused."""
    config = {"compression.type": compression, "linger.ms": 200, "message.max.bytes": 32 << 20}
    producer = Producer({**site.settings.kafka(site.site.user(JAIL)), **config})
    refused: list[KafkaError] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: refused.append(error) if error else None)
    assert producer.flush(WAIT_S) == 0
    return refused


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_what_they_send_compressed_is_worked_on_like_any_other(worked: WorkingSite, compression: str) -> None:
    told = [today("BookingReported", f"{compression}-{number}") for number in range(50)]
    topic = topic_of(worked, told[0])
    (schema,) = [registry_client(worked.settings).get_latest_version(f"{topic}-value").schema_id]
    assert schema is not None
    assert sent(worked, compression, topic, *(encode_event(what, schema) for what in told)) == []
    worked.until_settled()
    assert worked.records(topics.dead_letters(worked.site.name, JAIL)) == []
    known = {parse_key(record.key() or b"").event_id for record in worked.read(topics.person_facts(worked.site.name))}
    assert known >= {what.head.event_id for what in told}


def test_what_is_small_only_while_it_is_compressed_is_refused_to_who_sends_it(worked: WorkingSite) -> None:
    topic = topic_of(worked, EVENTS["BookingReported"])
    (error,) = sent(worked, "gzip", topic, bytes(3 << 20))
    assert error.code() == KafkaError.MSG_SIZE_TOO_LARGE
    # It stops nothing.
    worked.publish([today("BookingReported", "after it")])
    worked.until_settled()
