"""What may happen in the small county: situations that fire, and any event at all, each part of it picked from few.

Few, so that what is picked meets: the same person, the same day, the same number of a visit, the same event's name. Who
picks is who calls: a seed (`tests/simulation/`), or Hypothesis (`tests/property/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Protocol, TypeVar
from unittest.mock import patch

from schemas.events import CARE_EVENTS, EVENT_TYPES, ONLY_HEARD, Event, EventWithdrawn
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.pictures import feeds, interceptions, lists
from tests.county import DAY, JAIL, MAIN, POLICE, agency_of, event, event_id

T = TypeVar("T")

RULES: Final = (*(rule.name for rule in PERSON_CORRELATIONS), *(rule.name for rule in FACILITY_CORRELATIONS))
"""What is to fire."""
PEOPLE: Final = ("ada", "bo", "cy")
UNITS: Final = ("4-A", "4-B")
GROUPS: Final = ("Eastside", "Harbor")
COURIERS: Final = ("Cole, Dana", "Reed, Pat")
LAST_DAY: Final = 40
"""Everything has happened before the end of it; what is to come then may come later."""
NAMED: Final = range(9)
"""Numbers in the names of events: where two have one name, one event has two contents."""
TIPS: Final = range(4)
"""Those in the names of tips: so few that an outcome or a withdrawal is of one."""
PURGED: Final = (None, None, 7, 30)
"""The days on which an event may be purged; two contents of one event on two of them."""


class Pick(Protocol):
    """Picks one."""

    def __call__(self, options: Sequence[T], /) -> T: ...


# -- situations --------------------------------------------------------------------------------------------------------


def a_list(day: float, content: int, changed: int = 5) -> Event:
    """A list of everybody in custody, of which so many entries had changed."""
    name = f"jail-list-{day}-{content}-{changed}"
    return event("ListTaken", day=day, name=name, content=f"{content:016x}", changed=changed)


def _booked(person: str) -> Event:
    return event("BookingReported", person, name=f"jail-book-{person}", sid=f"SID-{person}")


def _visited(person: str) -> Event:
    more: dict[str, Any] = {"visit_number": "N-1", "visitor_name": COURIERS[0], "starts": 45}
    return event("VisitScheduled", person, day=30, name=f"jail-visit-{person}", **more)


def _paid(*days: float) -> list[Event]:
    return [event("DepositReceived", "ada", day=day, name=f"jail-paid-{day}") for day in days]


_RIVALS: Final = (
    _booked("ada"),
    _booked("bo"),
    event("HousingAssigned", "ada", day=2, name="jail-house-ada", unit="4-A"),
    event("HousingAssigned", "bo", day=2, name="jail-house-bo", unit="4-A"),
    event("CustodyClassified", "ada", day=1, name="jail-class-ada"),
    event("AffiliationValidated", "ada", day=3, name="jail-stg-ada", group="Eastside", status="MEMBER"),
    event("AffiliationReported", None, day=3, name="police-stg-bo", sid="SID-bo", group="harbor "),
    event("StreetViolenceReported", day=30, name="street-0", groups=list(GROUPS), retaliation_expected=True),
)
_MEANS_TOO_MANY: Final = (
    *(said for person in PEOPLE for said in (_booked(person), _visited(person))),
    event("ContrabandTipped", day=40, name="tip-3", facility=MAIN, courier_name=COURIERS[0], method="VISIT"),
)
SITUATIONS: Final[Mapping[str, tuple[Event, ...]]] = {
    "rivals are housed together, one by a classification that no longer fits": _RIVALS,
    "rivals were housed together": (
        *_RIVALS,
        event("HousingAssigned", "bo", day=40.2, name="jail-moved-bo", unit="4-B"),
    ),
    "a visit is tipped": (
        _booked("ada"),
        _visited("ada"),
        event("ContrabandTipped", day=40, name="tip-0", sid="SID-ada"),
    ),
    "a visit is tipped, by two numbers that are one person's": (
        event("BookingReported", "ada", name="jail-book-by-ucn", ucn="UCN-ada"),
        _visited("ada"),
        event("HousingAssigned", "ada", day=2, name="jail-house-by-both", unit="4-A", sid="SID-ada", ucn="UCN-ada"),
        event("ContrabandTipped", day=40, name="tip-0", sid="SID-ada", ucn="UCN-ada"),
    ),
    "mail is tipped, and touches staff": (
        _booked("bo"),
        event("MailReceived", "bo", day=40, name="jail-mail-bo", item_number="N-1", sender_name=COURIERS[1]),
        event("ContrabandTipped", day=40, name="tip-1", facility=MAIN, courier_name=COURIERS[1], method="MAIL"),
        event("ContrabandTipped", day=40, name="staff-tip-1", sid="SID-bo", touches_staff=True),
    ),
    "a return from court is tipped, and the pills are found": (
        _booked("cy"),
        event("MovementScheduled", "cy", day=38, name="jail-court-cy", movement_number="N-2", returns=43),
        event("ContrabandTipped", day=39, name="tip-2", sid="SID-cy", method="COURT_RETURN"),
        event("ContrabandSeized", "cy", day=40, name="jail-seized-cy", reference="N-2"),
    ),
    "a tip means too many": _MEANS_TOO_MANY,
    "a tip meant too many": (
        *_MEANS_TOO_MANY,
        event("VisitCancelled", "cy", day=40.2, name="jail-no-visit-cy", visit_number="N-1"),
    ),
    "a feed falls silent": (*_paid(*range(32, 38)),),
    "a feed was silent": (*_paid(*range(30, 36), 40.4),),
    "a list stands still": (*(a_list(day, min(day, 38)) for day in range(35, 41)),),
    "a list stood still": (*(a_list(day, min(day, 37)) for day in range(34, 40)), a_list(40.3, 7)),
}
"""By what it comes to: what happens then. Everybody's events have the same names in each."""
_CONSTANTS: Final[Sequence[tuple[Any, Mapping[str, Any]]]] = (
    (interceptions, {"MOST_RECIPIENTS": 2}),
    (feeds, {"LEAST_QUIETS": 3, "LEAST_REGULAR": 3, "KNOWN_DAYS": 4}),
    (lists, {"LEAST_LISTS": 2}),
)


@contextmanager
def little_suffices() -> Iterator[None]:
    """Let what takes many events take few for a while: so that a history in which it fires can be read.

    Three persons are too many for a tip to mean, a feed is known after four days, and a list after three.
    """
    with ExitStack() as patches:
        for where, constants in _CONSTANTS:
            patches.enter_context(patch.multiple(where, **constants))
        yield


# -- any event ---------------------------------------------------------------------------------------------------------

OTHERWISE: Final = "an event again, with another content"
NO_FACTS: Final = (*sorted(CARE_EVENTS), *sorted(ONLY_HEARD))
"""Types of which no facts are kept: together they are picked as often as one other, lest histories be full of them."""
_KINDS: Final = (
    *(kind for kind in EVENT_TYPES if kind not in ONLY_HEARD),
    "HousingAssigned",
    *["EventWithdrawn"] * 3,
    *[OTHERWISE] * 2,
)
_NUMBERS: Final = ("N-1", "N-2")
"""Of visits, items, payments and movements."""
_OF_ANY: Final = tuple(
    (agency, event_id(f"{whose}-{number}"))
    for agency, whose, numbers in (
        (JAIL, "jail", NAMED),
        (POLICE, "street", NAMED),
        (POLICE, "police", NAMED),
        (POLICE, "tip", TIPS),
        (POLICE, "staff-tip", TIPS),
        (POLICE, "outcome", TIPS),
    )
    for number in numbers
)
"""What may be withdrawn, whether it comes or not: whose it is, and its id."""


def any_event(pick: Pick, others: Sequence[Event], purged: Sequence[int | None] = PURGED) -> Event:
    """Any event of the county, or one of the `others` with another content; one of four is purged on a day of `purged`.

    Withdrawn is one of the others, or anything.
    """
    kind = pick(_KINDS)
    day = pick(range(LAST_DAY + 1))
    if kind == OTHERWISE:
        return _otherwise(pick(others)) if others else a_list(day, 0)
    if kind == "ListTaken":
        return a_list(day, pick(range(LAST_DAY + 1)), pick((0, 5)))
    if kind == "EventWithdrawn":
        known = [(agency_of(what), what.head.event_id) for what in others if not isinstance(what, EventWithdrawn)]
        agency, target = pick(pick((known, _OF_ANY)) or _OF_ANY)
        return event(kind, day=day, agency=agency, name=f"withdraw-{target}", target_event_id=target)
    if kind == "TipOutcome":
        number = pick(TIPS)
        target = event_id(f"{pick(('tip', 'staff-tip'))}-{pick(TIPS)}")
        whom: dict[str, Any] = {
            "person": pick((None, *PEOPLE)),
            "sid": pick((None, *(f"SID-{person}" for person in PEOPLE))),
        }
        return event(kind, day=day, name=f"outcome-{number}", purge_day=pick(purged), target_event_id=target, **whom)
    if kind == "ContrabandTipped":
        number = pick(TIPS)
        return _any_tip(pick, day, f"tip-{number}", pick(purged))
    number = pick(NAMED)
    purge_day = pick(purged)
    if kind in NO_FACTS:
        kind = NO_FACTS[number % len(NO_FACTS)]
    if kind == "StreetViolenceReported":
        retaliation = pick((False, True))
        more: dict[str, Any] = {"groups": list(GROUPS), "retaliation_expected": retaliation}
        return event(kind, day=day, name=f"street-{number}", purge_day=purge_day, **more)
    person = pick(PEOPLE)
    owner = "police" if kind == "AffiliationReported" else "jail"
    numbers = pick(_strong(person))
    said = _says(pick, kind)
    return event(kind, person, day=day, name=f"{owner}-{number}", purge_day=purge_day, **numbers, **said)


def _otherwise(what: Event) -> Event:
    """The same event, a day before: one id with two contents."""
    return what.model_copy(update={"head": what.head.model_copy(update={"time": what.head.time - DAY})})


def _strong(person: str) -> Sequence[dict[str, str]]:
    """Numbers verified by fingerprint that an event may carry as well: none, one, another, a stronger one, or both."""
    return (
        {},
        {"sid": f"SID-{person}"},
        {"sid": f"SID2-{person}"},
        {"ucn": f"UCN-{person}"},
        {"sid": f"SID-{person}", "ucn": f"UCN-{person}"},
    )


def _says(pick: Pick, kind: str) -> dict[str, Any]:
    """What an event of a person says that is not always the same."""
    match kind:
        case "HousingAssigned":
            return {"unit": pick(UNITS)}
        case "CustodyClassified":
            return {"level": pick(("MINIMUM", "MEDIUM", "MAXIMUM"))}
        case "AffiliationValidated":
            return {"group": pick(GROUPS), "status": pick(("MEMBER", "SUSPECT", "DROPOUT"))}
        case "AffiliationReported":
            return {"group": pick(GROUPS)}
        case "NoLongerListed":
            # From a jail that this site does not know: set aside, whatever else is true.
            return {"facility": pick((MAIN, MAIN, MAIN, "nowhere"))}
        case "VisitScheduled":
            return {
                "visit_number": pick(_NUMBERS),
                "visitor_name": pick((*COURIERS, None)),
                "contact": pick(("ORDINARY", "ORDINARY", "ATTORNEY")),
                "setting": pick(("CONTACT", "BARRIER", "VIDEO")),
                "starts": pick(range(30, 50)),
            }
        case "VisitCancelled" | "VisitCompleted":
            return {"visit_number": pick(_NUMBERS)}
        case "MailReceived":
            return {"item_number": pick(_NUMBERS), "sender_name": pick((*COURIERS, None))}
        case "DepositReceived":
            return {"transaction_number": pick(_NUMBERS), "depositor_name": pick(COURIERS)}
        case "MovementScheduled":
            purpose = pick(("COURT", "WORK_CREW"))
            return {"movement_number": pick(_NUMBERS), "purpose": purpose, "returns": pick(range(40, 50))}
        case "HearingScheduled":
            return {"starts": LAST_DAY}
        case "ContrabandSeized":
            return {"reference": pick((*_NUMBERS, None)), "method": pick(("UNKNOWN", "VISIT", "MAIL"))}
    return {}


def _any_tip(pick: Pick, day: int, name: str, purge_day: int | None) -> Event:
    begins, staff = pick((None, 30, 42)), pick((False, False, True))
    return event(
        "ContrabandTipped",
        # By the number that its author gave the person, too.
        pick((None, None, *PEOPLE)),
        day=day,
        name=f"staff-{name}" if staff else name,
        purge_day=purge_day,
        sid=pick((*(f"SID-{person}" for person in PEOPLE), None)),
        ucn=pick((None, None, *(f"UCN-{person}" for person in PEOPLE))),
        facility=pick((None, MAIN)),
        courier_name=pick((None, *COURIERS)),
        method=pick(("UNKNOWN", "UNKNOWN", "VISIT", "MAIL", "COURT_RETURN")),
        expected_from=begins,
        expected_until=None if begins is None else begins + pick((1, 20)),
        handling=pick(("ACT", "CALL_FIRST", "WATCH_ONLY")),
        touches_staff=staff,
    )
