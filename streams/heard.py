"""Heard: that something of an agency came in a slot of time, as the facility facts have it. No content, and nobody.

The key is `~heard/<agency>/<event-type>/<slot>`; of what came long after it had happened it is one more:
`~heard/<agency>/<event-type>/<slot>/<hour>`, with the hour in which it had. Slots are ten minutes, so that a feed makes
six records an hour and no more, however much comes: the same key again says nothing new.

When something came is the time that its record has on the inbound topic. On a history site that is when it was
imported, and says nothing: there an event comes when it happens.

Never noted: tips (their rhythm would tell that there are any), health events, contacts of another class than ordinary,
and withdrawals.
"""

from __future__ import annotations

import uuid
from typing import Final, NamedTuple

from schemas import topics
from schemas.events import CARE_EVENTS, TIP_EVENTS
from schemas.site import Site
from streams.facts import partition_of
from streams.records import Out, Record, header

HEARD: Final = b"~heard/"
"""How the keys begin."""
SLOT: Final = 600_000_000
"""Microseconds of a slot."""
SLOTS_AN_HOUR: Final = 6
HOUR: Final = SLOT * SLOTS_AN_HOUR
"""Microseconds."""
LATE: Final = 2
"""Slots after its own in which an event comes late. The next one is none: it may just have begun."""
UNHEARD: Final = CARE_EVENTS | TIP_EVENTS | {"EventWithdrawn"}
"""Types of events that are never noted."""
_NAMESPACE: Final = uuid.UUID("a1e27000-5a11-5e07-8a11-000000000002")
"""Of the ids of notes (UUIDv5)."""
_TOPIC: Final = "topic"


class Heard(NamedTuple):
    """One note: something of a feed came."""

    agency: str
    event_type: str
    slot: int
    """In which it came, counted from 1970."""
    hour: int | None
    """In which it had happened, counted from 1970, where it came late; else None."""
    topic: str = ""
    """Inbound topic that carried it."""

    @property
    def key(self) -> bytes:
        """The key of its record."""
        late = "" if self.hour is None else f"/{self.hour}"
        return f"~heard/{self.agency}/{self.event_type}/{self.slot}{late}".encode()

    @property
    def id(self) -> str:
        """What evidence names it by, as it does an event."""
        return note_id(self.agency, self.event_type, self.slot)


def note_id(agency: str, event_type: str, slot: int) -> str:
    """UUIDv5 of what a feed's notes of one slot say."""
    return str(uuid.uuid5(_NAMESPACE, f"{agency}/{event_type}/{slot}"))


def heard(agency: str, event_type: str, topic: str, time: int, came: int, site: Site) -> Out | None:
    """The note that an event came on its inbound topic; None for a type that is never noted.

    `time` is the event's, `came` when it came, microseconds; 0 where that is not known.
    """
    if event_type in UNHEARD:
        return None
    if site.clock == "history" or came <= 0:
        came = time
    slot, happened = came // SLOT, time // SLOT
    hour = happened // SLOTS_AN_HOUR if slot - happened >= LATE else None
    key = Heard(agency, event_type, slot, hour).key
    where = partition_of(agency, site.partitions)
    return Out(topics.facility_facts(site.name), where, key, None, b"", ((_TOPIC, topic.encode()),))


def read_heard(record: Record) -> Heard:
    """A note from its record. Raises ValueError where the key is not as `heard` writes it."""
    return parse_heard(record.key or b"")._replace(topic=header(record.headers, _TOPIC) or "")


def parse_heard(key: bytes) -> Heard:
    """A note from its key alone. Raises ValueError where that is not as `heard` writes it."""
    match key.decode().split("/"):
        case ["~heard", agency, event_type, slot]:
            return Heard(agency, event_type, int(slot), None)
        case ["~heard", agency, event_type, slot, hour]:
            return Heard(agency, event_type, int(slot), int(hour))
    raise ValueError("a key that no stage writes")


class Noted:
    """What was noted already, so that it is not written again with every event of the slot.

    Forgetting costs a record, no more: the same key again says nothing new.
    """

    MOST: Final = 10_000
    """Keys that it remembers."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()

    def is_news(self, out: Out) -> bool:
        """Whether a record is to be written."""
        if not out.key.startswith(HEARD):
            return True
        if out.key in self._keys:
            return False
        if len(self._keys) >= self.MOST:
            self._keys.clear()
        self._keys.add(out.key)
        return True
