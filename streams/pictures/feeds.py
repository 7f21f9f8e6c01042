"""Feeds: what an agency usually sends, type by type, and since when it does not. A fold over what was heard.

How often a feed is heard is learned by hour and weekday (UTC) from the four weeks before: how many of an hour's slots
it is usually heard in. So the quiet of a night counts little where nights are quiet. A quiet is as long as the number
of slots in which it should have been heard meanwhile; a feed is silent once a quiet is twice as long as nearly all of
its own were before. Feeds that come as they like have long quiets now and then, and are given more. All that an agency
sends is judged as one feed, too.

All of it follows from the set of what was heard, and from the time: in whatever order it is folded.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from streams.heard import SLOT, SLOTS_AN_HOUR, Heard
from streams.pictures.expiry import Outlived

SLOTS_A_DAY: Final = 24 * SLOTS_AN_HOUR
LEARNED_DAYS: Final = 28
"""Days before the one on which a feed was heard last, from which it is learned how often it is heard: four of each
weekday."""
KNOWN_DAYS: Final = 14
"""Days for which a feed is known before anything is said of it: two of each weekday."""
LEAST_QUIETS: Final = 10
"""Quiets that have to be known of it."""
NEARLY_ALL: Final = 0.99
"""Share of a feed's quiets that are no longer than its usual longest: the others may have been outages."""
TIMES: Final = 2.0
"""How many times as long as its usual longest a quiet is that counts as silence."""
LEAST_REGULAR: Final = 13
"""Quiets that have to be known before a feed is thought to be regular: a day's list is, after two weeks."""
REGULAR: Final = (0.65, 1.75)
"""How long a regular feed's quiets are, from and to, in slots in which it should have been heard: what comes on working
days has longer ones, as long as few weekends are known."""
OUTAGES: Final = 2
"""How many of a regular feed's quiets may be of another length. Of quiets by chance two of three are: that all but two
of thirteen are not happens to one or two feeds of a thousand, and of twenty to none."""
AS_IT_LIKES: Final = 17.0
"""How long a quiet is silence at least of a feed that is not regular, in slots in which it should have been heard: by
chance one in e^17 is as long, of 24 million. A county has some thousands a week."""
LEAST_SLOTS: Final = 3
"""Slots that a silence lasts at least: half an hour."""
ON_THE_WAY: Final = 1
"""Slots that an event may be on its way to the picture."""
WAITS: Final = LEAST_SLOTS + 1 + ON_THE_WAY
"""Slots after one in which it was heard before which it can't be silent."""
LONGEST_OVER: Final = LEARNED_DAYS * SLOTS_A_DAY
"""Slots that a silence may have lasted of which it is said that it is over: of a longer one it is forgotten what was
usual before. While it lasts it is said however long it is: whoever is blind is so until something comes."""
LONGEST_NOTICE: Final = SLOTS_A_DAY
"""Slots for which it is said, at most, that a silence is over."""
KEPT: Final = LONGEST_OVER + (LEARNED_DAYS + 4) * SLOTS_A_DAY
"""Slots before the last one heard that are kept: more than is ever asked for, so that it does not matter when the
others go."""
OF_ALL_DAYS: Final = 2.0
"""For how many weeks of its own what is usual at that hour on all days counts, where an hour of one weekday is judged:
of four Tuesdays alone nothing could be said."""
OF_ALL: Final = ""
"""All that comes from an agency, as one feed: that all of it has stopped shows long before it shows in each type."""
_HOURS_A_WEEK: Final = 7 * 24
_A_LITTLE: Final = 1e-6
"""What sums of shares may be off by."""


class FeedKey(NamedTuple):
    """The feeds of an agency."""

    agency: str


@dataclass(frozen=True, slots=True)
class Silence:
    """A feed that was, or is, silent."""

    event_type: str
    topic: str
    since: int
    """Slot in which it was heard last."""
    until: int | None
    """Slot in which it was heard again; None while it is silent."""
    late: tuple[int, ...] = ()
    """Hours of the silence, counted from 1970, of which something came after it."""

    @property
    def hours(self) -> int:
        """Hours that the silence touches."""
        return 0 if self.until is None else self.until // SLOTS_AN_HOUR - self.since // SLOTS_AN_HOUR + 1


class Cadence:
    """How often a feed is heard, by hour and weekday. `slots`: those of the weeks before `end`, in their order."""

    def __init__(self, slots: Sequence[int], end: int) -> None:
        first = slots[0] // SLOTS_AN_HOUR
        last = end // SLOTS_AN_HOUR
        weeks, rest = divmod(last - first, _HOURS_A_WEEK)
        times = Counter(slot // SLOTS_AN_HOUR % _HOURS_A_WEEK for slot in slots)
        among_rest = {hour % _HOURS_A_WEEK for hour in range(first, first + rest)}
        of = [SLOTS_AN_HOUR * (weeks + (hour in among_rest)) for hour in range(_HOURS_A_WEEK)]
        day = [sum(times[hour] for hour in range(at, _HOURS_A_WEEK, 24)) / sum(of[at::24]) for at in range(24)]
        more = OF_ALL_DAYS * SLOTS_AN_HOUR
        self._share = [(times[hour] + more * day[hour % 24]) / (of[hour] + more) for hour in range(_HOURS_A_WEEK)]
        self._before = [0.0]
        for share in self._share:
            self._before.append(self._before[-1] + share * SLOTS_AN_HOUR)
        expected = [self._up_to(slot) for slot in slots]
        quiets = sorted(after - before for before, after in pairwise(expected))
        other = sum(not REGULAR[0] <= quiet <= REGULAR[1] for quiet in quiets)
        is_regular = len(quiets) >= LEAST_REGULAR and other <= OUTAGES
        nearly_all = quiets[: int(NEARLY_ALL * (len(quiets) - 1)) + 1]
        usual = TIMES * max(1.0, nearly_all[-1])
        self.limit = usual if is_regular else max(usual, _as_it_likes(nearly_all))
        """A quiet so long is silence, in slots in which it should have been heard."""

    def between(self, heard: int, slot: int) -> float:
        """In how many slots it should have been heard after one slot, up to another."""
        return self._up_to(slot) - self._up_to(heard)

    def _up_to(self, slot: int) -> float:
        hour, within = divmod(slot + 1, SLOTS_AN_HOUR)
        weeks, hour = divmod(hour, _HOURS_A_WEEK)
        return weeks * self._before[-1] + self._before[hour] + within * self._share[hour]

    def is_silence(self, heard: int, slot: int) -> bool:
        """Whether it is silent when it was heard last in one slot, and in none up to another."""
        return slot - heard >= LEAST_SLOTS and self.between(heard, slot) >= self.limit - _A_LITTLE

    def silent_from(self, heard: int) -> int:
        """The first slot in which it is silent, when it is not heard any more: where it seldom comes, and as it likes,
        after months."""
        # What is asked grows with the slot, by as much each week.
        weeks = math.ceil(self.limit / self._before[-1]) + 1
        slots = range(heard + LEAST_SLOTS, heard + LEAST_SLOTS + weeks * 7 * SLOTS_A_DAY)
        return slots[bisect_left(slots, True, key=lambda slot: self.is_silence(heard, slot))]


def _as_it_likes(quiets: Sequence[float]) -> float:
    """How long a quiet has to be of a feed that comes as it likes, of which these are known.

    Where quiets are as chance makes them, independent of each other, `AS_IT_LIKES`. More where it comes in bursts, with
    long quiets between them: as many times as one waits longer for it, at any time, than from one slot in which it was
    heard to the next. More where few are known: how often it is heard is then not known well (a quiet is as long with
    the chance (n / (n + limit))^n, after n of them).
    """
    count, total = len(quiets), sum(quiets)
    waited = count * sum(quiet * quiet for quiet in quiets) / (2 * total * total)
    return count * math.expm1(AS_IT_LIKES * max(1.0, waited) / count)


class _Found(NamedTuple):
    """Whether a feed is silent, and from which slot to which that is so, unless something is heard."""

    silence: Silence | None
    begin: int
    end: int | None
    """The first slot in which something else may hold; None: nothing will."""

    def holds(self, slot: int) -> bool:
        """Whether it need not be asked again in a slot."""
        return self.begin <= slot and (self.end is None or slot < self.end)


@dataclass(slots=True)
class _Feed:
    """What was heard of one feed."""

    topic: str = ""
    slots: list[int] = field(default_factory=list)
    """In which it was heard, in their order."""
    late: dict[int, set[int]] = field(default_factory=dict)
    """By slot: hours of which something came late in it."""
    learned: dict[int, Cadence | None] = field(default_factory=dict)
    """By the day, counted from 1970, before which it was learned."""
    found: _Found | None = None
    """What was found last: it is asked for whenever any feed of its agency is heard."""

    def add(self, slot: int, hour: int | None = None, topic: str = "") -> bool:
        """It was heard in a slot, with something of an hour, where that came late: whether anything is new."""
        self.found = None
        at = bisect_left(self.slots, slot)
        known = heard = self.slots[at : at + 1] == [slot]
        if hour is not None:
            hours = self.late.setdefault(slot, set())
            known = heard and hour in hours
            hours.add(hour)
        if not heard:
            self.slots.insert(at, slot)
            # What was learned of the days after is out of date; of its own day only days before were learned from.
            if self.learned:
                self.learned = {day: cadence for day, cadence in self.learned.items() if day * SLOTS_A_DAY <= slot}
        # One of several with the same name, whichever came first.
        self.topic = max(self.topic, topic)
        return not known

    def drop(self, before: int) -> list[tuple[int, int | None]]:
        """Forget what was heard before a slot: the slots, and the hours of what came late in them."""
        cut = bisect_left(self.slots, before)
        gone, self.slots = self.slots[:cut], self.slots[cut:]
        return [(slot, hour) for slot in gone for hour in (None, *sorted(self.late.pop(slot, ())))]

    def cadence(self, slot: int) -> Cadence | None:
        """How often it was heard in the weeks before the day of a slot; None where too little is known."""
        day = slot // SLOTS_A_DAY
        if day not in self.learned:
            if len(self.learned) > 1:
                self.learned = {max(self.learned): self.learned[max(self.learned)]}
            self.learned[day] = self._learn(day)
        return self.learned[day]

    def _learn(self, day: int) -> Cadence | None:
        end = day * SLOTS_A_DAY
        known = self.slots[bisect_left(self.slots, end - LEARNED_DAYS * SLOTS_A_DAY) : bisect_left(self.slots, end)]
        if len(known) <= LEAST_QUIETS or known[0] > end - KNOWN_DAYS * SLOTS_A_DAY:
            return None
        return Cadence(known, end)

    def heard_by(self, slot: int) -> int | None:
        """The last slot in which it was heard, up to one; None for none."""
        at = bisect_right(self.slots, slot)
        return self.slots[at - 1] if at else None

    def quiets(self, slot: int) -> Iterator[tuple[int, int]]:
        """The quiets of which it may still be said that they are over: the slots before and after, the last first."""
        for at in range(bisect_right(self.slots, slot) - 1, 0, -1):
            before, after = self.slots[at - 1], self.slots[at]
            if slot - after >= LONGEST_NOTICE:
                return
            if slot - after < after - before and after - before >= WAITS:
                yield before, after


class Feeds:
    """What was heard of the agencies whose notes are in one partition. What is to go from the log is in `outlived`.

    `expected`: agencies and types of their events; what is noted of others is forgotten: nobody waits for it. None: all
    that was ever heard.
    """

    def __init__(self, outlived: Outlived, expected: Container[tuple[str, str]] | None = None) -> None:
        self._expected = expected
        self._feeds: dict[str, dict[str, _Feed]] = {}
        """By agency and event type."""
        self._outlived = outlived

    def fold(self, note: Heard) -> FeedKey | None:
        """Fold a note: the agency of which something may follow anew; None where nothing may."""
        if self._expected is not None and (note.agency, note.event_type) not in self._expected:
            self._outlived.add((note.key,))
            return None
        feeds = self._feeds.get(note.agency)
        if feeds is None:
            feeds = self._feeds[note.agency] = {OF_ALL: _Feed()}
        feed = feeds.get(note.event_type)
        if feed is None:
            feed = feeds[note.event_type] = _Feed()
        newest = feed.slots[-1] if feed.slots else note.slot
        if note.slot < newest - KEPT:
            self._outlived.add((note.key,))
            return None
        if not feed.add(note.slot, note.hour, note.topic):
            return None
        feeds[OF_ALL].add(note.slot)
        if note.slot // SLOTS_A_DAY > newest // SLOTS_A_DAY:
            feeds[OF_ALL].drop(note.slot - KEPT)
            gone = feed.drop(note.slot - KEPT)
            self._outlived.add(Heard(note.agency, note.event_type, slot, hour).key for slot, hour in gone)
        return FeedKey(note.agency)

    def agencies(self) -> Iterable[FeedKey]:
        """The agencies of which anything was heard."""
        return map(FeedKey, self._feeds)

    def silences(self, of: FeedKey, now: int) -> list[Silence]:
        """What of an agency is silent at `now` (microseconds), or was until a short while ago; by event type."""
        slot, feeds = now // SLOT, self._feeds.get(of.agency, {})
        of_all = _found(OF_ALL, feeds[OF_ALL], slot).silence if feeds else None
        found = (
            _found(event_type, feed, slot).silence or _in_it(event_type, feed, of_all, slot)
            for event_type, feed in sorted(feeds.items())
            if event_type != OF_ALL
        )
        return [silence for silence in found if silence is not None]

    def look_again(self, of: FeedKey, now: int) -> int | None:
        """When something else may hold of an agency's feeds, though nothing is heard of it; microseconds."""
        slot, feeds = now // SLOT, self._feeds.get(of.agency, {})
        ends = (_found(event_type, feed, slot).end for event_type, feed in feeds.items())
        return min((end * SLOT for end in ends if end is not None), default=None)


def _found(event_type: str, feed: _Feed, slot: int) -> _Found:
    if feed.found is None or not feed.found.holds(slot):
        quiets = list(feed.quiets(slot))
        end = min((time for time in _times(feed, slot, quiets) if time > slot), default=None)
        feed.found = _Found(_find_silence(event_type, feed, slot, quiets), slot, end)
    return feed.found


def _find_silence(event_type: str, feed: _Feed, slot: int, quiets: Iterable[tuple[int, int]]) -> Silence | None:
    heard = feed.heard_by(slot)
    if heard is None:
        return None
    if slot - heard >= WAITS:
        cadence = feed.cadence(heard)
        if cadence is not None and cadence.is_silence(heard, slot - 1 - ON_THE_WAY):
            return Silence(event_type, feed.topic, heard, None)
    for before, after in quiets:
        known = feed.cadence(before)
        if known is not None and after - before < LONGEST_OVER and known.is_silence(before, after - 1 - ON_THE_WAY):
            return Silence(event_type, feed.topic, before, after, tuple(_late(feed, before, after, slot)))
    return None


def _in_it(event_type: str, feed: _Feed, of_all: Silence | None, slot: int) -> Silence | None:
    """A feed's part in a silence of all that its agency sends, though it alone might be as quiet by chance."""
    last = feed.heard_by(of_all.since) if of_all is not None else None
    if of_all is None or last is None or of_all.since - last >= LEARNED_DAYS * SLOTS_A_DAY:
        return None
    if of_all.until is None:
        return Silence(event_type, feed.topic, last, None)
    again = feed.slots[bisect_left(feed.slots, of_all.until) : bisect_right(feed.slots, slot)][:1]
    if not again:
        return None
    return Silence(event_type, feed.topic, last, again[0], tuple(_late(feed, last, again[0], slot)))


def _late(feed: _Feed, before: int, after: int, slot: int) -> Iterable[int]:
    """Hours of a silence of which something came when it was over."""
    hours = range(before // SLOTS_AN_HOUR, after // SLOTS_AN_HOUR + 1)
    came = (hour for at, late in feed.late.items() if after <= at <= slot for hour in late)
    return sorted({hour for hour in came if hour in hours})


def _times(feed: _Feed, slot: int, quiets: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Slots at whose beginning something else may hold of a feed."""
    # Time may be behind what was heard.
    yield from feed.slots[bisect_right(feed.slots, slot) :][:1]
    heard = feed.heard_by(slot)
    if heard is None:
        return
    # Most feeds are heard again before that: what is usual for them need not be known.
    yield heard + WAITS
    if slot - heard >= WAITS:
        cadence = feed.cadence(heard)
        if cadence is not None:
            yield cadence.silent_from(heard) + 1 + ON_THE_WAY
    yield from (after + min(after - before, LONGEST_NOTICE) for before, after in quiets)
