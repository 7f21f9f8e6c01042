"""Does a tip mean this delivery? What speaks for it, in points, and with reasons. Pure.

Whatever the tip says and the delivery contradicts, by whom, to whom, where, how or when, rules it out. What both say
alike counts for it; what one of them does not know counts nothing, and neither does a name that is not whole, such as
"Iris" or "D. Cole": who says more must not be heard less. And where a courier's date of birth is the same, a name that
is nearly alike is no other's, but wrongly written. Either the recipient or the courier must be the same: a tip of which
only the day fits fits everybody's visit.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.events import DeliveryMethod, Tip
from streams.names import is_doubtful, is_full, is_nearly, is_other, likeness
from streams.pictures.deliveries import HOUR, Delivery

SAME_NUMBER: Final = 6
"""Points where the tip names the recipient by a number that is this person's."""
SAME_NAME: Final = 4
"""Points for a name that is alike, of recipient or courier."""
SAME_BIRTH: Final = 2
NEAR_NAME: Final = 2
"""Points for a courier's name that is not alike, but nearly, where the date of birth is the same."""
SAME_CIRCUMSTANCE: Final = 1
"""Points for the facility, the method and the time each, where the tip says them."""
LEAST_POINTS: Final = 5
"""A name that is alike is not enough by itself: names are shared."""
TIP_LIVES: Final = 30 * 24 * HOUR
"""How long a tip speaks of deliveries where it does not say until when, microseconds: from its own time, or from when
on it says."""
ROUGHLY: Final = HOUR
"""How far outside a tip's time something may come of which no end is known, microseconds: people say "at two" of what
comes at half past one, and a van from court keeps no minute. A visit has a beginning and an end: it is in the tip's
time where any of it is."""


def speaks_until(tip: Tip, time: int) -> int:
    """After which no delivery comes that a tip can mean, microseconds; `time` is the tip's own."""
    if tip.expected_until is not None:
        return tip.expected_until + ROUGHLY
    return (time if tip.expected_from is None else tip.expected_from) + TIP_LIVES


_PARTY_IS_TOLD: Final = frozenset(
    {DeliveryMethod.UNKNOWN, DeliveryMethod.VISIT, DeliveryMethod.MAIL, DeliveryMethod.DEPOSIT}
)
"""The ways of which a facility may know who brings or sends it: who comes back from court brings it himself."""
_BIRTH_IS_TOLD: Final = frozenset({DeliveryMethod.UNKNOWN, DeliveryMethod.VISIT})
"""And of which it may know when that one was born."""


def most_points(tip: Tip, finds_somebody: bool) -> int:
    """The most points that may speak for a delivery by what a tip says, whatever is delivered; 0 where it tells of
    neither recipient nor courier, so that it can mean nobody.

    `finds_somebody`: whether a number by which it names the recipient may be that of a person in custody.
    """
    recipient = SAME_NUMBER if finds_somebody else SAME_NAME if is_full(tip.recipient_name) else 0
    courier = SAME_NAME if is_full(tip.courier_name) and tip.method in _PARTY_IS_TOLD else 0
    if courier and tip.courier_born is not None and tip.method in _BIRTH_IS_TOLD:
        courier += SAME_BIRTH
    if not recipient and not courier:
        return 0
    said = (
        tip.facility is not None,
        tip.method is not DeliveryMethod.UNKNOWN,
        tip.expected_from is not None or tip.expected_until is not None,
    )
    return recipient + courier + SAME_CIRCUMSTANCE * sum(said)


class Reason(NamedTuple):
    """One thing that speaks for it."""

    text: str
    points: int
    fields: tuple[str, ...]
    """Fields of the tip that the text tells of."""
    is_sure: bool = True
    """False: a name that is not the same in every part. There is a Martin for every Martinez."""


NEARLY: Final = Reason("the courier's name is nearly alike", NEAR_NAME, ("courier_name",), is_sure=False)


class Match(NamedTuple):
    """A delivery that a tip means, or may mean."""

    reasons: tuple[Reason, ...]
    doubt: int = 0
    """Points that would speak for it besides if a long name of which the first letter is another were that name."""

    @property
    def points(self) -> int:
        """What speaks for it, added up."""
        return sum(reason.points for reason in self.reasons)

    @property
    def is_meant(self) -> bool:
        """Whether enough speaks for it. Else it only may be meant: nobody is alerted, but the tip is broader by it."""
        return self.points >= LEAST_POINTS

    @property
    def is_sure(self) -> bool:
        """Whether each name that counts is the same, or a date of birth says that it is the same person's."""
        return all(reason.is_sure for reason in self.reasons)


class Awaited(NamedTuple):
    """A delivery and to whom it comes."""

    facility: str
    recipient: str | None
    """Name of the person in custody, as booked."""
    is_named: bool
    """Whether the tip names this person by a number."""
    delivery: Delivery
    is_another: bool = False
    """Whether it names somebody else by one: this person has another of that kind and issuer, by fingerprint, too."""


def match(tip: Tip, time: int, awaited: Awaited) -> Match | None:
    """Why a tip means a delivery, or may mean it; None where it does not.

    `time` is the tip's own, microseconds.
    """
    recipient = _recipient(tip, awaited)
    courier = _courier(tip, awaited.delivery)
    circumstances = _circumstances(tip, time, awaited)
    if recipient is None or courier is None or circumstances is None:
        return None
    names = (recipient, tip.recipient_name, awaited.recipient), (courier, tip.courier_name, awaited.delivery.party)
    doubt = SAME_NAME * sum(not known and is_doubtful(said, theirs) for known, said, theirs in names)
    if not (recipient or courier or doubt):
        return None
    found = Match((*recipient, *courier, *circumstances), doubt)
    return found if found.points + doubt >= LEAST_POINTS else None


_Reasons = tuple[Reason, ...]


def _recipient(tip: Tip, awaited: Awaited) -> _Reasons | None:
    """None: it is somebody else."""
    if awaited.is_named:
        return (Reason("the recipient is known by number", SAME_NUMBER, ("recipient_name",)),)
    # Whatever the name is: fingerprints are of two people. A number that was only stated, or of a kind that is not
    # known of whoever was booked without prints, says nothing: who says more must not be heard less.
    if awaited.is_another:
        return None
    return _named("the recipient's", tip.recipient_name, awaited.recipient, "recipient_name")


def _courier(tip: Tip, delivery: Delivery) -> _Reasons | None:
    """None: it is somebody else."""
    # Who comes back from court brings it himself; of mail without a sender nobody can say.
    named = _named("the courier's", tip.courier_name, delivery.party, "courier_name")
    if tip.courier_born is None or delivery.born is None:
        return named
    if tip.courier_born != delivery.born:
        return None
    born = Reason("the courier's date of birth is the same", SAME_BIRTH, ("courier_born",))
    # Of a name that is not whole nothing is nearly alike, nor of one that is not known.
    if not named and is_nearly(str(tip.courier_name), str(delivery.party)):
        return NEARLY, born
    # Many are born on one day: without the name it says nothing.
    return (*(reason._replace(is_sure=True) for reason in named), born) if named else named


def _named(whose: str, said: str | None, known: str | None, field: str) -> _Reasons | None:
    """None: it is another name."""
    if said is None or known is None:
        return ()
    alike = likeness(said, known)
    if not alike:
        # "Iris" or "D. Cole" may be theirs; and "Hernandez" what somebody heard of a Fernandez.
        return None if is_other(said, known) else ()
    # Of 100 only what is the same in every part: where it is not, it is not sure.
    how = 100 if alike == 1 else min(99, round(alike * 100))
    return (Reason(f"{whose} name is alike, {how} of 100", SAME_NAME, (field,), is_sure=alike == 1),)


def _circumstances(tip: Tip, time: int, awaited: Awaited) -> _Reasons | None:
    """None: it is elsewhere, another way, or at another time."""
    delivery = awaited.delivery
    found = []
    if tip.facility is not None:
        if tip.facility != awaited.facility:
            return None
        found.append(Reason("the facility is the same", SAME_CIRCUMSTANCE, ("facility",)))
    if tip.method is not DeliveryMethod.UNKNOWN:
        if tip.method is not delivery.method:
            return None
        found.append(Reason("the method is the same", SAME_CIRCUMSTANCE, ("method",)))
    begins, ends = tip.expected_from, tip.expected_until
    if begins is None and ends is None:
        # What is over already when the tip comes is not what it means.
        return tuple(found) if time < delivery.over and delivery.at <= time + TIP_LIVES else None
    if not _comes_between(delivery, begins, ends) or delivery.at > speaks_until(tip, time):
        return None
    return (*found, Reason("the time fits the tip's", SAME_CIRCUMSTANCE, ("expected_from", "expected_until")))


def _comes_between(delivery: Delivery, begins: int | None, ends: int | None) -> bool:
    """Whether any of it is in a tip's time, or it comes so roughly."""
    roughly = ROUGHLY if delivery.ends is None else 0
    is_before = begins is not None and delivery.at + roughly < begins and (delivery.ends or delivery.at) <= begins
    is_after = ends is not None and delivery.at - roughly > ends
    return not is_before and not is_after
