"""Lists: which agencies' lists of everybody in custody say the same again and again. A fold over the notes of lists.

A list of five thousand people is never the same for two days; one of five may be. So it is learned how many entries
usually change from one list to the next: where so many lists say the same that many entries should have changed
meanwhile, the system that they are taken from repeats itself.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

from streams.heard import SLOT, Listed
from streams.pictures.expiry import Outlived
from streams.pictures.feeds import KEPT, LEARNED_DAYS, LONGEST_NOTICE, SLOTS_A_DAY

LEAST_LISTS: Final = 5
"""Lists of the four weeks before on which something had changed that have to be known."""
UNLIKELY: Final = 5.0
"""Entries that should have changed. That none did, where each does by itself, has a chance of e^-5: less than 1%."""

NONE_COMES: Final = LEARNED_DAYS * SLOTS_A_DAY
"""Slots after the last list after which they no longer count as standing still: none comes, which is said of feeds."""


@dataclass(frozen=True, slots=True)
class ListKey:
    """The list of a facility, by the agency whose it is. No tuple: it would equal a unit's key of the same names."""

    agency: str
    facility: str

    def __iter__(self) -> Iterator[str]:
        """Its parts."""
        return iter((self.agency, self.facility))


class Frozen(NamedTuple):
    """A list that says, or said, the same again and again."""

    topic: str
    since: int
    """Slot of the first list that said it."""
    last: int
    """Slot of the last."""
    repeats: int
    """How many after the first."""
    usual: float
    """Entries that usually change from one list to the next."""
    again: int | None = None
    """Slot of the list that says something else; None while there is none."""
    changed: int = 0
    """Entries that were other on that."""


@dataclass(slots=True)
class _Lists:
    """The lists of one facility, in their order."""

    taken: list[Listed] = field(default_factory=list)

    def add(self, note: Listed) -> bool:
        """Fold a note: whether it is new."""
        at = bisect_right(self.taken, _order(note), key=_order)
        if at and self.taken[at - 1].key == note.key:
            return False
        insort(self.taken, note, key=_order)
        return True

    def by(self, slot: int) -> int:
        """How many were taken by a slot."""
        return bisect_right(self.taken, slot, key=lambda one: one.slot)

    def run(self, end: int) -> int:
        """Where the lists begin that say the same as the one before `end`."""
        begin = end - 1
        while begin > 0 and self.taken[begin - 1].content == self.taken[end - 1].content:
            begin -= 1
        return begin

    def runs_before(self, begin: int, slot: int) -> Iterator[tuple[int, int]]:
        """The runs of lists that say the same, before the one that begins there: from, and up to; the last first.

        As far back as it may still be said at a slot that they are over.
        """
        while begin and slot - self.taken[begin].slot < LONGEST_NOTICE:
            first = self.run(begin)
            yield first, begin
            begin = first

    def frozen(self, begin: int, end: int) -> Frozen | None:
        """Whether the lists from one to another, which all say the same, do so too often."""
        usual = self._usual(begin)
        if usual is None or (end - 1 - begin) * usual < UNLIKELY:
            return None
        first, last = self.taken[begin], self.taken[end - 1]
        return Frozen(first.topic, first.slot, last.slot, end - 1 - begin, usual)

    def _usual(self, begin: int) -> float | None:
        since = self.taken[begin].slot - LEARNED_DAYS * SLOTS_A_DAY
        # Of the first list of all, everything is new.
        changed = [one.changed for one in self.taken[1 : begin + 1] if one.slot >= since and one.changed > 0]
        return median(changed) if len(changed) >= LEAST_LISTS else None


def _order(note: Listed) -> tuple[int, int, str]:
    return note.slot, note.changed, note.content


class Lists:
    """What is known of the lists of the agencies whose notes are in one partition. What is to go from the log is in
    `outlived`."""

    def __init__(self, outlived: Outlived) -> None:
        self._lists: dict[ListKey, _Lists] = {}
        self._outlived = outlived

    def fold(self, note: Listed) -> ListKey | None:
        """Fold a note: the list of which something may follow anew; None where nothing may."""
        key = ListKey(note.agency, note.facility)
        lists = self._lists.setdefault(key, _Lists())
        newest = lists.taken[-1].slot if lists.taken else note.slot
        if note.slot < newest - KEPT:
            self._outlived.add((note.key,))
            return None
        if not lists.add(note):
            return None
        old = lists.by(lists.taken[-1].slot - KEPT - 1)
        self._outlived.add(one.key for one in lists.taken[:old])
        del lists.taken[:old]
        return key

    def keys(self) -> Iterable[ListKey]:
        """The lists of which any was taken."""
        return list(self._lists)

    def frozen(self, of: ListKey, now: int) -> Frozen | None:
        """Whether a list says the same too often at `now` (microseconds), or did until a short while ago."""
        slot, lists = now // SLOT, self._lists.get(of)
        end = lists.by(slot) if lists is not None else 0
        if lists is None or not end:
            return None
        begin = lists.run(end)
        found = lists.frozen(begin, end)
        if found is not None:
            return found if slot - found.last < NONE_COMES else None
        for first, end in lists.runs_before(begin, slot):
            before, again = lists.frozen(first, end), lists.taken[end]
            if before is not None and slot < _notice_ends(before.since, again.slot):
                return before._replace(again=again.slot, changed=again.changed)
        return None

    def look_again(self, of: ListKey, now: int) -> int | None:
        """When something else may hold of a list, though none is taken; microseconds."""
        slot, lists = now // SLOT, self._lists.get(of)
        if lists is None:
            return None
        end = lists.by(slot)
        times = [one.slot for one in lists.taken[end : end + 1]]  # time may be behind the lists
        if end:
            begin = lists.run(end)
            times.append(lists.taken[end - 1].slot + NONE_COMES)
            times += [
                _notice_ends(lists.taken[first].slot, lists.taken[end].slot)
                for first, end in lists.runs_before(begin, slot)
            ]
        return min((time * SLOT for time in times if time > slot), default=None)


def _notice_ends(since: int, again: int) -> int:
    """Up to which slot it is said that a list says something else again: as long as it did not, and at most a day."""
    return again + min(again - since, LONGEST_NOTICE)
