"""The typed models and the `.avsc` files say the same, and every record of the contract is documented and tagged."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas import codec
from schemas.avro_files import AVRO_DIR, avsc_path, record_names, whole_schema
from schemas.events import EARLIEST_TIME, EVENT_TYPES, LATEST_TIME

SENSITIVITIES = {"identifies", "health", "intelligence", "juvenile"}

NOT_PERSONAL = {
    # What happened, where, when, by whose rules: it speaks of a person only beside a field that identifies one.
    *("facility", "unit", "cell", "level", "initial", "instrument", "infraction", "severity", "violent"),
    *("admitted", "last_listed", "legal_status", "charges", "reason", "receiving_agency", "in_custody"),
    *("incident_number", "place", "role", "until"),
    *("call_number", "seconds", "hearing_number", "part"),
    # What comes into a facility, how and when, by its own numbers; what may be done on it.
    *("method", "setting", "contact", "starts", "ends", "returns", "purpose", "substance", "reference"),
    *("visit_number", "item_number", "transaction_number", "movement_number", "number"),
    *("delivery_at", "delivery_over", "due", "caution", "line", "staff"),
    # How long a list is, how much of it is new, and a digest of all of it.
    *("entries", "changed", "content"),
    # Who says so, and how it was found out.
    *("ori", "source_system", "agency", "agreements", "issuer", "kind", "verified", "linked_by", "purge_by"),
    # Ids of events and alerts: random, or digests of what can't be guessed.
    *("event_id", "target_event_id", "alert_id", "action_id", "digest", "group"),
    # The bus's own book-keeping.
    *("time", "at", "event_time", "event_type", "topic", "revision", "state", "rule", "rule_version", "confidence"),
    *("least_severity", "ground", "marked", "joined", "via"),
    *(
        "stage",
        "partition",
        "offset",
        "tick",
        "opened",
        "lag",
        "done",
        "total",
        "recipient",
        "decision",
        "action",
        "actions",
    ),
    *("limit",),
    *("fields", "fields_shown", "fields_withheld", "left_out", "revision_at", "revision_cause"),
}
"""Names of fields that somebody has looked at and found to hold no personal data by themselves."""

EVENTS = sorted(EVENT_TYPES)
Json = dict[str, Any]


def schema_of(name: str) -> Json:
    return typing.cast(Json, json.loads(whole_schema(name)))


def shape_of_avro(schema: Any) -> Any:
    """An Avro type without names of records and documentation."""
    match schema:
        case str():
            return schema
        case ["null", other]:
            return ("optional", shape_of_avro(other))
        case {"type": "array", "items": items}:
            return ("array", shape_of_avro(items))
        case {"type": "enum", "name": name, "symbols": symbols, "default": default}:
            return ("enum", name, tuple(symbols), default)
        case {"type": "record", "name": name, "fields": fields}:
            return ("record", name, {field["name"]: shape_of_avro(field["type"]) for field in fields})
        case _:
            raise AssertionError(f"an Avro type that the contract does not use: {schema}")


def shape_of_model(annotation: Any, avro: Any) -> Any:
    """A Python annotation as an Avro type; `avro` says which of Avro's two integers is meant."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return shape_of_model(arguments[0], avro)
    if origin in (types.UnionType, typing.Union):
        (other,) = [argument for argument in arguments if argument is not type(None)]
        return ("optional", shape_of_model(other, avro[1] if isinstance(avro, tuple) else avro))
    if origin is tuple:
        assert arguments[1] is ..., "an array has one type of item"
        return ("array", shape_of_model(arguments[0], avro[1] if isinstance(avro, tuple) else avro))
    if issubclass(annotation, StrEnum):
        return ("enum", annotation.__name__, tuple(annotation), "UNKNOWN")
    if issubclass(annotation, BaseModel):
        return ("record", annotation.__name__, shape_of_fields(annotation, avro[2]))
    if annotation is int:
        return avro if avro in ("int", "long") else "an integer"
    return {str: "string", bool: "boolean"}[annotation]


def shape_of_fields(model: type[BaseModel], avro: Json) -> Json:
    return {name: shape_of_model(field.annotation, avro.get(name)) for name, field in model.model_fields.items()}


def defaults_of_model(model: type[BaseModel]) -> Json:
    def plain(field: FieldInfo) -> Any:
        return list(field.default) if isinstance(field.default, tuple) else field.default

    return {name: plain(field) for name, field in model.model_fields.items() if not field.is_required()}


def records_in(schema: Any) -> Iterator[Json]:
    """A record and all records within it."""
    match schema:
        case {"type": "record", "fields": fields}:
            yield schema
            for field in fields:
                yield from records_in(field["type"])
        case {"type": "array", "items": items}:
            yield from records_in(items)
        case ["null", other]:
            yield from records_in(other)


def models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and all models within it."""
    yield model
    for field in model.model_fields.values():
        pending = [field.annotation]
        while pending:
            annotation = pending.pop()
            pending.extend(typing.get_args(annotation))
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield from models_in(annotation)


def test_every_event_has_its_avsc_and_its_model() -> None:
    of_agencies = {path.stem for path in AVRO_DIR.glob("*/*.avsc") if path.parent.name not in {"bus", "head"}} | {
        "EventWithdrawn"
    }
    assert of_agencies == set(EVENT_TYPES)


@pytest.mark.parametrize("name", EVENTS)
def test_a_model_has_the_fields_and_types_of_its_avsc(name: str) -> None:
    avro = shape_of_avro(schema_of(name))
    assert ("record", name, shape_of_fields(EVENT_TYPES[name], avro[2])) == avro


@pytest.mark.parametrize("name", EVENTS)
def test_a_model_has_the_defaults_of_its_avsc(name: str) -> None:
    in_avro = {
        record["name"]: {f["name"]: f["default"] for f in record["fields"] if "default" in f}
        for record in records_in(schema_of(name))
    }
    assert {model.__name__: defaults_of_model(model) for model in models_in(EVENT_TYPES[name])} == in_avro


# --- the round trip ---

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
BY_NAME = {
    "event_id": st.uuids().map(str),
    "target_event_id": st.uuids().map(str),
    "ori": st.from_regex(r"\A[A-Z]{2}[A-Z0-9]{7}\Z"),
    "receiving_agency": st.from_regex(r"\A[A-Z]{2}[A-Z0-9]{7}\Z"),
    "reliability": st.sampled_from("ABCDEF"),
    "credibility": st.integers(1, 6),
    "content": st.from_regex(r"\A[0-9a-f]{16,128}\Z"),
    "courier_born": st.dates(date(1900, 1, 1), date(2099, 12, 31)).map(str),
    "visitor_born": st.dates(date(1900, 1, 1), date(2099, 12, 31)).map(str),
}
"""Fields whose values the models hold to more than their type."""


def values(schema: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Values of an Avro type, made from the `.avsc` alone but for the fields in BY_NAME."""
    match schema:
        case ["null", other]:
            return st.none() | values(other, name)
        case {"type": "array", "items": items}:
            return st.lists(values(items), min_size=1 if name == "ids" else 0, max_size=3)
        case {"type": "enum", "symbols": symbols}:
            return st.sampled_from(symbols)
        case {"type": "record", "fields": fields}:
            return st.fixed_dictionaries({f["name"]: values(f["type"], f["name"]) for f in fields})
        case _ if name in BY_NAME:
            return BY_NAME[name]
        case "string":
            return TEXT
        case "long":
            return st.integers(EARLIEST_TIME, LATEST_TIME)
        case "int":
            return st.integers(0, 2**31 - 1)
        case "boolean":
            return st.booleans()
        case _:
            raise AssertionError(f"an Avro type that no event uses: {schema}")


SCHEMA_ID = 7
IN_ORDER = (("expected_from", "expected_until"), ("starts", "ends"))
"""Fields of which the models want the second not to be earlier than the first."""


def in_order(record: Json) -> Json:
    for fields in IN_ORDER:
        times = [record[name] for name in fields if record.get(name) is not None]
        if len(times) == len(fields):
            record |= dict(zip(fields, sorted(times), strict=True))
    return record


@pytest.mark.parametrize("name", EVENTS)
@settings(max_examples=30)
@given(data=st.data())
def test_what_the_avsc_allows_goes_through_model_and_wire_unchanged(name: str, data: st.DataObject) -> None:
    record = in_order(data.draw(values(schema_of(name))))
    event = codec.event_of(name, record)
    wire = codec.encode_event(event, SCHEMA_ID)
    schemas = {SCHEMA_ID: codec.writer_schema(whole_schema(name))}
    assert codec.decode(wire, schemas) == (name, record)
    assert codec.decode_event(wire, schemas) == event


# --- documentation and tags ---


@pytest.mark.parametrize("name", record_names())
def test_every_record_field_and_enum_is_documented(name: str) -> None:
    for record in records_in(schema_of(name)):
        assert record.get("doc"), record["name"]
        for field in record["fields"]:
            assert field.get("doc", "").endswith("."), f"{record['name']}.{field['name']}"
            kind = field["type"]
            if isinstance(kind, dict) and kind["type"] == "enum":
                assert kind.get("doc"), kind["name"]
            if kind in ("long", ["null", "long"]) and field["name"] not in {"offset", "lag", "done", "total"}:
                assert field["doc"].startswith("Microseconds since 1970-01-01T00:00:00Z."), (
                    f"{record['name']}.{field['name']} does not say its unit"
                )


@pytest.mark.parametrize("name", record_names())
def test_every_field_with_personal_data_has_a_sensitivity_tag(name: str) -> None:
    for record in records_in(schema_of(name)):
        for field in record["fields"]:
            where = f"{record['name']}.{field['name']}"
            tags = field.get("sensitivity", [])
            assert set(tags) <= SENSITIVITIES, where
            holds_records = any(True for _ in records_in(field["type"]))
            assert tags or holds_records or field["name"] in NOT_PERSONAL, f"{where}: tag it, or list it as harmless"


@pytest.mark.parametrize("name", ["group", "reason", "text", "value"])
def test_a_name_that_is_personal_somewhere_is_tagged_there(name: str) -> None:
    tagged = {
        (record["name"], field["name"])
        for whole in record_names()
        for record in records_in(schema_of(whole))
        for field in record["fields"]
        if field.get("sensitivity")
    }
    expected = {
        "group": {"AffiliationValidated", "AffiliationReported", "Affiliation"},
        "reason": {"HousingAssigned"},
        "text": {"Evidence", "Reason"},
        "value": {"PersonId"},
    }
    assert {record for record, field in tagged if field == name} == expected[name]


def test_health_is_tagged_in_care_and_in_free_text_only() -> None:
    with_health = {
        (name, field["name"])
        for name in record_names()
        for record in records_in(schema_of(name))
        for field in record["fields"]
        if "health" in field.get("sensitivity", [])
    }
    assert with_health == {
        ("CareObserved", "observation"),
        ("CareObserved", "active"),
        ("HousingAssigned", "reason"),
    }


@pytest.mark.parametrize("name", record_names())
def test_every_enum_reads_a_symbol_it_does_not_know_as_unknown(name: str) -> None:
    enums = [
        field["type"]
        for record in records_in(schema_of(name))
        for field in record["fields"]
        if isinstance(field["type"], dict) and field["type"]["type"] == "enum"
    ]
    for enum in enums:
        assert (enum["symbols"][0], enum["default"]) == ("UNKNOWN", "UNKNOWN"), enum["name"]


def test_a_record_that_the_contract_does_not_have_is_not_found() -> None:
    with pytest.raises(KeyError):
        avsc_path("NoSuchRecord")
