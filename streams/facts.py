"""Facts: events as the bus keeps them, by person, their bytes untouched.

The key of a record on a facts topic says what it is:

- `<person>/<agency>/<event>/<role>/<variant>`: a fact about one person; `.../<origin>` behind it where it was forwarded
  from another person, to whom it was first addressed: one event may name both, and then each of the two is a fact;
- `<person>/<agency>/<event>/same-as/<variant>`: this person is the same as the one in the header `same-as`;
- `~everyone/<agency>/<event>/<variant>`: a fact about no one person, such as street violence; on every partition;
- `~withdrawn/<agency>/<event>`: the agency takes its event back; on every partition, so that no order of arrival
  matters, and no one need know whom the event was about;
- `~joined/<person>`: to whom a person is joined, in the header `to`, where what is known once said otherwise; on every
  partition, since that person's facts may be on any;
- `~tick`: time.

On the facility facts there are also `~custody/...` (`streams/custody.py`) and `~heard/...` (`streams/heard.py`).

A variant is a digest of the event's bytes: compaction must not choose between two contents of one event id.

What the pictures need without decoding is in the headers: `sort` holds what many facts share (type, topic, how the
person was known), `fact` what is its own (time, where the body begins, purge date, stay).
"""

from __future__ import annotations

import hashlib
import zlib
from binascii import unhexlify
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from streams.records import Headers, Record

TICK_KEY: Final = b"~tick"
SAME_AS: Final = "same-as"
_SAME_AS_PART: Final = f"/{SAME_AS}/".encode()
_EVERYONE: Final = "~everyone"
_EVERYONE_KEY: Final = _EVERYONE.encode()
_WITHDRAWN: Final = "~withdrawn"
_JOINED: Final = "~joined"
_JOINED_BY: Final = "joined-by"
_ORIGIN: Final = "origin"
SUBJECT: Final = "subject"
"""Role of the person whom an event is about. Others in it are named there; nothing is known *of them* by it."""

PERSON_NAMESPACE: Final = bytes.fromhex("6f1f5f0e6f0f5a559a115a11790a7000")
"""Namespace of person ids (UUIDv5)."""

EventKey = bytes
"""Event id (16 bytes) and agency: what a withdrawal names."""
_ID_SIZE: Final = 16


def event_key(agency: str, event_id: str) -> EventKey:
    """The key of an agency's event. Raises ValueError for an id that is no UUID."""
    return unhexlify(event_id.replace("-", "")) + agency.encode()


StayKey = tuple[str, str]
"""Facility and booking number: what tells a stay in custody from others."""


class KeyKind(StrEnum):
    """What a record on a facts topic is, by its key."""

    PERSON = "PERSON"
    SAME_AS = "SAME_AS"
    EVERYONE = "EVERYONE"
    WITHDRAWN = "WITHDRAWN"
    JOINED = "JOINED"
    TICK = "TICK"


@dataclass(frozen=True, slots=True)
class FactKey:
    """The parsed key of a record on a facts topic; empty strings where a part does not apply."""

    kind: KeyKind
    person: str = ""
    agency: str = ""
    event_id: str = ""
    role: str = ""
    variant: str = ""
    origin: str = ""
    """Of a forwarded fact: the person that it was first addressed to."""

    @property
    def event_key(self) -> EventKey:
        """The key of the event it speaks of."""
        return event_key(self.agency, self.event_id)

    def encoded(self) -> bytes:
        """As bytes on the topic."""
        match self.kind:
            case KeyKind.TICK:
                return TICK_KEY
            case KeyKind.EVERYONE:
                return f"{_EVERYONE}/{self.agency}/{self.event_id}/{self.variant}".encode()
            case KeyKind.WITHDRAWN:
                return f"{_WITHDRAWN}/{self.agency}/{self.event_id}".encode()
            case KeyKind.JOINED:
                return f"{_JOINED}/{self.person}".encode()
            case _:
                return person_key(self.person, self.agency, self.event_id, self.role, self.variant, self.origin)


def person_key(person: str, agency: str, event_id: str, role: str, variant: str, origin: str = "") -> bytes:
    """Key of a fact about one person; `origin` where it was forwarded."""
    return f"{person}/{agency}/{event_id}/{role}/{variant}{f'/{origin}' if origin else ''}".encode()


def is_of_one_person(key: bytes) -> bool:
    """Whether the fact of that key is one person's, and joins that one to nobody."""
    return not key.startswith(b"~") and _SAME_AS_PART not in key


def parse_key(key: bytes) -> FactKey:
    """The key of a record on a facts topic. Raises ValueError for what no stage writes."""
    if key == TICK_KEY:
        return FactKey(KeyKind.TICK)
    parts = key.decode("utf-8").split("/")
    match parts:
        case ["~everyone", agency, event_id, variant]:
            return FactKey(KeyKind.EVERYONE, agency=agency, event_id=event_id, variant=variant)
        case ["~withdrawn", agency, event_id]:
            return FactKey(KeyKind.WITHDRAWN, agency=agency, event_id=event_id)
        case ["~joined", person]:
            return FactKey(KeyKind.JOINED, person)
        case [person, agency, event_id, role, variant, *origin] if len(origin) <= 1:
            kind = KeyKind.SAME_AS if role == SAME_AS else KeyKind.PERSON
            return FactKey(kind, person, agency, event_id, role, variant, *origin)
        case _:
            raise ValueError("a key that no stage writes")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a fact came from: what evidence shows."""

    agency: str
    event_type: str
    event_id: str
    event_time: int
    """Microseconds."""
    topic: str
    via: str = ""
    """How the person was known in the event; empty where it is about nobody."""
    joined: bool = False
    """It came to the person by a number verified by fingerprint that joins two."""
    marked: bool = False
    """Its publisher put handling markings on it."""

    def record(self) -> dict[str, Any]:
        """As the fields of the contract's records."""
        return {
            "agency": self.agency,
            "event_type": self.event_type,
            "event_id": self.event_id,
            "event_time": self.event_time,
            "topic": self.topic,
            "via": self.via,
            "joined": self.joined,
            "marked": self.marked,
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Provenance:
        """From a record of the contract, which may have other fields too."""
        return cls(**{name: record[name] for name in cls.__slots__})


@lru_cache(1_024)
def _joining_key(agency: str, event_id: str) -> EventKey:
    """As `event_key`. Nearly all facts of a person that were forwarded came by one event, and it is asked of each."""
    return event_key(agency, event_id)


@dataclass(frozen=True, slots=True)
class Joining:
    """What joined a person to another: the event, and when it ceases to count. What was derived by it goes with it."""

    of: str
    """The person that it joined to another."""
    agency: str
    event_id: str
    purge_by: int | None

    @property
    def event_key(self) -> EventKey:
        """What a withdrawal of it would name."""
        return _joining_key(self.agency, self.event_id)

    @property
    def header(self) -> str:
        """As a part of the header `joined-by`."""
        return f"{self.of}/{self.agency}/{self.event_id}/{self.purge_by or ''}"


@dataclass(frozen=True, slots=True)
class Sort:
    """What many facts share; each is in memory once."""

    event_type: str
    topic: str
    """Inbound topic that carried it."""
    marked: bool
    """The publisher put handling markings on it."""
    via: str
    """How the person was known: the identifier that led to this person."""
    header: bytes = field(init=False, repr=False)
    """As the header `sort`."""

    def __post_init__(self) -> None:
        text = f"{self.event_type};{self.topic};{'marked' if self.marked else ''};{self.via}"
        object.__setattr__(self, "header", text.encode())


@lru_cache(65_536)
def sort_of(event_type: str, topic: str, marked: bool, via: str) -> Sort:  # as the header has it
    """The one object of that sort."""
    return Sort(event_type, topic, marked, via)


@lru_cache(65_536)
def _sort(header: bytes) -> Sort:
    event_type, topic, marked, via = header.decode().split(";", 3)
    return sort_of(event_type, topic, bool(marked), via)


@dataclass(frozen=True, slots=True)
class Rarity:
    """What few facts have."""

    same_as: str | None = None
    """Of a fact that says so: the node that this person is joined to, as `rank/person`; the smallest is the
    strongest."""
    joined_by: tuple[Joining, ...] = ()
    """The events that joined another person's facts to this one's: the way this fact was forwarded here."""
    origin: str | None = None
    """Of a forwarded fact: the person that it was first addressed to."""
    purge_by: int | None = None
    """Microseconds; from then on nothing may be derived from it."""

    @property
    def expires(self) -> bool:
        """Whether it, or what joined it, has a purge date."""
        if self.purge_by is not None:
            return True
        return bool(self.joined_by) and any(joining.purge_by is not None for joining in self.joined_by)


COMMON: Final = Rarity()
"""What nearly every fact has."""


@dataclass(slots=True, eq=False)
class Fact:
    """One event in one person's (or everyone's) picture, undecoded. Never changed, and small: there are millions."""

    person: str
    """Empty for a fact about everyone."""
    event_key: EventKey
    """What a withdrawal of it would name."""
    role: str
    sort: Sort
    time: int
    """Event time, microseconds."""
    body_at: int
    """Where in `raw` the event's body begins; 0 where that is not known."""
    raw: bytes
    """The event as it was published, framed Avro."""
    rarity: Rarity = COMMON
    stay: StayKey | None = None
    """The stay that it speaks of."""

    @property
    def agency(self) -> str:
        """Whose event it is."""
        return owner_of(self.event_key)

    @property
    def event_id(self) -> str:
        """The event's id."""
        return event_id_of(self.event_key)

    @property
    def key(self) -> FactKey:
        """The key of its record."""
        kind = KeyKind.SAME_AS if self.role == SAME_AS else KeyKind.PERSON if self.person else KeyKind.EVERYONE
        variant, origin = variant_of(self.raw), self.forwarded_from
        return FactKey(kind, self.person, self.agency, self.event_id, self.role, variant, origin)

    @property
    def record_key(self) -> bytes:
        """As `key`, encoded: what moves is written by it, and a recovery may move everything."""
        if not self.person:
            return self.key.encoded()
        variant, origin = variant_of(self.raw), self.forwarded_from
        return person_key(self.person, self.agency, self.event_id, self.role, variant, origin)

    @property
    def event_type(self) -> str:
        """The event's type name."""
        return self.sort.event_type

    @property
    def purge_by(self) -> int | None:
        """Microseconds; from then on nothing may be derived from it."""
        return self.rarity.purge_by

    @property
    def origin(self) -> str:
        """The person that the fact was first addressed to; to whom it returns when a joining event is withdrawn."""
        return self.rarity.origin or self.person

    @property
    def forwarded_from(self) -> str:
        """The same, of a fact that was forwarded; empty of any other."""
        return self.rarity.origin or ""

    @property
    def order(self) -> tuple[int, EventKey]:
        """Facts are ordered by event time, never by arrival; ties by event."""
        return self.time, self.event_key

    def __lt__(self, other: Fact) -> bool:
        return self.order < other.order

    @property
    def provenance(self) -> Provenance:
        """Where it came from."""
        sort, joined = self.sort, bool(self.rarity.joined_by)
        return Provenance(
            self.agency, sort.event_type, self.event_id, self.time, sort.topic, sort.via, joined, sort.marked
        )

    def headers(self) -> Headers:
        """Headers of its record on a facts topic."""
        return fact_headers(self.sort, self.time, self.body_at, self.stay, self.rarity)

    @property
    def hops(self) -> Iterator[tuple[Joining, str]]:
        """Each step of the way that the fact was forwarded here, and to whom it led."""
        ways = self.rarity.joined_by
        reached = (*(joining.of for joining in ways[1:]), self.person)
        return zip(ways, reached, strict=False)

    def moved_to(self, person: str, joined_by: tuple[Joining, ...]) -> Fact:
        """The same fact as another person's, and how it came there."""
        rare = Rarity(None, joined_by, self.origin if joined_by else None, self.purge_by)
        return Fact(person, self.event_key, self.role, self.sort, self.time, self.body_at, self.raw, rare, self.stay)


def fact_headers(sort: Sort, time: int, body_at: int, stay: StayKey | None, rare: Rarity) -> Headers:
    """Headers of a fact's record: what folding needs without decoding."""
    purge_by = "" if rare.purge_by is None else rare.purge_by
    # The booking number comes last: it may hold anything.
    of = f";{stay[0]};{stay[1]}" if stay else ""
    common = ("sort", sort.header), ("fact", f"{time};{body_at};{purge_by}{of}".encode())
    if rare.same_as is not None:
        return *common, (SAME_AS, rare.same_as.encode())
    if rare.joined_by:
        ways = ";".join(joining.header for joining in rare.joined_by)
        return *common, (_JOINED_BY, ways.encode()), (_ORIGIN, (rare.origin or "").encode())
    return common


def forwarded(record: Record, person: str, by: Joining) -> tuple[bytes, Headers]:
    """Key and headers of the record of a person's fact where that one is joined to another, whose it is to be: as
    `Fact.moved_to` and `Fact.headers` would have them. The record is not taken apart for it: there may be millions."""
    whose, _, rest = (record.key or b"").partition(b"/")
    sort, told, *more = record.headers
    rare = dict(more)
    ways = [rare[_JOINED_BY]] if _JOINED_BY in rare else []
    joined_by = b";".join([*ways, by.header.encode()])
    origin = rare.get(_ORIGIN)
    key = (person.encode(), rest, whose) if origin is None else (person.encode(), rest)
    return b"/".join(key), (sort, told, (_JOINED_BY, joined_by), (_ORIGIN, whose if origin is None else origin))


@dataclass(frozen=True, slots=True)
class Conflict:
    """One event id came with two contents: the one with the smaller digest stands, everywhere and in any order."""

    stands: Fact
    falls: Fact
    """Becomes a dead letter."""


def read_fact(record: Record) -> Fact:
    """A fact from its record. Raises ValueError where key or headers are not as a stage writes them."""
    parts = (record.key or b"").split(b"/")
    try:
        if parts[0] == _EVERYONE_KEY:
            (_, agency, event_id, _), person, role = parts, b"", b""
        else:
            person, agency, event_id, role, _, *_ = parts
        (_, sort), (_, told), *more = record.headers
        time, body_at, purge_by, *stay = told.split(b";", 3)
        return Fact(
            person.decode(),
            unhexlify(event_id.replace(b"-", b"")) + agency,
            _known(role),
            _sort(sort),
            int(time),
            int(body_at),
            record.value or b"",
            _rare(purge_by, more) if purge_by else _rarity(*more) if more else COMMON,
            _stay(stay[0]) if stay else None,
        )
    except (TypeError, ValueError) as error:
        raise ValueError("a fact with another key or other headers than stages write") from error


@lru_cache(65_536)
def _rarity(*more: tuple[str, bytes]) -> Rarity:
    """One object for most of the links of a person. Purge dates differ from fact to fact: none of them is kept."""
    return _rare(b"", more)


def _rare(purge_by: bytes, more: Iterable[tuple[str, bytes]]) -> Rarity:
    rare = dict(more)
    same_as, joined_by, origin = rare.get(SAME_AS), rare.get(_JOINED_BY, b""), rare.get(_ORIGIN)
    return Rarity(
        None if same_as is None else same_as.decode(),
        _joinings(joined_by.decode()),
        None if origin is None else origin.decode(),
        int(purge_by) if purge_by else None,
    )


def _joinings(text: str) -> tuple[Joining, ...]:
    parts = (item.split("/") for item in text.split(";") if item)
    return tuple(Joining(of, agency, event_id, int(purge) if purge else None) for of, agency, event_id, purge in parts)


def _stay(text: bytes) -> StayKey:
    facility, booking_number = text.split(b";", 1)
    return _known(facility), booking_number.decode()


@lru_cache(1_024)
def _known(text: bytes) -> str:
    """One object for each of the few strings that millions of facts share."""
    return text.decode()


def variant_of(raw: bytes) -> str:
    """What tells the contents of one event id apart: 48 bits of SHA-256 of the bytes."""
    return hashlib.sha256(raw).hexdigest()[:12]


def person_id(kind: str, issuer: str, value: str) -> str:
    """The id of the person that one identifier names, as long as nothing joins it to another.

    UUIDv5 (RFC 9562, 5.5), so that every worker, on every machine, finds the same.
    """
    name = PERSON_NAMESPACE + f"{kind}/{issuer}/{value}".encode()
    digest = bytearray(hashlib.sha1(name, usedforsecurity=False).digest()[:_ID_SIZE])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return as_uuid(digest)


def event_id_of(key: EventKey) -> str:
    """The id of an event by its key."""
    return as_uuid(key[:_ID_SIZE])


def owner_of(key: EventKey) -> str:
    """The agency whose event it is, by the event's key."""
    return key[_ID_SIZE:].decode()


def as_uuid(raw: bytes | bytearray) -> str:
    """16 bytes as a UUID in its usual form."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def partition_of(what: str, partitions: int) -> int:
    """Partition of a person or a facility: CRC-32 of the id. The one place where partitioning is decided."""
    return zlib.crc32(what.encode()) % partitions
