"""The wire: Confluent framing (a zero byte, the schema's id in four bytes, Avro binary) to records and back.

Pure: schemas come in as arguments. Whoever talks to the registry is a shell (`schemas/registry_client.py`).
Specification: Confluent Schema Registry, "Wire format"; Avro 1.11, "Binary encoding", "Schema resolution".
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeVar

import fastavro
from pydantic import ValidationError

from schemas.avro_files import parsed_parts, parsed_schema, whole_schema
from schemas.events import BODY_TYPES, EVENT_TYPES, Body, Event

MAGIC: Final = 0
_FRAME: Final = struct.Struct(">bI")
FRAMED: Final = _FRAME.size
"""Where the Avro begins, bytes."""
B = TypeVar("B", bound=Body)


class Undecodable(StrEnum):
    """Why bytes are no event."""

    NOT_FRAMED = "NOT_FRAMED"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    WRONG_TYPE = "WRONG_TYPE"
    BROKEN_AVRO = "BROKEN_AVRO"
    SENSELESS_VALUE = "SENSELESS_VALUE"


class DecodeError(Exception):
    """Bytes that are no event: `reason` says why, the message where. The message shows no value."""

    def __init__(self, reason: Undecodable, where: str) -> None:
        super().__init__(f"{reason.value}: {where}")
        self.reason = reason
        self.where = where


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A schema that a writer used, by its id in the registry."""

    name: str
    """Short name of the record."""
    parsed: Any
    """As fastavro wants it."""
    is_ours: bool
    """Equal to our own: no resolution needed."""


@lru_cache(256)
def writer_schema(text: str) -> WriterSchema:
    """Read a schema as the registry returns it. Raises DecodeError UNKNOWN_SCHEMA where it is no Avro record."""
    try:
        raw = json.loads(text)
        parsed = fastavro.parse_schema(raw)
        name = str(raw["name"]).rpartition(".")[2]
    except (ValueError, TypeError, KeyError, fastavro.schema.SchemaParseException) as error:
        raise DecodeError(Undecodable.UNKNOWN_SCHEMA, "the schema is no Avro record") from error
    try:
        is_ours = _fields_only(raw) == _fields_only(json.loads(whole_schema(name)))
    except KeyError:
        is_ours = False
    return WriterSchema(name, parsed, is_ours)


def _fields_only(schema: Any) -> Any:
    """A schema without documentation and tags, which do not change the bytes."""
    if isinstance(schema, dict):
        return {k: _fields_only(v) for k, v in schema.items() if k not in {"doc", "sensitivity"}}
    if isinstance(schema, list):
        return [_fields_only(item) for item in schema]
    return schema


def frame(schema_id: int, body: bytes) -> bytes:
    """Confluent framing of an Avro body."""
    return _FRAME.pack(MAGIC, schema_id) + body


def schema_id_of(value: bytes) -> int:
    """The schema id in framed bytes. Raises DecodeError NOT_FRAMED."""
    if len(value) < _FRAME.size or value[0] != MAGIC:
        raise DecodeError(Undecodable.NOT_FRAMED, "no Confluent framing (a zero byte and a schema id)")
    return int(_FRAME.unpack_from(value)[1])


def encode_body(name: str, record: Mapping[str, Any]) -> bytes:
    """A record of the contract as Avro, without framing. Raises ValueError where it does not fit its schema."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, parsed_schema(name), record)
    return buffer.getvalue()


def encode(name: str, record: Mapping[str, Any], schema_id: int) -> bytes:
    """A record of the contract as framed Avro. Raises ValueError where it does not fit its schema."""
    return frame(schema_id, encode_body(name, record))


def event_body(event: Event) -> bytes:
    """An event as Avro, without framing: what can be done while the registry is away."""
    return encode_body(type(event).__name__, event.model_dump())


def encode_event(event: Event, schema_id: int) -> bytes:
    """An event as framed Avro."""
    return frame(schema_id, event_body(event))


def encode_parts(event: Event, schema_id: int) -> tuple[bytes, int]:
    """An event as framed Avro, and where in it its body begins: what `decode_parts` would find."""
    head, body = parsed_parts(type(event).__name__)
    record = event.model_dump()
    buffer = io.BytesIO(_FRAME.pack(MAGIC, schema_id))
    buffer.seek(FRAMED)
    fastavro.schemaless_writer(buffer, head, record["head"])
    at = buffer.tell()
    fastavro.schemaless_writer(buffer, body, record)
    return buffer.getvalue(), at


def decode(
    value: bytes, schemas: Mapping[int, WriterSchema], expected: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Framed Avro as (short name of the record, record), resolved to our schema of it.

    `schemas` are the writers' schemas by id; `expected` is the record that the topic carries.
    Raises DecodeError with the reason.
    """
    schema = _schema_of(value, schemas, expected)
    return schema.name, _read(value, schema, _whole)


def _schema_of(value: bytes, schemas: Mapping[int, WriterSchema], expected: str | None) -> WriterSchema:
    schema_id = schema_id_of(value)
    schema = schemas.get(schema_id)
    if schema is None:
        raise DecodeError(Undecodable.UNKNOWN_SCHEMA, f"schema id {schema_id} is not in the registry")
    if expected is not None and schema.name != expected:
        raise DecodeError(Undecodable.WRONG_TYPE, f"a {schema.name} on a topic of {expected}")
    return schema


T = TypeVar("T")


def _read(value: bytes, schema: WriterSchema, read: Callable[[io.BytesIO, WriterSchema], T], at: int = FRAMED) -> T:
    """What `read` finds from a position to the end."""
    buffer = io.BytesIO(value)
    buffer.seek(at)
    try:
        found = read(buffer, schema)
    except KeyError as error:
        raise DecodeError(Undecodable.WRONG_TYPE, f"{schema.name} is no record of the contract") from error
    except Exception as error:
        # fastavro raises whatever its C code runs into on broken bytes: EOFError, IndexError, ValueError, ...
        raise DecodeError(Undecodable.BROKEN_AVRO, f"the bytes do not fit the schema of {schema.name}") from error
    if buffer.read(1):
        raise DecodeError(Undecodable.BROKEN_AVRO, f"bytes are left over after the {schema.name}")
    return found


def _whole(buffer: io.BytesIO, schema: WriterSchema) -> dict[str, Any]:
    return _record(fastavro.schemaless_reader(buffer, schema.parsed, None if schema.is_ours else _ours(schema)))


def _ours(schema: WriterSchema) -> Any:
    return parsed_schema(schema.name)


def _record(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TypeError("no record")
    return found


def _head_and_body(buffer: io.BytesIO, schema: WriterSchema) -> tuple[dict[str, Any], int]:
    """An event, and where its body begins; 0 where the writer's schema is not ours: its fields may lie elsewhere."""
    if not schema.is_ours or schema.name not in EVENT_TYPES:
        return _whole(buffer, schema), 0
    head, body = parsed_parts(schema.name)
    read = _record(fastavro.schemaless_reader(buffer, head, None))
    at = buffer.tell()
    return {"head": read, **_record(fastavro.schemaless_reader(buffer, body, None))}, at


def _body(buffer: io.BytesIO, schema: WriterSchema) -> dict[str, Any]:
    return _record(fastavro.schemaless_reader(buffer, parsed_parts(schema.name)[1], None))


def in_our_schema(name: str, body: bytes, schema: str) -> bytes | None:
    """An event's Avro that was written with another schema of it, without framing, as our own schema has it.

    None where something that it says has no place in our schema. Raises DecodeError.
    """
    record = _read(body, writer_schema(schema), _all_of_it, at=0)
    return None if record is None else encode_body(name, record)


def says_more(value: bytes, schemas: Mapping[int, WriterSchema]) -> bool:
    """Whether something that a framed record says has no place in our schema of it, and `decode` leaves it out or can't
    read it. Raises DecodeError where it is no record of the contract."""
    schema = _schema_of(value, schemas, None)
    return not schema.is_ours and _read(value, schema, _all_of_it) is None


def _all_of_it(buffer: io.BytesIO, schema: WriterSchema) -> dict[str, Any] | None:
    """A record in our schema; None where something that it says has no place there."""
    ours, at = _ours(schema), buffer.tell()
    written = fastavro.schemaless_reader(buffer, schema.parsed, None)
    end = buffer.tell()
    buffer.seek(at)
    try:
        read = _record(fastavro.schemaless_reader(buffer, schema.parsed, ours))
    except fastavro.read.SchemaResolutionError:
        # It stopped somewhere: what is left over is counted from the end of the record.
        buffer.seek(end)
        return None
    return read if _holds(read, written) else None


def _holds(read: Any, written: Any) -> bool:
    """Whether everything that was written was read."""
    if isinstance(read, dict) and isinstance(written, dict):
        return all(name in read and _holds(read[name], value) for name, value in written.items())
    if isinstance(read, list) and isinstance(written, list):
        return len(read) == len(written) and all(map(_holds, read, written))
    return bool(read == written)


def event_of(name: str, record: Mapping[str, Any]) -> Event:
    """A decoded record as a typed event. Raises DecodeError SENSELESS_VALUE naming the fields, never their values."""
    return _typed(EVENT_TYPES, name, record)


def _typed(models: Mapping[str, type[B]], name: str, record: Mapping[str, Any]) -> B:
    model = models.get(name)
    if model is None:
        raise DecodeError(Undecodable.WRONG_TYPE, f"{name} is no event that agencies publish")
    try:
        return model.model_validate(record)
    except ValidationError as error:
        where = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {_without_value(item['msg'])}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise DecodeError(Undecodable.SENSELESS_VALUE, f"{name}: {where}") from error


def _without_value(message: str) -> str:
    return message.removeprefix("Value error, ")


def decode_event(value: bytes, schemas: Mapping[int, WriterSchema], expected: str | None = None) -> Event:
    """Framed Avro as a typed event. Raises DecodeError with the reason."""
    return decode_parts(value, schemas, expected)[0]


def decode_parts(value: bytes, schemas: Mapping[int, WriterSchema], expected: str | None = None) -> tuple[Event, int]:
    """An event, and where in `value` its body begins: what `decode_body` wants. Raises DecodeError."""
    schema = _schema_of(value, schemas, expected)
    record, at = _read(value, schema, _head_and_body)
    return event_of(schema.name, record), at


def decode_body(value: bytes, at: int, schemas: Mapping[int, WriterSchema]) -> Body:
    """The body of an event that begins at `at`; 0 where that is not known. Raises DecodeError."""
    schema = _schema_of(value, schemas, None)
    if at and schema.is_ours:
        return _typed(BODY_TYPES, schema.name, _read(value, schema, _body, at))
    record = _read(value, schema, _whole)
    record.pop("head", None)
    return _typed(BODY_TYPES, schema.name, record)


def digest(content: Any) -> str:
    """SHA-256 of any JSON-like content, in hexadecimal: equal content has an equal digest, whatever its key order."""
    return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=list)
