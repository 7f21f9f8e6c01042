"""Identify: who is it? An inbound record becomes facts, or a dead letter with the reason.

Pure: the shell reads, writes, and looks schemas up. Nothing is remembered between records, so any worker can do any
record again and writes the same facts.

Identity. A person's identifiers are ordered by strength: a UCN or SID verified by fingerprint, then the agency's own
number. The event goes to the person that the strongest names; each weaker one is joined to it by a `same-as` fact in
the weaker person's partition, whose owner forwards that person's facts from then on. A SID or UCN that was only stated
or read off a document joins nobody: it stays apart, as a number of that agency.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from schemas import topics
from schemas.codec import DecodeError, WriterSchema, decode_parts
from schemas.events import (
    CARE_EVENTS,
    ONLY_HEARD,
    TIP_EVENTS,
    Contact,
    ContactClass,
    ContrabandTipped,
    CustodyEvent,
    Event,
    EventWithdrawn,
    HousingAssigned,
    IdKind,
    ListTaken,
    PersonId,
    PersonRef,
    Role,
    StreetViolenceReported,
    TipHandling,
    TipOutcome,
    Verification,
    type_name,
)
from schemas.site import Agency, Site
from streams.facts import (
    COMMON,
    SAME_AS,
    Fact,
    FactKey,
    Joining,
    KeyKind,
    Rarity,
    fact_headers,
    forwarded,
    partition_of,
    person_id,
    person_key,
    sort_of,
    variant_of,
)
from streams.heard import heard, listed
from streams.names import is_full
from streams.numbers import BY_FINGERPRINT
from streams.pictures.tip_match import LEAST_POINTS, most_points
from streams.records import Headers, Out, Record

IDENTIFY: Final = "identify"
"""The stage's name."""
_OF_NOBODY: Final = frozenset(kind.__name__ for kind in (EventWithdrawn, StreetViolenceReported, TipOutcome, ListTaken))
"""Types of events that need not be about a person. Sets of names: to ask whether an event is one of some models takes
half a microsecond, and an event is asked a dozen times."""
_OF_EVERYONE: Final = TIP_EVENTS | {StreetViolenceReported.__name__}
"""Types of events of which everybody's picture is told."""
_NO_FACT: Final = CARE_EVENTS | ONLY_HEARD | {ListTaken.__name__}
"""Types of events of which no fact is written."""
MOST_OF_SUBSTANCE: Final = 60
"""Characters of what a tip says is to come: it is told word for word to who may not know who says it, so it is to hold
nothing else."""
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
    NAMES_NOBODY = "NAMES_NOBODY"
    NOBODY_TO_CALL = "NOBODY_TO_CALL"
    TOO_MANY_WORDS = "TOO_MANY_WORDS"


class Source(NamedTuple):
    """An inbound topic, as the site describes it."""

    topic: str
    agency: Agency
    event_type: str


class Facts(NamedTuple):
    """The event is taken: what it puts on the facts topics."""

    records: tuple[Out, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The record is set aside: why, and where in it. `detail` shows no value of the record."""

    reason: str
    detail: str
    records: tuple[Out, ...] = ()
    """What it puts on the facts topics all the same: that it was heard of."""


def identify(
    record: Record, source: Source, site: Site, schemas: Mapping[int, WriterSchema], wall_now: int
) -> Facts | DeadLetter:
    """What an inbound record puts on the facts topics, or why it is set aside.

    `wall_now` (microseconds) only serves to quarantine events from the future.
    """
    raw = record.value or b""
    try:
        event, body_at = decode_parts(raw, schemas, source.event_type)
    except DecodeError as error:
        return DeadLetter(error.reason.value, error.where)
    return identified(event, body_at, raw, source, site, wall_now, record.timestamp * 1000)


def identified(
    event: Event, body_at: int, raw: bytes, source: Source, site: Site, wall_now: int, came: int
) -> Facts | DeadLetter:
    """What an event puts on the facts topics, or why it is set aside.

    `raw` is the event as framed Avro, in which its body begins at `body_at`; `came` when it came on its topic,
    microseconds.
    """
    refused = refuse(event, source, site, wall_now)
    if refused is None:
        return Facts((*_facts(event, body_at, raw, source, site), *_notes(event, source, site, came)))
    if refused.reason == Refusal.EXPIRED:
        # Its agency was heard of, whether it came before its purge date or after.
        return replace(refused, records=tuple(_notes(event, source, site, came)))
    return refused


def _notes(event: Event, source: Source, site: Site, came: int) -> Iterator[Out]:
    if not _is_anybodys_business(event):
        return
    note = heard(source.agency.id, source.event_type, source.topic, event.head.time, came, site)
    if note is not None:
        yield note
    if isinstance(event, ListTaken):
        yield listed(event, source.agency.id, source.topic, site)


def _is_anybodys_business(event: Event) -> bool:
    """Not so whom somebody's attorney, clergy or doctor sees: that is nothing the bus knows; nor what may be such a
    contact."""
    return not isinstance(event, Contact) or event.contact is ContactClass.ORDINARY


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
    purge_by = head.handling.purge_by
    if purge_by is not None and purge_by <= wall_now and site.clock == "live" and not isinstance(event, EventWithdrawn):
        return DeadLetter(Refusal.EXPIRED.value, "head.handling.purge_by has passed")
    return _refuse_persons(event, source.agency.id) or _refuse_content(event, source, site)


def _refuse_persons(event: Event, agency: str) -> DeadLetter | None:
    persons = event.head.persons
    if len(persons) > 1:
        numbers = [number for ref in persons for number in identifiers(ref, agency)]
        if len(numbers) > len(set(numbers)):
            return DeadLetter(Refusal.ONE_NUMBER_TWICE.value, "head.persons: one number names two persons of the event")
    kind = type_name(event)
    if kind in _OF_NOBODY or (not persons and kind == ContrabandTipped.__name__):
        return None
    if not persons:
        return DeadLetter(Refusal.NO_PERSON.value, "head.persons is empty")
    if [ref.role for ref in persons].count(Role.SUBJECT) != 1:
        return DeadLetter(Refusal.NOT_ONE_SUBJECT.value, "head.persons: one, and only one, must be the SUBJECT")
    return None


def _refuse_content(event: Event, source: Source, site: Site) -> DeadLetter | None:
    if isinstance(event, (CustodyEvent, ListTaken)):
        return _refuse_custody(event, source, site)
    if isinstance(event, StreetViolenceReported) and not event.head.persons and not _at_odds(event):
        return DeadLetter(Refusal.NO_GROUPS.value, "neither two groups nor a person: nothing follows from it")
    if isinstance(event, ContrabandTipped):
        return _refuse_tip(event, source, site) or _refuse_call(event, site)
    return None


def _refuse_tip(event: ContrabandTipped, source: Source, site: Site) -> DeadLetter | None:
    if event.facility is not None and event.facility not in site.facility_by_id:
        return DeadLetter(Refusal.UNKNOWN_FACILITY.value, "facility is not one of this site")
    if len(event.substance) > MOST_OF_SUBSTANCE:
        detail = f"substance has more than {MOST_OF_SUBSTANCE} characters, and the facility is told it word for word"
        return DeadLetter(Refusal.TOO_MANY_WORDS.value, f"{detail}: say what is to come, and the rest in narrative")
    numbers = [number for ref in event.head.persons if ref.role is Role.SUBJECT for number in ref.ids]
    points = most_points(event, any(_may_find(number, source, site) for number in numbers))
    if points >= LEAST_POINTS:
        return None
    return DeadLetter(Refusal.NAMES_NOBODY.value, _lacks(event, points))


def _may_find(number: PersonId, source: Source, site: Site) -> bool:
    """Whether a number that a tip gives of the recipient may be known of somebody in custody.

    An agency's own number may be joined to a jail's by what the agency sends besides. A state's or federal one without
    a fingerprint stands apart, as that agency's: nobody has it but whom the agency itself has in custody.
    """
    if _is_firm(number):
        return True
    return any(facility.agency == source.agency.id for facility in site.facilities)


def _lacks(tip: ContrabandTipped, points: int) -> str:
    """What a tip that can alert on nothing lacks."""
    if points:
        return (
            f"whatever is delivered, {points} points at most speak for it, and it takes {LEAST_POINTS}: "
            "a name alone is shared. Say more: facility, method, or the day (expected_from, expected_until)"
        )
    if tip.head.persons:
        return (
            "head.persons: a number that no fingerprint verifies finds nobody in custody, and neither recipient nor "
            "courier has a full name that could be met. Say more"
        )
    if is_full(tip.courier_name):
        return "recipient_name: who comes back from court or from a work crew brings it himself. Say who that is"
    return "neither recipient nor courier, by a number or by a full name: it could mean half a jail. Say more"


def _refuse_call(event: ContrabandTipped, site: Site) -> DeadLetter | None:
    # What a newer contract says of handling is taken for CALL_FIRST. A service knows who is meant; so does, by a
    # reference, whoever gave that one.
    asks = event.handling in (TipHandling.CALL_FIRST, TipHandling.UNKNOWN)
    if asks and not event.deconfliction_reference and site.deconfliction is None:
        return DeadLetter(
            Refusal.NOBODY_TO_CALL.value,
            "handling asks to be called first, and nobody could: add deconfliction_reference, "
            "or have deconfliction named in site.toml",
        )
    return None


def _at_odds(event: StreetViolenceReported) -> bool:
    """Whether it names two groups."""
    return len({group_key(group) for group in event.groups}) > 1


def _refuse_custody(event: CustodyEvent | ListTaken, source: Source, site: Site) -> DeadLetter | None:
    facility = site.facility_by_id.get(event.facility)
    if facility is None:
        return DeadLetter(Refusal.UNKNOWN_FACILITY.value, "facility is not one of this site")
    if facility.agency != source.agency.id:
        return DeadLetter(Refusal.FOREIGN_FACILITY.value, f"facility {facility.id} is not run by {source.agency.id}")
    if isinstance(event, HousingAssigned) and facility.units and event.unit not in facility.unit_ids:
        return DeadLetter(Refusal.UNKNOWN_UNIT.value, f"unit is not one of {facility.id}; add it to site.toml")
    return None


@lru_cache(4_096)
def group_key(group: str) -> str:
    """A group's name as it is compared: agencies differ in case and spacing."""
    return " ".join(group.casefold().split())


class Identifier(NamedTuple):
    """One identifier as a node of the identity graph, ordered by strength, the strongest first."""

    rank: int
    person: str
    label: str
    """In words, for evidence; shows no number."""

    @property
    def node(self) -> str:
        """As a `same-as` fact names it: nodes order by strength, then by id, so joins can never run in a circle."""
        return f"{self.rank}/{self.person}"


_STRONG_RANK: Final = {kind: rank for rank, kind in enumerate(BY_FINGERPRINT)}
_LOCAL_RANK: Final = 2


def identifier(number: PersonId, agency: str) -> Identifier:
    """The node that one identifier of an event names. Only a fingerprint makes a state or federal number strong."""
    is_verified = number.verified is Verification.FINGERPRINT
    # As plain text: an enum's hash is slow, and this is asked for every number of every event.
    return _identifier(str(number.kind), number.issuer, number.value, agency, is_verified)


@lru_cache(16_384)
def _identifier(kind: str, issuer: str, value: str, agency: str, is_verified: bool) -> Identifier:
    rank = _STRONG_RANK.get(kind)
    if rank is not None and is_verified:
        return Identifier(rank, person_id(kind, issuer, value), BY_FINGERPRINT[kind])
    person = person_id(f"{agency}/{kind}", issuer, value)
    told = "number" if kind == IdKind.LOCAL else f"{kind} not verified by fingerprint"
    return Identifier(_LOCAL_RANK, person, f"{agency} {told}")


def identifiers(ref: PersonRef, agency: str) -> list[Identifier]:
    """A person's identifiers in an event, the strongest first.

    An unverified SID or UCN beside a better identifier names nobody: it must not join two persons.
    """
    if len(ref.ids) == 1:
        return [identifier(ref.ids[0], agency)]
    firm = [number for number in ref.ids if _is_firm(number)]
    return sorted({identifier(number, agency) for number in (firm or ref.ids)})


def _is_firm(number: PersonId) -> bool:
    """Whether a number says who somebody is: the agency's own, and what a fingerprint verifies."""
    return number.kind is IdKind.LOCAL or number.verified is Verification.FINGERPRINT


def _facts(event: Event, body_at: int, raw: bytes, source: Source, site: Site) -> list[Out]:
    # Health data stays on its care topic; what correlates it will read that topic with a care user.
    if source.event_type in _NO_FACT or not _is_anybodys_business(event):
        return []
    if isinstance(event, EventWithdrawn):
        return _withdrawal(event, raw, source, site)
    agency, event_id, variant = source.agency.id, event.head.event_id, variant_of(raw)
    marked, purge_by = bool(event.head.handling.markings), event.head.handling.purge_by

    stay = (event.facility, event.booking_number) if isinstance(event, CustodyEvent) else None

    topic, partitions, time = topics.person_facts(site.name), site.partitions, event.head.time

    def headers(via: str, same_as: str | None = None) -> Headers:
        sort = sort_of(source.event_type, source.topic, marked, via)
        rare = COMMON if same_as is None and purge_by is None else Rarity(same_as=same_as, purge_by=purge_by)
        return fact_headers(sort, time, body_at, stay if same_as is None else None, rare)

    def of(person: str, role: str, told: Headers) -> Out:
        key = person_key(person, agency, event_id, role, variant)
        return Out(topic, partition_of(person, partitions), key, None, raw, told)

    records: list[Out] = []
    if source.event_type in _OF_EVERYONE:
        key = FactKey(KeyKind.EVERYONE, agency=agency, event_id=event_id, variant=variant)
        # Feuds matter to persons, too; deliveries are where facilities are.
        both = isinstance(event, StreetViolenceReported)
        records += _on_every_partition(key.encoded(), raw, headers(""), site, persons=both)
    # What became of a tip is asked of nobody: who may not know of the tip would see by a join that there is one.
    for ref in () if source.event_type == TipOutcome.__name__ else event.head.persons:
        role, (strongest, *weaker) = ref.role.lower(), identifiers(ref, agency)
        records.append(of(strongest.person, role, headers(strongest.label)))
        if source.event_type == "ContrabandTipped":
            # A tip joins nobody: who may not know of it would see by the join that there is one. So whoever it names by
            # any of its numbers has it.
            records += [of(other.person, role, headers(other.label)) for other in weaker]
        elif weaker and any(map(_is_firm, ref.ids)):
            # Of numbers that are only stated, or read off a document, none is another's.
            records += [of(other.person, SAME_AS, headers(other.label, strongest.node)) for other in weaker]
    return records


def _withdrawal(event: EventWithdrawn, raw: bytes, source: Source, site: Site) -> list[Out]:
    key = FactKey(KeyKind.WITHDRAWN, agency=source.agency.id, event_id=event.target_event_id).encoded()
    return _on_every_partition(key, raw, (), site)


def to_person(fact: Fact, site: Site) -> Out:
    """The record that puts a fact into its person's partition."""
    return _of_person(fact.person, fact.record_key, fact.raw, fact.headers(), site)


def on_to_person(record: Record, person: str, by: Joining, site: Site) -> Out:
    """The record that puts a joined person's fact into the partition of whom that one is joined to."""
    key, headers = forwarded(record, person, by)
    return _of_person(person, key, record.value, headers, site)


def _of_person(person: str, key: bytes, value: bytes | None, headers: Headers, site: Site) -> Out:
    """A record in a person's partition."""
    return Out(topics.person_facts(site.name), partition_of(person, site.partitions), key, None, value, headers)


def _on_every_partition(key: bytes, raw: bytes, headers: Headers, site: Site, *, persons: bool = True) -> list[Out]:
    """Records on every partition of facilities, and of `persons`."""
    return [
        Out(topic, partition, key, None, raw, headers)
        for topic in (*((topics.person_facts(site.name),) if persons else ()), topics.facility_facts(site.name))
        for partition in range(site.partitions)
    ]
