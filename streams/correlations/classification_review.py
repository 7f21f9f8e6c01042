"""classification_review: what became known since the last classification no longer fits custody level or housing.

Detects: a person in custody, classified at minimum or medium, of whom after that classification became known that the
facility's STG staff validated an affiliation (member or suspect), that an infraction was recorded, or that a group of
which the facility validated the person as a member came into a feud that is live. What was known when the person was
classified is no reason: the classification has weighed it.

Misses: whoever is not classified yet, or at maximum already; affiliations that only the police report (association
alone raises no custody level, and intelligence alone does not either); anything the facility records late with an
event time before the classification.

What the facility itself recorded and a feud on the street are two situations: the one stands on the facility's own
information, whoever may be told of the other. Of more than fifty reasons of one sort it names the gravest and newest,
and says how many more there are.

The recipient should: review classification and housing, with these reasons before it. The unit is the one where the
person is now. It ends when the person is classified again, at whatever level, or leaves custody; the feud's, too, when
its window passes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from schemas.events import (
    AffiliationStatus,
    Booking,
    Classification,
    CustodyLevel,
    Housing,
    Infraction,
    InfractionSeverity,
    Validation,
)
from streams.correlations.evidence import bounded, feud_evidence, in_pieces, membership_in_words
from streams.correlations.situation import (
    Correlation,
    Evidence,
    PersonCorrelation,
    Severity,
    Situation,
    Subject,
    joined,
)
from streams.identify import group_key
from streams.pictures.decoding import Told
from streams.pictures.person import STAY, PersonPicture
from streams.pictures.stays import Stay
from streams.pictures.street import Feud

TRIGGERS: Final = frozenset(
    {
        STAY,
        "CustodyClassified",
        "HousingAssigned",
        "DisciplinaryRecorded",
        "AffiliationValidated",
        "StreetViolenceReported",
    }
)
REVIEWED_LEVELS: Final = frozenset({CustodyLevel.MINIMUM, CustodyLevel.MEDIUM})
REVIEW: Final = "Have classification staff review the classification, as soon as the facility's rules ask"
CHECK_HOUSING: Final = "Check whether housing still fits; where someone is threatened, move whoever threatens"
VALIDATED: Final = frozenset({AffiliationStatus.MEMBER, AffiliationStatus.SUSPECT})


def situations(picture: PersonPicture, person: str, now: int) -> set[Situation]:
    """The reviews that a person in custody needs: for what the facility recorded, and for a feud on the street."""
    stay = picture.stay(person)
    if stay is None:
        return set()
    affiliations = _validated(picture, person, stay.facility)
    recorded = picture.told(person, Infraction, stay=stay)
    if not affiliations and not recorded:
        # Of most persons who are moved or classified: nothing of theirs need be decoded.
        return set()
    classified = picture.latest(person, Classification, stay)
    if classified is None or classified.body.level not in REVIEWED_LEVELS:
        return set()
    since = classified.fact.time
    infractions = [told for told in recorded if told.fact.time > since]
    validated_since = [told for told in affiliations if told.fact.time > since]
    feuds = [
        (told, feud)
        for told in affiliations
        if told.body.group is not None and told.body.status is AffiliationStatus.MEMBER
        for feud in picture.street.feuds_of(group_key(told.body.group), now)
        if any(v.fact.time > since for v in feud.violence)
    ]
    found = set()
    if infractions or validated_since:
        found.add(_recorded(picture, person, stay, classified, infractions, validated_since))
    if feuds:
        found.add(_feud_on_the_street(picture, person, stay, classified, feuds))
    return found


def _validated(picture: PersonPicture, person: str, facility: str) -> list[Told[Validation]]:
    """The facility's own standing validations: the latest for each group, unless it ended there."""
    latest: dict[str | None, Told[Validation]] = {}
    for told in picture.told(person, Validation):
        if told.body.facility == facility:
            latest[told.body.group and group_key(told.body.group)] = told
    return [told for told in latest.values() if told.body.status in VALIDATED]


def _recorded(
    picture: PersonPicture,
    person: str,
    stay: Stay,
    classified: Told[Classification],
    infractions: list[Told[Infraction]],
    validated: list[Told[Validation]],
) -> Situation:
    reasons = {
        **({"new infraction": "an infraction"} if infractions else {}),
        **({"new validated affiliation": "a validated affiliation"} if validated else {}),
    }
    reported = [
        *(_infraction_evidence(told, person) for told in infractions),
        *(_affiliation_evidence(told, person) for told in validated),
    ]
    return Situation(
        # The person is part of it: while identities are being joined, two partitions may know of the same stay.
        key=(person, stay.facility, stay.booking_number, "recorded"),
        least_severity=Severity.MEDIUM,
        headline=f"Classification due for review: {joined(reasons)}",
        subjects=(_subject(picture, person, stay, classified),),
        evidence=(
            _classified_evidence(classified, person),
            *in_pieces(bounded((item,) for item in reported)),
        ),
        actions=(f"{REVIEW}: {joined(reasons.values())} came after it", CHECK_HOUSING),
        facility=stay.facility,
        unit=_unit(picture, person, stay),
    )


def _feud_on_the_street(
    picture: PersonPicture,
    person: str,
    stay: Stay,
    classified: Told[Classification],
    feuds: list[tuple[Told[Validation], Feud]],
) -> Situation:
    since = classified.fact.time
    membership = [
        replace(_affiliation_evidence(told, person), ground="member")
        for told in {told.fact.event_key: told for told, _ in feuds}.values()
    ]
    return Situation(
        key=(person, stay.facility, stay.booking_number, "feud"),
        least_severity=Severity.HIGH,
        headline="Classification due for review: new feud on the street",
        subjects=(_subject(picture, person, stay, classified),),
        evidence=(
            _classified_evidence(classified, person),
            *in_pieces(bounded((item,) for item in membership)),
            *feud_evidence({feud.groups: feud for _, feud in feuds}.values(), since=since),
        ),
        actions=(f"{REVIEW}: a feud on the street came after it", CHECK_HOUSING),
        facility=stay.facility,
        unit=_unit(picture, person, stay),
        until=min(feud.changes_at for _, feud in feuds),
    )


def _unit(picture: PersonPicture, person: str, stay: Stay) -> str | None:
    housed = picture.latest(person, Housing, stay)
    return housed.body.unit if housed else None


def _subject(picture: PersonPicture, person: str, stay: Stay, classified: Told[Classification]) -> Subject:
    booked = picture.say(stay.booked, Booking) if stay.booked else None
    return Subject(person, classified.fact.agency, stay.booking_number, booked.name if booked else None)


def _classified_evidence(classified: Told[Classification], person: str) -> Evidence:
    text = f"Classified {classified.body.level.value.lower()}"
    return Evidence(text, ("level",), classified.fact.provenance, person, "classified")


def _infraction_evidence(told: Told[Infraction], person: str) -> Evidence:
    body = told.body
    known = [
        *([f"rule {body.infraction}"] if body.infraction else []),
        *([body.severity.value.lower()] if body.severity is not InfractionSeverity.UNKNOWN else []),
        *(["violent"] if body.violent else []),
    ]
    text = f"Infraction recorded: {', '.join(known)}" if known else "Infraction recorded"
    grave = body.violent or body.severity is InfractionSeverity.MAJOR
    return Evidence(
        text,
        ("infraction", "severity", "violent"),
        told.fact.provenance,
        person,
        "reason",
        told.fact.event_id,
        severity=Severity.HIGH if grave else None,
    )


def _affiliation_evidence(told: Told[Validation], person: str) -> Evidence:
    text = f"Validated: {membership_in_words(told.body.status, told.body.group)}"
    return Evidence(text, ("group", "status"), told.fact.provenance, person, "reason", told.fact.event_id)


CORRELATION: Final[PersonCorrelation] = Correlation(
    name="classification_review",
    version=1,
    kind="housing",
    triggers=TRIGGERS,
    situations=situations,
    about=str,
)
