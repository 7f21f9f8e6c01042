"""A small invented county for tests: events said in one line each."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from schemas.events import EVENT_TYPES, CustodyEvent, Event
from schemas.site import Site, read_site

DAY = 86_400_000_000
START = 1_790_000_000_000_000
"""Some moment in 2026, microseconds."""
_NOW = time.time_ns() // 1000
JAIL, POLICE, COURT = "county-jail", "city-pd", "county-court"
MAIN = "county-jail-main"


def demo_site(partitions: int = 4, name: str = "demo", **changes: Any) -> Site:
    """The demo site, with other partitions or another name."""
    site = read_site(Path(__file__).parents[1] / "deploy" / "sites" / "demo")
    return site.model_copy(update={"partitions": partitions, "name": name, **changes})


SITE = demo_site()
_DEFAULTS: dict[str, dict[str, Any]] = {
    "BookingReported": {"admitted": START, "legal_status": "DE", "charges": ["120.05"]},
    "CustodyClassified": {"level": "MINIMUM", "initial": True},
    "DisciplinaryRecorded": {"infraction": "100.10", "severity": "MINOR", "violent": False},
    "AffiliationValidated": {"status": "MEMBER", "criteria": ["self-admission"]},
    "AffiliationReported": {"status": "MEMBER", "reliability": "B", "credibility": 2, "criteria": ["field contact"]},
    "StreetViolenceReported": {"incident_number": "26-1", "place": "5th and Main", "retaliation_expected": False},
    "NoLongerListed": {"last_listed": START},
    "CustodyEnded": {"reason": "BAIL"},
    "CareObserved": {"observation": "MENTAL_HEALTH", "active": True},
    "EventWithdrawn": {"reason": "ENTERED_IN_ERROR"},
    "HousingAssigned": {},
    "ContrabandTipped": {
        "method": "UNKNOWN", "substance": "fentanyl", "handling": "ACT", "touches_staff": False,
        "reliability": "B", "credibility": 2,
    },
    "TipOutcome": {"outcome": "STOOD_DOWN"},
    "VisitScheduled": {"visit_number": "V-1", "contact": "ORDINARY", "setting": "CONTACT"},
    "VisitCancelled": {"visit_number": "V-1"},
    "VisitCompleted": {"visit_number": "V-1"},
    "MailReceived": {"item_number": "M-1", "contact": "ORDINARY"},
    "DepositReceived": {"transaction_number": "D-1", "contact": "ORDINARY"},
    "MovementScheduled": {"movement_number": "C-1", "purpose": "COURT"},
    "ContrabandSeized": {"method": "UNKNOWN", "substance": ""},
    "CallCompleted": {"call_number": "T-1", "called_number": "+1-212-555-0100", "contact": "ORDINARY", "seconds": 240},
    "HearingScheduled": {"case_number": "26-100", "hearing_number": "H-1", "purpose": "PLEA"},
    "HearingCancelled": {"hearing_number": "H-1"},
    "ListTaken": {"facility": MAIN, "entries": 50, "changed": 4, "content": "0123456789abcdef"},
}  # fmt: skip
CUSTODY = {name for name, model in EVENT_TYPES.items() if issubclass(model, CustodyEvent)}
TOLD_BY_POLICE = {"AffiliationReported", "StreetViolenceReported", "ContrabandTipped", "TipOutcome"}
TOLD_BY_COURT = {"HearingScheduled", "HearingCancelled"}
DAYS_OF = {
    "VisitScheduled": ("starts", "ends"),
    "MovementScheduled": ("returns",),
    "HearingScheduled": ("starts",),
    "ContrabandTipped": ("expected_from", "expected_until"),
}
"""Fields that hold times; a test gives them as days from START."""


def event_id(name: str) -> str:
    """A UUID for a name that a test gives an event."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def ids(
    person: str, sid: str | None = None, verified: str = "FINGERPRINT", ucn: str | None = None
) -> list[dict[str, str]]:
    """A person's identifiers: the agency's own number, and state and federal numbers where they are given."""
    numbers = [{"kind": "LOCAL", "value": person, "issuer": "jms", "verified": "SYSTEM"}] if person else []
    if sid is not None:
        numbers.append({"kind": "SID", "value": sid, "issuer": "NY", "verified": verified})
    if ucn is not None:
        numbers.append({"kind": "UCN", "value": ucn, "issuer": "US", "verified": verified})
    return numbers


def event(
    kind: str,
    person: str | None = None,
    *,
    day: float = 0,
    name: str | None = None,
    sid: str | None = None,
    ucn: str | None = None,
    verified: str = "FINGERPRINT",
    agency: str | None = None,
    purge_day: float | None = None,
    booked_as: str | None = None,
    **fields: Any,
) -> Event:
    """An event of the county. `day` is counted from START; `name` gives the event its id, `booked_as` the person a
    name."""
    agency = agency or (POLICE if kind in TOLD_BY_POLICE else COURT if kind in TOLD_BY_COURT else JAIL)
    if kind in CUSTODY:
        fields = {"facility": MAIN, "booking_number": f"B-{person}", **fields}
    person_ids = ids(person or "", sid, verified, ucn)
    if booked_as is not None:
        fields["name"] = booked_as
    if kind == "VisitScheduled":
        fields["ends"] = fields.get("ends", fields["starts"] + 1 / 24)
    times = {name: START + int(fields[name] * DAY) for name in DAYS_OF.get(kind, ()) if fields.get(name) is not None}
    shape = {**_DEFAULTS[kind], **fields, **times}
    head = {
        "event_id": event_id(name or f"{kind}/{person}/{day}/{sorted(shape.items())}"),
        "time": START + int(day * DAY),
        "ori": SITE.agency_by_id[agency].ori,
        "source_system": "jms",
        "persons": [{"role": "SUBJECT", "ids": person_ids}] if person_ids else [],
        "handling": {"purge_by": None if purge_day is None else START + int(purge_day * DAY)},
    }
    return EVENT_TYPES[kind].model_validate({**shape, "head": head})


def today(kind: str, person: str | None = None, *, hours: float = 1, **fields: Any) -> Event:
    """An event so many hours ago: for sites whose clock is the wall's."""
    return event(kind, person, day=(_NOW - START) / DAY - hours / 24, **fields)


def members_in_one_unit(unit: str = "4-A") -> list[Event]:
    """Two people in one unit, of two groups: a feud between these makes rivals of them."""
    return [
        what
        for person, group in (("ada", "Eastside"), ("bo", "Harbor"))
        for what in (
            event("BookingReported", person),
            event("HousingAssigned", person, day=1, unit=unit),
            event("AffiliationValidated", person, day=1, group=group),
        )
    ]


def agency_of(what: Event) -> str:
    """The agency whose ORI an event carries."""
    return next(a.id for a in SITE.agencies if a.ori == what.head.ori)
