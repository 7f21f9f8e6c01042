"""Names: how alike two people's names are, however they are spelled. Pure.

A name is compared part by part, whatever their order ("Garrow, Thomas", "Tomas Garow"), by Jaro-Winkler similarity,
which record linkage uses for names since it forgives what typists do and weighs the beginning more (Winkler, "String
Comparator Metrics and Enhanced Decision Rules in the Fellegi-Sunter Model of Record Linkage", 1990).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from rapidfuzz.distance import OSA, JaroWinkler

LEAST_LIKENESS: Final = 0.88
"""How alike each part must be, of 1: a letter dropped, doubled or swapped passes ("Jhon"), another name does not
("Joan" for "John")."""
SLIPS_FROM: Final = 5
"""Letters from which on one slip of a typist (a letter too many, too few, another, or two swapped) makes no other name,
unless it is the first: "Harry" is not "Barry". Of the longer of two, since a slip may have left a letter out."""
MOST_SLIPS: Final = 2
"""Slips in so long a part, the first letter included, by which it may be another wrongly written: two people wrote it
down. In a shorter part one."""
LEAST_PARTS: Final = 2
"""Parts without which a name names nobody: half a jail is called by a first name."""
MOST_PARTS: Final = 10
"""Parts that are compared, the first ones: nobody's name has more, and the ways to pair them double with each."""
_BESIDE: Final = frozenset({"jr", "sr", "ii", "iii", "iv", "mr", "mrs", "ms", "miss", "dr"})
"""What stands beside a name and is mostly left out: generations, titles."""


def is_full(name: str | None) -> bool:
    """Whether a name has enough parts to tell people apart."""
    return name is not None and len(parts(name)) >= LEAST_PARTS


@lru_cache(16_384)
def parts(name: str) -> tuple[str, ...]:
    """The parts of a name as they are compared: without case, accents, punctuation, initials, what stands beside it."""
    return tuple(word for word in _words(name) if len(word) > 1)[:MOST_PARTS]


def _words(name: str) -> list[str]:
    """The parts of a name and its initials."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    words = "".join(c if c.isalnum() else "" if c in "'’" else " " for c in plain).split()
    return [word for word in words if word not in _BESIDE]


def _is_surname(name: str) -> bool:
    """Whether a name is one part with initials, as on an envelope: "D. Cole"."""
    return len(parts(name)) == 1 and len(_words(name)) > 1


def is_other(one: str, other: str) -> bool:
    """Whether two names can't be the same person's. Of a word alone nobody can say: it may be a nickname."""
    if is_full(one) and is_full(other):
        return likeness(one, other) == 0
    if not all(is_full(name) or _is_surname(name) for name in (one, other)):
        return False
    return not any(_alike(mine, theirs) for mine in parts(one) for theirs in parts(other))


def is_nearly(one: str, other: str) -> bool:
    """Whether two names may be one, wrongly written. Alone it says little: there is a Barry for every Harry."""
    return _mean(one, other, _nearly) > 0


@lru_cache(65_536)
def likeness(one: str, other: str) -> float:
    """How alike two names are, 0 to 1: the mean of their parts, where each part of the shorter is like one of the
    longer; 0 where one is not, or where one of the names has too few parts."""
    return _mean(one, other, _alike)


_Compare = Callable[[str, str], float]
"""How alike two parts are, 0 to 1."""


def _mean(one: str, other: str, compare: _Compare) -> float:
    shorter, longer = sorted((parts(one), parts(other)), key=lambda found: (len(found), found))
    if len(shorter) < LEAST_PARTS:
        return 0.0
    return max(_paired(shorter, longer, compare), 0.0) / len(shorter)


def _paired(shorter: Sequence[str], longer: Sequence[str], compare: _Compare) -> float:
    """The best sum of likenesses that pairs every part of the shorter; minus infinity where none does."""
    best = {0: 0.0}
    """By which of the longer are taken, a bit each: not by the ways to come there, which may be millions."""
    for part in shorter:
        likes = [(1 << n, alike) for n, other in enumerate(longer) if (alike := compare(part, other))]
        reached: dict[int, float] = {}
        for taken, so_far in best.items():
            for bit, alike in likes:
                if not taken & bit:
                    reached[taken | bit] = max(reached.get(taken | bit, 0.0), so_far + alike)
        best = reached
    return max(best.values(), default=float("-inf"))


def _alike(one: str, other: str) -> float:
    """How alike two parts are; 0 where they are not the same part."""
    alike: float = JaroWinkler.similarity(one, other)
    if alike >= LEAST_LIKENESS:
        return alike
    # By the measure alone a slip early in a name of five or six letters is too much.
    is_slip = max(len(one), len(other)) >= SLIPS_FROM and one[0] == other[0] and OSA.distance(one, other) == 1
    return LEAST_LIKENESS if is_slip else 0.0


def _nearly(one: str, other: str) -> float:
    """As `_alike`, and no less where one may be the other, wrongly written."""
    slips = MOST_SLIPS if max(len(one), len(other)) >= SLIPS_FROM else 1
    return _alike(one, other) or (LEAST_LIKENESS if OSA.distance(one, other) <= slips else 0.0)
