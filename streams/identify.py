"""Identify: who is it? An inbound record becomes facts, or a dead letter with the reason.

Pure: the shell reads, writes, and looks schemas up. Nothing is remembered between records, so any worker can do any
record again and writes the same facts.

Identity. A person's identifiers are ordered by strength: a UCN or SID verified by fingerprint, then the agency's own
number. The event goes to the person that the strongest names; each weaker one is joined to it by a `same-as` fact in
the weaker person's partition, whose owner forwards that person's facts from then on. A SID or UCN that was only stated
or read off a document joins nobody: it stays apart, as a number of that agency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from schemas import topics
from schemas.codec import DecodeError, WriterSchema, decode_parts
from schemas.events import (
    CARE_EVENTS,
    CustodyEvent,
    Event,
    EventWithdrawn,
    HousingAssigned,
    IdKind,
    PersonId,
    PersonRef,
    Role,
    StreetViolenceReported,
    Verification,
)
from schemas.site import Agency, Site
from streams.facts import COMMON, SAME_AS, Fact, FactKey, KeyKind, Rarity, event_key, partition_of, person_id, sort_of
from streams.records import Headers, Out, Record

FUTURE_TOLERANCE: Final = 5 * 60 * 1_000_000
"""How far ahead of the wall clock an event may be, microseconds: clocks of agencies differ by minutes, not more."""


class Refusal(StrEnum):
    """Why a decoded event is not taken."""

    OTHER_AGENCY = "OTHER_AGENCY"
    UNKNOWN_FACILITY = "UNKNOWN_FACILITY"
    FOREIGN_FACILITY = "FOREIGN_FACILITY"
    UNKNOWN_UNIT = "UNKNOWN_UNIT"
    FUTURE = "FUTURE"
    EXPIRED = "EXPIRED"
    NO_PERSON = "NO_PERSON"
    NOT_ONE_SUBJECT = "NOT_ONE_SUBJECT"
    ONE_NUMBER_TWICE = "ONE_NUMBER_TWICE"
    NO_GROUPS = "NO_GROUPS"


@dataclass(frozen=True, slots=True)
class Source:
    """An inbound topic, as the site describes it."""

    topic: str
    agency: Agency
    event_type: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The event is taken: what it puts on the facts topics."""

    records: tuple[Out, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The record is set aside: why, and where in it. `detail` shows no value of the record."""

    reason: str
    detail: str


def identify(
    record: Record, source: Source, site: Site, schemas: Mapping[int, WriterSchema], wall_now: int
) -> Facts | DeadLetter:
    """What an inbound record puts on the facts topics, or why it is set aside.

    `wall_now` (microseconds) only serves to quarantine events from the future.
    """
    try:
        event, body_at = decode_parts(record.value or b"", schemas, source.event_type)
    except DecodeError as error:
        return DeadLetter(error.reason.value, error.where)
    refused = refuse(event, source, site, wall_now)
    if refused is not None:
        return refused
    return Facts(tuple(_facts(event, body_at, record.value or b"", source, site)))


def refuse(event: Event, source: Source, site: Site, wall_now: int) -> DeadLetter | None:
    """Why an event does not fit its topic and site; None when it does."""
    head = event.head
    if head.ori != source.agency.ori:
        return DeadLetter(
            Refusal.OTHER_AGENCY.value,
            f"head.ori is not that of {source.agency.id}: an agency publishes and withdraws in its own name only",
        )
    if head.time > wall_now + FUTURE_TOLERANCE:
        return DeadLetter(
            Refusal.FUTURE.value,
            "head.time is in the future: check the publisher's clock and time zone, then publish again",
        )
    purge_by = None if isinstance(event, EventWithdrawn) else head.handling.purge_by
    if purge_by is not None and purge_by <= wall_now and site.clock == "live":
        return DeadLetter(Refusal.EXPIRED.value, "head.handling.purge_by has passed")
    return _refuse_persons(event, source.agency.id) or _refuse_content(event, source, site)


def _refuse_persons(event: Event, agency: str) -> DeadLetter | None:
    persons = event.head.persons
    numbers = [found for ref in persons for found in identifiers(ref, agency)]
    if len(numbers) > len(set(numbers)):
        return DeadLetter(Refusal.ONE_NUMBER_TWICE.value, "head.persons: one number names two persons of the event")
    if isinstance(event, EventWithdrawn | StreetViolenceReported):
        return None
    if not persons:
        return DeadLetter(Refusal.NO_PERSON.value, "head.persons is empty")
    if sum(ref.role is Role.SUBJECT for ref in persons) != 1:
        return DeadLetter(Refusal.NOT_ONE_SUBJECT.value, "head.persons: one, and only one, must be the SUBJECT")
    return None


def _refuse_content(event: Event, source: Source, site: Site) -> DeadLetter | None:
    if isinstance(event, CustodyEvent):
        return _refuse_custody(event, source, site)
    if isinstance(event, StreetViolenceReported) and not event.head.persons and not _at_odds(event):
        return DeadLetter(Refusal.NO_GROUPS.value, "neither two groups nor a person: nothing follows from it")
    return None


def _at_odds(event: StreetViolenceReported) -> bool:
    """Whether it names two groups."""
    return len({group_key(group) for group in event.groups}) > 1


def _refuse_custody(event: CustodyEvent, source: Source, site: Site) -> DeadLetter | None:
    facility = site.facility_by_id.get(event.facility)
    if facility is None:
        return DeadLetter(Refusal.UNKNOWN_FACILITY.value, "facility is not one of this site")
    if facility.agency != source.agency.id:
        return DeadLetter(Refusal.FOREIGN_FACILITY.value, f"facility {facility.id} is not run by {source.agency.id}")
    if isinstance(event, HousingAssigned) and facility.units and event.unit not in {u.id for u in facility.units}:
        return DeadLetter(Refusal.UNKNOWN_UNIT.value, f"unit is not one of {facility.id}; add it to site.toml")
    return None


def group_key(group: str) -> str:
    """A group's name as it is compared: agencies differ in case and spacing."""
    return " ".join(group.casefold().split())


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """One identifier as a node of the identity graph, ordered by strength, the strongest first."""

    rank: int
    person: str
    label: str
    """In words, for evidence; shows no number."""

    @property
    def node(self) -> str:
        """As a `same-as` fact names it: nodes order by strength, then by id, so joins can never run in a circle."""
        return f"{self.rank}/{self.person}"


_STRONG_RANK: Final = {IdKind.UCN: 0, IdKind.SID: 1}
_LOCAL_RANK: Final = 2


def identifier(number: PersonId, agency: str) -> Identifier:
    """The node that one identifier of an event names. Only a fingerprint makes a state or federal number strong."""
    is_verified = number.verified is Verification.FINGERPRINT
    return _identifier(number.kind, number.issuer, number.value, agency, is_verified)


@lru_cache(16_384)
def _identifier(kind: IdKind, issuer: str, value: str, agency: str, is_verified: bool) -> Identifier:
    rank = _STRONG_RANK.get(kind)
    if rank is not None and is_verified:
        return Identifier(rank, person_id(kind, issuer, value), f"{kind} by fingerprint")
    person = person_id(f"{agency}/{kind}", issuer, value)
    told = "number" if kind is IdKind.LOCAL else f"{kind} not verified by fingerprint"
    return Identifier(_LOCAL_RANK, person, f"{agency} {told}")


def identifiers(ref: PersonRef, agency: str) -> list[Identifier]:
    """A person's identifiers in an event, the strongest first.

    An unverified SID or UCN beside a better identifier names nobody: it must not join two persons.
    """
    if len(ref.ids) == 1:
        return [identifier(ref.ids[0], agency)]
    firm = [n for n in ref.ids if n.kind is IdKind.LOCAL or n.verified is Verification.FINGERPRINT]
    return sorted({identifier(number, agency) for number in (firm or ref.ids)})


def _facts(event: Event, body_at: int, raw: bytes, source: Source, site: Site) -> list[Out]:
    if isinstance(event, EventWithdrawn):
        return _withdrawal(event, raw, source, site)
    if source.event_type in CARE_EVENTS:
        # Health data stays on its care topic; what correlates it will read that topic with a care user.
        return []
    agency, head = source.agency.id, event.head
    key, marked, purge_by = event_key(agency, head.event_id), bool(head.handling.markings), head.handling.purge_by
    rare = COMMON if purge_by is None else Rarity(purge_by=purge_by)
    records: list[Out] = []

    def fact(person: str, role: str, via: str, rarity: Rarity) -> Fact:
        return Fact(
            person, key, role, sort_of(source.event_type, source.topic, marked, via), head.time, body_at, raw, rarity
        )

    if isinstance(event, StreetViolenceReported):
        records += _to_everyone(fact("", "", "", rare), site)
    for ref in head.persons:
        strongest, *weaker = identifiers(ref, agency)
        records.append(to_person(fact(strongest.person, ref.role.lower(), strongest.label, rare), site))
        for other in weaker:
            link = Rarity(same_as=strongest.node, purge_by=purge_by)
            records.append(to_person(fact(other.person, SAME_AS, other.label, link), site))
    return records


def _withdrawal(event: EventWithdrawn, raw: bytes, source: Source, site: Site) -> list[Out]:
    key = FactKey(KeyKind.WITHDRAWN, agency=source.agency.id, event_id=event.target_event_id).encoded()
    return _on_every_partition(key, raw, (), site)


def to_person(fact: Fact, site: Site) -> Out:
    """The record that puts a fact into its person's partition."""
    topic, partition = topics.person_facts(site.name), partition_of(fact.person, site.partitions)
    return Out(topic, partition, fact.key.encoded(), None, fact.raw, fact.headers())


def _to_everyone(fact: Fact, site: Site) -> list[Out]:
    return _on_every_partition(fact.key.encoded(), fact.raw, fact.headers(), site)


def _on_every_partition(key: bytes, raw: bytes, headers: Headers, site: Site) -> list[Out]:
    """Records on every partition of persons and facilities."""
    return [
        Out(topic, partition, key, None, raw, headers)
        for topic in (topics.person_facts(site.name), topics.facility_facts(site.name))
        for partition in range(site.partitions)
    ]
