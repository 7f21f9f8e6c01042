"""Score: alerts held against the truth, correlation by correlation. Pure.

Recall: of the situations that there were, those for all of which an alert was open that named whoever was of it all the
while. Precision: of what was raised, what
was so, from when it was raised until it was withdrawn. Both but for a while: what is told late can be known late. A
delivery is asked for at the gate besides: where what brought it about was known before it came, an alert had to be open
then, however short a while that was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from producers.simulator.noise import HOUR, LATEST
from producers.simulator.truth import BROAD, DELIVERY, FROZEN, REVIEW, RIVALS, SILENT, Decoy, Key, Situation

GRACE: Final = 2 * LATEST + HOUR // 2
"""How long after it began or ended a situation may be unknown, microseconds: what told of it may have been told late,
and what corrects that as well. One that did not last longer is not asked for."""
SHOWS: Final[Mapping[str, int]] = {SILENT: 12 * HOUR}
"""Where it takes longer, by its nature, until it shows: who sends a few times an hour has been silent for hours before
one can say so. How long after it began."""
LINGERS: Final[Mapping[str, int]] = {SILENT: 24 * HOUR, FROZEN: 24 * HOUR}
"""How long it is said after its end that it was so, microseconds at most (docs/feeds.md)."""
CORRELATIONS: Final = (RIVALS, REVIEW, DELIVERY, BROAD, SILENT, FROZEN)
LEAST_NAMED: Final[Mapping[str, int]] = {RIVALS: 2, REVIEW: 1, DELIVERY: 1, BROAD: 0, SILENT: 0, FROZEN: 0}
"""How many persons an alert names at least."""
PERSON_AT: Final[Mapping[str, int]] = {REVIEW: 0, DELIVERY: 1}
"""Where the bus's own id of a person is in an alert's key."""


@dataclass(slots=True)
class Raised:
    """An alert, from when to when it was open."""

    key: Key
    since: int
    until: int | None
    bookings: frozenset[str]

    @property
    def correlation(self) -> str:
        """The rule."""
        return self.key[0]


@dataclass(slots=True)
class Score:
    """Of one correlation."""

    situations: int = 0
    found: int = 0
    raised: int = 0
    right: int = 0
    missed: list[Situation] = field(default_factory=list)
    wrong: list[tuple[Raised, str]] = field(default_factory=list)
    """With why."""

    @property
    def recall(self) -> float | None:
        """0 to 1; None where there was nothing to be found."""
        return self.found / self.situations if self.situations else None

    @property
    def precision(self) -> float | None:
        """0 to 1; None where nothing was raised."""
        return self.right / self.raised if self.raised else None

    @property
    def is_tried(self) -> bool:
        """Whether it says anything: there was something to be found, or something was raised."""
        return bool(self.situations or self.raised)

    def reaches(self, least: float) -> bool:
        """Whether neither is less than `least`. What was not tried reaches anything: it is for others to say so."""
        return all(figure >= least for figure in (self.recall, self.precision) if figure is not None)

    def __add__(self, other: Score) -> Score:
        counts = (
            self.situations + other.situations,
            self.found + other.found,
            self.raised + other.raised,
            self.right + other.right,
        )
        return Score(*counts, self.missed + other.missed, self.wrong + other.wrong)


def raised(records: Iterable[Mapping[str, Any]]) -> list[Raised]:
    """The alerts in records of `alerts.raised`, in their order."""
    found: list[Raised] = []
    is_open: dict[str, Raised] = {}
    for record in records:
        alert_id, at = record["alert_id"], record["at"]
        if record["state"] != "OPEN":
            if alert_id in is_open:
                is_open.pop(alert_id).until = at
            continue
        bookings = frozenset(subject["booking_number"] for subject in record["subjects"] if subject["booking_number"])
        if alert_id in is_open:
            is_open[alert_id].bookings |= bookings
            continue
        is_open[alert_id] = Raised(_key(record["rule"], record["key"]), at, None, bookings)
        found.append(is_open[alert_id])
    return found


def _key(rule: str, key: Sequence[str]) -> Key:
    at = PERSON_AT.get(rule)
    return (rule, *(part for n, part in enumerate(key) if n != at))


def score(
    situations: Iterable[Situation], decoys: Iterable[Decoy], alerts: Iterable[Raised], end: int
) -> dict[str, Score]:
    """How good the alerts were up to `end` (microseconds), by correlation."""
    true: defaultdict[Key, list[Situation]] = defaultdict(list)
    for situation in situations:
        true[situation.key].append(situation)
    told: defaultdict[Key, list[Raised]] = defaultdict(list)
    for alert in alerts:
        told[alert.key].append(alert)
    scores = {correlation: Score() for correlation in CORRELATIONS}
    for key, of in true.items():
        for situation in of:
            lasts, comes = _lasts(situation, end), _comes(situation, end)
            if lasts or comes:
                one = scores[key[0]]
                one.situations += 1
                alerts_ = told.get(key, ())
                if (not lasts or _finds(alerts_, situation, end)) and (not comes or _in_time(alerts_, situation)):
                    one.found += 1
                else:
                    one.missed.append(situation)
    fooled = [*decoys]
    for key, raised_ in told.items():
        for alert in raised_:
            one = scores.setdefault(key[0], Score())
            one.raised += 1
            why = _why_wrong(alert, true.get(key, ()), fooled, end)
            if why is None:
                one.right += 1
            else:
                one.wrong.append((alert, why))
    return scores


def _shows(situation: Situation) -> int:
    """When an alert has to be open for it, microseconds."""
    return situation.since + SHOWS.get(situation.key[0], GRACE)


def _lasts(situation: Situation, end: int) -> bool:
    """Whether it lasts long enough to be asked for: what is told late is known by then."""
    return (situation.until or end) > _shows(situation)


def _comes(situation: Situation, end: int) -> bool:
    """Whether it is known of before what it speaks of comes, and still is so then."""
    return situation.due is not None and situation.known < situation.due < (situation.until or end)


def _in_time(alerts: Sequence[Raised], situation: Situation) -> bool:
    """Whether an alert that names whom it is for was open when what it speaks of came."""
    due = situation.due or 0
    return any(
        alert.since <= due and (alert.until is None or alert.until >= due) and situation.throughout <= alert.bookings
        for alert in alerts
    )


def _finds(alerts: Sequence[Raised], situation: Situation, end: int) -> bool:
    """Whether alerts were open for all of a situation, but for the time in which it may be unknown, and named everybody
    who was of it all the while."""
    covered, named = _shows(situation), set[str]()
    until = end if situation.until is None else situation.until
    for alert in alerts:
        if alert.since <= covered and (alert.until is None or alert.until >= situation.since):
            covered = max(covered, end if alert.until is None else alert.until)
            named |= alert.bookings
    return covered >= until and situation.throughout <= named


def _why_wrong(alert: Raised, of: Sequence[Situation], decoys: Sequence[Decoy], end: int) -> str | None:
    """None: it was so, from when it was raised until it was withdrawn, but for what is told late."""
    if not of:
        lookalike = next((d for d in decoys if d.bookings and set(d.bookings) <= alert.bookings), None)
        return f"{lookalike.scene}: {lookalike.why}" if lookalike else "there is no such situation"
    held, bookings = alert.since, set[str]()
    is_so = False
    for situation in of:
        until = end if situation.until is None else situation.until
        # What began later is no reason to have raised it, only to let it stand.
        if situation.since <= (held + GRACE if is_so else alert.since) and until + GRACE >= alert.since:
            is_so, held = True, max(held, until)
            bookings |= situation.bookings
    if not is_so:
        return "it was not so when it was raised"
    if (end if alert.until is None else alert.until) > held + GRACE + LINGERS.get(alert.correlation, 0):
        return "it was over, and the alert went on"
    if not alert.bookings <= bookings:
        return "it names somebody whom it does not concern"
    if bookings and len(alert.bookings) < LEAST_NAMED[alert.correlation]:
        return "it names too few"
    return None
