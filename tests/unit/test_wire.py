"""The wire: what is framed and how, which bytes are refused and why, and what an older or newer writer's say."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import fastavro
import pytest

from schemas import codec
from schemas.avro_files import whole_schema
from schemas.codec import DecodeError, Undecodable, WriterSchema, writer_schema
from schemas.events import Event, Infraction, type_name
from streams.backtest import SCHEMA_IDS, SCHEMAS
from tests.county import event

FINE = event("DisciplinaryRecorded", "ada", name="fine")
ID = SCHEMA_IDS["DisciplinaryRecorded"]
RAW = codec.encode_event(FINE, ID)
TICK = {"time": 12}


def refused(reason: Undecodable, where: str) -> Any:
    """A refusal with exactly these words."""
    return pytest.raises(DecodeError, check=lambda error: (error.reason, error.where) == (reason, where))


def schema_with(change: Any, name: str = "DisciplinaryRecorded") -> dict[str, Any]:
    """Our schema of an event, changed."""
    schema = json.loads(whole_schema(name))
    change(schema)
    return dict(schema)


def without_reason(schema: dict[str, Any]) -> None:
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "reason"]


def with_more(schema: dict[str, Any]) -> None:
    schema["fields"].insert(1, {"name": "more", "type": "string", "default": ""})


def known(schema: dict[str, Any]) -> dict[int, WriterSchema]:
    return {1: writer_schema(json.dumps(schema))}


def written_with(schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), record)
    return codec.frame(1, buffer.getvalue())


def said(what: Event) -> dict[str, Any]:
    return what.model_dump(mode="json")


# -- the frame ---------------------------------------------------------------------------------------------------------


def test_a_frame_is_a_zero_byte_and_the_schemas_id_in_four() -> None:
    assert codec.frame(0x01020304, b"avro") == b"\0\1\2\3\4avro"
    assert codec.schema_id_of(b"\0\1\2\3\4avro") == 0x01020304
    assert codec.schema_id_of(b"\0\0\0\0\7") == 7
    assert codec.FRAMED == 5


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0", b"\1\0\0\0\7avro"])
def test_what_is_not_framed_is_refused(value: bytes) -> None:
    with refused(Undecodable.NOT_FRAMED, "no Confluent framing (a zero byte and a schema id)"):
        codec.schema_id_of(value)


def test_a_refusal_says_why_and_where() -> None:
    error = DecodeError(Undecodable.BROKEN_AVRO, "here")
    assert (str(error), error.reason, error.where) == ("BROKEN_AVRO: here", Undecodable.BROKEN_AVRO, "here")


def test_a_record_is_its_avro_in_a_frame() -> None:
    assert codec.encode_body("Tick", TICK) == b"\x18"
    assert codec.encode("Tick", TICK, 7) == b"\0\0\0\0\7\x18"
    assert codec.encode_event(FINE, 7) == codec.frame(7, codec.event_body(FINE))
    assert codec.event_body(FINE) == codec.encode_body("DisciplinaryRecorded", said(FINE))


def test_a_record_that_does_not_fit_its_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="no value and no default for time"):
        codec.encode("Tick", {}, 7)


# -- schemas -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["no json", "7", "[]", "{}", '"string"', '{"type": "nothing", "name": "x"}', '{"type": "array", "items": "int"}'],
)
def test_a_schema_that_is_no_avro_record_is_refused(text: str) -> None:
    with refused(Undecodable.UNKNOWN_SCHEMA, "the schema is no Avro record"):
        writer_schema(text)


def test_a_schema_is_known_by_its_short_name() -> None:
    named = {"type": "record", "name": "some.where.Tick", "fields": []}
    assert writer_schema(json.dumps(named)).name == "Tick"
    assert writer_schema(whole_schema("Tick")).name == "Tick"


def test_a_schema_is_ours_whatever_its_documentation_and_tags() -> None:
    assert writer_schema(whole_schema("DisciplinaryRecorded")).is_ours

    def undocumented(schema: Any) -> Any:
        if isinstance(schema, dict):
            return {k: undocumented(v) for k, v in schema.items() if k not in {"doc", "sensitivity"}}
        return [undocumented(one) for one in schema] if isinstance(schema, list) else schema

    bare = undocumented(json.loads(whole_schema("DisciplinaryRecorded")))
    assert writer_schema(json.dumps(bare)).is_ours
    assert writer_schema(json.dumps({**bare, "doc": "Another.", "sensitivity": ["health"]})).is_ours


def in_another_order(schema: dict[str, Any]) -> None:
    schema["fields"].reverse()


@pytest.mark.parametrize("change", [without_reason, with_more, in_another_order])
def test_a_schema_with_other_fields_is_not_ours(change: Any) -> None:
    assert not writer_schema(json.dumps(schema_with(change, "HousingAssigned"))).is_ours


def test_a_schema_of_a_record_that_the_contract_does_not_have_is_not_ours() -> None:
    assert not writer_schema('{"type": "record", "name": "Unheard", "fields": []}').is_ours


# -- records -----------------------------------------------------------------------------------------------------------


def test_a_record_is_read_as_it_was_written() -> None:
    assert codec.decode(RAW, SCHEMAS) == ("DisciplinaryRecorded", said(FINE))
    assert codec.decode(RAW, SCHEMAS, "DisciplinaryRecorded") == ("DisciplinaryRecorded", said(FINE))
    assert codec.decode_event(RAW, SCHEMAS) == FINE


def test_a_record_of_an_unknown_schema_is_refused() -> None:
    with refused(Undecodable.UNKNOWN_SCHEMA, "schema id 77 is not in the registry"):
        codec.decode(codec.frame(77, b""), SCHEMAS)


@pytest.mark.parametrize("read", [codec.decode, codec.decode_event, codec.decode_parts])
def test_another_record_than_the_topic_carries_is_refused(read: Any) -> None:
    with refused(Undecodable.WRONG_TYPE, "a DisciplinaryRecorded on a topic of CustodyEnded"):
        read(RAW, SCHEMAS, "CustodyEnded")


@pytest.mark.parametrize("read", [codec.decode, codec.decode_event])
def test_bytes_that_end_too_early_or_too_late_are_refused(read: Any) -> None:
    with refused(Undecodable.BROKEN_AVRO, "the bytes do not fit the schema of DisciplinaryRecorded"):
        read(RAW[:-1], SCHEMAS)
    with refused(Undecodable.BROKEN_AVRO, "bytes are left over after the DisciplinaryRecorded"):
        read(RAW + b"\0", SCHEMAS)


def test_a_record_that_the_contract_does_not_have_is_refused() -> None:
    schemas = known({"type": "record", "name": "Unheard", "fields": []})
    with refused(Undecodable.WRONG_TYPE, "Unheard is no record of the contract"):
        codec.decode(codec.frame(1, b""), schemas)


def test_what_is_no_record_is_refused() -> None:
    schemas = {1: WriterSchema("Tick", "long", True)}
    with refused(Undecodable.BROKEN_AVRO, "the bytes do not fit the schema of Tick"):
        codec.decode(codec.frame(1, b"\x18"), schemas)


def test_what_an_older_writer_did_not_know_has_its_default() -> None:
    housed = event("HousingAssigned", "ada", unit="4-A")
    schema = schema_with(without_reason, "HousingAssigned")
    record = {name: value for name, value in said(housed).items() if name != "reason"}
    raw, schemas = written_with(schema, record), known(schema)
    assert codec.decode(raw, schemas) == ("HousingAssigned", {**record, "reason": None})
    assert codec.decode_event(raw, schemas) == housed


def test_what_a_newer_writer_says_more_is_passed_over() -> None:
    schema = schema_with(with_more)
    raw, schemas = written_with(schema, {**said(FINE), "more": "words"}), known(schema)
    assert codec.decode(raw, schemas) == ("DisciplinaryRecorded", said(FINE))
    assert codec.decode_parts(raw, schemas) == (FINE, 0), "the body lies elsewhere"
    body = codec.decode_body(raw, 0, schemas)
    assert body == codec.decode_body(RAW, 0, SCHEMAS)
    assert codec.decode_body(raw, 9, schemas) == body, "whatever anybody says of where it begins"


def in_words(schema: dict[str, Any]) -> None:
    (violent,) = (field for field in schema["fields"] if field["name"] == "violent")
    violent["type"] = "string"


def with_another_severity(schema: dict[str, Any]) -> None:
    (severity,) = (field for field in schema["fields"] if field["name"] == "severity")
    severity["type"]["symbols"].append("GRAVE")


@pytest.mark.parametrize(
    ("change", "written", "more"),
    [
        (in_another_order, {}, False),
        (with_another_severity, {}, False),
        (with_another_severity, {"severity": "GRAVE"}, True),
        (with_more, {"more": "words"}, True),
        (in_words, {"violent": "somewhat"}, True),
    ],
)
def test_what_has_no_place_in_our_schema_is_found_before_it_is_lost(
    change: Any, written: dict[str, Any], more: bool
) -> None:
    schema = schema_with(change)
    raw = written_with(schema, {**said(FINE), **written})
    assert codec.says_more(raw, known(schema)) == more
    for broken in (raw[:-1], raw + b"\0"):
        with pytest.raises(DecodeError, match="BROKEN_AVRO"):
            codec.says_more(broken, known(schema))


def test_what_an_older_writer_did_not_say_is_nothing_more() -> None:
    schema = schema_with(without_reason, "HousingAssigned")
    raw = written_with(schema, said(event("HousingAssigned", "ada", unit="4-A")))
    assert not codec.says_more(raw, known(schema))


def test_of_our_own_schema_nothing_is_lost_and_of_none_of_ours_nothing_is_said() -> None:
    assert not codec.says_more(RAW, SCHEMAS)
    with refused(Undecodable.WRONG_TYPE, "Unheard is no record of the contract"):
        codec.says_more(codec.frame(1, b""), known({"type": "record", "name": "Unheard", "fields": []}))


# -- events ------------------------------------------------------------------------------------------------------------


def test_an_event_tells_where_its_body_begins_and_the_body_is_read_from_there() -> None:
    whole, at = codec.decode_parts(RAW, SCHEMAS, "DisciplinaryRecorded")
    assert whole == FINE
    body = codec.decode_body(RAW, at, SCHEMAS)
    assert isinstance(body, Infraction)
    assert not isinstance(body, Event)
    assert (body.infraction, body.severity, body.violent) == ("100.10", "MINOR", False)
    assert codec.decode_body(RAW, 0, SCHEMAS) == body
    headless = codec.frame(ID, b"") + b"\xff" * (at - codec.FRAMED) + RAW[at:]
    assert codec.decode_body(headless, at, SCHEMAS) == body, "nothing of the head is read"


def test_an_event_written_in_parts_is_the_event_and_says_where_its_body_begins() -> None:
    raw, body_at = codec.encode_parts(FINE, ID)
    assert raw == RAW
    assert codec.decode_parts(raw, SCHEMAS) == (FINE, body_at)


def test_a_body_that_is_broken_is_refused() -> None:
    _, at = codec.decode_parts(RAW, SCHEMAS)
    with refused(Undecodable.BROKEN_AVRO, "bytes are left over after the DisciplinaryRecorded"):
        codec.decode_body(RAW + b"\0", at, SCHEMAS)
    with refused(Undecodable.UNKNOWN_SCHEMA, "schema id 77 is not in the registry"):
        codec.decode_body(codec.frame(77, b""), 0, SCHEMAS)


@pytest.mark.parametrize("at", [0, 5])
def test_the_bus_own_records_are_no_events(at: int) -> None:
    raw = codec.encode("Tick", TICK, SCHEMA_IDS["Tick"])
    assert codec.decode(raw, SCHEMAS) == ("Tick", TICK)
    with refused(Undecodable.WRONG_TYPE, "Tick is no event that agencies publish"):
        codec.decode_event(raw, SCHEMAS)
    with pytest.raises(DecodeError, match="WRONG_TYPE"):
        codec.decode_body(raw, at, SCHEMAS)


def test_a_record_is_an_event_of_its_type() -> None:
    found = codec.event_of("DisciplinaryRecorded", said(FINE))
    assert (found, type_name(found)) == (FINE, "DisciplinaryRecorded")


def test_what_makes_no_sense_is_told_by_its_fields_and_never_by_its_values() -> None:
    record = said(FINE)
    record["head"] = {**record["head"], "ori": "SECRET", "event_id": "SECRET"}
    record["infraction"] = "SECRET" * 100
    where = (
        "DisciplinaryRecorded: head.event_id: must be a UUID in its usual lower-case form; "
        "head.ori: must be an ORI: two letters of the state, then seven letters or digits, such as NY0303000; "
        "infraction: String should have at most 400 characters"
    )
    with refused(Undecodable.SENSELESS_VALUE, where):
        codec.event_of("DisciplinaryRecorded", record)


# -- digests -----------------------------------------------------------------------------------------------------------


def test_equal_content_has_an_equal_digest_the_same_for_ever() -> None:
    expected = hashlib.sha256('{"a":["ü",1],"b":null}'.encode()).hexdigest()
    assert codec.digest({"b": None, "a": ["ü", 1]}) == expected
    assert codec.digest({"a": ("ü", 1), "b": None}) == expected
    assert codec.digest({"a": ["u", 1], "b": None}) != expected
