"""The adapter `shootings`: a police department's public list of shootings becomes events. Pure but for reading files.

A row is a victim, an event is an incident. The list says when and where; it does not say which groups were at odds, and
of a shooting between nobody nothing follows. Who knows it says so in a file of its own, incident by incident; an
incident that is not in it is counted, and not carried.
"""

from __future__ import annotations

import json
import tomllib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from producers.adapters.csv_file import LONGEST, Problem, Reading, names_of, rows_of, text_of
from schemas.events import Handling, Head, StreetViolenceReported
from schemas.site import Agency

SOURCE_SYSTEM: Final = "shootings"
SHOOTINGS_NAMESPACE: Final = uuid.UUID("20573000-5a11-5e07-8a11-000000000005")
"""Namespace of the events' ids (UUIDv5)."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a file, unpacked. New York City's of all years since 2006 has five megabytes."""
MOST_ROWS: Final = 500_000
NYPD_COLUMNS: Final[Mapping[str, str]] = {
    "incident": "INCIDENT_KEY",
    "date": "OCCUR_DATE",
    "time": "OCCUR_TIME",
    "borough": "BORO",
    "precinct": "PRECINCT",
}
"""Our names of the columns that are used, and theirs in "NYPD Shooting Incident Data" (5ucz-vwe8).

Whatever else a file holds (race, sex and age of victims and suspects) is never read into anything."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One shooting, whoever was hit."""

    number: str
    occurred: datetime
    """Local time, without a zone."""
    place: str
    line: int
    """Of its first victim."""


@dataclass(frozen=True)
class Shootings:
    """The incidents of some files, by number, and how many victims they had."""

    incidents: Mapping[str, Incident]
    victims: int


@dataclass(frozen=True, slots=True)
class AtOdds:
    """What is known of an incident beside the list."""

    groups: tuple[str, ...]
    retaliation_expected: bool = False


@dataclass(frozen=True, slots=True)
class Police:
    """Whose list it is."""

    agency: Agency
    zone: ZoneInfo

    def micros(self, local: datetime) -> int:
        """A local time in microseconds. Of an hour that the clock repeats, the first is meant."""
        return int(local.replace(tzinfo=self.zone).timestamp()) * 1_000_000


@dataclass(frozen=True)
class Import:
    """What is to be published, and what is not."""

    shootings: Shootings
    events: Sequence[StreetViolenceReported]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """For scripts."""
        told = len(self.events)
        return {
            "victims": self.shootings.victims,
            "incidents": len(self.shootings.incidents),
            "events": {"StreetViolenceReported": told} if told else {},
            "event_ids": {event.incident_number: event.head.event_id for event in self.events},
            "not_carried": {"incidents of which no groups are known": len(self.shootings.incidents) - told},
        }


def read_shootings(
    files: Iterable[Path], police: Police, now: int, most_bytes: int = MOST_BYTES
) -> Shootings | tuple[Problem, ...]:
    """The incidents of the files; or everything that is wrong with any of them. `now` is in microseconds."""
    incidents: dict[str, Incident] = {}
    problems: list[Problem] = []
    victims = 0
    for path in files:
        reading = Reading(str(path), "list of shootings")
        text = text_of(path, most_bytes, reading)
        before = victims
        for line, values in () if text is None else rows_of(text, NYPD_COLUMNS, MOST_ROWS, reading):
            victims += 1
            incident = _incident(line, dict(zip(names_of(NYPD_COLUMNS), values, strict=True)))
            if isinstance(incident, str):
                reading.wrong(line, incident)
                continue
            if police.micros(incident.occurred) > now:
                reading.wrong(line, "date and time are in the future: correct them, or give --time-zone")
                continue
            known = incidents.setdefault(incident.number, incident)
            if (known.occurred, known.place) != (incident.occurred, incident.place):
                reading.wrong(line, f"contradicts line {known.line} about the same incident: fetch the list again")
        if victims == before and not reading.problems:
            reading.wrong(None, "lists no shooting: the export failed; fetch it again")
        problems += reading.problems
    return tuple(problems) or Shootings(incidents, victims)


def _incident(line: int, cells: Mapping[str, str]) -> Incident | str:
    """An incident as one row tells of it; or what is wrong with the row."""
    cells = {name: cell.strip() for name, cell in cells.items()}
    too_long = [name for name, cell in cells.items() if len(cell) > LONGEST]
    if too_long:
        return f"{', '.join(too_long)} has more than {LONGEST} characters"
    if not cells["incident"]:
        return "the incident's number is empty"
    try:
        occurred = datetime.strptime(f"{cells['date']} {cells['time']}", "%m/%d/%Y %H:%M:%S")  # noqa: DTZ007
    except ValueError:
        return "date or time is not as the list has it, such as 07/01/2022 and 23:15:00"
    parts = (cells["borough"].title(), cells["precinct"] and f"precinct {cells['precinct']}")
    return Incident(cells["incident"], occurred, ", ".join(part for part in parts if part) or "unknown", line)


def read_groups(path: Path) -> dict[str, AtOdds]:
    """Which groups were at odds, by incident number, from a TOML file. Raises ValueError: where, and what to do.

    A line each: `247416062 = ["Eastside", "Harbor"]`, or a table where retaliation is expected:
    `247416062 = { groups = ["Eastside", "Harbor"], retaliation_expected = true }`.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, or not UTF-8
        raise ValueError(f"{path}: {error}") from error
    return {number: _at_odds(f"{path}: {number}", told) for number, told in given.items()}


def _at_odds(where: str, told: object) -> AtOdds:
    more = told if isinstance(told, dict) else {"groups": told}
    groups, expected = more.get("groups"), more.get("retaliation_expected", False)
    if not isinstance(groups, list) or not all(isinstance(one, str) and one.strip() for one in groups):
        raise ValueError(f'{where}: give the groups by name, in brackets: ["Eastside", "Harbor"]')
    if len({" ".join(one.casefold().split()) for one in groups}) < 2:  # noqa: PLR2004
        raise ValueError(f"{where}: violence between groups has two of them at least")
    if not isinstance(expected, bool):
        raise ValueError(f"{where}: retaliation_expected is true or false")
    return AtOdds(tuple(groups), expected)


def to_import(shootings: Shootings, at_odds: Mapping[str, AtOdds], police: Police) -> Import:
    """What is to be published, in the order in which it happened.

    Raises ValueError where groups are told of an incident that is not listed, or an event can't be made of one.
    """
    unknown = sorted(at_odds.keys() - shootings.incidents.keys())
    if unknown:
        raise ValueError(
            f"groups are given for {unknown[0]}, which no file lists: correct the number, or give its file"
        )
    told = [shootings.incidents[number] for number in at_odds]
    told.sort(key=lambda incident: (incident.occurred, incident.number))
    return Import(shootings, [_event(incident, at_odds[incident.number], police) for incident in told])


def _event(incident: Incident, at_odds: AtOdds, police: Police) -> StreetViolenceReported:
    time, groups = police.micros(incident.occurred), _in_one_order(at_odds.groups)
    # Of all that is said: under the id of what it corrects, a correction would be a conflict, which it may lose.
    about = [police.agency.id, incident.number, time, incident.place, groups, at_odds.retaliation_expected]
    try:
        return StreetViolenceReported(
            head=Head(
                event_id=str(uuid.uuid5(SHOOTINGS_NAMESPACE, json.dumps(about))),
                time=time,
                ori=police.agency.ori,
                source_system=SOURCE_SYSTEM,
                persons=(),
                handling=Handling(),
            ),
            incident_number=incident.number,
            groups=groups,
            place=incident.place,
            retaliation_expected=at_odds.retaliation_expected,
        )
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        raise ValueError(f"no event can be made of incident {incident.number}: its {where} is wrong") from error


def _in_one_order(groups: Iterable[str]) -> tuple[str, ...]:
    """The groups, in whatever order and with whatever spaces they were written: the same ones are the same event."""
    return tuple(sorted({" ".join(group.split()) for group in groups}))
