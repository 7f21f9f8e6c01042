"""Leftovers: what a simulation left open on a bus when it stopped, kept in a file so that the next one ends it.

The log is the state: whoever was in custody in a simulated county would be so for ever.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from producers.replaced_file import replace_file
from producers.simulator.world import SOURCE
from schemas.events import EVENT_TYPES, CustodyEnded, Event, EventWithdrawn, Head, PersonRef, TipOutcome
from schemas.site import Site


class Open(NamedTuple):
    """A stay in custody, a tip, or violence that a feud follows from."""

    agency: str
    facility: str | None
    """Of a stay; None for the others."""
    number: str
    """The booking's, or the event's id."""
    own_number: dict[str, str] | None
    """The agency's own number of who is in custody, as an event has it."""


def open_until(agency: str, event: Event) -> Open | None:
    """What an event ends once it is told; until then it is open."""
    match event:
        case CustodyEnded(head=Head(persons=(PersonRef(ids=(own, *_)), *_))):
            return Open(agency, event.facility, event.booking_number, own.model_dump(mode="json"))
        case TipOutcome() | EventWithdrawn():
            return Open(agency, None, event.target_event_id, None)
    return None


def endings(left_open: Sequence[Open], site: Site, now: int) -> list[tuple[str, Event]]:
    """What ends it all, each with the agency that says so. What the site does not know any more is left."""
    return [(one.agency, _ending(one, site, now)) for one in left_open if one.agency in site.agency_by_id]


def _ending(one: Open, site: Site, now: int) -> Event:
    head: dict[str, Any] = {
        "event_id": str(uuid.uuid4()),
        "time": now,
        "ori": site.agency_by_id[one.agency].ori,
        "source_system": SOURCE,
        "persons": [{"role": "SUBJECT", "ids": [one.own_number]}] if one.own_number else [],
        "handling": {},
    }
    if one.facility is None:
        said = {"target_event_id": one.number, "reason": "SUPERSEDED"}
        return EVENT_TYPES["EventWithdrawn"].model_validate({"head": head, **said})
    stay = {"facility": one.facility, "booking_number": one.number, "reason": "TRANSFER"}
    return EVENT_TYPES["CustodyEnded"].model_validate({"head": head, **stay})


class Leftovers:
    """The file of one site."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: list[Open] | None = None

    def read(self) -> list[Open]:
        """What was left open. Raises ValueError for a file that is none, OSError."""
        try:
            return [Open(*one) for one in json.loads(self._path.read_bytes())]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self._path} is no list of what a simulation left open: delete it") from error

    def keep(self, left_open: list[Open]) -> None:
        """Keep this, whole or not at all. Raises OSError."""
        if left_open == self._kept:
            return
        # Only the owner reads it: numbers of persons, if invented ones.
        replace_file(self._path, json.dumps(left_open))
        self._kept = left_open
