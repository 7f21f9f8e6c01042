"""contraband_delivery_expected: a live tip means a visit, a parcel, a payment or a return that is still to be met.

Detects: a visit (not by video), mail in the mail room, money paid in, a return from court or from a work crew that a
tip on contraband means: nothing that the tip says of recipient, courier, facility, method and time is contradicted, and
recipient or courier is the same, by a number or by a name that is alike; a courier's may be nearly alike where the date
of birth is the same. How much must speak for it is in `streams/pictures/tip_match.py`. One situation a delivery,
however many tips mean it. Tips that touch staff make a situation of their own, for internal affairs only.

Misses: whoever a tip names by a nickname, or by a first name only; what is handed over without a visit, mail or
movement that the facility recorded; visits of attorneys and other privileged contacts, which never become facts.

The recipient should: prepare at the gate, under the facility's own policy and within what the tip's author allows. A
tip is no proof; alone it justifies no search of a visitor's body. It ends when the tip is withdrawn, closed or purged,
the visit is cancelled or over, or the contraband is seized.

The facility is told what, where and when; never who says so, when it was said, in which words but those for what is to
come, how the source is graded, or how many sources there are. Of more than fifty tips on one delivery those with the
strictest handling, the surest and the newest are told; how many more of its own there are is told to their author.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.events import DeliveryMethod, TipHandling
from streams.correlations.evidence import bounded, in_pieces
from streams.correlations.situation import (
    Caution,
    Cautioned,
    Confidence,
    Correlation,
    Evidence,
    FacilityCorrelation,
    Line,
    Severity,
    Situation,
    Subject,
    joined,
)
from streams.pictures.deliveries import Delivery
from streams.pictures.facility import FacilityPicture
from streams.pictures.interceptions import Addressee, DeliveryKey, LiveTip
from streams.pictures.tip_match import SAME_NAME, SAME_NUMBER, Match

SURE: Final = SAME_NUMBER + SAME_NAME
"""Points from which on it is sure: recipient and courier are both the same, and so are the names by which they are."""
LIKELY: Final = SAME_NUMBER
"""Points from which on it is likely."""
TIP: Final = "tip"
DELIVERY: Final = "delivery"
WAYS: Final[Mapping[DeliveryMethod, str]] = {
    DeliveryMethod.VISIT: "a visit",
    DeliveryMethod.MAIL: "mail",
    DeliveryMethod.DEPOSIT: "a deposit",
    DeliveryMethod.COURT_RETURN: "the return from court",
    DeliveryMethod.WORK_CREW: "the return of a work crew",
}
"""The ways as they are said."""
FACTS: Final[Mapping[DeliveryMethod, tuple[str, str, str]]] = {
    DeliveryMethod.VISIT: ("A visit was scheduled", "starts", "visitor_name"),
    DeliveryMethod.MAIL: ("Mail is in the mail room", "time", "sender_name"),
    DeliveryMethod.DEPOSIT: ("Money was paid in", "time", "depositor_name"),
    DeliveryMethod.COURT_RETURN: ("A return from court was scheduled", "returns", ""),
    DeliveryMethod.WORK_CREW: ("A work crew's return was scheduled", "returns", ""),
}
"""By way: what the facility's own record says, the field that says when, and the one that says by whom."""
NUMBERS: Final[Mapping[DeliveryMethod, tuple[str, str]]] = {
    DeliveryMethod.VISIT: ("the visit", "visit_number"),
    DeliveryMethod.MAIL: ("the item", "item_number"),
    DeliveryMethod.DEPOSIT: ("the payment", "transaction_number"),
    DeliveryMethod.COURT_RETURN: ("the movement", "movement_number"),
    DeliveryMethod.WORK_CREW: ("the movement", "movement_number"),
}
"""By way: what the facility numbers, and the field that has the number, so that it is found."""
CAME: Final = (DeliveryMethod.MAIL, DeliveryMethod.DEPOSIT)
"""What is there already when it is recorded: it is expected no more."""
PARTIES: Final[Mapping[DeliveryMethod, str]] = {
    DeliveryMethod.VISIT: "The visitor is",
    DeliveryMethod.MAIL: "The sender is",
    DeliveryMethod.DEPOSIT: "It was paid in by",
}
SEARCH_ON_RETURN: Final = (
    "Search on return as the facility's policy provides for every return; more needs a reason beside this alert"
)
STEPS: Final[Mapping[DeliveryMethod, tuple[str, ...]]] = {
    DeliveryMethod.VISIT: (
        "Have staff at the gate and in the visiting room watch this visit closely",
        "Consider a visit behind a barrier or by video in place of a contact visit, under the facility's own rules",
        "Search as the facility's policy provides for every visit; more needs a reason beside this alert",
    ),
    DeliveryMethod.MAIL: (
        "Screen this item before it is handed over, as the facility's policy provides",
        "If it is privileged mail after all, leave it unopened",
    ),
    DeliveryMethod.DEPOSIT: (
        "Watch what the account is used for: a payment may announce a delivery",
        "Look at the coming visits and mail of this person",
    ),
    DeliveryMethod.COURT_RETURN: (SEARCH_ON_RETURN,),
    DeliveryMethod.WORK_CREW: (
        SEARCH_ON_RETURN,
        "Have the crew's places of work looked over",
    ),
}
"""What is advised, the least restrictive first."""
CALL: Final = (
    "Before anything is done because of this, reach whoever gave the tip, through the deconfliction service; "
    "ask whether others are to be called as well. Without an answer do what is done with everybody, and no more"
)
WATCH: Final = (
    "Because of this, search, question and move nobody, change no visit and hold nothing back: whoever it is about, "
    "and everybody near, must not be warned. What is done with everybody, and what is done for other reasons, goes on; "
    "danger to life comes first"
)
WRITE_DOWN: Final = "Write down what is seen: who came, when, with whom"
CAUTION_OF: Final[Mapping[TipHandling, Caution | None]] = {
    TipHandling.ACT: None,
    TipHandling.CALL_FIRST: Caution.CALL_FIRST,
    TipHandling.WATCH_ONLY: Caution.WATCH_ONLY,
    # Whatever a newer contract says here, nothing is done on it unasked.
    TipHandling.UNKNOWN: Caution.CALL_FIRST,
}


def situations(picture: FacilityPicture, where: DeliveryKey, now: int) -> set[Situation]:
    """What a delivery means: by tips that may be told to the facility, and by those that may not."""
    found = picture.interceptions.delivery(where)
    if found is None:
        return set()
    live = [(tip, match) for tip, match in picture.interceptions.meaning(where) if tip.is_live(now)]
    told = [one for one in live if not one[0].body.touches_staff]
    kept = [one for one in live if one[0].body.touches_staff]
    return {_situation((*where, *more), *found, tips) for more, tips in (((), told), (("staff",), kept)) if tips}


def _situation(
    key: tuple[str, ...], addressee: Addressee, delivery: Delivery, tips: list[tuple[LiveTip, Match]]
) -> Situation:
    steps = STEPS[delivery.method]
    return Situation(
        key=key,
        least_severity=Severity.HIGH,
        headline=f"Contraband may come with {WAYS[delivery.method]}",
        subjects=(Subject(addressee.person, delivery.source.agency, addressee.booking_number, addressee.name),),
        evidence=(
            *_delivery_evidence(addressee.person, delivery),
            *in_pieces(bounded(tuple(_tip_evidence(tip, match)) for tip, match in tips)),
        ),
        actions=steps,
        cautions=(
            Cautioned(Caution.WATCH_ONLY, WATCH, (WRITE_DOWN,)),
            Cautioned(Caution.CALL_FIRST, CALL, steps),
        ),
        facility=addressee.facility,
        unit=addressee.unit,
        until=min((tip.fact.purge_by for tip, _ in tips if tip.fact.purge_by is not None), default=None),
    )


def _delivery_evidence(person: str, delivery: Delivery) -> Iterable[Evidence]:
    text, when, by_whom = FACTS[delivery.method]
    number = delivery.number
    due = None if delivery.method in CAME else delivery.at
    yield Evidence(text, (when,), delivery.source, person, DELIVERY, number, due=due)
    name, numbered = NUMBERS[delivery.method]
    yield Evidence(
        f"The facility's number of {name} is {number}", (numbered,), delivery.source, person, DELIVERY, number
    )
    if delivery.party is not None:
        text = f"{PARTIES[delivery.method]} {delivery.party}"
        yield Evidence(text, (by_whom,), delivery.source, person, DELIVERY, number)


def _tip_evidence(tip: LiveTip, match: Match) -> Iterable[Evidence]:
    """What is torn off and handed on, piece by piece; then what stays with the author."""
    body, source = tip.body, tip.fact.provenance
    sure = match.points >= SURE and match.is_sure
    confidence = Confidence.HIGH if sure else Confidence.MODERATE if match.points >= LIKELY else Confidence.LOW

    def above(text: str, *fields: str, **more: Confidence | Caution | None) -> Evidence:
        return Evidence(
            text,
            fields,
            source,
            None,
            TIP,
            source.event_id,
            line=Line.ABOVE,
            staff=body.touches_staff,
            **more,  # type: ignore[arg-type]
        )

    caution = CAUTION_OF[body.handling]
    yield above("Contraband is said to be coming", confidence=confidence, caution=caution)
    if body.substance:
        # In whatever case and spacing: another line would be another source.
        yield above(f"It is said to be {' '.join(body.substance.casefold().split())}", "substance")
    if body.method in WAYS:
        yield above(f"It is said to come with {WAYS[body.method]}", "method")
    if caution is Caution.CALL_FIRST and body.deconfliction_reference:
        yield above(f"Deconfliction reference {body.deconfliction_reference}", "deconfliction_reference")

    def below(text: str, fields: Iterable[str]) -> Evidence:
        return Evidence(text, tuple(fields), source, line=Line.BELOW, staff=body.touches_staff)

    points = joined(f"{reason.text} ({reason.points})" for reason in match.reasons)
    fields = dict.fromkeys(field for reason in match.reasons for field in reason.fields)
    yield below(f"{match.points} points speak for it: {points}", fields)
    graded = f"The source is graded {body.reliability}, the information {body.credibility}"
    yield below(graded, ("reliability", "credibility"))


CORRELATION: Final[FacilityCorrelation] = Correlation(
    name="contraband_delivery_expected",
    version=1,
    kind="contraband",
    triggers=frozenset({"PersonInCustody", "ContrabandTipped", "TipOutcome"}),
    situations=situations,
    about=DeliveryKey,
)
