"""A site: one prefix of topics, its clock, and its agencies, facilities, recipients and agreements, as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from schemas.agreements import Agreement, Kind, SiteError, first_problem, read_agreements
from schemas.events import EVENT_TYPES, Ori, Text

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
"""An id in a site: lower-case letters, digits and hyphens, so that it can be part of a topic's name."""
RESERVED_IDS = frozenset({"bus", "clock", "alerts", "audit", "desk"})
"""Users of the bus itself, and second parts of its own topics: no agency or recipient may be called so."""


def _is_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{value!r} is no IANA time zone, such as America/New_York") from error
    return value


def _is_not_reserved(value: str) -> str:
    if value in RESERVED_IDS:
        raise ValueError(f"{value} is reserved for the bus itself")
    return value


UserId = Annotated[Id, AfterValidator(_is_not_reserved)]
"""An id that becomes a Kafka user."""


class SiteRecord(BaseModel):
    """A part of a site's description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """It with changes, checked as a file's would be; nothing looked up in the old one is carried over."""
        del deep  # all of it is frozen
        described = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**described, **(update or {})})


class Agency(SiteRecord):
    """An agency that publishes events."""

    id: UserId
    name: Text
    ori: Ori
    publishes: Annotated[tuple[str, ...], Field(min_length=1)]
    """Event types it may publish; EventWithdrawn is always among them."""

    @model_validator(mode="after")
    def _publishes_real_events(self) -> Agency:
        unknown = sorted(set(self.publishes) - set(EVENT_TYPES))
        if unknown:
            raise ValueError(f"publishes: {', '.join(unknown)} is no event type")
        return self

    @cached_property
    def event_types(self) -> tuple[str, ...]:
        """All event types of its topics."""
        return tuple(sorted({*self.publishes, "EventWithdrawn"}))


class Unit(SiteRecord):
    """A housing unit."""

    id: Text
    capacity: Annotated[int, Field(ge=1)] | None = None


class Facility(SiteRecord):
    """A jail or prison."""

    id: Id
    name: Text
    agency: Id
    time_zone: Annotated[str, AfterValidator(_is_zone)]
    units: tuple[Unit, ...] = ()
    """Its housing units; empty where they are not known, and then any unit is accepted."""

    @cached_property
    def unit_ids(self) -> frozenset[str]:
        """The units' ids."""
        return frozenset(unit.id for unit in self.units)


class Recipient(SiteRecord):
    """A desk or system that receives alerts, with a Kafka user of its own."""

    id: UserId
    name: Text
    agency: Id
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)]
    facilities: tuple[Id, ...] = ()
    """Facilities whose alerts it is for; empty: all."""
    internal_affairs: bool = False
    """Whether it may be told what touches the staff of its agency's facilities: nobody else of the agency is."""


class Site(SiteRecord):
    """A site as `site.toml` describes it, with its agreements."""

    name: Id
    title: Text
    clock: Literal["live", "history"]
    """live: ticks come from the wall clock; history: from the importer."""
    partitions: Annotated[int, Field(ge=1, le=256)] = 4
    deconfliction: Text | None = None
    """How desks reach the deconfliction service that finds the author of a tip: its name and number, in words."""
    agencies: Annotated[tuple[Agency, ...], Field(min_length=1)]
    facilities: tuple[Facility, ...] = ()
    recipients: tuple[Recipient, ...] = ()
    agreements: tuple[Agreement, ...] = ()

    @model_validator(mode="after")
    def _names_agree(self) -> Site:
        for what, records in (
            ("agency", self.agencies),
            ("facility", self.facilities),
            ("recipient", self.recipients),
            ("agreement", self.agreements),
        ):
            ids = [record.id for record in records]
            twice = sorted({i for i in ids if ids.count(i) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]} is described twice")
        agencies = {agency.id for agency in self.agencies}
        for facility in self.facilities:
            if facility.agency not in agencies:
                raise ValueError(f"facility {facility.id}: no agency {facility.agency}")
        for recipient in self.recipients:
            if recipient.agency not in agencies:
                raise ValueError(f"recipient {recipient.id}: no agency {recipient.agency}")
            if recipient.id in agencies:
                raise ValueError(f"recipient {recipient.id}: an agency has the same id")
        for agreement in self.agreements:
            for party in (agreement.source, agreement.recipient):
                if party not in agencies:
                    raise ValueError(f"agreement {agreement.id}: no agency {party}")
        return self

    @cached_property
    def agency_by_id(self) -> dict[str, Agency]:
        """Agencies by id."""
        return {agency.id: agency for agency in self.agencies}

    @cached_property
    def facility_by_id(self) -> dict[str, Facility]:
        """Facilities by id."""
        return {facility.id: facility for facility in self.facilities}

    @cached_property
    def recipient_by_id(self) -> dict[str, Recipient]:
        """Recipients by id."""
        return {recipient.id: recipient for recipient in self.recipients}

    def user(self, who: str) -> str:
        """The Kafka user of an agency, a recipient, or the bus itself (`bus`) on this site."""
        return f"{self.name}.{who}"


def read_site(directory: Path) -> Site:
    """A site from its directory: `site.toml`, and `agreements/*.toml`. Raises SiteError."""
    path = directory / "site.toml"
    try:
        described = tomllib.loads(path.read_text(encoding="utf-8"))
        agreements = read_agreements(directory / "agreements")
        return Site.model_validate({**described, "agreements": agreements})
    except (OSError, ValueError) as error:
        raise SiteError(f"{path}: {first_problem(error)}") from error
