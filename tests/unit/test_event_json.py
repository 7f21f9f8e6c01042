"""JSON to events: what may be left out is filled in, what is wrong is named with its field, and no value is shown."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from producers.event_json import TIME_FIELDS, Parsed, UnreadableError, parse, parse_of_several
from schemas.events import EARLIEST_TIME, EVENT_TYPES, Head, HousingAssigned, PersonId, PersonRef
from tests.county import SITE
from tests.json_text import parse_text

JAIL = SITE.agency_by_id["county-jail"]
ID = {"kind": "LOCAL", "value": "SECRET-7", "issuer": "jms", "verified": "SYSTEM"}
PERSON = {"role": "SUBJECT", "ids": [ID]}


def housing(**changes: Any) -> dict[str, Any]:
    return {
        "type": "HousingAssigned",
        "head": {"time": "2026-03-01T14:02:00-05:00", "persons": [PERSON]},
        "facility": "county-jail-main",
        "booking_number": "B-7",
        "unit": "4-A",
        **changes,
    }


def one(what: Any) -> Parsed:
    (parsed,) = parse_text(json.dumps(what), JAIL)
    return parsed


def test_what_the_desk_knows_is_filled_in() -> None:
    event = one(housing()).event
    assert isinstance(event, HousingAssigned)
    assert (event.head.ori, event.head.source_system) == (JAIL.ori, "manual")
    assert event.head.time == 1_772_391_720_000_000


def test_the_same_content_is_the_same_event_and_another_is_another() -> None:
    first, again, other = one(housing()).event, one(housing()).event, one(housing(unit="4-B")).event
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.head.event_id == again.head.event_id != other.head.event_id


@pytest.mark.parametrize(
    ("written", "micros"),
    [
        ("2026-03-01T14:02:00-05:00", 1_772_391_720_000_000),
        ("2026-03-01T19:02:00Z", 1_772_391_720_000_000),
        ("2026-03-01 19:02:00.123456z", 1_772_391_720_123_456),
        (1_772_391_720_123_457, 1_772_391_720_123_457),
        ("1950-01-01T00:00:00Z", -631_152_000_000_000),
    ],
)
def test_times_are_rfc_3339_or_microseconds_and_equal_times_are_equal_events(written: str | int, micros: int) -> None:
    event = one(housing(head={"time": written, "persons": [PERSON], "handling": {"purge_by": written}})).event
    assert event is not None
    assert (event.head.time, event.head.handling.purge_by) == (micros, micros)
    same = one(housing(head={"time": micros, "persons": [PERSON], "handling": {"purge_by": micros}})).event
    assert event == same


def test_every_field_that_is_a_time_may_be_written_as_text() -> None:
    def times(model: type[BaseModel]) -> set[str]:
        here = {n for n, f in model.model_fields.items() if str(EARLIEST_TIME) in repr(f)}
        inner = (a for f in model.model_fields.values() for a in (f.annotation, *getattr(f.annotation, "__args__", ())))
        return here.union(*(times(a) for a in inner if isinstance(a, type) and issubclass(a, BaseModel)))

    found = set().union(*(times(model) for model in EVENT_TYPES.values()))
    assert found | {"purge_by"} == TIME_FIELDS


def test_an_event_without_its_type_is_of_the_type_that_was_asked_for() -> None:
    untyped = {key: value for key, value in housing().items() if key != "type"}
    (parsed,) = parse_text(json.dumps(untyped), JAIL, "HousingAssigned")
    assert parsed.event == one(housing()).event
    (parsed,) = parse_text(json.dumps(untyped), JAIL)
    assert [problem.field for problem in parsed.problems] == ["type"]


HEAD = {"time": 1_772_391_720_000_000, "persons": [PERSON]}


@pytest.mark.parametrize(
    ("wrong", "field", "why"),
    [
        (housing(unti="4-A"), "unti", "is no field of it: did you mean unit?"),
        (
            housing(head={**HEAD, "sauce_system": "x"}),
            "head.sauce_system",
            "is no field of it: did you mean source_system?",
        ),
        (housing(head={**HEAD, "persons": [{**PERSON, "rol": "x"}]}), "head.persons.0.rol", "did you mean role?"),
        ({k: v for k, v in housing().items() if k != "unit"}, "unit", "is missing"),
        ({k: v for k, v in housing().items() if k != "head"}, "head.time", "is missing"),
        (housing(type="HousingAssignd"), "type", "did you mean HousingAssigned?"),
        (housing(type=None), "type", "is missing: it must be one of"),
        (housing(type="StreetViolenceReported"), "type", "county-jail may not publish StreetViolenceReported"),
        (housing(head={**HEAD, "time": "2026-03-01T14:02:00"}), "head.time", "lacks the offset from UTC"),
        (housing(head={**HEAD, "time": "yesterday"}), "head.time", "must be RFC 3339"),
        (housing(head={**HEAD, "time": "20260301T140200Z"}), "head.time", "must be RFC 3339"),
        (housing(head={**HEAD, "time": 1_772_391_720}), "head.time", "looks like seconds"),
        (housing(head={**HEAD, "time": 1_772_391_720_000}), "head.time", "looks like seconds or milliseconds"),
        (housing(head={**HEAD, "time": True}), "head.time", "must be a whole number"),
        (housing(head={**HEAD, "time": 1e30}), "head.time", "must be a whole number"),
        (housing(head={**HEAD, "handling": {"purge_by": "soon"}}), "head.handling.purge_by", "must be RFC 3339"),
        (housing(head={"persons": [PERSON]}), "head.time", "is missing"),
        (housing(head=7), "head", "must be an object"),
        (housing(unit=7), "unit", "must be text"),
        (housing(unit=""), "unit", "must not be empty"),
        (housing(head={**HEAD, "persons": PERSON}), "head.persons", "must be a list"),
        (housing(head={**HEAD, "ori": "ny"}), "head.ori", "must be an ORI"),
        (housing(head={**HEAD, "event_id": "SECRET-7"}), "head.event_id", "UUID"),
        (
            housing(head={**HEAD, "persons": [{**PERSON, "ids": [{**ID, "kind": "SECRET-7"}]}]}),
            "head.persons.0.ids.0.kind",
            "must be one of UNKNOWN, LOCAL, SID, UCN",
        ),
        (
            housing(type="DisciplinaryRecorded", infraction="", severity="MAJOR", violent="no"),
            "violent",
            "true or false",
        ),
        ([1], "", "an event is a JSON object"),
    ],
)
def test_the_wrong_field_is_named_with_why_and_without_its_value(wrong: Any, field: str, why: str) -> None:
    parsed = one(wrong)
    assert parsed.event is None
    assert any(problem.field == field and why in problem.why for problem in parsed.problems), parsed.problems
    assert "SECRET-7" not in " ".join(map(str, parsed.problems))


def test_every_wrong_field_is_told_at_once_and_only_those() -> None:
    kind = {**PERSON, "ids": [{**ID, "kind": "LOCL"}]}
    wrong = housing(head={"time": "soon", "persons": [kind]}, unit=None, booking_number=7)
    fields = {problem.field for problem in one(wrong).problems}
    assert fields == {"head.time", "head.persons.0.ids.0.kind", "unit", "booking_number"}


def test_a_field_s_name_cannot_write_to_the_terminal() -> None:
    (problem,) = one(housing(**{"\x1b[2J" + "x" * 100: 1})).problems
    assert problem.field.isprintable()
    assert len(problem.field) < 50


def test_lines_an_array_and_one_object_are_all_taken_with_the_line_where_each_begins() -> None:
    lines = "\n\n".join(json.dumps(housing(unit=unit)) for unit in ("4-A", "4-B"))
    assert [(p.line, p.event is not None) for p in parse_text(lines, JAIL)] == [(1, True), (3, True)]
    array = json.dumps([housing(), housing(unit="4-B")], indent=1)
    assert [(p.line, p.event is not None) for p in parse_text(array, JAIL)] == [
        (2, True),
        (2 + len(json.dumps(housing(), indent=1).split("\n")), True),
    ]
    assert [p.line for p in parse_text("\n\n" + json.dumps(housing(), indent=2), JAIL)] == [3]
    assert list(parse_text("", JAIL)) == list(parse_text(" [ ] \n", JAIL)) == []


def test_lines_may_end_as_on_windows_and_hold_any_character_that_json_allows() -> None:
    text = "\r\n".join(json.dumps(housing(unit=unit), ensure_ascii=False) for unit in ("4\u2028A", "4\x85B"))
    assert [p.event.unit for p in parse_text(text, JAIL) if isinstance(p.event, HousingAssigned)] == [
        "4\u2028A",
        "4\x85B",
    ]


def test_a_line_that_is_no_json_spoils_only_itself() -> None:
    bad, good = parse_text('{"type": \n' + json.dumps(housing()), JAIL)
    assert (bad.problems[0].line, bad.written) == (1, '{"type": ')
    assert "no JSON" in bad.problems[0].why
    assert good.event is not None


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("[%s,\n%s", 2, "expected , or ] after an event"),
        ("[%s,\n%s] [", 2, "something follows after the array"),
        ('[%s,\n%s,\n{"a": ]', 3, "no JSON: Expecting value at column"),
        ("[%s,\n%s,\n]", 3, "no JSON: Expecting value at column 1"),
    ],
)
def test_a_broken_array_is_broken_where_it_breaks(text: str, line: int, why: str) -> None:
    event = json.dumps(housing())
    *good, bad = parse_text(text % (event, event), JAIL)
    assert [parsed.event is not None for parsed in good] == [True, True]
    assert bad.problems[0].line == line
    assert why in bad.problems[0].why


def test_a_name_that_is_there_twice_is_not_settled_silently() -> None:
    text = json.dumps(housing()).replace('"unit"', '"unit": "4-B", "unit"')
    for written in (text, f"[{text}]"):
        (parsed,) = parse_text(written, JAIL)
        assert [str(problem) for problem in parsed.problems] == ["line 1: no JSON: unit is there twice in one object"]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"type": "EventWithdrawn", "x": ' + "[" * 900 + "]" * 900 + "}", "9" * 5000]
)
def test_what_would_break_a_parser_is_only_wrong(text: str) -> None:
    assert [parsed.event for parsed in parse_text(text, JAIL)] == [None]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["type", "head", "facility", "booking_number", "unit", "cell"]


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING), st.dictionaries(st.sampled_from(list(HEAD)), ANYTHING))
def test_whatever_is_written_is_an_event_or_has_a_reason(changes: dict[str, Any], head: dict[str, Any]) -> None:
    for parsed in parse_text(json.dumps({**housing(), "head": {**HEAD, **head}, **changes}), JAIL):
        assert (parsed.event is None) == bool(parsed.problems)


@given(st.text())
def test_whatever_text_there_is_is_read_or_has_a_reason(text: str) -> None:
    for parsed in parse_text(text, JAIL):
        assert (parsed.event is None) == bool(parsed.problems)


BY_ORI = {agency.ori: agency for agency in SITE.agencies}


@pytest.mark.parametrize(
    "head", [None, [], "x", {}, {"ori": None}, {"ori": []}, {"ori": "NY0000000"}, {"ori": "SECRET-7", "time": 1}]
)
def test_where_several_agencies_tell_an_event_that_names_none_of_them_is_wrong(head: Any) -> None:
    (parsed,) = parse_of_several(json.dumps(housing(head=head)), BY_ORI)
    assert [str(problem) for problem in parsed.problems] == ["line 1: head.ori: is not that of an agency of the site"]


def test_where_several_agencies_tell_each_event_is_its_own_agency_s() -> None:
    jails = {"ori": JAIL.ori, "time": "2026-03-01T14:02:00-05:00", "persons": [PERSON]}
    polices = {**jails, "ori": SITE.agency_by_id["city-pd"].ori}
    mine, theirs, none = parse_of_several(json.dumps([housing(head=jails), housing(head=polices), 3]), BY_ORI)
    assert isinstance(mine.event, HousingAssigned)
    assert theirs.problems[0].why.startswith("city-pd may not publish HousingAssigned")
    assert none.problems[0].why.startswith("an event is a JSON object")


FULL: dict[str, Any] = {
    "type": "VisitScheduled",
    "head": {
        "event_id": "57ff3040-e445-4d7b-a24d-5c3659846401",
        "time": 1_772_391_720_000_000,
        "ori": JAIL.ori,
        "source_system": "jms",
        "persons": [{"role": "SUBJECT", "ids": [ID]}],
        "handling": {"markings": [], "purge_by": None},
    },
    "facility": "county-jail-main",
    "booking_number": "B-7",
    "visit_number": "V-1",
    "visitor_name": 'Rover, "Ada": Élise',
    "contact": "ORDINARY",
    "setting": "CONTACT",
    "starts": 1_772_391_720_000_000,
    "ends": 1_772_395_320_000_000,
}
"""An event that leaves nothing out but what may be null."""
VALUES: list[Any] = [
    None,
    0,
    1,
    3.0,
    True,
    "",
    "x",
    "1.5",
    1_772_391_720,
    "2026-03-01T14:02:00-05:00",
    "a\\b",
    [],
    {},
    "ORDINARY",
]


@st.composite
def written(draw: st.DrawFn) -> str:
    """An event as somebody may write it: other values, names that are there twice or not at all, in any order."""

    def pair(name: str, value: Any) -> list[str]:
        fate = draw(st.sampled_from(["kept"] * 30 + ["left out", "twice", "another"]))
        told = f"{json.dumps(name)}{colon}{text(draw(st.sampled_from(VALUES)) if fate == 'another' else value)}"
        return {"left out": [], "twice": [told, told]}.get(fate, [told])

    def text(value: Any) -> str:
        if isinstance(value, dict):
            pairs = [told for name, under in value.items() for told in pair(name, under)]
            return "{" + comma.join(draw(st.permutations(pairs)) if draw(chance) else pairs) + "}"
        if isinstance(value, list):
            return "[" + comma.join(map(text, value)) + "]"
        return json.dumps(value, ensure_ascii=draw(chance))

    chance = st.sampled_from([False] * 5 + [True])
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
    visitor = {"visitor_name": draw(st.sampled_from([FULL["visitor_name"], "Rover, Ada", None]))}
    return text({**FULL, **visitor})


@given(written())
def test_an_event_that_is_read_in_one_go_is_what_it_is_taken_apart(text: str) -> None:
    (at_once,), (apart,) = parse_of_several(text, BY_ORI), parse_of_several(f"[{text}]", BY_ORI)
    assert (at_once.event, [(p.field, p.why) for p in at_once.problems if not p.why.startswith("no JSON")]) == (
        apart.event,
        [(p.field, p.why) for p in apart.problems if not p.why.startswith("no JSON")],
    )
    assert bool(at_once.problems) == bool(apart.problems)


@pytest.mark.parametrize(
    ("change", "at_once"),
    [
        ({}, True),
        ({"visitor_born": None}, True),
        ({"visitor_name": "Rover, \\ Ada"}, False),
        ({"starts": "2026-03-01T14:02:00-05:00"}, False),
        ({"starts": 1_772_391_720}, False),
        ({"head": {**FULL["head"], "time": 1_772_391_720}}, False),
        ({"head": {**FULL["head"], "handling": {"purge_by": 1_772_391_720}}}, False),
        ({"head": {**FULL["head"], "handling": {}}}, True),
        ({"facility": ""}, False),
        ({"type": "CareObserved"}, False),
        ({"head": {**FULL["head"], "ori": SITE.agency_by_id["city-pd"].ori}}, False),
    ],
)
def test_what_programs_write_is_read_in_one_go(change: dict[str, Any], at_once: bool) -> None:
    text = json.dumps({**FULL, "visitor_name": "Rover, Élise", **change}, ensure_ascii=False)
    (parsed,) = parse_of_several(text, BY_ORI)
    assert (parsed.written == text) == at_once


@pytest.mark.parametrize("name", ["unit", "head", "event_id", "role", "kind", "markings"])
def test_a_name_that_is_there_twice_is_found_wherever_it_is(name: str) -> None:
    full = {**housing(), "head": FULL["head"]}
    text = json.dumps(full)
    begin = text.index(f'"{name}"')
    value, end = json.JSONDecoder().raw_decode(text, text.index(":", begin) + 2)
    twice = f'{text[:end]}, "{name}": {json.dumps(value)}{text[end:]}'
    for written in (twice, twice.replace(f'"{name}":', f'"{name}" :', 1), twice.replace('"type":', '"type" :')):
        (parsed,) = parse_of_several(written, BY_ORI)
        assert f"no JSON: {name} is there twice in one object" in [problem.why for problem in parsed.problems]


def test_what_a_head_its_persons_and_their_numbers_have_is_never_left_out() -> None:
    # As many names as there are fields are counted on, where an event is read in one go.
    fields = [field for model in (Head, PersonRef, PersonId) for field in model.model_fields.values()]
    assert all(field.is_required() for field in fields)


def test_only_what_json_lets_stand_after_an_event_may_stand_there() -> None:
    text = json.dumps(FULL)
    for after in (" ", "\t", "\r\n"):
        (parsed,) = parse_of_several(text + after, BY_ORI)
        assert parsed.event is not None
    for after in ("\u00a0", "\u2028", "\v"):
        assert [parsed.event for parsed in parse_of_several(text + after, BY_ORI)] == [None]


def test_the_example_on_the_page_is_an_event() -> None:
    page = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (parsed,) = parse_text(example, JAIL)
    assert [str(problem) for problem in parsed.problems] == []
    assert parsed.event is not None
    unread = example.replace('-05:00"', '"').replace('"unit"', '"unti"')
    said = {problem.why for parsed in parse_text(unread, JAIL) for problem in parsed.problems} - {"is missing"}
    assert all(why in page for why in said)


# -- files that are larger than what is read in one go -----------------------------------------------------------------


LINES = (
    "\n\n"
    + json.dumps(housing())
    + "\n"
    + json.dumps(housing(unti="4-A"))
    + "\n{broken\n\n"
    + json.dumps(housing(cell="4-Ä"))
)


@pytest.mark.parametrize("begins", ["", "\ufeff"])
@pytest.mark.parametrize("text", [LINES, LINES + "\n", LINES.replace("\n", "\r\n"), LINES.lstrip(), ""])
def test_json_lines_are_read_by_the_line_as_they_are_in_one_go(text: str, begins: str) -> None:
    longest = max(map(len, text.encode().split(b"\n"))) + 10
    by_line = list(parse(BytesIO((begins + text).encode()), JAIL, most_bytes=longest))
    assert by_line == list(parse_text(text, JAIL))
    assert [p.line for p in by_line if p.problems] == ([] if not text else [2, 3] if text[0] == "{" else [4, 5])


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (json.dumps([housing()] * 9).encode(), "an array of more than 0.000488281 MiB: split it, or write one event"),
        (json.dumps(housing()).encode() + b"\n{" + b" " * 600, "line 2 has more than 0.000488281 MiB: write one"),
        (json.dumps(housing()).encode() + b"\n\xff", "not UTF-8 at byte {0}: save it as UTF-8"),
        (b"\xef\xbb\xbf" + json.dumps(housing()).encode() + b"\n\xff", "not UTF-8 at byte {1}: save it as UTF-8"),
        (b"[\xff]", "not UTF-8 at byte 1: save it as UTF-8"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_as_events_at_all_says_where_and_what_to_do(written: bytes, why: str) -> None:
    whole = len(json.dumps(housing())) + 1
    with pytest.raises(UnreadableError, match=re.escape(why.format(whole, whole + 3))):
        list(parse(BytesIO(written), JAIL, most_bytes=512))
