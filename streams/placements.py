"""Placements: each facility is told of those in its custody of whom anything matters there, when it changes. Pure.

What matters is a standing with a group, and what is to come to the person. Of everybody else, who are most, a facility
need not know even that they are there: nothing is written of them, and where it was before, that it holds no more.

A placement rests on a few facts: the booking, the last housing, the affiliations, what is to come to the person. As
long as these are the same facts it says the same, so it is compared by them; only what is to be written is decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from schemas import topics
from schemas.codec import digest
from schemas.events import Booking, Housing, Tip
from schemas.site import Site
from streams.alerts import ALWAYS, Cause
from streams.custody import NEVER_PLACED, Placed, custody_key, read_placed, written_by
from streams.facts import Fact, partition_of
from streams.numbers import NumberSeries
from streams.pictures.deliveries import DELIVERY_TYPES, Delivery
from streams.pictures.person import Affiliation, PersonPicture
from streams.pictures.stays import Stay
from streams.records import Out, Record

PLACING: Final = frozenset(
    {
        "HousingAssigned",
        "CustodyClassified",
        "AffiliationValidated",
        "AffiliationReported",
        "ContrabandTipped",
        *DELIVERY_TYPES,
        *ALWAYS,
    }
)
"""What may change a placement beside another stay. With the classification prints are back, in many a jail."""
VERIFYING: Final = frozenset({"BookingReported", *PLACING} - {"ContrabandTipped", *ALWAYS})
"""By which events it is known of which series a number of the person is verified: such as place them anew. Never by a
tip: it says whom it means, and at the facility that is nobody's business."""
FORM: Final = b"3"
"""What a placement says of the same facts; another form is another digest, so that all are written again."""
GONE: Final = "gone"
"""Digest of a record that says that nothing of the person matters there any more: they left, or nothing else does."""
_NOTHING: Final[Mapping[str, Any]] = {
    "booking_number": None,
    "name": None,
    "unit": None,
    "housing": [],
    "affiliations": [],
    "deliveries": [],
    "tips": [],
    "verified": [],
}


class Grounds(NamedTuple):
    """What a person's placement rests on."""

    stay: Stay
    housed: Fact | None
    affiliations: tuple[Affiliation, ...]
    deliveries: tuple[Delivery, ...] = ()
    tips: tuple[Fact, ...] = ()
    """Those that name the person by a number; asked for only where something is to come that they may mean."""
    verified: tuple[NumberSeries, ...] = ()
    """Of which series of numbers one of the person is verified by fingerprint; asked for only there as well."""

    def digest(self) -> str:
        """128 bits of SHA-256 of these facts, and of whether they came to the person by a join."""
        stay = self.stay
        where = b"%b;%b;%b;" % (FORM, stay.facility.encode(), stay.booking_number.encode())
        facts = stay.booked, self.housed, *[item.source for item in self.affiliations]
        said = where + b"".join(map(_said, facts))
        if self.deliveries:
            coming = digest([delivery.record() for delivery in self.deliveries])
            said += b"~%b" % coming.encode() + b"".join(map(_said, self.tips))
            # As it was before they were told, where there are none.
            said += b"~%b" % digest([list(one) for one in self.verified]).encode() if self.verified else b""
        return hashlib.sha256(said).hexdigest()[:32]


def _said(fact: Fact | None) -> bytes:
    """A fact's part of a digest; with its length, so that no two lists have the same bytes."""
    if fact is None:
        return b"-"
    return b"%d;%d;%b%b" % (len(fact.raw), bool(fact.rarity.joined_by), fact.raw, fact.event_key)


class Placements:
    """The custody records that one partition of the person stage has written."""

    def __init__(self, site: Site, partition: int, picture: PersonPicture) -> None:
        self._site = site
        self._partition = partition
        self._picture = picture
        self._topic = topics.facility_facts(site.name)
        self._recorded: dict[str, dict[str, Placed]] = {}
        """By person and facility: the head of the last record."""
        self.last_cause = -1
        """Offset of the last cause of a record; -1 for none."""

    def recall(self, record: Record) -> str | None:
        """Take in a custody record of any partition of the facility facts: of whom it is, where this partition wrote
        it. Raises ValueError for what no stage writes."""
        if written_by(record) != self._partition:
            return None
        facility, person, placed = read_placed(record)
        self.last_cause = max(self.last_cause, placed.offset)
        self._recorded.setdefault(person, {})[facility] = placed
        return person

    def lacks(self, person: str) -> bool:
        """Whether the facility facts are to be brought up to date about a person."""
        enters, leaves = self._differs(person)
        return enters is not None or bool(leaves)

    def place(self, person: str, cause: Cause) -> list[Out]:
        """The records that bring the facility facts up to date about one person."""
        enters, leaves = self._differs(person)
        outs = [] if enters is None else [self._is_in(person, *enters, cause)]
        return outs + [self._left(person, facility, cause) for facility in leaves]

    def _differs(self, person: str) -> tuple[tuple[Grounds, str] | None, Sequence[str]]:
        """Grounds and digest of what is to be written of where the person is in custody, and where nothing of them
        matters any more."""
        grounds = self._grounds(person)
        recorded = self._recorded.get(person)
        if grounds is None:
            return None, () if recorded is None else [name for name, last in sorted(recorded.items()) if last.here]
        stay, digest = grounds.stay, grounds.digest()
        last = recorded.get(stay.facility, NEVER_PLACED) if recorded else NEVER_PLACED
        enters = None if last.digest == digest else (grounds, digest)
        if recorded is None or (len(recorded) == 1 and stay.facility in recorded):
            return enters, ()
        return enters, sorted(name for name, held in recorded.items() if held.here and name != stay.facility)

    def _grounds(self, person: str) -> Grounds | None:
        """What a placement of the person rests on; None where nothing of them matters anywhere."""
        stay = self._picture.stay(person)
        if stay is None:
            return None
        affiliations, deliveries = self._picture.affiliations(person), self._picture.deliveries(person, stay)
        if not affiliations and not deliveries:
            return None
        housed = self._picture.latest_fact(person, Housing, stay)
        tips = [told.fact for told in self._picture.told(person, Tip)] if deliveries else []
        verified = self._picture.verified(person, VERIFYING) if deliveries else []
        return Grounds(stay, housed, tuple(affiliations), tuple(deliveries), tuple(tips), tuple(verified))

    def _is_in(self, person: str, grounds: Grounds, digest: str, cause: Cause) -> Out:
        stay, housed = grounds.stay, grounds.housed
        housing = self._picture.say(housed, Housing) if housed else None
        booking = self._picture.say(stay.booked, Booking) if stay.booked else None
        said = {
            "booking_number": stay.booking_number,
            "name": booking.name if booking else None,
            "unit": housing.unit if housing else None,
            "housing": [housed.provenance.record()] if housed and grounds.affiliations else [],
            "affiliations": [
                {"group": a.group, "status": a.status.value, **a.source.provenance.record()}
                for a in grounds.affiliations
            ],
            "deliveries": [delivery.record() for delivery in grounds.deliveries],
            "tips": [{"agency": tip.agency, "event_id": tip.event_id} for tip in grounds.tips],
            "verified": [one._asdict() for one in grounds.verified],
        }
        return self._out(person, stay.facility, digest, said, cause, here=True)

    def _left(self, person: str, facility: str, cause: Cause) -> Out:
        return self._out(person, facility, GONE, _NOTHING, cause, here=False)

    def _out(
        self, person: str, facility: str, digest: str, said: Mapping[str, Any], cause: Cause, *, here: bool
    ) -> Out:
        known = self._recorded.setdefault(person, {})
        revision = known.get(facility, NEVER_PLACED).revision + 1
        placed = known[facility] = Placed(
            self._partition,
            cause.offset,
            revision,
            digest,
            here,
            len(said["affiliations"]),
            cause.event_id or "",
            said["unit"] or "",
            len(said["deliveries"]),
        )
        value = {
            "person_id": person,
            "facility": facility,
            "revision": revision,
            "digest": digest,
            "in_custody": here,
            **said,
            "cause": cause.record(),
        }
        partition = partition_of(facility, self._site.partitions)
        return Out(self._topic, partition, custody_key(facility, person), "PersonInCustody", value, placed.headers())
