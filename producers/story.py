"""The played story of a county: steps from a file, told at their moment, published by the agencies themselves."""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.events import EVENT_TYPES, CustodyEvent, Event
from schemas.site import Agency, Site

STORY_NAMESPACE: Final = uuid.UUID("57047000-5a11-5e07-8a11-000000000003")
"""Namespace of the events' ids (UUIDv5 of run, step and number)."""
MINUTE: Final = 60_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that one agency tells."""

    at: float
    """Seconds from the start."""
    agency: str
    says: str
    """For the reader of the story."""
    events: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Story:
    """People and steps."""

    people: Mapping[str, Mapping[str, str]]
    steps: tuple[Step, ...]


def read_story(path: Path) -> Story:
    """A story from its file, steps in order of time. Raises OSError, ValueError, KeyError for a file that is none."""
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    steps = [Step(s["at"], s["agency"], s["says"], tuple(s["events"])) for s in told["step"]]
    return Story(told["people"], tuple(sorted(steps, key=lambda step: step.at)))


def events_of(story: Story, number: int, run: str, site: Site, now: int) -> list[Event]:
    """The events of step `number`, told at `now` (microseconds), in the run of that name."""
    step = story.steps[number]
    agency = site.agency_by_id[step.agency]
    return [
        _event(story, told, str(uuid.uuid5(STORY_NAMESPACE, f"{run}/{number}/{index}")), run, agency, site, now)
        for index, told in enumerate(step.events)
    ]


def _event(
    story: Story, told: Mapping[str, Any], event_id: str, run: str, agency: Agency, site: Site, now: int
) -> Event:
    model = EVENT_TYPES[told["type"]]
    time = now - int(told["ago"] * MINUTE)
    fields = {key: _of_run(value, run) for key, value in told.get("fields", {}).items()}
    fields |= {key: now + int(minutes * MINUTE) for key, minutes in told.get("ahead", {}).items()}
    person = story.people[told["person"]] if "person" in told else None
    if person is not None and issubclass(model, CustodyEvent):
        facility = next(f for f in site.facilities if f.agency == agency.id)
        fields = {"facility": facility.id, "booking_number": f"{run}-{person['number'][-3:]}", **fields}
    if told["type"] == "BookingReported" and person is not None:
        fields = {"admitted": time, "legal_status": "pretrial", "charges": ["120.05"], "name": person["name"], **fields}
    head = {
        "event_id": event_id,
        "time": time,
        "ori": agency.ori,
        "source_system": "story",
        "persons": [] if person is None else [{"role": "SUBJECT", "ids": _ids(person, agency, model)}],
        "handling": {},
    }
    return model.model_validate({**fields, "head": head})


def _of_run(value: Any, run: str) -> Any:
    return value.replace("{run}", run) if isinstance(value, str) else value


def _ids(person: Mapping[str, str], agency: Agency, model: type[Event]) -> list[dict[str, str]]:
    """A jail knows its own number, and takes fingerprints at booking; the police know the state's number."""
    sid = {"kind": "SID", "value": person["sid"], "issuer": agency.ori[:2], "verified": "FINGERPRINT"}
    if not issubclass(model, CustodyEvent):
        return [sid]
    local = {"kind": "LOCAL", "value": person["number"], "issuer": "story", "verified": "SYSTEM"}
    return [local, sid] if model.__name__ == "BookingReported" else [local]


def play(
    story: Story,
    run: str,
    site: Site,
    publish: Callable[[str, list[Event]], None],
    clock: Callable[[], int],
    wait: Callable[[float], bool],
    says: Callable[[str], None] = lambda _: None,
) -> bool:
    """Tell the story: `publish(agency, events)` each step at its moment.

    `clock` gives microseconds; `wait(seconds)` returns true when the story is to stop. Returns whether it was told to
    its end.
    """
    began = clock()
    for number, step in enumerate(story.steps):
        left = step.at - (clock() - began) / 1_000_000
        if wait(max(0.0, left)):
            return False
        says(step.says)
        publish(step.agency, events_of(story, number, run, site, clock()))
    return True
