"""classification_review: what became known since the last classification no longer fits custody level or housing.

Detects: a person in custody, classified at minimum or medium, of whom after that classification became known that the
facility's STG staff validated an affiliation (member or suspect), that an infraction was recorded, or that a group of
which the facility validated the person as a member came into a feud that is live. What was known when the person was
classified is no reason: the classification has weighed it.

Misses: whoever is not classified yet, or at maximum already; affiliations that only the police report (association
alone raises no custody level, and intelligence alone does not either); anything the facility records late with an
event time before the classification.

The recipient should: review classification and housing, with these reasons before it. It ends when the person is
classified again, at whatever level, or leaves custody, or, where only a feud is the reason, when its window passes.
"""

from __future__ import annotations

from typing import Final

from schemas.events import (
    AffiliationStatus,
    AffiliationValidated,
    CustodyClassified,
    CustodyLevel,
    DisciplinaryRecorded,
    InfractionSeverity,
)
from streams.correlations.evidence import feud_evidence, standing_in_words
from streams.correlations.situation import (
    Confidence,
    Correlation,
    Evidence,
    PersonCorrelation,
    Severity,
    Situation,
    Subject,
)
from streams.identify import group_key
from streams.pictures.person import PersonPicture, Stay, Told
from streams.pictures.street import Feud

TRIGGERS: Final = frozenset(
    {
        "BookingReported",
        "HousingAssigned",
        "CustodyClassified",
        "DisciplinaryRecorded",
        "AffiliationValidated",
        "CustodyEnded",
        "NoLongerListed",
        "StreetViolenceReported",
    }
)
REVIEWED_LEVELS: Final = frozenset({CustodyLevel.MINIMUM, CustodyLevel.MEDIUM})
VALIDATED: Final = frozenset({AffiliationStatus.MEMBER, AffiliationStatus.SUSPECT})


def situations(picture: PersonPicture, person: str, now: int) -> set[Situation]:
    """The review that a person in custody needs; at most one."""
    stay = picture.stay(person)
    if stay is None:
        return set()
    classified = _last_classification(picture, person, stay)
    if classified is None or classified.event.level not in REVIEWED_LEVELS:
        return set()
    since = classified.fact.time
    affiliations = _validated(picture, person, stay.facility)
    infractions = [
        told
        for told in picture.told(person, DisciplinaryRecorded)
        if told.fact.time > since and _of_stay(told.event.facility, told.event.booking_number, stay)
    ]
    validated_since = [told for told in affiliations if told.fact.time > since]
    feuds = [
        feud
        for told in affiliations
        if told.event.group is not None and told.event.status is AffiliationStatus.MEMBER
        for feud in picture.street.feuds_of(group_key(told.event.group), now)
        if any(v.fact.time > since for v in feud.violence)
    ]
    if not (infractions or validated_since or feuds):
        return set()
    return {_situation(picture, person, stay, classified, infractions, validated_since, feuds)}


def _of_stay(facility: str, booking_number: str, stay: Stay) -> bool:
    return (facility, booking_number) == (stay.facility, stay.booking_number)


def _last_classification(picture: PersonPicture, person: str, stay: Stay) -> Told[CustodyClassified] | None:
    told = [
        t for t in picture.told(person, CustodyClassified) if _of_stay(t.event.facility, t.event.booking_number, stay)
    ]
    return told[-1] if told else None


def _validated(picture: PersonPicture, person: str, facility: str) -> list[Told[AffiliationValidated]]:
    """The facility's own standing validations: the latest for each group, unless it ended there."""
    latest: dict[str | None, Told[AffiliationValidated]] = {}
    for told in picture.told(person, AffiliationValidated):
        if told.event.facility == facility:
            latest[told.event.group and group_key(told.event.group)] = told
    return [told for told in latest.values() if told.event.status in VALIDATED]


def _situation(
    picture: PersonPicture,
    person: str,
    stay: Stay,
    classified: Told[CustodyClassified],
    infractions: list[Told[DisciplinaryRecorded]],
    validated: list[Told[AffiliationValidated]],
    feuds: list[Feud],
) -> Situation:
    grave = feuds or any(t.event.violent or t.event.severity is InfractionSeverity.MAJOR for t in infractions)
    reasons = [
        *(["an infraction"] if infractions else []),
        *(["a validated affiliation"] if validated else []),
        *(["a feud outside"] if feuds else []),
    ]
    level = classified.event.level.value.lower()
    subject = Subject(
        person,
        classified.fact.key.agency,
        stay.booking_number,
        stay.booked.event.name if stay.booked else None,
        picture.linked_by(person, TRIGGERS),
    )
    return Situation(
        # The person is part of it: while identities are being joined, two partitions may know of the same stay.
        key=(person, stay.facility, stay.booking_number),
        severity=Severity.HIGH if grave else Severity.MEDIUM,
        confidence=Confidence.HIGH,
        headline=f"Classification review: {len(reasons)} new "
        f"{'reason' if len(reasons) == 1 else 'reasons'} since the last classification",
        subjects=(subject,),
        evidence=(
            Evidence(f"Classified {level}", ("level",), classified.fact.provenance, person),
            *(_infraction_evidence(told, person) for told in infractions),
            *(_affiliation_evidence(told, person) for told in validated),
            *(e for feud in feuds for e in feud_evidence(feud)),
        ),
        actions=(
            f"Review classification: {' and '.join(reasons)} came after it",
            "Check whether housing still fits; where someone is threatened, move the threat",
        ),
        facility=stay.facility,
        until=min((feud.changes_at for feud in feuds), default=None),
    )


def _infraction_evidence(told: Told[DisciplinaryRecorded], person: str) -> Evidence:
    event = told.event
    known = [
        *([event.infraction] if event.infraction else []),
        *([event.severity.value.lower()] if event.severity is not InfractionSeverity.UNKNOWN else []),
        *(["violent"] if event.violent else []),
    ]
    text = f"Infraction recorded: {', '.join(known)}" if known else "Infraction recorded"
    return Evidence(text, ("infraction", "severity", "violent"), told.fact.provenance, person)


def _affiliation_evidence(told: Told[AffiliationValidated], person: str) -> Evidence:
    status = standing_in_words(told.event.status)
    group = told.event.group or "a security threat group"
    return Evidence(f"Validated as {status} of {group}", ("group", "status"), told.fact.provenance, person)


CORRELATION: Final[PersonCorrelation] = Correlation(
    name="classification_review",
    version=1,
    kind="housing",
    triggers=TRIGGERS,
    situations=situations,
)
