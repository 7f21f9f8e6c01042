"""rivals_housed_together: groups in a live feud on the street, members of both housed in one unit.

Detects: a housing unit in which there is at least one member (or suspected member) of each of two groups between
which street violence was reported and the feud's window has not passed (14 days, 30 where the police expect
retaliation). One situation a unit and pair of groups. Of more than fifty reports of violence, and of more than fifty
members of one side, it names the gravest and newest, and says how many more there are.

Misses: members nobody validated or reported; feuds no one reported, or reported without the groups' names; contact
outside the housing unit (court, work, clinic). Associates and dropouts do not count: association alone is no reason
to move anyone.

The recipient should: keep the two sides apart now, and rehouse from the aggressors' side first. It advises; the shift
commander decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.events import AffiliationStatus
from streams.correlations.evidence import Case, bounded, feud_evidence, in_pieces, membership_in_words
from streams.correlations.situation import (
    Confidence,
    Correlation,
    Evidence,
    FacilityCorrelation,
    Severity,
    Situation,
    Subject,
)
from streams.identify import group_key
from streams.pictures.facility import FacilityPicture, InCustody, Standing, UnitKey
from streams.pictures.street import Feud

COUNTED: Final = frozenset({AffiliationStatus.MEMBER, AffiliationStatus.SUSPECT})
Member = tuple[InCustody, Standing]


def situations(picture: FacilityPicture, unit: UnitKey, now: int) -> set[Situation]:
    """The pairs of feuding groups in a unit."""
    members = picture.members(unit)
    found = set()
    for group in sorted(members) if len(members) > 1 else ():
        for feud in picture.street.feuds_of(group, now):
            first, second = feud.groups
            # Each pair is met from both its groups: once is enough.
            if group != first or second not in members:
                continue
            sides = _counted(first, members[first].values()), _counted(second, members[second].values())
            # Someone of both groups is no rival of himself.
            if all(sides) and len({person.person for side in sides for person, _ in side}) > 1:
                found.add(_situation(unit, feud, *sides))
    return found


def _counted(group: str, persons: Iterable[InCustody]) -> list[Member]:
    """The members of a group, in order of person id."""
    return [
        (person, standing)
        for person in sorted(persons, key=lambda one: one.person)
        for standing in person.affiliations
        if standing.status in COUNTED and group_key(standing.group) == group
    ]


def _situation(unit: UnitKey, feud: Feud, first: list[Member], second: list[Member]) -> Situation:
    facility, unit_id = unit
    members = [
        item
        for side, of_side in (("first side", first), ("second side", second))
        for item in in_pieces(bounded(_member_evidence(side, *member) for member in of_side))
    ]
    # Whoever is none of these is shown to nobody.
    told_of = {item.person for item in members}
    return Situation(
        key=(facility, unit_id, *feud.groups),
        least_severity=Severity.HIGH,
        headline=f"Members of feuding groups are housed together in {unit_id}",
        subjects=_subjects([member for member in first + second if member[0].person in told_of]),
        evidence=(*feud_evidence((feud,), expected=Severity.CRITICAL), *members),
        actions=(
            "Keep the two sides apart now: separate movement, meals and recreation for this unit",
            "Find out who threatens whom, and move those who threaten to another unit, not those who are threatened",
            "Tell the next shift and the facility's gang (STG) staff",
        ),
        facility=facility,
        unit=unit_id,
        until=feud.changes_at,
    )


def _subjects(members: list[Member]) -> tuple[Subject, ...]:
    by_person = {person.person: person for person, _ in members}
    return tuple(
        Subject(p.person, p.housed.agency if p.housed else "", p.booking_number, p.name)
        for _, p in sorted(by_person.items())
    )


def _member_evidence(side: str, person: InCustody, standing: Standing) -> Case:
    """That somebody is of a side, and in the unit: both, or this member carries nothing."""
    carries = f"{person.person}/{standing.source.event_id}"
    sure = Confidence.HIGH if standing.status is AffiliationStatus.MEMBER else Confidence.MODERATE
    text = membership_in_words(standing.status, standing.group)
    shows = ("persons", "group", "status")
    member = Evidence(text, shows, standing.source, person.person, side, carries, confidence=sure)
    if person.housed is None:
        return (member,)
    where = f"housed in {person.unit}"
    return member, Evidence(where, ("unit",), person.housed, person.person, side, carries)


CORRELATION: Final[FacilityCorrelation] = Correlation(
    name="rivals_housed_together",
    version=1,
    kind="housing",
    triggers=frozenset({"PersonInCustody", "StreetViolenceReported"}),
    situations=situations,
    about=UnitKey,
)
