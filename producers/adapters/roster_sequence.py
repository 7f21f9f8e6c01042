"""Whether daily lists follow each other: days given twice, missing, swapped, to come, or other than they were. Pure.

`docs/roster.md` says which of these rules hold on real lists, and how that was found.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import ceil, sqrt
from typing import Final
from zlib import crc32

from producers.adapters.csv_file import Problem
from producers.adapters.roster_file import EARLIEST_ADMISSION, Damaged, Row, Snapshot

LEAVE_IN_A_DAY: Final = 0.1
"""The share of a jail's stays of which no more end in a day, but for chance. In small jails with short stays about so
many do; in the lists of a large city 0.04 at most."""
CHANCE: Final = 4.0
"""Standard deviations above that share from which on it is no chance any more."""
FEW: Final = 4
"""Stays that may end in a day in however small a jail."""
MORE_THAN_ONE: Final = 2
"""Stays whose coming and going is no chance any more: rows of one person drop out now and then."""
SECOND: Final = timedelta(seconds=1)
ID_BITS: Final = 31
"""Of a stay's number, for the id; the 33 bits above hold any admission until 2099, in seconds."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What is kept of a list while ninety are judged."""

    file: str
    day: date
    stays: Sequence[int]
    """Each stay's number, in the order of admission."""
    digest: str

    @classmethod
    def of(cls, snapshot: Snapshot) -> Listed:
        """What is kept of this list."""
        return cls(snapshot.file, snapshot.day, stays_of(snapshot.rows.values()), snapshot.digest)

    @property
    def newest_admission(self) -> datetime | None:
        """The latest admission on the list."""
        if not self.stays:
            return None
        return EARLIEST_ADMISSION + _admitted(self.stays[-1]) * SECOND


def stays_of(rows: Iterable[Row]) -> Sequence[int]:
    """Each stay as a number: eight bytes, since years of lists may be judged at once.

    The seconds of its admission stand above a checksum of the id: a number that is larger was admitted later.
    """
    return array(
        "Q",
        sorted(
            (row.admitted - EARLIEST_ADMISSION) // SECOND << ID_BITS | crc32(row.id.encode()) >> (32 - ID_BITS)
            for row in rows
        ),
    )


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported before."""

    last: Listed
    digests: Mapping[date, str]
    """Of every day imported."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A list of which events were published. Whether all were, and its tick, is not said."""

    day: date
    digest: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The lists that stand, in order, and what is wrong with the others."""

    good: tuple[Listed, ...]
    damage: tuple[Problem, ...]
    gaps: tuple[Problem, ...]
    """Days that nobody gave. They are no file that could be set aside."""
    already_imported: int


def judge_sequence(
    read: Sequence[Listed | Damaged],
    before: Imported | None,
    ended: date,
    *,
    again: bool = False,
    gaps_allowed: bool = False,
    drops_allowed: bool = False,
    order_allowed: bool = False,
) -> Judged:
    """Judge lists as a sequence after what was imported before; `again` takes days imported before as well.

    `ended` is the last day that has ended where the jail is.
    """
    ordered = sorted(read, key=lambda one: (one.day or date.min, one.file))
    damage = [problem for one in ordered if isinstance(one, Damaged) for problem in one.problems]
    lists: list[Listed] = []
    already = 0
    for one in ordered:
        if isinstance(one, Damaged):
            continue
        wrong = _not_ended(one, ended) or _against_imported(one, before, again=again) or _again(one, lists)
        if wrong is not None:
            damage.append(Problem(one.file, None, wrong))
        elif before is not None and not again and one.day <= before.last.day:
            already += 1
        else:
            lists.append(one)
    last = None if before is None or again else before.last
    # A list that is cut off would seem to be swapped with the next: everybody is back again.
    dropped = {} if drops_allowed else dict(_dropped(lists, last))
    lists = [one for one in lists if one.file not in dropped]
    damaged = [one for one in ordered if isinstance(one, Damaged)]
    swapped = {} if order_allowed else dict([*_beside_too_new(lists, damaged), *_swapped(lists, last)])
    good = tuple(one for one in lists if one.file not in swapped)
    damage += [Problem(file, None, why) for file, why in (dropped | swapped).items()]
    # A wrong year in a name leaves no years missing.
    gaps = () if gaps_allowed else tuple(_gaps([one for one in ordered if one.day is None or one.day <= ended], last))
    return Judged(good, tuple(damage), gaps, already)


def not_as_begun(lists: Sequence[Listed], begun: Begun | None, before: Imported | None) -> Problem | None:
    """What is wrong where an import was broken off in the middle of a day, and these lists do not go on with it."""
    if begun is None or (before is not None and begun.day <= before.last.day):
        return None
    # Without what was imported before, which may have been lost, it may be begun from the first day again.
    since = begun.day if before is None else before.last.day + timedelta(days=1)
    one = next((one for one in lists if one.day >= since), None)
    if one is None or Begun(one.day, one.digest) == begun:
        return None
    if one.day == begun.day:
        why = f"is not the file of which a part was published when an import was broken off in {begun.day}"
    else:
        why = f"an import was broken off in {begun.day}, of which a part was published: go on with that day"
    return Problem(one.file, None, f"{why}; give the file that was given then")


def _not_ended(one: Listed, ended: date) -> str | None:
    if one.day <= ended:
        return None
    return "is of a day that has not ended: name it after the last day that it lists, or import it after midnight"


def _against_imported(one: Listed, before: Imported | None, *, again: bool) -> str | None:
    if before is None:
        return None
    known = before.digests.get(one.day)
    if known is not None:
        return None if known == one.digest else f"is not what was imported for {one.day}: give the file that was"
    first = min(before.digests)
    if again and one.day < first:
        return f"is of before {first}, the first day imported: history grows forwards only; use a site of its own"
    if one.day < before.last.day:
        return f"is of before {before.last.day}, imported last: history grows forwards only; use a site of its own"
    return None


def _again(one: Listed, lists: Sequence[Listed]) -> str | None:
    if lists and lists[-1].day == one.day:
        return f"lists {one.day} as {lists[-1].file} does: give one of them"
    return None


def _beside_too_new(lists: Sequence[Listed], damaged: Sequence[Damaged]) -> Iterator[tuple[str, str]]:
    """Lists whose name was given to one that names later admissions than its day: the other half of a swap."""
    too_new = {one.day: one for one in damaged if one.day is not None and one.newest_admission is not None}
    for one in lists:
        partner = too_new.get(one.day - timedelta(days=1))
        if partner is not None and _older(one, partner.newest_admission) and _not_after(partner, one.day):
            yield one.file, _made("before", partner.file)


def _swapped(lists: Sequence[Listed], last: Listed | None) -> Iterator[tuple[str, str]]:
    """Lists that are of another day than their name says.

    Who is listed stays so until they leave. Where two lists are swapped, or one is an old one under a new name, people
    are gone and back again who would not be otherwise. A row that drops out for a day is so in either order.
    """
    chain = [*([last] if last else []), *lists]
    sound = chain[:1]
    for position, later in enumerate(chain[1:], start=1):
        if not sound:
            sound.append(later)
            continue
        before, earlier = sound[-2] if len(sound) > 1 else None, sound[-1]
        after = chain[position + 1] if position + 1 < len(chain) else None
        if not _in_another_order(before, earlier, later, after):
            sound.append(later)
            continue
        yield later.file, _made("before", earlier.file)
        if earlier is not last and not (before is not None and _older(later, before.newest_admission)):
            # Either may be the one that is wrong.
            yield earlier.file, _made("after", later.file)
            sound.pop()


def _made(when: str, other: str) -> str:
    return (
        f"was made {when} {other}: days are swapped or misnamed; name them after their day, or accept the order with "
        "--allow-order"
    )


def _in_another_order(before: Listed | None, earlier: Listed, later: Listed, after: Listed | None) -> bool:
    """Whether the later of two lists was made first, by what the lists before and after say."""
    if earlier.digest == later.digest or not earlier.stays or not later.stays:
        return False
    one, other = frozenset(earlier.stays), frozenset(later.stays)
    first = frozenset(before.stays) if before is not None else _there_before(earlier.day, one | other)
    then = [frozenset(after.stays)] if after is not None else []
    # Where not all four are there, one row that drops out for a day looks like a swap.
    signs = 1 if before is not None and after is not None else MORE_THAN_ONE
    if _gone_and_back(first, one, other, *then) - _gone_and_back(first, other, one, *then) >= signs:
        return True
    # Not swapped with its neighbour, but perhaps an old list. That the newest arrival has left is no sign of it yet.
    newest = _admitted(max(other))
    if newest >= _admitted(max(one)):
        return False
    newer = {number for stays in then for number in (one & stays) - other if _admitted(number) > newest}
    return len(newer) + len((first & other) - one) >= MORE_THAN_ONE


def _there_before(day: date, stays: Set[int]) -> Set[int]:
    """Those of the stays that should have been on the list before that of a day, of which there is none."""
    begins = (datetime.combine(day, datetime.min.time()) - EARLIEST_ADMISSION) // SECOND
    return {number for number in stays if _admitted(number) < begins}


def _gone_and_back(*lists: Set[int]) -> int:
    """How often a stay is on a list, not on the next, and on the one after that again."""
    return sum(len((a & c) - b) for a, b, c in zip(lists, lists[1:], lists[2:], strict=False))


def _admitted(number: int) -> int:
    """When the stay of this number began, in seconds."""
    return number >> ID_BITS


def _older(one: Listed, newest: datetime | None) -> bool:
    return one.newest_admission is not None and newest is not None and one.newest_admission < newest


def _not_after(partner: Damaged, day: date) -> bool:
    return partner.newest_admission is not None and partner.newest_admission.date() <= day


def _dropped(lists: Sequence[Listed], last: Listed | None) -> Iterator[tuple[str, str]]:
    """Lists that lack more of the stays of the day before than end in a day.

    They are cut off between two lines, or their ids are written in another way, which nothing else shows.
    """
    for one in lists:
        gone = len(set(last.stays).difference(one.stays)) if last is not None else 0
        if last is not None and gone > most_that_end(len(last.stays), (one.day - last.day).days):
            yield one.file, _lacks(gone, last)
        else:
            last = one


def _lacks(gone: int, last: Listed) -> str:
    return (
        f"lacks {gone} of the {len(last.stays)} people of {last.day}: it is cut off, of another day, or has its ids or "
        "times of admission in another form; export it again, or accept it with --allow-drops"
    )


def most_that_end(stays: int, days: int) -> int:
    """How many of so many stays may end in so many days."""
    share = 1 - (1 - LEAVE_IN_A_DAY) ** days
    return max(FEW, ceil(stays * share + CHANCE * sqrt(stays * share * (1 - share))))


def _gaps(ordered: Sequence[Listed | Damaged], last: Listed | None) -> Iterator[Problem]:
    """Days between the first and the last that no file names, damaged ones included."""
    previous = last.day if last else None
    for one in ordered:
        if one.day is None or (previous is not None and one.day <= previous):
            continue
        if previous is not None and (one.day - previous).days > 1:
            missing = previous + timedelta(days=1)
            until = "" if (one.day - previous).days == 2 else f" to {one.day - timedelta(days=1)}"  # noqa: PLR2004
            why = f"{missing}{until} is missing before it: give the missing days, or accept the gap with --allow-gaps"
            yield Problem(one.file, None, why)
        previous = one.day
