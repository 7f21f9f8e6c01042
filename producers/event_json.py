"""Events as people and scripts write them: JSON to typed events, with errors that say which field is wrong and why.

No message shows a value: they are personal data, and messages end up in logs and tickets.
"""

from __future__ import annotations

import difflib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from schemas.events import EVENT_TYPES, Event
from schemas.site import Agency

EVENT_NAMESPACE: Final = uuid.UUID("e7e47000-5a11-5e07-8a11-000000000002")
"""Namespace of event ids that are made from an event's content (UUIDv5)."""
TIME_FIELDS: Final = frozenset({"time", "purge_by", "admitted", "last_listed"})
"""Fields in microseconds, which people may write as RFC 3339 text with an offset."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one event."""

    line: int
    """Line of the input, from 1; for a JSON array the number of the event."""
    field: str
    """Path of the field, such as `head.persons.0.ids.0.kind`; empty for the whole line."""
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.why}" if self.field else f"line {self.line}: {self.why}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """One event of the input, or what is wrong with it."""

    line: int
    text: str
    event: Event | None
    problems: tuple[Problem, ...]


def parse(text: str, agency: Agency) -> Iterator[Parsed]:
    """Events from a JSON array, one JSON object, or JSON Lines, one after the other.

    What the publisher's own desk knows may be left out: `head.ori`, `head.source_system` ("manual"),
    `head.event_id` (made from the content: publishing the same twice is publishing it once), empty lists.
    """
    stripped = text.lstrip()
    if stripped.startswith("["):
        yield from _array(stripped, agency)
        return
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict):
        yield _one(1, json.dumps(whole), whole, agency)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield _line(number, line, agency)


def _array(text: str, agency: Agency) -> Iterator[Parsed]:
    try:
        whole = json.loads(text)
    except ValueError as error:
        yield _broken(1, text, f"no JSON: {_json_error(error)}")
        return
    for number, item in enumerate(whole, start=1):
        yield _one(number, json.dumps(item), item, agency)


def _line(number: int, line: str, agency: Agency) -> Parsed:
    try:
        item = json.loads(line)
    except ValueError as error:
        return _broken(number, line, f"no JSON: {_json_error(error)}")
    return _one(number, line, item, agency)


def _json_error(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "not readable"


def _broken(number: int, text: str, why: str, field: str = "") -> Parsed:
    return Parsed(number, text, None, (Problem(number, field, why),))


def _one(number: int, text: str, item: Any, agency: Agency) -> Parsed:
    if not isinstance(item, dict):
        return _broken(number, text, 'an event is a JSON object, such as {"type": "HousingAssigned", ...}')
    name = item.get("type")
    if not isinstance(name, str) or name not in EVENT_TYPES:
        return _broken(
            number, text, f"must be one of {', '.join(sorted(EVENT_TYPES))}{_meant(name, EVENT_TYPES)}", "type"
        )
    if name not in agency.event_types:
        why = f"{agency.id} may not publish {name}; it may publish {', '.join(agency.event_types)}"
        return _broken(number, text, why, "type")
    shape = {key: value for key, value in item.items() if key != "type"}
    try:
        completed = _completed(name, shape, agency)
        return Parsed(number, text, EVENT_TYPES[name].model_validate(completed), ())
    except _TimeError as error:
        return _broken(number, text, error.why, error.field)
    except ValidationError as error:
        problems = tuple(_problem(number, EVENT_TYPES[name], item) for item in error.errors(include_url=False))
        return Parsed(number, text, None, problems)


class _TimeError(Exception):
    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field
        self.why = why


def _completed(name: str, shape: Mapping[str, Any], agency: Agency) -> dict[str, Any]:
    """The event with what may be left out, and with times as microseconds."""
    head = shape.get("head", {})
    if not isinstance(head, Mapping):
        return dict(shape)
    full_head = {"ori": agency.ori, "source_system": "manual", "persons": [], "handling": {}, **head}
    completed = {key: _microseconds(key, value) for key, value in shape.items()}
    completed["head"] = {key: _microseconds(f"head.{key}", value) for key, value in full_head.items()}
    if isinstance(full_head["handling"], Mapping):
        handling = full_head["handling"]
        completed["head"]["handling"] = {k: _microseconds(f"head.handling.{k}", v) for k, v in handling.items()}
    if "event_id" not in head:
        content = json.dumps({"type": name, **completed}, sort_keys=True, default=str)
        completed["head"]["event_id"] = str(uuid.uuid5(EVENT_NAMESPACE, content))
    return completed


def _microseconds(path: str, value: Any) -> Any:
    if path.rpartition(".")[2] not in TIME_FIELDS or not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        why = "must be RFC 3339, such as 2026-03-01T14:02:00-05:00, or microseconds since 1970"
        raise _TimeError(path, why) from error
    if moment.tzinfo is None:
        raise _TimeError(path, "lacks the offset from UTC, such as -05:00 or Z")
    return round(moment.timestamp() * 1_000_000)


def _problem(number: int, model: type[BaseModel], item: Any) -> Problem:
    path = ".".join(str(part) for part in item["loc"])
    match item["type"]:
        case "missing":
            why = "is missing"
        case "extra_forbidden":
            why = f"is no field of it{_meant(item['loc'][-1], _fields_at(model, item['loc'][:-1]))}"
        case _:
            why = str(item["msg"]).removeprefix("Value error, ")
    return Problem(number, path, why)


def _fields_at(model: type[BaseModel], where: Iterable[Any]) -> Iterable[str]:
    """The fields of the record at a path."""
    for part in where:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [a for a in (annotation, *getattr(annotation, "__args__", ())) if _is_model(a)]
        if not inner:
            return ()
        model = inner[0]
    return model.model_fields


def _is_model(what: Any) -> bool:
    return isinstance(what, type) and issubclass(what, BaseModel)


def _meant(written: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(written), list(known), n=1)
    return f": did you mean {close[0]}?" if close else ""
