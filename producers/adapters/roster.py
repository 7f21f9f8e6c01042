"""The adapter `roster`: a jail's daily lists, compared day by day, become events. Pure.

A list of day D was true by the end of D: what the comparison finds is dated at the following midnight in the facility's
time zone (`as_of`). `docs/roster.md` says what is made of each oddity of real lists, and why. Event ids are made from
the stay and what happened to it, so importing twice changes nothing.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from producers.adapters.roster_file import Problem, Row, Snapshot
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
Held = Mapping[str, Row]
"""Who was on the last list, by id."""


@dataclass(frozen=True, slots=True)
class Jail:
    """Whose lists they are."""

    agency: Agency
    facility: Facility

    def micros(self, local: datetime) -> int:
        """A local time of the facility in microseconds. Of an hour that the clock repeats, the first is meant."""
        utc = local.replace(tzinfo=ZoneInfo(self.facility.time_zone)).astimezone(UTC)
        return (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def as_of(self, day: date) -> int:
        """When the list of a day is true: the midnight that ends it, microseconds."""
        return self.micros(datetime.combine(day + timedelta(days=1), datetime.min.time()))


@dataclass
class NotCarried:
    """Changes that no event tells of, counted for the summary."""

    counts: Counter[str] = field(default_factory=Counter)


def day_events(
    before: Held, snapshot: Snapshot, last_day: date | None, jail: Jail, not_carried: NotCarried
) -> list[Event]:
    """What happened between the last list and this one, in an order that does not depend on the files' order of rows.

    `last_day` is the day of the last list, None for the first.
    """
    as_of = jail.as_of(snapshot.day)
    events: list[Event] = []
    for person in sorted(before.keys() | snapshot.rows.keys()):
        old, new = before.get(person), snapshot.rows.get(person)
        if old is not None and (new is None or new.admitted != old.admitted):
            events.append(_gone(old, jail, as_of, jail.as_of(last_day) if last_day else as_of))
            old = None
        if new is not None:
            events += _listed(new, jail, as_of) if old is None else _changed(old, new, jail, as_of, not_carried)
    return events


def _listed(row: Row, jail: Jail, as_of: int) -> Iterator[Event]:
    """First sight of a stay."""
    admitted = jail.micros(row.admitted)
    yield BookingReported(
        **_about(row, jail, admitted, "booked"),
        admitted=admitted,
        legal_status=row.status,
        charges=(row.charge,) if row.charge else (),
    )
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


def _changed(old: Row, new: Row, jail: Jail, as_of: int, not_carried: NotCarried) -> Iterator[Event]:
    """The same stay on both lists."""
    if new.level is not None and new.level != old.level:
        about = _about(new, jail, as_of, "classified", new.level.value)
        yield CustodyClassified(**about, level=new.level, initial=old.level is None)
    if new.affiliated and not old.affiliated:
        yield _affiliated(new, jail, as_of)
    if new.infraction and not old.infraction:
        yield _infraction(new, jail, as_of)
    if new.health != old.health:
        yield _care(new, jail, as_of)
    for what, flapped in (
        ("custody level blank again", old.level is not None and new.level is None),
        ("no longer flagged as affiliated", old.affiliated and not new.affiliated),
        ("no longer flagged with an infraction", old.infraction and not new.infraction),
        ("top charge changed", old.charge != new.charge),
        ("legal status changed", old.status != new.status),
    ):
        if flapped:
            not_carried.counts[what] += 1


def _gone(row: Row, jail: Jail, as_of: int, last_listed: int) -> Event:
    return NoLongerListed(**_about(row, jail, as_of, "no longer listed"), last_listed=last_listed)


def _affiliated(row: Row, jail: Jail, as_of: int) -> Event:
    about = _about(row, jail, as_of, "affiliated")
    return AffiliationValidated(**about, group=None, status=AffiliationStatus.MEMBER, criteria=())


def _infraction(row: Row, jail: Jail, as_of: int) -> Event:
    about = _about(row, jail, as_of, "infraction")
    return DisciplinaryRecorded(**about, infraction="", severity=InfractionSeverity.UNKNOWN, violent=False)


def _care(row: Row, jail: Jail, as_of: int) -> Event:
    about = _about(row, jail, as_of, "observed", str(row.health))
    return CareObserved(**about, observation=Observation.MENTAL_HEALTH, active=row.health)


def _about(row: Row, jail: Jail, time: int, *what: str) -> dict[str, Any]:
    """Head, facility and stay of an event; its id is of what happened to which stay, and when."""
    about = "/".join((jail.agency.id, jail.facility.id, row.booking_number, str(time), *what))
    number = PersonId(kind=IdKind.LOCAL, value=row.id, issuer=SOURCE_SYSTEM, verified=Verification.SYSTEM)
    head = Head(
        event_id=str(uuid.uuid5(ROSTER_NAMESPACE, about)),
        time=time,
        ori=jail.agency.ori,
        source_system=SOURCE_SYSTEM,
        persons=(PersonRef(role=Role.SUBJECT, ids=(number,)),),
        handling=Handling(),
    )
    return {"head": head, "facility": jail.facility.id, "booking_number": row.booking_number}


def sequence_problems(snapshots: Iterable[Snapshot], after: Snapshot | None, *, gaps_allowed: bool) -> list[Problem]:
    """What is wrong with lists as a sequence, ordered by day: days twice, missing, or swapped."""
    problems: list[Problem] = []
    last = after
    for snapshot in snapshots:
        if last is not None:
            problems += _follows(last, snapshot, gaps_allowed=gaps_allowed)
        last = snapshot
    return problems


def _follows(last: Snapshot, snapshot: Snapshot, *, gaps_allowed: bool) -> Iterator[Problem]:
    days = (snapshot.day - last.day).days
    if days == 0:
        yield Problem(snapshot.file, None, f"lists {snapshot.day} as {last.file} does: give one of them")
        return
    if days > 1 and not gaps_allowed:
        missing = last.day + timedelta(days=1)
        until = "" if days == 2 else f" to {snapshot.day - timedelta(days=1)}"  # noqa: PLR2004
        why = f"{missing}{until} is missing before it: give the missing days, or accept the gap with --allow-gaps"
        yield Problem(snapshot.file, None, why)
    newest, before = snapshot.newest_admission, last.newest_admission
    # Lists only ever gain admissions: one whose newest is older than the day before's was made earlier.
    if newest is not None and before is not None and newest < before:
        yield Problem(
            snapshot.file, None, f"was made before {last.file}: days are swapped or misnamed; name them after their day"
        )


@dataclass
class Summary:
    """What an import read, made, and set aside."""

    days: int = 0
    rows: int = 0
    sealed: int = 0
    repeated_days: int = 0
    events: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    not_carried: NotCarried = field(default_factory=NotCarried)

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
            "events": dict(sorted(self.events.items())),
            "set_aside": dict(sorted({**self.set_aside, **({"sealed": self.sealed} if self.sealed else {})}.items())),
            "not_carried": dict(sorted(self.not_carried.counts.items())),
        }
