"""Agreements: who may see what of whose information, under which authority. Default deny.

An agreement is between the agency whose information it is and the agency that receives it. It names the
kinds of alerts it serves, and for each event type the fields that may be shown. An agency needs none to see
its own.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from schemas.events import CARE_EVENTS, EVENT_TYPES, TIP_EVENTS, Micros, Text

Kind = Literal["housing", "contraband", "release", "legal", "care", "investigation", "coordination"]
"""Kinds of alerts; each has its own outbound topic."""


TEAR_LINE: Final = frozenset(
    {"facility", "method", "substance", "expected_from", "expected_until", "deconfliction_reference"}
)
"""Fields of a tip that may be handed on: what, where and when. All others, and the time of its report, stay with its
author, whatever two agencies agree on."""


class SiteError(Exception):
    """A site's files are wrong; the message names the file, the field and what to do."""


def _moment(value: object) -> object:
    """A TOML date with time and offset as microseconds: a privacy officer reads and writes these files."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if isinstance(value, date):
        raise ValueError("must have a time and its offset, such as 2026-01-01T00:00:00-05:00")
    return value


Moment = Annotated[Micros, BeforeValidator(_moment)]
"""Microseconds since 1970-01-01T00:00:00Z; in a file a date with time and offset."""


class Agreement(BaseModel):
    """One agreement between two agencies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    title: Text
    authority: Text
    """The statute or instrument it rests on."""
    source: Text
    """Agency whose information it is."""
    recipient: Text
    """Agency that may receive it."""
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)]
    grants: dict[str, Annotated[tuple[Text, ...], Field(min_length=1)]]
    """Event type to the fields that may be shown. One without a field would still tell that there is such an event."""
    valid_from: Moment
    valid_until: Moment | None = None

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Agreement:
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValueError("valid_until: must be later than valid_from")
        return self

    @model_validator(mode="after")
    def _grants_name_real_fields(self) -> Agreement:
        for event_type, fields in self.grants.items():
            model = EVENT_TYPES.get(event_type)
            if model is None:
                raise ValueError(f"grants: {event_type} is no event type")
            unknown = sorted(set(fields) - (set(model.model_fields) - {"head"}) - {"time", "persons"})
            if unknown:
                raise ValueError(f"grants: {event_type} has no field {', '.join(unknown)}")
            if event_type in TIP_EVENTS and not TEAR_LINE.issuperset(fields):
                raise ValueError(
                    f"grants: {', '.join(sorted(set(fields) - TEAR_LINE))} of {event_type} stays with its author: only "
                    f"what, where and when may be handed on ({', '.join(sorted(TEAR_LINE))})"
                )
            if event_type in CARE_EVENTS and set(self.kinds) != {"care"}:
                raise ValueError(
                    f"grants: {event_type} is of health and goes to care only: give it an agreement of kind care"
                )
        return self

    def in_force(self, now: int) -> bool:
        """Whether it is valid at `now` (microseconds)."""
        return self.valid_from <= now and (self.valid_until is None or now < self.valid_until)


def read_agreements(directory: Path) -> tuple[Agreement, ...]:
    """All agreements of a site, from `*.toml` in a directory. Raises SiteError."""
    return tuple(_read(path) for path in sorted(directory.glob("*.toml")))


def _read(path: Path) -> Agreement:
    try:
        return Agreement.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SiteError(f"{path}: {first_problem(error)}") from error


def first_problem(error: Exception) -> str:
    """The first thing wrong in a file, in one line."""
    if isinstance(error, ValidationError):
        item = error.errors()[0]
        return f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
    return str(error).splitlines()[0]
