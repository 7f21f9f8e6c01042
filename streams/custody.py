"""Custody records: what the facility facts say of each person in custody of whom anything matters to the facility, one
record a person and facility.

The key is `~custody/<facility>/<person>`, the value a PersonInCustody. What most readers need of it is in the header
`placed`, so that only who looks after a facility decodes one, and of those only such as say something.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from streams.records import Headers, Record

CUSTODY: Final = b"~custody/"
"""How the keys begin."""
_PLACED: Final = "placed"


def custody_key(facility: str, person: str) -> bytes:
    """Key of a person's record on the facility facts."""
    return f"~custody/{facility}/{person}".encode()


def person_of(key: bytes) -> str:
    """The person of such a key."""
    return key.decode().rpartition("/")[2]


class Placed(NamedTuple):
    """The head of a custody record."""

    partition: int
    """Partition of the person stage that wrote it."""
    offset: int
    """Offset of its cause there."""
    revision: int
    """One more than that of the record before it of this person and facility; 0 before the first."""
    digest: str
    """Of what it rests on; the same as long as it says the same."""
    here: bool
    """Whether the person is in the facility's custody, and anything of them matters there."""
    standings: int
    """With how many groups."""
    event_id: str
    """The causing event; empty where there is none."""
    unit: str
    """Housing unit; empty where none is known."""
    deliveries: int = 0
    """How many things are to come to the person."""

    def headers(self) -> Headers:
        """As the record's headers."""
        cause = f"{self.partition};{self.offset};{self.event_id}"
        # As it was written before there were deliveries, where there are none.
        told = f"{self.standings},{self.deliveries}" if self.deliveries else f"{self.standings}"
        content = f"{self.revision};{self.digest};{'in' if self.here else 'out'};{told}"
        # The unit comes last: it may hold anything.
        return ((_PLACED, f"{cause};{content};{self.unit}".encode()),)


NEVER_PLACED: Final = Placed(-1, -1, 0, "", False, 0, "", "")
"""Before the first record."""


def written_by(record: Record) -> int:
    """Partition of the person stage that wrote a custody record. Raises ValueError where its header does not say.

    All that is asked of most of them: every partition reads all of them, to find its own.
    """
    for name, value in record.headers:
        if name == _PLACED:
            return int(value[: value.find(b";")])
    raise ValueError("a custody record without the header that stages write")


def read_placed(record: Record) -> tuple[str, str, Placed]:
    """Facility, person and head of a custody record. Raises ValueError where they are not as a stage writes them."""
    try:
        _, facility, person = (record.key or b"").decode().split("/")
        (text,) = (value for name, value in record.headers if name == _PLACED)
        partition, offset, event_id, revision, digest, here, told, unit = text.decode().split(";", 7)
        standings, _, deliveries = told.partition(",")
        where, count = (int(partition), int(offset), int(revision)), int(deliveries or 0)
        placed = Placed(*where, digest, here == "in", int(standings), event_id, unit, count)
    except ValueError as error:
        raise ValueError("a custody record with another key or another header than stages write") from error
    return facility, person, placed
