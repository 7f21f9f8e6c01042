"""Facts: events as the bus keeps them, by person, their bytes untouched.

The key of a record on a facts topic says what it is:

- `<person>/<agency>/<event>/<role>/<variant>`: a fact about one person;
- `<person>/<agency>/<event>/same-as/<variant>`: this person is the same as the one in the header `same-as`;
- `~everyone/<agency>/<event>/<variant>`: a fact about no one person, such as street violence; on every partition;
- `~withdrawn/<agency>/<event>`: the agency takes its event back; on every partition, so that no order of arrival
  matters, and no one need know whom the event was about;
- `~joined/<person>`: the person is joined to another one than before, named in the header `to`; on every partition,
  since that person's facts may be on any;
- `~tick`: time.

A variant is a digest of the event's bytes: compaction must not choose between two contents of one event id.

What the pictures need without decoding is in the headers: type, time, where it came from, how the person was known.
"""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from streams.records import Record

TICK_KEY: Final = b"~tick"
SAME_AS: Final = "same-as"
_EVERYONE: Final = "~everyone"
_WITHDRAWN: Final = "~withdrawn"
_JOINED: Final = "~joined"
SUBJECT: Final = "subject"
"""Role of the person whom an event is about. Others in it are named there; nothing is known *of them* by it."""

PERSON_NAMESPACE: Final = uuid.UUID("6f1f5f0e-6f0f-5a55-9a11-5a11790a7000")
"""Namespace of person ids (UUIDv5)."""

EventKey = tuple[str, str]
"""Agency and event id: what a withdrawal names."""


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
                return f"{self.person}/{self.agency}/{self.event_id}/{self.role}/{self.variant}".encode()


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
        case [person, agency, event_id, role, variant]:
            kind = KeyKind.SAME_AS if role == SAME_AS else KeyKind.PERSON
            return FactKey(kind, person, agency, event_id, role, variant)
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
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Provenance:
        """From a record of the contract, which may have other fields too."""
        return cls(**{name: record[name] for name in cls.__slots__})


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
        return self.agency, self.event_id


@dataclass(frozen=True, slots=True)
class Fact:
    """One event in one person's (or everyone's) picture, undecoded."""

    key: FactKey
    event_type: str
    time: int
    """Event time, microseconds."""
    topic: str
    """Inbound topic that carried it."""
    via: str
    """How the person was known: the identifier that led to this person."""
    same_as: str | None
    """For SAME_AS: the node that this person is joined to, as `rank/person`; the smallest is the strongest."""
    joined_by: tuple[Joining, ...]
    """The events that joined another person's facts to this one's: the way this fact was forwarded here."""
    origin: str
    """The person that the fact was first addressed to; to whom it returns when a joining event is withdrawn."""
    purge_by: int | None
    """Microseconds; from then on nothing may be derived from it."""
    marked: bool
    """The publisher put handling markings on it."""
    raw: bytes
    """The event as it was published, framed Avro."""

    @property
    def event_key(self) -> EventKey:
        """What a withdrawal of it would name."""
        return self.key.agency, self.key.event_id

    @property
    def order(self) -> tuple[int, str, str]:
        """Facts are ordered by event time, never by arrival; ties by agency and event id."""
        return self.time, self.key.agency, self.key.event_id

    @property
    def provenance(self) -> Provenance:
        """Where it came from."""
        return Provenance(
            self.key.agency,
            self.event_type,
            self.key.event_id,
            self.time,
            self.topic,
            self.via,
            bool(self.joined_by),
            self.marked,
        )

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """Headers of its record on a facts topic."""
        pairs = [
            ("type", self.event_type),
            ("time", str(self.time)),
            ("topic", self.topic),
            ("via", self.via),
        ]
        if self.same_as is not None:
            pairs.append((SAME_AS, self.same_as))
        if self.joined_by:
            ways = (f"{j.of}/{j.agency}/{j.event_id}/{j.purge_by or ''}" for j in self.joined_by)
            pairs.append(("joined-by", ";".join(ways)))
            pairs.append(("origin", self.origin))
        if self.purge_by is not None:
            pairs.append(("purge-by", str(self.purge_by)))
        if self.marked:
            pairs.append(("marked", "yes"))
        return tuple((name, value.encode()) for name, value in pairs)

    @property
    def hops(self) -> Iterator[tuple[Joining, str]]:
        """Each step of the way that the fact was forwarded here, and to whom it led."""
        reached = (*(joining.of for joining in self.joined_by[1:]), self.key.person)
        return zip(self.joined_by, reached, strict=False)


@dataclass(frozen=True, slots=True)
class Conflict:
    """One event id came with two contents: the one with the smaller digest stands, everywhere and in any order."""

    stands: Fact
    falls: Fact
    """Becomes a dead letter."""


def read_fact(key: FactKey, record: Record) -> Fact:
    """A fact from its record. Raises ValueError where headers that `Fact.headers` writes are missing."""
    headers = {name: value.decode() for name, value in record.headers}
    try:
        purge_by = headers.get("purge-by")
        return Fact(
            key,
            _known(headers["type"]),
            int(headers["time"]),
            _known(headers["topic"]),
            _known(headers["via"]),
            headers.get(SAME_AS),
            _joinings(headers.get("joined-by", "")),
            headers.get("origin", key.person),
            int(purge_by) if purge_by is not None else None,
            "marked" in headers,
            record.value or b"",
        )
    except KeyError as error:
        raise ValueError(f"a fact without the header {error}") from error


def _joinings(text: str) -> tuple[Joining, ...]:
    parts = (item.split("/") for item in text.split(";") if item)
    return tuple(Joining(of, agency, event_id, int(purge) if purge else None) for of, agency, event_id, purge in parts)


_strings: dict[str, str] = {}


def _known(text: str) -> str:
    """One object for each of the few strings that millions of facts share."""
    return _strings.setdefault(text, text)


def variant_of(raw: bytes) -> str:
    """What tells the contents of one event id apart: 48 bits of SHA-256 of the bytes."""
    return hashlib.sha256(raw).hexdigest()[:12]


@lru_cache(16_384)
def person_id(kind: str, issuer: str, value: str) -> str:
    """The id of the person that one identifier names, as long as nothing joins it to another.

    UUIDv5, so that every worker, on every machine, finds the same.
    """
    return str(uuid.uuid5(PERSON_NAMESPACE, f"{kind}/{issuer}/{value}"))


def partition_of(what: str, partitions: int) -> int:
    """Partition of a person or a facility: CRC-32 of the id. The one place where partitioning is decided."""
    return zlib.crc32(what.encode()) % partitions
