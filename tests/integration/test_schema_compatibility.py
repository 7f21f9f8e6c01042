"""On a real registry: a breaking change of the contract is refused, a compatible one is not, others' clients work."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from deploy import provision as provisioning
from deploy import registry
from deploy.changes import ProvisionError
from deploy.provision import provision
from deploy.registry import writing_client
from deploy.sites import SITES_DIR
from schemas import codec, topics
from schemas.avro_files import whole_schema
from schemas.registry_client import SchemaCache, registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site, read_site

pytestmark = pytest.mark.bus
SECONDS = 20
Json = dict[str, Any]


@pytest.fixture(scope="module")
def site(bus: Settings) -> Site:
    site = read_site(SITES_DIR / "demo").model_copy(update={"name": "compatible", "partitions": 1})
    provision(bus, site)
    return site


@pytest.fixture
def client(bus: Settings) -> Iterator[SchemaRegistryClient]:
    with writing_client(bus) as client:
        yield client


@pytest.fixture
def reader(bus: Settings) -> Iterator[SchemaRegistryClient]:
    """The registry as an agency sees it, that has no password there."""
    with registry_client(bus.model_copy(update={"registry_user": None})) as client:
        yield client


def field(schema: Json, name: str) -> Json:
    return next(field for field in schema["fields"] if field["name"] == name)


def drop_a_field(schema: Json) -> None:
    schema["fields"].remove(field(schema, "unit"))


def add_a_field_that_old_records_lack(schema: Json) -> None:
    schema["fields"].append({"name": "bunk", "type": "string", "doc": "No default."})


def rename_a_field(schema: Json) -> None:
    field(schema, "unit")["name"] = "housing_unit"


def change_a_type(schema: Json) -> None:
    field(schema, "unit")["type"] = "int"


def make_optional_what_old_readers_require(schema: Json) -> None:
    field(schema, "unit")["type"] = ["null", "string"]


def change_a_field_of_the_head(schema: Json) -> None:
    field(field(schema, "head")["type"], "time")["type"] = "string"


BREAKING: list[Callable[[Json], None]] = [
    drop_a_field,
    add_a_field_that_old_records_lack,
    rename_a_field,
    change_a_type,
    make_optional_what_old_readers_require,
    change_a_field_of_the_head,
]


def add_a_field_with_a_default(schema: Json) -> None:
    schema["fields"].append({"name": "bunk", "type": ["null", "string"], "default": None, "doc": "Bunk."})


def change_a_documentation(schema: Json) -> None:
    field(schema, "unit")["doc"] = "The unit where the person sleeps."


def add_a_symbol_to_an_enum(schema: Json) -> None:
    head = field(schema, "head")["type"]
    person = field(head, "persons")["type"]["items"]
    field(person, "role")["type"]["symbols"].append("WITNESS")


COMPATIBLE: list[Callable[[Json], None]] = [
    add_a_field_with_a_default,
    change_a_documentation,
    add_a_symbol_to_an_enum,
]


def changed(change: Callable[[Json], None]) -> str:
    schema = copy.deepcopy(json.loads(whole_schema("HousingAssigned")))
    change(schema)
    return json.dumps(schema)


def name_of(change: Callable[[Json], None]) -> str:
    return change.__name__.replace("_", " ")


@pytest.fixture
def subject(site: Site) -> str:
    return f"{topics.inbound(site.name, 'county-jail', 'HousingAssigned')}-value"


@pytest.mark.parametrize("change", BREAKING, ids=name_of)
def test_the_registry_refuses_a_breaking_change(
    client: SchemaRegistryClient, subject: str, change: Callable[[Json], None]
) -> None:
    with pytest.raises(SchemaRegistryError) as error:
        client.register_schema(subject, Schema(changed(change), "AVRO"))
    assert error.value.http_status_code == 409


@pytest.mark.parametrize("change", COMPATIBLE, ids=name_of)
def test_the_registry_would_take_a_compatible_change(
    client: SchemaRegistryClient, subject: str, change: Callable[[Json], None]
) -> None:
    assert client.test_compatibility_all_versions(subject, Schema(changed(change), "AVRO"))


@pytest.mark.parametrize("change", BREAKING, ids=name_of)
def test_provisioning_refuses_a_breaking_change_and_changes_nothing(
    bus: Settings, site: Site, subject: str, change: Callable[[Json], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole_schema_then(name: str) -> str:
        return changed(change) if name == "HousingAssigned" else whole_schema(name)

    monkeypatch.setattr(registry, "whole_schema", whole_schema_then)
    with pytest.raises(ProvisionError, match=r"^breaking change refused: .*Nothing was changed$") as error:
        # The site would get another desk, too.
        provision(bus, site.model_copy(update={"recipients": site.recipients[:1]}))
    assert subject in str(error.value)
    monkeypatch.undo()
    assert provision(bus, site, check=True).differences == ()


def test_a_registry_that_lists_its_subjects_in_pages_is_read_to_its_end(
    bus: Settings, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "PAGE", 7)
    assert provision(bus, site, check=True).differences == ()


def test_a_subject_that_the_registry_left_out_of_its_list_is_found_by_its_name(
    bus: Settings, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_subjects", lambda _: set())
    assert provision(bus, site, check=True).differences == ()


def test_a_subject_whose_compatibility_was_loosened_is_tightened_before_anything_is_registered(
    bus: Settings, site: Site, client: SchemaRegistryClient, subject: str
) -> None:
    client.set_compatibility(subject, "NONE")
    assert [step.name for step in provision(bus, site).differences] == [subject]
    assert client.get_compatibility(subject) == "FULL_TRANSITIVE"
    assert provisioning.provision(bus, site).differences == ()


@pytest.mark.parametrize(
    "write",
    [
        lambda reader, subject: reader.register_schema(subject, Schema(whole_schema("Tick"), "AVRO")),
        lambda reader, subject: reader.set_compatibility(subject, "NONE"),
        lambda reader, subject: reader.delete_subject(subject),
    ],
    ids=["register", "loosen", "delete"],
)
def test_an_agency_cannot_change_the_registry(reader: SchemaRegistryClient, subject: str, write: Any) -> None:
    with pytest.raises(SchemaRegistryError) as error:
        write(reader, subject)
    assert error.value.http_status_code in {401, 403}


# --- other people's clients ---


def move(ori: str) -> Json:
    return {
        "head": {
            "event_id": str(uuid.uuid4()),
            "time": 1_700_000_000_000_000,
            "ori": ori,
            "source_system": "jms",
            "persons": [
                {
                    "role": "SUBJECT",
                    "ids": [{"kind": "LOCAL", "value": "P1", "issuer": "jms", "verified": "SYSTEM"}],
                }
            ],
            "handling": {"markings": ["CI"], "purge_by": None},
        },
        "facility": "county-jail-main",
        "booking_number": "B1",
        "unit": "4-A",
        "cell": None,
        "reason": None,
    }


def sent(bus: Settings, site: Site, topic: str, value: bytes) -> bytes:
    """Publish as the jail, and what is then on the log."""
    taken: list[tuple[int | None, int | None]] = []
    producer = Producer(bus.kafka(site.user("county-jail")))
    producer.produce(topic, value, on_delivery=lambda _, message: taken.append((message.partition(), message.offset())))
    assert producer.flush(SECONDS) == 0
    ((partition, offset),) = taken
    bus_user = site.user("bus")
    consumer = Consumer({**bus.kafka(bus_user), "group.id": bus_user})
    try:
        consumer.assign([TopicPartition(topic, partition or 0, offset or 0)])
        message = consumer.poll(SECONDS)
        assert message is not None
        assert message.error() is None
        found = message.value()
        assert isinstance(found, bytes)
        return found
    finally:
        consumer.close()


def test_what_somebody_elses_serializer_writes_is_an_event_of_ours(
    bus: Settings, site: Site, reader: SchemaRegistryClient
) -> None:
    topic = topics.inbound(site.name, "county-jail", "HousingAssigned")
    serializer = AvroSerializer(reader, conf={"auto.register.schemas": False, "use.latest.version": True})
    record = move(site.agency_by_id["county-jail"].ori)
    value = serializer(record, SerializationContext(topic, MessageField.VALUE))
    assert isinstance(value, bytes)
    on_the_log = sent(bus, site, topic, value)
    schemas = SchemaCache(reader)
    schemas.ensure([on_the_log])
    event = codec.decode_event(on_the_log, schemas, expected="HousingAssigned")
    assert event == codec.event_of("HousingAssigned", record)


def test_what_we_write_is_read_by_somebody_elses_deserializer(
    bus: Settings, site: Site, reader: SchemaRegistryClient
) -> None:
    topic = topics.inbound(site.name, "county-jail", "HousingAssigned")
    ids = schema_ids(reader, site, [topic])
    record = move(site.agency_by_id["county-jail"].ori)
    event = codec.event_of("HousingAssigned", record)
    on_the_log = sent(bus, site, topic, codec.encode_event(event, ids[topic, "HousingAssigned"]))
    deserializer = AvroDeserializer(reader)
    assert deserializer(on_the_log, SerializationContext(topic, MessageField.VALUE)) == record
