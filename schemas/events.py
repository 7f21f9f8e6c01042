"""Events: past-tense facts that agencies publish, as typed models of `schemas/avro/`.

The `.avsc` files are the source of truth; `tests/unit/test_events_equal_the_avro_contract.py` proves that each model
has the same fields, types and defaults. Beyond the types, the models hold what makes an event senseless wherever it
comes from: a malformed ORI, an event id that is no UUID, a person without identifiers, a time before there were
computers. Whether an event fits the *site* (known agency, known facility, not from the future) is decided in
`streams/identify.py`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, model_validator
from pydantic_core import core_schema

EARLIEST_TIME: Final = -2_208_988_800_000_000
"""1900-01-01T00:00:00Z in microseconds: nothing on the bus happened before."""
LATEST_TIME: Final = 4_102_444_800_000_000
"""2100-01-01T00:00:00Z in microseconds."""


def _written(pattern: str, why: str) -> GetPydanticSchema:
    """Text of that pattern; else the error says why. Every event has two such texts, so that they are held against it
    without a call back to Python is worth a tenth of what it takes to read one."""
    text = core_schema.str_schema(pattern=pattern)
    return GetPydanticSchema(lambda *_: core_schema.custom_error_schema(text, "written", custom_error_message=why))


Uuid = Annotated[
    str,
    _written(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "must be a UUID in its usual lower-case form"),
]
Ori = Annotated[
    str,
    _written(
        r"^[A-Z]{2}[A-Z0-9]{7}$",
        "must be an ORI: two letters of the state, then seven letters or digits, such as NY0303000",
    ),
]
Micros = Annotated[int, Field(ge=EARLIEST_TIME, le=LATEST_TIME)]
"""Microseconds since 1970-01-01T00:00:00Z."""
Text = Annotated[str, Field(min_length=1, max_length=400)]
"""A value that may not be empty."""
Code = Annotated[str, Field(max_length=400)]
"""A value that may be empty."""
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""How many; as much as Avro's int holds."""
BirthDate = Annotated[str, Field(pattern=r"^(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
"""A day, as YYYY-MM-DD."""
Reliability = Annotated[str, Field(pattern=r"^[A-F]$")]
"""Reliability of a source, A (reliable) to F (not known)."""
Credibility = Annotated[int, Field(ge=1, le=6)]
"""Credibility of information, 1 (confirmed) to 6 (not known)."""


class IdKind(StrEnum):
    """What sort of number identifies a person."""

    UNKNOWN = "UNKNOWN"
    LOCAL = "LOCAL"
    SID = "SID"
    UCN = "UCN"


class Verification(StrEnum):
    """How a number was tied to the person present."""

    UNKNOWN = "UNKNOWN"
    FINGERPRINT = "FINGERPRINT"
    DOCUMENT = "DOCUMENT"
    STATED = "STATED"
    SYSTEM = "SYSTEM"


class Role(StrEnum):
    """What a person is in an event."""

    UNKNOWN = "UNKNOWN"
    SUBJECT = "SUBJECT"
    OTHER_PARTY = "OTHER_PARTY"
    VICTIM = "VICTIM"
    SUSPECT = "SUSPECT"
    ASSOCIATE = "ASSOCIATE"


class CustodyLevel(StrEnum):
    """Custody level that a facility's classification gave."""

    UNKNOWN = "UNKNOWN"
    MINIMUM = "MINIMUM"
    MEDIUM = "MEDIUM"
    MAXIMUM = "MAXIMUM"


class InfractionSeverity(StrEnum):
    """Severity of an infraction by the facility's rules."""

    UNKNOWN = "UNKNOWN"
    MINOR = "MINOR"
    MAJOR = "MAJOR"


class AffiliationStatus(StrEnum):
    """Standing of a person with a security threat group (STG)."""

    UNKNOWN = "UNKNOWN"
    SUSPECT = "SUSPECT"
    ASSOCIATE = "ASSOCIATE"
    MEMBER = "MEMBER"
    DROPOUT = "DROPOUT"


class EndReason(StrEnum):
    """How a stay in custody ends."""

    UNKNOWN = "UNKNOWN"
    BAIL = "BAIL"
    OWN_RECOGNIZANCE = "OWN_RECOGNIZANCE"
    TIME_SERVED = "TIME_SERVED"
    COURT_ORDER = "COURT_ORDER"
    TRANSFER = "TRANSFER"
    TURNOVER = "TURNOVER"
    ESCAPE = "ESCAPE"
    ERRONEOUS_RELEASE = "ERRONEOUS_RELEASE"
    DEATH = "DEATH"


class Observation(StrEnum):
    """Kind of medical observation."""

    UNKNOWN = "UNKNOWN"
    MENTAL_HEALTH = "MENTAL_HEALTH"
    MEDICAL = "MEDICAL"
    SUICIDE_WATCH = "SUICIDE_WATCH"


class ContactClass(StrEnum):
    """What sort of contact a visit, an item of mail, a deposit or a call is. Only ordinary ones become facts."""

    UNKNOWN = "UNKNOWN"
    ORDINARY = "ORDINARY"
    ATTORNEY = "ATTORNEY"
    COURT = "COURT"
    CLERGY = "CLERGY"
    MEDICAL = "MEDICAL"
    CONSULAR = "CONSULAR"
    OMBUDS = "OMBUDS"
    TIP_LINE = "TIP_LINE"
    VICTIM_SERVICE = "VICTIM_SERVICE"


class DeliveryMethod(StrEnum):
    """The way in which something comes into a facility."""

    UNKNOWN = "UNKNOWN"
    VISIT = "VISIT"
    MAIL = "MAIL"
    DEPOSIT = "DEPOSIT"
    COURT_RETURN = "COURT_RETURN"
    WORK_CREW = "WORK_CREW"


class TipHandling(StrEnum):
    """What the author of a tip allows to be done on it."""

    UNKNOWN = "UNKNOWN"
    ACT = "ACT"
    CALL_FIRST = "CALL_FIRST"
    WATCH_ONLY = "WATCH_ONLY"


class Outcome(StrEnum):
    """What became of a tip."""

    UNKNOWN = "UNKNOWN"
    FOUND = "FOUND"
    NOT_FOUND = "NOT_FOUND"
    NOT_ACTED_ON = "NOT_ACTED_ON"
    STOOD_DOWN = "STOOD_DOWN"


class VisitSetting(StrEnum):
    """How visitor and visited meet."""

    UNKNOWN = "UNKNOWN"
    CONTACT = "CONTACT"
    BARRIER = "BARRIER"
    VIDEO = "VIDEO"


class MovementPurpose(StrEnum):
    """What somebody leaves a facility for, to come back."""

    UNKNOWN = "UNKNOWN"
    COURT = "COURT"
    WORK_CREW = "WORK_CREW"


class HearingPurpose(StrEnum):
    """What a court hears somebody for."""

    UNKNOWN = "UNKNOWN"
    ARRAIGNMENT = "ARRAIGNMENT"
    BAIL = "BAIL"
    MOTION = "MOTION"
    PLEA = "PLEA"
    TRIAL = "TRIAL"
    SENTENCING = "SENTENCING"
    VIOLATION = "VIOLATION"


class WithdrawalReason(StrEnum):
    """Why an event is withdrawn."""

    UNKNOWN = "UNKNOWN"
    ENTERED_IN_ERROR = "ENTERED_IN_ERROR"
    EXPUNGED = "EXPUNGED"
    SEALED = "SEALED"
    PURGED = "PURGED"
    SUPERSEDED = "SUPERSEDED"


class Contract(BaseModel):
    """A record of the contract: frozen, and strict about fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PersonId(Contract):
    """One identifier of a person, and how the publisher came to trust it."""

    kind: IdKind
    value: Text
    issuer: Text
    verified: Verification


class PersonRef(Contract):
    """A person in an event, by role, with every identifier that the publisher holds."""

    role: Role
    ids: Annotated[tuple[PersonId, ...], Field(min_length=1, max_length=16)]


class Handling(Contract):
    """How the publisher wants the event handled."""

    markings: tuple[Text, ...] = ()
    purge_by: Micros | None = None


class Head(Contract):
    """What every event carries."""

    event_id: Uuid
    time: Micros
    ori: Ori
    source_system: Text
    persons: Annotated[tuple[PersonRef, ...], Field(max_length=64)]
    handling: Handling


class Body(Contract):
    """What an event says, without its head: what the pictures decode, since the head is most of the bytes."""


class InStay(Body):
    """Said of one stay in custody."""

    facility: Text
    booking_number: Text


class Booking(InStay):
    """The body of BookingReported."""

    admitted: Micros
    legal_status: Code
    charges: tuple[Text, ...]
    name: Text | None = None


class Housing(InStay):
    """The body of HousingAssigned."""

    unit: Text
    cell: Text | None = None
    reason: Text | None = None


class Classification(InStay):
    """The body of CustodyClassified."""

    level: CustodyLevel
    initial: bool
    instrument: Text | None = None


class Infraction(InStay):
    """The body of DisciplinaryRecorded."""

    infraction: Code
    severity: InfractionSeverity
    violent: bool


class Validation(InStay):
    """The body of AffiliationValidated."""

    group: Text | None = None
    status: AffiliationStatus
    criteria: tuple[Text, ...]


class Delisting(InStay):
    """The body of NoLongerListed."""

    last_listed: Micros


class CustodyEnd(InStay):
    """The body of CustodyEnded."""

    reason: EndReason
    receiving_agency: Ori | None = None


class AffiliationReport(Body):
    """The body of AffiliationReported."""

    group: Text
    status: AffiliationStatus
    reliability: Reliability
    credibility: Credibility
    criteria: tuple[Text, ...]


class StreetViolence(Body):
    """The body of StreetViolenceReported."""

    incident_number: Text
    groups: Annotated[tuple[Text, ...], Field(max_length=16)]
    place: Code
    retaliation_expected: bool


class Tip(Body):
    """The body of ContrabandTipped."""

    facility: Text | None = None
    recipient_name: Text | None = None
    courier_name: Text | None = None
    courier_born: BirthDate | None = None
    method: DeliveryMethod
    substance: Code
    expected_from: Micros | None = None
    expected_until: Micros | None = None
    handling: TipHandling
    deconfliction_reference: Text | None = None
    touches_staff: bool
    reliability: Reliability
    credibility: Credibility
    narrative: Annotated[str, Field(min_length=1, max_length=4_000)] | None = None

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if None not in (self.expected_from, self.expected_until) and self.expected_from > self.expected_until:  # type: ignore[operator]
            raise ValueError("expected_until: must not be earlier than expected_from")
        return self


class TipEnd(Body):
    """The body of TipOutcome."""

    target_event_id: Uuid
    outcome: Outcome


class Contact(InStay):
    """Somebody's contact with a person in custody."""

    contact: ContactClass


class Visit(Contact):
    """The body of VisitScheduled."""

    visit_number: Text
    visitor_name: Text | None = None
    visitor_born: BirthDate | None = None
    setting: VisitSetting
    starts: Micros
    ends: Micros

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Self:
        if self.starts > self.ends:
            raise ValueError("ends: must not be earlier than starts")
        return self


class VisitCancellation(InStay):
    """The body of VisitCancelled."""

    visit_number: Text


class VisitCompletion(InStay):
    """The body of VisitCompleted."""

    visit_number: Text


class Mail(Contact):
    """The body of MailReceived."""

    item_number: Text
    sender_name: Text | None = None


class Deposit(Contact):
    """The body of DepositReceived."""

    transaction_number: Text
    depositor_name: Text | None = None


class Movement(InStay):
    """The body of MovementScheduled."""

    movement_number: Text
    purpose: MovementPurpose
    returns: Micros


class Call(Contact):
    """The body of CallCompleted."""

    call_number: Text
    called_number: Text | None = None
    seconds: Count


class Hearing(Body):
    """The body of HearingScheduled."""

    case_number: Text
    hearing_number: Text
    purpose: HearingPurpose
    starts: Micros
    part: Text | None = None


class HearingCancellation(Body):
    """The body of HearingCancelled."""

    hearing_number: Text


class Seizure(InStay):
    """The body of ContrabandSeized."""

    method: DeliveryMethod
    reference: Text | None = None
    substance: Code


class Listing(Body):
    """The body of ListTaken."""

    facility: Text
    entries: Count
    changed: Count
    content: Annotated[str, Field(pattern=r"^[0-9a-f]{16,128}$")]


class CareObservation(InStay):
    """The body of CareObserved."""

    observation: Observation
    active: bool


class Withdrawal(Body):
    """The body of EventWithdrawn."""

    target_event_id: Uuid
    reason: WithdrawalReason


class Event(Body):
    """An event: its head, and what it says."""

    head: Head


class CustodyEvent(InStay, Event):
    """An event about one stay in custody."""


class BookingReported(Booking, CustodyEvent):
    """A stay in custody begins."""


class HousingAssigned(Housing, CustodyEvent):
    """A person in custody was given a housing unit."""


class CustodyClassified(Classification, CustodyEvent):
    """The facility classified a person in custody."""


class DisciplinaryRecorded(Infraction, CustodyEvent):
    """An infraction was recorded against a person in custody."""


class AffiliationValidated(Validation, CustodyEvent):
    """The facility's STG staff validated, changed or ended an affiliation."""


class NoLongerListed(Delisting, CustodyEvent):
    """A person is not on the facility's list any more; the source does not say why."""


class CustodyEnded(CustodyEnd, CustodyEvent):
    """A stay in custody ended."""


class AffiliationReported(AffiliationReport, Event):
    """A police unit reports a person's standing with a street group (28 CFR Part 23)."""


class StreetViolenceReported(StreetViolence, Event):
    """Violence between groups happened in the community."""


class ContrabandTipped(Tip, Event):
    """Somebody is said to be about to bring contraband to a person in custody (28 CFR Part 23)."""


class TipOutcome(TipEnd, Event):
    """What became of a tip, by the agency that gave it."""


class VisitScheduled(Visit, CustodyEvent):
    """A visit to a person in custody was scheduled, or scheduled anew under the same number."""


class VisitCancelled(VisitCancellation, CustodyEvent):
    """A scheduled visit will not take place."""


class VisitCompleted(VisitCompletion, CustodyEvent):
    """A scheduled visit is over."""


class MailReceived(Mail, CustodyEvent):
    """Mail for a person in custody has come to the mail room."""


class DepositReceived(Deposit, CustodyEvent):
    """Money was paid in for a person in custody."""


class MovementScheduled(Movement, CustodyEvent):
    """A person in custody will leave the facility and come back."""


class CallCompleted(Call, CustodyEvent):
    """A person in custody has telephoned."""


class HearingScheduled(Hearing, Event):
    """A court has set a hearing of a person, or set it anew under the same number."""


class HearingCancelled(HearingCancellation, Event):
    """A hearing that was set will not take place."""


class ContrabandSeized(Seizure, CustodyEvent):
    """Contraband was found on, or on its way to, a person in custody."""


class ListTaken(Listing, Event):
    """A list of everybody in a facility's custody was taken."""


class CareObserved(CareObservation, CustodyEvent):
    """A person in custody came under, or left, medical observation; for care recipients only."""


class EventWithdrawn(Withdrawal, Event):
    """The publisher takes back one of its own events."""


EVENT_TYPES: Final[dict[str, type[Event]]] = {
    model.__name__: model
    for model in (
        BookingReported,
        HousingAssigned,
        CustodyClassified,
        DisciplinaryRecorded,
        AffiliationValidated,
        NoLongerListed,
        CustodyEnded,
        AffiliationReported,
        StreetViolenceReported,
        ContrabandTipped,
        TipOutcome,
        VisitScheduled,
        VisitCancelled,
        VisitCompleted,
        MailReceived,
        DepositReceived,
        MovementScheduled,
        ContrabandSeized,
        CallCompleted,
        HearingScheduled,
        HearingCancelled,
        ListTaken,
        CareObserved,
        EventWithdrawn,
    )
}
"""Every event an agency can publish, by type name."""

BODY_TYPES: Final[dict[str, type[Body]]] = {name: model.__bases__[0] for name, model in EVENT_TYPES.items()}
"""What each event says, by the event's type name."""
TYPE_OF_BODY: Final[dict[type[Body], str]] = {body: name for name, body in BODY_TYPES.items()}
"""The event's type name of each body."""

CARE_EVENTS: Final = frozenset({"CareObserved"})
"""Events of health: they reach care topics and nothing else (42 CFR Part 2, HIPAA)."""

ONLY_HEARD: Final = frozenset({"CallCompleted", "HearingScheduled", "HearingCancelled"})
"""Events that no correlation reads yet. That they came is noted, and that they stop is told; but no facts of them are
kept (docs/decisions/0027-what-nothing-reads-is-not-kept.md)."""

TIP_EVENTS: Final = frozenset({"ContrabandTipped", "TipOutcome"})
"""Events of tips: others than their author get a tear-line of them."""


def type_name(event: Event) -> str:
    """The event's type, as headers, topics and agreements name it."""
    return type(event).__name__
