"""Outlines: what the audit keeps of a record that is gone, and what it does not."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro
import pytest

from schemas import topics
from schemas.avro_files import whole_schema
from schemas.codec import decode, frame, writer_schema
from streams.outline import is_outline, kept_of, outline_of, outlines, whose, with_persons
from tests.county import agency_of, demo_site, event, event_id
from tests.in_memory_bus import InMemoryBus, processed

NAME, UNIT, GROUP = "Ada Marsh", "4-B", "Eastside"
RIVALS = [
    *(event("BookingReported", who, name=f"booked-{who}", booked_as=NAME) for who in ("ada", "bo")),
    *(event("HousingAssigned", who, day=1, name=f"housed-{who}", unit=UNIT) for who in ("ada", "bo")),
    event("AffiliationValidated", "ada", day=1, name="stg-ada", group=GROUP),
    event("AffiliationValidated", "bo", day=1, name="stg-bo", group="Harbor"),
    event("StreetViolenceReported", day=2, name="feud", groups=[GROUP, "Harbor"]),
]
NEW = ("rule_version", "state", "digest", "revision_at", "revision_cause", "rests_on")


@pytest.fixture(scope="module")
def bus() -> InMemoryBus:
    return processed(demo_site(partitions=1), RIVALS, tick=RIVALS[-1].head.time)


def raised(bus: InMemoryBus) -> dict[str, Any]:
    return bus.history(topics.alerts_raised("demo"))[-1]


def audited(bus: InMemoryBus) -> list[dict[str, Any]]:
    return [one for one in bus.history(topics.disclosures("demo")) if one["revision"] == raised(bus)["revision"]]


def test_each_decision_has_all_that_a_replay_asks_of_the_record(bus: InMemoryBus) -> None:
    alert = raised(bus)
    for decision in audited(bus):
        outline = outline_of(decision, alert, "demo")
        assert outline is not None
        same = ("alert_id", "revision", "state", "digest", "rule", "rule_version", "key", "kind", "at", "cause")
        assert {name: outline[name] for name in same} == {name: alert[name] for name in same}
        rested_on = {(one["agency"], one["event_type"], one["event_id"], one["topic"]) for one in alert["evidence"]}
        named = [(one["agency"], one["event_type"], one["event_id"], one["topic"]) for one in outline["evidence"]]
        assert (set(named), len(named)) == (rested_on, len(rested_on))
        assert is_outline(outline)
        assert not is_outline(alert)


def test_what_is_kept_says_nothing_of_what_the_events_say_nor_of_whom(bus: InMemoryBus) -> None:
    alert = raised(bus)
    persons = {one["person_id"] for one in alert["evidence"] if one["person_id"]}
    for secret in (NAME, UNIT, GROUP, "B-ada", *persons):
        assert secret in json.dumps(alert), "or it shows nothing"
        assert secret not in json.dumps(kept_of(alert))


def test_what_was_written_before_anything_was_kept_has_no_outline(bus: InMemoryBus) -> None:
    schema = json.loads(whole_schema("DisclosureDecided"))
    older = {**schema, "fields": [field for field in schema["fields"] if field["name"] not in NEW]}
    value = _encoded(older, audited(bus)[0])
    _, decision = decode(frame(7, value), {7: writer_schema(json.dumps(older))}, "DisclosureDecided")
    assert {name: decision[name] for name in NEW} == {
        "rule_version": 0,
        "state": "UNKNOWN",
        "digest": "",
        "revision_at": 0,
        "revision_cause": None,
        "rests_on": [],
    }
    assert outline_of(decision, raised(bus), "demo") is None
    assert outlines([decision], (), raised(bus), "demo") == {}


def _encoded(schema: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(dict(schema)), record)
    return buffer.getvalue()


def test_a_record_that_is_there_needs_no_outline(bus: InMemoryBus) -> None:
    alert, decisions = raised(bus), audited(bus)
    assert outlines(decisions, [alert], alert, "demo") == {}
    (revision,) = {one["revision"] for one in decisions}
    assert outlines(decisions, (), alert, "demo") == {revision: outline_of(decisions[-1], alert, "demo")}


def test_an_event_stands_once_for_each_whose_fact_it_is_and_once_where_that_is_nobody(bus: InMemoryBus) -> None:
    alert = raised(bus)
    outline = outline_of(audited(bus)[0], alert, "demo")
    assert outline is not None
    found = with_persons(outline, {("county-jail", event_id("housed-ada")): {"p2", "p1"}})
    of_it = [one["person_id"] for one in found["evidence"] if one["event_id"] == event_id("housed-ada")]
    assert of_it == ["p1", "p2"]
    assert {one["person_id"] for one in found["evidence"] if one["event_id"] != event_id("housed-ada")} == {None}


def test_whose_an_event_s_facts_are_is_told_by_what_is_left_of_each_number_s() -> None:
    it = ("county-jail", "it")
    by_both = [(it, "ucn", "", True), (it, "sid", "", True), (it, "sid", "", False), (it, "ucn", "sid", True)]
    assert whose(by_both) == {it: ["ucn"]}
    back = [*by_both, (it, "ucn", "sid", False), (it, "sid", "", True)]
    assert whose(back) == {it: ["ucn", "sid"]}, "it names the one itself, whatever became of the other"
    assert whose([*back, (it, "ucn", "", False), (it, "sid", "", False)]) == {it: ["ucn", "sid"]}, "whose they were"


def test_a_withdrawal_rests_on_nothing_and_has_its_cause() -> None:
    over = InMemoryBus(demo_site(partitions=1))
    for what in (*RIVALS, event("HousingAssigned", "bo", day=5, name="moved", unit="5-A")):
        over.tick(what.head.time)
        over.publish(what, agency_of(what))
        over.run()
    last = over.history(topics.disclosures("demo"))[-1]
    assert (last["state"], last["rests_on"]) == ("WITHDRAWN", [])
    assert (last["revision_cause"]["kind"], last["revision_cause"]["event_id"]) == ("FACT", event_id("moved"))
    assert last["revision_cause"] == raised(over)["cause"]
