"""The adapter `roster`: a jail's daily lists, compared day by day, become events. Pure.

A list of day D was true by the end of D: what the comparison finds is dated at the following midnight in the facility's
time zone (`as_of`). `docs/roster.md` says what is made of each oddity of real lists, and why. Event ids are made from
the stay and what happened to it, so importing twice changes nothing.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from producers.adapters.roster_file import Row, Snapshot
from schemas.events import (
    AffiliationStatus,
    AffiliationValidated,
    BookingReported,
    CareObserved,
    CustodyClassified,
    DisciplinaryRecorded,
    Event,
    Handling,
    Head,
    IdKind,
    InfractionSeverity,
    ListTaken,
    NoLongerListed,
    Observation,
    PersonId,
    PersonRef,
    Role,
    Verification,
    type_name,
)
from schemas.site import Agency, Facility

SOURCE_SYSTEM: Final = "roster"
ROSTER_NAMESPACE: Final = uuid.UUID("20573000-5a11-5e07-8a11-000000000004")
"""Namespace of the events' ids (UUIDv5)."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the lists so far say: all that the next one is compared with."""

    day: date
    rows: Mapping[str, Row]
    """Who was on the last list, by id, with what was told of the stay: a level, a flag or an infraction that a later
    list leaves out is not forgotten, or it would be told again as the first."""
    ended: Mapping[str, Row]
    """Stays that left the lists, by booking number, as last listed: rows drop out for a day and come back."""

    @classmethod
    def after(cls, before: Known | None, snapshot: Snapshot) -> Known:
        """What is known after one more list."""
        if before is None:
            return cls(snapshot.day, snapshot.rows, {})
        rows: dict[str, Row] = {}
        ended = dict(before.ended)
        for person, row in snapshot.rows.items():
            told = before.rows.get(person)
            if told is None or told.admitted != row.admitted:
                told = ended.pop(row.booking_number, None)
            rows[person] = row if told is None else _with_what_was_told(row, told)
        for person, row in before.rows.items():
            if person not in rows or rows[person].admitted != row.admitted:
                ended[row.booking_number] = row
        return cls(snapshot.day, rows, ended)


def _with_what_was_told(row: Row, told: Row) -> Row:
    level, health = row.level or told.level, told.health if row.health is None else row.health
    affiliated, infraction = row.affiliated or told.affiliated, row.infraction or told.infraction
    if (level, health, affiliated, infraction) == (row.level, row.health, row.affiliated, row.infraction):
        return row
    return replace(row, level=level, health=health, affiliated=affiliated, infraction=infraction)


@dataclass(frozen=True, slots=True)
class Jail:
    """Whose lists they are."""

    agency: Agency
    facility: Facility

    def micros(self, local: datetime) -> int:
        """A local time of the facility in microseconds. Of an hour that the clock repeats, the first is meant."""
        utc = local.replace(tzinfo=ZoneInfo(self.facility.time_zone)).astimezone(UTC)
        return (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def last_ended(self, now: int) -> date:
        """The last day that has ended where the facility is. `now` is in microseconds."""
        utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now)
        return utc.astimezone(ZoneInfo(self.facility.time_zone)).date() - timedelta(days=1)

    def as_of(self, day: date) -> int:
        """When the list of a day is true: the midnight that ends it, microseconds."""
        return self.micros(datetime.combine(day + timedelta(days=1), datetime.min.time()))


@dataclass
class Tally:
    """What the events do not show, counted for the summary."""

    not_carried: Counter[str] = field(default_factory=Counter)
    """What lists say and no event tells of, in rows."""
    listed_again: int = 0
    """Stays that came back after they were not listed."""


def day_events(before: Known | None, snapshot: Snapshot, jail: Jail, tally: Tally) -> list[Event]:
    """What happened between the last list and this one, in an order that does not depend on the files' order of rows.

    `before` is None for the first list.
    """
    as_of = jail.as_of(snapshot.day)
    if before is None:
        return [event for person in sorted(snapshot.rows) for event in _listed(snapshot.rows[person], jail, as_of)]
    events: list[Event] = []
    for person in sorted(before.rows.keys() | snapshot.rows.keys()):
        old, new = before.rows.get(person), snapshot.rows.get(person)
        if old is not None and (new is None or new.admitted != old.admitted):
            events.append(_gone(old, jail, as_of, jail.as_of(before.day)))
            old = None
        if new is None:
            continue
        if old is None and (left := before.ended.get(new.booking_number)) is not None:
            events += _back(left, new, jail, as_of, tally)
        elif old is None:
            events += _listed(new, jail, as_of)
        else:
            events += _changed(old, new, jail, as_of, tally)
    return events


def list_taken(before: Known | None, snapshot: Snapshot, jail: Jail, *, repeats: bool) -> list[Event]:
    """That a list was taken, and how much of it is new; nothing where the site has no such event of the jail.

    `repeats`: it says what the one before said.
    """
    if "ListTaken" not in jail.agency.event_types:
        return []
    rows, known = snapshot.rows, before.rows if before is not None else {}
    changed = sum(rows.get(person) != known.get(person) for person in rows.keys() | known.keys())
    head = _head(jail, jail.as_of(snapshot.day), "list taken", snapshot.digest)
    # What is known holds more than the last list said: only its digest tells that nothing changed.
    changed = 0 if repeats else max(1, changed)
    return [
        ListTaken(head=head, facility=jail.facility.id, entries=len(rows), changed=changed, content=snapshot.digest)
    ]


def _listed(row: Row, jail: Jail, as_of: int) -> Iterator[Event]:
    """First sight of a stay."""
    yield _booked(row, jail, jail.micros(row.admitted))
    if row.level is not None:
        yield CustodyClassified(
            **_about(row, jail, as_of, "classified", row.level.value), level=row.level, initial=True
        )
    if row.affiliated:
        yield _affiliated(row, jail, as_of)
    if row.infraction:
        yield _infraction(row, jail, as_of)
    if row.health:
        yield _care(row, jail, as_of)


def _changed(old: Row, new: Row, jail: Jail, as_of: int, tally: Tally) -> Iterator[Event]:
    """The same stay on both lists."""
    if new.level is not None and new.level != old.level:
        about = _about(new, jail, as_of, "classified", new.level.value)
        yield CustodyClassified(**about, level=new.level, initial=old.level is None)
    if new.affiliated and not old.affiliated:
        yield _affiliated(new, jail, as_of)
    if new.infraction and not old.infraction:
        yield _infraction(new, jail, as_of)
    # Who was not said to be observed, and now is said not to be, is no change.
    if new.health is not None and new.health != bool(old.health):
        yield _care(new, jail, as_of)
    for what, flapped in (
        ("custody level left out after it was given", old.level is not None and new.level is None),
        ("health flag left out after it was given", old.health is not None and new.health is None),
        ("not flagged as affiliated any more", old.affiliated and not new.affiliated),
        ("not flagged with an infraction any more", old.infraction and not new.infraction),
        ("top charge changed", old.charge != new.charge),
        ("legal status changed", old.status != new.status),
    ):
        if flapped:
            tally.not_carried[what] += 1


def _back(left: Row, new: Row, jail: Jail, as_of: int, tally: Tally) -> Iterator[Event]:
    """A stay is listed again after it was not: it goes on, and what changed meanwhile is told.

    Booked at the time of this list, not of the admission: only a later booking undoes that it was no longer listed.
    """
    tally.listed_again += 1
    yield _booked(new, jail, as_of)
    yield from _changed(left, new, jail, as_of, tally)


def _booked(row: Row, jail: Jail, time: int) -> Event:
    return BookingReported(
        **_about(row, jail, time, "booked"),
        admitted=jail.micros(row.admitted),
        legal_status=row.status,
        charges=(row.charge,) if row.charge else (),
    )


def _gone(row: Row, jail: Jail, as_of: int, last_listed: int) -> Event:
    return NoLongerListed(**_about(row, jail, as_of, "no longer listed"), last_listed=last_listed)


def _affiliated(row: Row, jail: Jail, as_of: int) -> Event:
    about = _about(row, jail, as_of, "affiliated")
    return AffiliationValidated(**about, group=None, status=AffiliationStatus.MEMBER, criteria=())


def _infraction(row: Row, jail: Jail, as_of: int) -> Event:
    about = _about(row, jail, as_of, "infraction")
    return DisciplinaryRecorded(**about, infraction="", severity=InfractionSeverity.UNKNOWN, violent=False)


def _care(row: Row, jail: Jail, as_of: int) -> Event:
    active = bool(row.health)
    about = _about(row, jail, as_of, "observed", str(active))
    return CareObserved(**about, observation=Observation.MENTAL_HEALTH, active=active)


def _about(row: Row, jail: Jail, time: int, *what: str) -> dict[str, Any]:
    """Head, facility and stay of an event; its id is of what happened to which stay, and when."""
    number = PersonId(kind=IdKind.LOCAL, value=row.id, issuer=SOURCE_SYSTEM, verified=Verification.SYSTEM)
    of = PersonRef(role=Role.SUBJECT, ids=(number,))
    # The stay's number stands before the time in what the id is of, as it always did: ids must not change.
    head = _head(jail, time, *what, of=of, stay=row.booking_number)
    return {"head": head, "facility": jail.facility.id, "booking_number": row.booking_number}


def _head(jail: Jail, time: int, *what: str, of: PersonRef | None = None, stay: str = "") -> Head:
    about = "/".join((jail.agency.id, jail.facility.id, stay, str(time), *what))
    return Head(
        event_id=str(uuid.uuid5(ROSTER_NAMESPACE, about)),
        time=time,
        ori=jail.agency.ori,
        source_system=SOURCE_SYSTEM,
        persons=(of,) if of is not None else (),
        handling=Handling(),
    )


@dataclass
class Summary:
    """What an import read, made, and set aside."""

    days: int = 0
    rows: int = 0
    sealed: int = 0
    repeated_days: int = 0
    already_imported: int = 0
    """Days that were imported before and are left out."""
    events: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)

    def count(self, snapshot: Snapshot, events: Iterable[Event], *, repeats: bool) -> None:
        """Count a day in."""
        self.days += 1
        self.rows += snapshot.rows_read
        self.sealed += snapshot.sealed
        self.repeated_days += repeats
        self.events.update(type_name(event) for event in events)
        self.set_aside.update(row.why for row in snapshot.set_aside)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "days": self.days,
            "rows": self.rows,
            "repeated_days": self.repeated_days,
            "already_imported": self.already_imported,
            "events": dict(sorted(self.events.items())),
            "set_aside": dict(sorted({**self.set_aside, **({"sealed": self.sealed} if self.sealed else {})}.items())),
            "not_carried": dict(sorted(self.tally.not_carried.items())),
            "listed_again": self.tally.listed_again,
        }
