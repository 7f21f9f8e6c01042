"""JSON to events: what may be left out is filled in, what is wrong is named with its field, and no value is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from producers.event_json import Parsed, parse
from schemas.events import HousingAssigned
from tests.county import SITE

JAIL = SITE.agency_by_id["county-jail"]
PERSON = {"role": "SUBJECT", "ids": [{"kind": "LOCAL", "value": "SECRET-7", "issuer": "jms", "verified": "SYSTEM"}]}


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
    (parsed,) = parse(json.dumps(what), JAIL)
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
    ("wrong", "field", "why"),
    [
        (housing(unti="4-A"), "unti", "did you mean unit?"),
        ({k: v for k, v in housing().items() if k != "unit"}, "unit", "is missing"),
        (housing(type="HousingAssignd"), "type", "did you mean HousingAssigned?"),
        (housing(type="StreetViolenceReported"), "type", "county-jail may not publish StreetViolenceReported"),
        (housing(head={"time": "2026-03-01T14:02:00", "persons": [PERSON]}), "head.time", "lacks the offset"),
        (housing(head={"time": "yesterday", "persons": [PERSON]}), "head.time", "must be RFC 3339"),
        (housing(head={"persons": [PERSON]}), "head.time", "is missing"),
        (housing(unit=7), "unit", "valid string"),
        (housing(head={"time": 1, "persons": [PERSON], "ori": "ny"}), "head.ori", "must be an ORI"),
        (housing(head={"time": 1, "persons": [PERSON], "event_id": "SECRET-7"}), "head.event_id", ""),
        (
            housing(head={"time": 1, "persons": [{**PERSON, "ids": [{**PERSON["ids"][0], "kind": "SECRET-7"}]}]}),  # type: ignore[dict-item]
            "head.persons.0.ids.0.kind",
            "'LOCAL', 'SID' or 'UCN'",
        ),
        ([1], "", "an event is a JSON object"),
    ],
)
def test_the_wrong_field_is_named_with_why_and_without_its_value(wrong: Any, field: str, why: str) -> None:
    parsed = one(wrong)
    assert parsed.event is None
    assert any(problem.field == field and why in problem.why for problem in parsed.problems), parsed.problems
    assert "SECRET-7" not in " ".join(map(str, parsed.problems))


def test_lines_an_array_and_one_object_are_all_taken() -> None:
    lines = "\n\n".join(json.dumps(housing(unit=unit)) for unit in ("4-A", "4-B"))
    assert [p.line for p in parse(lines, JAIL)] == [1, 3]
    assert len(list(parse(json.dumps([housing(), housing(unit="4-B")], indent=1), JAIL))) == 2
    assert len(list(parse(json.dumps(housing(), indent=2), JAIL))) == 1


def test_a_line_that_is_no_json_spoils_only_itself() -> None:
    bad, good = parse('{"type": \n' + json.dumps(housing()), JAIL)
    assert bad.problems[0].line == 1
    assert "no JSON" in bad.problems[0].why
    assert good.event is not None
