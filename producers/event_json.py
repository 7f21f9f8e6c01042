"""Events as people and scripts write them: JSON to typed events, with errors that say which field is wrong and why.

No message shows a value: they are personal data, and messages end up in logs and tickets.
"""

from __future__ import annotations

import difflib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import SEEK_END
from typing import Any, BinaryIO, Final, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from schemas.events import EVENT_TYPES, Event, Head, PersonId, PersonRef
from schemas.site import Agency

EVENT_NAMESPACE: Final = uuid.UUID("e7e47000-5a11-5e07-8a11-000000000002")
"""Namespace of event ids that are made from an event's content (UUIDv5)."""
TIME_FIELDS: Final = frozenset(
    {"time", "purge_by", "admitted", "last_listed", "expected_from", "expected_until", "starts", "ends", "returns"}
)
"""Fields in microseconds, which people may write as RFC 3339 text with an offset."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LOOKS_LIKE_SECONDS: Final = 10_000_000_000_000
"""Numbers from 0 up to this are seconds or milliseconds of our days; as microseconds they are of spring 1970."""
RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)?")
MOST_WHOLE: Final = 32 * 1024 * 1024
"""Bytes of what is read in one go: an array, an object over several lines, one line."""
BOM: Final = "\ufeff".encode()
SHOWN_NAME: Final = 40
"""Characters of an unknown field's name that are shown."""

Field = tuple[str | int, ...]
"""Path of a field in an event."""
Json = dict[str, Any]
"""An event as it was written."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one event."""

    line: int
    """Line of the input on which the event begins, from 1."""
    field: str
    """Path of the field, such as `head.persons.0.ids.0.kind`; empty for the whole event."""
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.why}" if self.field else f"line {self.line}: {self.why}"


class Parsed(NamedTuple):
    """One event of the input, or what is wrong with it."""

    line: int
    written: Any
    """As it was written: an object, or text where it is no JSON, or need not be taken apart."""
    event: Event | None
    problems: tuple[Problem, ...]


class UnreadableError(Exception):
    """A file can't be read as events at all; the message says where, and what to do."""


class _NotReadableError(Exception):
    """The text is no JSON; the message says where and why."""

    written = ""
    """The text."""


def parse(
    file: BinaryIO, agency: Agency, event_type: str | None = None, most_bytes: int = MOST_WHOLE
) -> Iterator[Parsed]:
    """Events from a JSON array, one JSON object, or JSON Lines, one after the other, from the file's beginning on.

    What the publisher's own desk knows may be left out: `type` (where `event_type` is given), `head.ori`,
    `head.source_system` ("manual"), `head.event_id` (made from the content: publishing the same twice is publishing it
    once), empty lists.
    The file may be larger than memory: JSON Lines are read line by line, and at most `most_bytes` in one go.
    Raises UnreadableError, OSError.
    """
    return _parsed(_items_of(file, most_bytes), lambda _: agency, event_type)


def parse_of_several(text: str, by_ori: Mapping[str, Agency]) -> Iterable[Parsed]:
    """As `parse`, of a text with events of several agencies: each says whose it is, in `head.ori`."""
    event = _complete(text.rstrip(_SPACE), by_ori)
    if event is not None:
        return (Parsed(1, text, event, ()),)
    return _parsed(_items(text), lambda item: by_ori.get(_ori(item)), None)


def _parsed(
    items: Iterable[tuple[int, Any]], whose: Callable[[Json], Agency | None], event_type: str | None
) -> Iterator[Parsed]:
    for line, item in items:
        if isinstance(item, _NotReadableError):
            yield _broken(line, item.written, str(item))
        elif not isinstance(item, dict):
            yield _broken(line, item, 'an event is a JSON object, such as {"type": "HousingAssigned", ...}')
        elif (agency := whose(item)) is None:
            yield _broken(line, item, "is not that of an agency of the site", "head.ori")
        else:
            yield _one(line, item, agency, event_type)


# -- an event that lacks nothing -------------------------------------------------------------------------------------

_SPACE: Final = " \t\r\n"
"""What JSON lets stand between things."""
_TYPE_FIRST: Final = re.compile(r'\s*\{\s*"type":\s*"(\w+)"\s*,')
_TIMES: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(sorted(TIME_FIELDS & model.model_fields.keys())) for name, model in EVENT_TYPES.items()
}
"""By type of event: the fields of its body that are times."""
_NAMES_OF_A_HEAD: Final = len(Head.model_fields)
_NAMES_OF_A_PERSON: Final = len(PersonRef.model_fields)
_NAMES_OF_A_NUMBER: Final = len(PersonId.model_fields)


def _complete(text: str, by_ori: Mapping[str, Agency]) -> Event | None:
    """The event of a text that begins with its type, leaves nothing out and has its times as numbers, as programs write
    it: read in one go, at half the price. None for everything else, which may be an event all the same."""
    begins = _TYPE_FIRST.match(text)
    model = EVENT_TYPES.get(begins[1]) if begins else None
    if begins is None or model is None or not _names_can_be_counted(text):
        return None
    try:
        event = model.model_validate_json("{" + text[begins.end() :], strict=True)
    except ValidationError:
        return None
    head = event.head
    agency = by_ori.get(head.ori)
    if agency is None or begins[1] not in agency.event_types:
        return None
    times = [head.time, head.handling.purge_by, *[getattr(event, name) for name in _TIMES[begins[1]]]]
    if any(time is not None and _looks_like_seconds(time) for time in times):
        return None
    # Of a name that is there twice the last one was read.
    return event if text.count('":') == 1 + _names(event) else None


def _names_can_be_counted(text: str) -> bool:
    """Whether each '":' ends a name, and each name ends so."""
    return not ("\\" in text or "\t" in text or "\r" in text or "\n" in text or '" ' in text)


def _names(event: Event) -> int:
    """How many names of fields an event was read from."""
    head = event.head
    # What a head, its persons and their numbers have is never left out: the models know how many names these are.
    persons = [_NAMES_OF_A_PERSON + _NAMES_OF_A_NUMBER * len(ref.ids) for ref in head.persons]
    return len(event.model_fields_set) + _NAMES_OF_A_HEAD + len(head.handling.model_fields_set) + sum(persons)


# -- reading JSON ----------------------------------------------------------------------------------------------------


def _items(text: str) -> Iterable[tuple[int, Any]]:
    """What is written in a JSON array, a single object, or JSON Lines, each with the line on which it begins."""
    if text.lstrip().startswith("["):
        return _array(text)
    try:
        whole = _loads(text)
    except _NotReadableError:
        # Only at \n: str.splitlines would also split at characters that JSON allows in a string.
        return _lines(text.split("\n"))
    return [(_line_at(text, len(text) - len(text.lstrip())), whole)]


def _items_of(file: BinaryIO, most_bytes: int) -> Iterator[tuple[int, Any]]:
    """As `_items`, of a file: whole only where its first line is not whole by itself."""
    size = file.seek(0, SEEK_END)
    first = _first_line(file, most_bytes)
    is_array = first.startswith("[")
    if is_array and size > most_bytes:
        raise UnreadableError(f"an array of more than {_megabytes(most_bytes)}: split it, or write one event a line")
    file.seek(0)
    if is_array or (size <= most_bytes and not _is_json(first)):
        yield from _items(_text(file.read(), 0))
    else:
        yield from _lines(_lines_of(file, most_bytes))


def _first_line(file: BinaryIO, most_bytes: int) -> str:
    """The first line with anything on it, or so much of it; empty where there is none."""
    file.seek(0)
    for raw in iter(lambda: file.readline(most_bytes), b""):
        if line := raw.removeprefix(BOM).decode(errors="replace").strip():
            return line
    return ""


def _is_json(text: str) -> bool:
    try:
        _loads(text)
    except _NotReadableError:
        return False
    return True


def _lines_of(file: BinaryIO, most_bytes: int) -> Iterator[str]:
    at = 0
    for number, raw in enumerate(iter(lambda: file.readline(most_bytes + 1), b""), start=1):
        if len(raw) > most_bytes:
            raise UnreadableError(f"line {number} has more than {_megabytes(most_bytes)}: write one event a line")
        yield _text(raw, at).removesuffix("\n")
        at += len(raw)


def _text(raw: bytes, at: int) -> str:
    """What stands in a file from a byte on. Raises UnreadableError."""
    begins = len(BOM) if at == 0 and raw.startswith(BOM) else 0
    try:
        return raw[begins:].decode()
    except UnicodeDecodeError as error:
        where = at + begins + error.start
        raise UnreadableError(f"not UTF-8 at byte {where}: save it as UTF-8") from error


def _megabytes(count: int) -> str:
    return f"{count / 1024 / 1024:g} MiB"


def _array(text: str) -> Iterator[tuple[int, Any]]:
    """The items of an array, each with the line on which it begins, up to the first that can't be read."""
    at = _skip(text, text.index("[") + 1)
    line, counted = 1, 0
    try:
        more = text[at : at + 1] != "]"
        while more:
            line, counted = line + text.count("\n", counted, at), at
            item, end = _DECODER.raw_decode(text, at)
            yield line, item
            at = _skip(text, end)
            more = text[at : at + 1] == ","
            if more:
                at = _skip(text, at + 1)
            elif text[at : at + 1] != "]":
                raise json.JSONDecodeError("expected , or ] after an event", text, at)
        if _skip(text, at + 1) != len(text):
            raise json.JSONDecodeError("something follows after the array", text, _skip(text, at + 1))
    except (ValueError, RecursionError, _NotReadableError) as error:
        where = error.lineno if isinstance(error, json.JSONDecodeError) else line
        broken = _not_readable(error)
        broken.written = text
        yield where, broken


def _lines(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, _loads(line)
            except _NotReadableError as error:
                error.written = line
                yield number, error


def _loads(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _not_readable(error) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are each there once: json would take the last one without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise _NotReadableError(f"no JSON: {_shown(twice)} is there twice in one object")
    return found


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object)


def _not_readable(error: Exception) -> _NotReadableError:
    if isinstance(error, _NotReadableError):
        return error
    if isinstance(error, json.JSONDecodeError):
        return _NotReadableError(f"no JSON: {error.msg} at column {error.colno}")
    if isinstance(error, RecursionError):
        return _NotReadableError("no event: nested too deeply")
    return _NotReadableError("no JSON: a number is too long")


def _skip(text: str, at: int) -> int:
    """The next place that is not white space."""
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _line_at(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


# -- from JSON to an event -------------------------------------------------------------------------------------------


def _broken(line: int, written: Any, why: str, field: str = "") -> Parsed:
    return Parsed(line, written, None, (Problem(line, field, why),))


def _ori(item: Json) -> str:
    """Whose event it says to be; empty where it does not say."""
    head = item.get("head")
    ori = head.get("ori") if isinstance(head, dict) else None
    return ori if isinstance(ori, str) else ""


def _one(line: int, item: Json, agency: Agency, event_type: str | None) -> Parsed:
    name = item.get("type", event_type)
    if not isinstance(name, str) or name not in EVENT_TYPES:
        why = f"must be one of {', '.join(sorted(EVENT_TYPES))}{_meant(name, EVENT_TYPES)}"
        return _broken(line, item, "is missing: it " + why if name is None else why, "type")
    if name not in agency.event_types:
        why = f"{agency.id} may not publish {name}; it may publish {', '.join(agency.event_types)}"
        return _broken(line, item, why, "type")
    try:
        event, problems = _validated(EVENT_TYPES[name], {k: v for k, v in item.items() if k != "type"}, agency)
    except RecursionError as error:
        return _broken(line, item, str(_not_readable(error)))
    return Parsed(line, item, event, tuple(Problem(line, _path(field), why) for field, why in problems))


def _validated(
    model: type[Event], shape: Mapping[str, Any], agency: Agency
) -> tuple[Event | None, list[tuple[Field, str]]]:
    """The event, or what is wrong with it."""
    completed, wrong_times = _completed(shape, agency)
    head = completed["head"]
    if isinstance(head, dict) and "event_id" not in head:
        content = json.dumps({"type": model.__name__, **completed}, sort_keys=True)
        head["event_id"] = str(uuid.uuid5(EVENT_NAMESPACE, content))
    problems: list[tuple[Field, str]] = list(wrong_times.items())
    try:
        # Strict: "no" is not false, and "3" is no number.
        event = model.model_validate_json(_as_json(completed), strict=True)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        problems += [
            (one["loc"], _why(model, one))
            for one in wrong
            if one["loc"] not in wrong_times and not (one["type"] == "too_short" and _has_deeper(one["loc"], wrong))
        ]
        return None, problems
    return (None, problems) if problems else (event, [])


def _as_json(shape: Json) -> bytes:
    try:
        return to_json(shape, inf_nan_mode="constants")
    except ValueError:
        # Half a character, or too deep: what says where it is, is below.
        return json.dumps(shape).encode()


def _has_deeper(field: Field, wrong: Iterable[Any]) -> bool:
    """Whether something is wrong inside: a list whose only item is wrong also counts as empty."""
    return any(one["loc"][: len(field)] == field and len(one["loc"]) > len(field) for one in wrong)


def _completed(shape: Mapping[str, Any], agency: Agency) -> tuple[dict[str, Any], dict[Field, str]]:
    """The event with what may be left out and with times as microseconds, and the times that can't be read."""
    wrong: dict[Field, str] = {}
    completed = _with_times(shape, (), wrong)
    head = completed.setdefault("head", {})
    if isinstance(head, Mapping):
        defaults = {"ori": agency.ori, "source_system": "manual", "persons": [], "handling": {}}
        head = completed["head"] = defaults | _with_times(head, ("head",), wrong)
        if isinstance(head["handling"], Mapping):
            head["handling"] = _with_times(head["handling"], ("head", "handling"), wrong)
    return completed, wrong


def _with_times(shape: Mapping[str, Any], where: Field, wrong: dict[Field, str]) -> dict[str, Any]:
    read = dict(shape)
    for name in TIME_FIELDS & shape.keys():
        time = _microseconds(shape[name])
        if isinstance(time, str):
            wrong[(*where, name)] = time
        else:
            read[name] = time
    return read


def _microseconds(written: Any) -> Any:
    """A time as microseconds, or in a string why it is none. What is no time at all is left to the schema."""
    if isinstance(written, int) and not isinstance(written, bool) and _looks_like_seconds(written):
        return "looks like seconds or milliseconds: must be microseconds since 1970, or RFC 3339 text"
    if not isinstance(written, str):
        return written
    try:
        if not RFC_3339.fullmatch(written):
            raise ValueError
        moment = datetime.fromisoformat(written.upper())
    except ValueError:
        return "must be RFC 3339, such as 2026-03-01T14:02:00-05:00, or microseconds since 1970"
    if moment.tzinfo is None:
        return "lacks the offset from UTC, such as -05:00 or Z"
    return (moment - EPOCH) // timedelta(microseconds=1)


def _looks_like_seconds(number: int) -> bool:
    return 0 < number < LOOKS_LIKE_SECONDS


# -- saying what is wrong --------------------------------------------------------------------------------------------


def _path(where: Iterable[str | int]) -> str:
    return ".".join(_shown(str(part)) for part in where)


def _shown(name: str) -> str:
    """A field's name as it may be shown: it is written by who knows whom, and ends up in a terminal."""
    plain = "".join(c if c.isprintable() else "?" for c in name)
    return plain if len(plain) <= SHOWN_NAME else plain[:SHOWN_NAME] + "..."


_WHY: Final = {
    "missing": "is missing",
    "json_invalid": "holds half a character, or is nested too deeply",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be an object",
    "string_too_short": "must not be empty",
    "too_short": "must have at least one",
}


def _why(model: type[BaseModel], wrong: Any) -> str:
    if wrong["type"] == "extra_forbidden":
        known = list(_fields_at(model, wrong["loc"][:-1]))
        return f"is no field of it{_meant(wrong['loc'][-1], known)}"
    if wrong["type"] == "enum":
        return f"must be one of {wrong['ctx']['expected']}".replace("'", "").replace(" or ", ", ")
    said = str(wrong["msg"]).removeprefix("Value error, ")
    return str(_WHY.get(wrong["type"], said.replace("Input should be", "must be").replace("String should", "must")))


def _fields_at(model: type[BaseModel], where: Iterable[Any]) -> Iterable[str]:
    """The fields of the record at a path."""
    for part in where:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        model = next(a for a in (annotation, *getattr(annotation, "__args__", ())) if _is_model(a))
    return model.model_fields


def _is_model(what: Any) -> bool:
    return isinstance(what, type) and issubclass(what, BaseModel)


def _meant(written: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(written), list(known), n=1)
    return f": did you mean {close[0]}?" if close else ""
