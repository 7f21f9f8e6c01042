"""Whether daily lists follow each other: days given twice, missing, swapped, or other than they were. Pure.

`docs/roster.md` says which of these rules hold on real lists, and how that was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from producers.adapters.csv_file import Problem
from producers.adapters.roster_file import Damaged, Snapshot

MANY: Final = 50
"""People on a list from which on losing most of them within a day is no chance."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What is kept of a list while ninety are judged."""

    file: str
    day: date
    people: int
    newest_admission: datetime | None
    digest: str

    @classmethod
    def of(cls, snapshot: Snapshot) -> Listed:
        """What is kept of this list."""
        return cls(snapshot.file, snapshot.day, len(snapshot.rows), snapshot.newest_admission, snapshot.digest)


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported before."""

    last: Listed
    digests: Mapping[date, str]
    """Of every day imported."""


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
    *,
    again: bool = False,
    gaps_allowed: bool = False,
    drops_allowed: bool = False,
) -> Judged:
    """Judge lists as a sequence after what was imported before; `again` takes days imported before as well."""
    ordered = sorted(read, key=lambda one: (one.day or date.min, one.file))
    damage = [problem for one in ordered if isinstance(one, Damaged) for problem in one.problems]
    lists: list[Listed] = []
    already = 0
    for one in ordered:
        if isinstance(one, Damaged):
            continue
        wrong = _against_imported(one, before, again=again) or _again(one, lists)
        if wrong is not None:
            damage.append(Problem(one.file, None, wrong))
        elif before is not None and not again and one.day <= before.last.day:
            already += 1
        else:
            lists.append(one)
    last = None if before is None or again else before.last
    swapped = dict(_swapped(lists, [one for one in ordered if isinstance(one, Damaged)], last))
    lists = [one for one in lists if one.file not in swapped]
    dropped = {} if drops_allowed else dict(_dropped(lists, last))
    damage += [Problem(file, None, why) for file, why in (swapped | dropped).items()]
    good = tuple(one for one in lists if one.file not in dropped)
    gaps = () if gaps_allowed else tuple(_gaps(ordered, last))
    return Judged(good, tuple(damage), gaps, already)


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


def _swapped(lists: Sequence[Listed], damaged: Sequence[Damaged], last: Listed | None) -> Iterator[tuple[str, str]]:
    """Lists that are of another day than their name says.

    Lists only ever gain admissions: one whose newest is older than that of the day before was made earlier.
    """
    too_new = {one.day: one for one in damaged if one.day is not None and one.newest_admission is not None}
    chain = [*([last] if last else []), *lists]
    for position, one in enumerate(chain):
        if one is last or one.newest_admission is None:
            continue
        # A list that names later admissions than its day has a partner: the list whose name it was given.
        partner = too_new.get(one.day - timedelta(days=1))
        if partner is not None and _older(one, partner.newest_admission) and _not_after(partner, one.day):
            yield one.file, f"was made before {partner.file}: days are swapped or misnamed; name them after their day"
        if position == 0 or not _older(one, chain[position - 1].newest_admission):
            continue
        previous = chain[position - 1]
        yield one.file, f"was made before {previous.file}: days are swapped or misnamed; name them after their day"
        if previous is not last and not (position > 1 and _older(one, chain[position - 2].newest_admission)):
            # Either may be the one that is wrong.
            yield previous.file, f"was made after {one.file}: days are swapped or misnamed; name them after their day"


def _older(one: Listed, newest: datetime | None) -> bool:
    return one.newest_admission is not None and newest is not None and one.newest_admission < newest


def _not_after(partner: Damaged, day: date) -> bool:
    return partner.newest_admission is not None and partner.newest_admission.date() <= day


def _dropped(lists: Sequence[Listed], last: Listed | None) -> Iterator[tuple[str, str]]:
    """Lists that lack most of the people of the day before: cut off between two lines, which nothing else shows."""
    for one in lists:
        if last is not None and last.people >= MANY and one.people * 2 < last.people:
            why = f"lists {one.people} people, the day before {last.people}: it is cut off; fetch it again"
            yield one.file, f"{why}, or accept it with --allow-drops"
        else:
            last = one


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
