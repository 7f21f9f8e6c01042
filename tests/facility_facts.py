"""Records of the facility facts, as the stages write them: who is in custody where, and violence outside."""

from __future__ import annotations

from typing import Any

from schemas.codec import encode
from streams.backtest import SCHEMA_IDS
from streams.custody import Placed, custody_key
from streams.facts import Provenance
from streams.records import LoggedRecord
from tests.county import MAIN, POLICE, START, demo_site, event, event_id
from tests.in_memory_bus import InMemoryBus

HOUSED = Provenance("county-jail", "HousingAssigned", event_id("housed"), START, "t", "county-jail number")
"""Where a unit is known from."""
SAID = Provenance("city-pd", "AffiliationReported", event_id("said"), START, "t", "SID by fingerprint", True, True)
"""Where a standing with a group is known from."""


def placed(
    person: str = "ada",
    unit: str | None = "4-A",
    revision: int = 1,
    groups: tuple[str, ...] = ("Eastside",),
    *,
    status: str = "MEMBER",
    here: bool = True,
    offset: int | None = None,
    **changes: Any,
) -> LoggedRecord:
    """The record of one person, by default in custody and a member. `offset`: of its cause."""
    at = revision if offset is None else offset
    value = {
        "person_id": person,
        "facility": MAIN,
        "revision": revision,
        "digest": "d",
        "in_custody": here,
        "booking_number": f"B-{person}",
        "name": person.title(),
        "unit": unit,
        "housing": [HOUSED.record()] if unit else [],
        "affiliations": [{**SAID.record(), "group": group, "status": status} for group in groups],
        "cause": {"kind": "FACT", "stage": "person", "partition": 0, "offset": at, "event_id": f"e{revision}"},
        **changes,
    }
    head = Placed(0, at, revision, "d", here, len(value["affiliations"]), f"e{revision}", unit or "")
    raw = encode("PersonInCustody", value, SCHEMA_IDS["PersonInCustody"])
    return LoggedRecord(revision, custody_key(MAIN, person), raw, head.headers())


def gone(person: str = "ada", revision: int = 2) -> LoggedRecord:
    """The record that says that a person is there no more."""
    return placed(person, None, revision, (), here=False)


def violence(name: str = "it", groups: tuple[str, ...] = ("Eastside", "Harbor"), **fields: Any) -> LoggedRecord:
    """An event of street violence."""
    bus = InMemoryBus(demo_site(partitions=1))
    bus.publish(event("StreetViolenceReported", name=name, groups=list(groups), **fields), POLICE)
    record, _ = bus.input_of("facility", 0)  # and the note that it came
    return record
