"""Heard: what is noted of an agency on the facility facts, beside its events: that something came, and whether its list
says anything new. About nobody, and without any content.

`~heard/<agency>/<event-type>/<slot>`: something came in these ten minutes. So a feed makes six records an hour and no
more, however much comes: the same key again says nothing new. Of what came long after it had happened there is one
more, with the hour in which it had: `~heard/<agency>/<event-type>/<slot>/<hour>`.

`~listed/<agency>/<facility>/<slot>/<changed>/<content>`: a list was taken of which so many entries had changed.

When something came is the time that its record has on the inbound topic. On a history site that is when it was
imported, and says nothing: there an event comes when it happens. A list is taken when it says so.

Never noted: tips (their rhythm would tell that there are any), health events, contacts of another class than ordinary,
and withdrawals.
"""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from schemas import topics
from schemas.events import CARE_EVENTS, TIP_EVENTS, ListTaken
from schemas.site import Site
from streams.facts import partition_of
from streams.records import Out, Record, header

HEARD: Final = b"~heard/"
LISTED: Final = b"~listed/"
NOTES: Final = (HEARD, LISTED)
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
_CONTENT: Final = 16
"""Hexadecimal digits of a list's digest that are kept."""


class Heard(NamedTuple):
    """Something of a feed came."""

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


class Listed(NamedTuple):
    """A list of everybody in a facility was taken."""

    agency: str
    facility: str
    slot: int
    """Of which it is true, counted from 1970."""
    changed: int
    """Entries that were other than on the list before."""
    content: str
    """The same for lists that say the same."""
    topic: str = ""

    @property
    def key(self) -> bytes:
        """The key of its record."""
        return f"~listed/{self.agency}/{self.facility}/{self.slot}/{self.changed}/{self.content}".encode()

    @property
    def event_type(self) -> str:
        """What it was noted of."""
        return ListTaken.__name__

    @property
    def id(self) -> str:
        """What evidence names it by, as it does an event."""
        return note_id(self.agency, self.facility, self.slot)


Note: TypeAlias = Heard | Listed


def note_id(agency: str, of: str, slot: int) -> str:
    """UUIDv5 of what an agency's notes of one slot say of a type of event, or of a facility's list."""
    return str(uuid.uuid5(_NAMESPACE, f"{agency}/{of}/{slot}"))


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
    return _heard(Heard(agency, event_type, slot, hour, topic), site.name, site.partitions)


@lru_cache(4_096)
def _heard(note: Heard, site: str, partitions: int) -> Out:
    """The record of a note that most events of a slot have the same of."""
    return _record_of(note, site, partitions)


def _record_of(note: Note, site: str, partitions: int) -> Out:
    where = topics.facility_facts(site), partition_of(note.agency, partitions)
    return Out(*where, note.key, None, b"", ((_TOPIC, note.topic.encode()),))


def listed(event: ListTaken, agency: str, topic: str, site: Site) -> Out:
    """The note of a list."""
    slot = event.head.time // SLOT
    note = Listed(agency, event.facility, slot, event.changed, event.content[:_CONTENT], topic)
    return _record_of(note, site.name, site.partitions)


def read_note(record: Record) -> Note:
    """A note from its record. Raises ValueError where the key is not as it is written here."""
    return parse_note(record.key or b"", header(record.headers, _TOPIC) or "")


def parse_note(key: bytes, topic: str = "") -> Note:
    """A note from its key alone, and the topic where that is known. Raises ValueError where the key is not as it is
    written here."""
    match key.decode().split("/"):
        case ["~heard", agency, event_type, slot]:
            return Heard(agency, event_type, int(slot), None, topic)
        case ["~heard", agency, event_type, slot, hour]:
            return Heard(agency, event_type, int(slot), int(hour), topic)
        case ["~listed", agency, facility, slot, changed, content]:
            return Listed(agency, facility, int(slot), int(changed), content, topic)
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
        if not out.key.startswith(NOTES):
            return True
        if out.key in self._keys:
            return False
        if len(self._keys) >= self.MOST:
            self._keys.clear()
        self._keys.add(out.key)
        return True
