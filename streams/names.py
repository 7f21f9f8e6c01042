"""Names: how alike two people's names are, however they are spelled. Pure.

A name is compared part by part, whatever their order ("Garrow, Thomas", "Tomas Garow"), by Jaro-Winkler similarity,
which record linkage uses for names since it forgives what typists do and weighs the beginning more (Winkler, "String
Comparator Metrics and Enhanced Decision Rules in the Fellegi-Sunter Model of Record Linkage", 1990).

The measure alone takes pairs of common names for one: Fernandez and Hernandez are 0.93 alike. So of two parts the first
letter must be the same, which typists seldom get wrong; and whoever has to be sure asks whether two names are the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from math import inf
from typing import Final, TypeGuard

from rapidfuzz.distance import OSA, JaroWinkler

LEAST_LIKENESS: Final = 0.88
"""How alike each part must be, of 1: a letter dropped, doubled or swapped passes ("Jhon"), another name does not
("Joan" for "John")."""
SLIPS_FROM: Final = 5
"""Letters from which on one slip of a typist (a letter too many, too few, another, or two swapped) makes no other name,
unless it is the first: "Harry" is not "Barry". Of the longer of two, since a slip may have left a letter out."""
MOST_SLIPS: Final = 2
"""Slips in all of a name, first letters included, by which it may be another, wrongly written: two people wrote it."""
SLIPS_IN: Final = (0, 0, 0, 1, 1, 2)
"""Of these so many in a part, by the letters of the shorter of two: as many in all that are longer."""
LEAST_PARTS: Final = 2
"""Parts without which a name names nobody: half a jail is called by a first name."""
MOST_PARTS: Final = 10
"""Parts that are compared, the first ones: nobody's name has more, and the ways to pair them double with each."""
_BESIDE: Final = frozenset({"jr", "sr", "ii", "iii", "iv", "mr", "mrs", "ms", "miss", "dr"})
"""What stands beside a name and is mostly left out: generations, titles."""

_PLAIN: Final = str.maketrans(
    {"đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "ŧ": "t"} | {"æ": "ae", "œ": "oe", "þ": "th"}
)
"""Letters with a stroke, and two in one, which Unicode takes apart into nothing: who has no such key writes these."""
_APOSTROPHES: Final = frozenset("'’‘`´ʼʻ")


def is_full(name: str | None) -> TypeGuard[str]:
    """Whether a name has enough parts to tell people apart."""
    return name is not None and len(parts(name)) >= LEAST_PARTS


@lru_cache(16_384)
def parts(name: str) -> tuple[str, ...]:
    """The parts of a name as they are compared: without case, accents, punctuation, initials, what stands beside it."""
    return tuple(word for word in _words(name) if len(word) > 1)[:MOST_PARTS]


def _words(name: str) -> list[str]:
    """The parts of a name and its initials."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    plain = plain.translate(_PLAIN)
    words = "".join(c if c.isalnum() else "" if c in _APOSTROPHES else " " for c in plain).split()
    return [word for word in words if word not in _BESIDE]


def _is_surname(name: str) -> bool:
    """Whether a name is one part with initials, as on an envelope: "D. Cole"."""
    return len(parts(name)) == 1 and len(_words(name)) > 1


@lru_cache(65_536)
def is_other(one: str, other: str) -> bool:
    """Whether two names can't be the same person's. Of a word alone nobody can say: it may be a nickname; nor of a long
    name of which only the first letter is another."""
    if is_full(one) and is_full(other):
        return _difference(one, other, _apart) is None
    if not all(is_full(name) or _is_surname(name) for name in (one, other)):
        return False
    return all(_apart(mine, theirs) is None for mine in parts(one) for theirs in parts(other))


def is_doubtful(one: str | None, other: str | None) -> bool:
    """Whether two names, both whole, are neither alike nor two people's for sure: Fernandez is no Hernandez, but may
    have been written so."""
    return is_full(one) and is_full(other) and not likeness(one, other) and not is_other(one, other)


def is_nearly(one: str, other: str) -> bool:
    """Whether two names may be one, wrongly written. Alone it says little: there is a Barry for every Harry."""
    slips = _difference(one, other, _slips)
    return slips is not None and slips <= MOST_SLIPS


@lru_cache(65_536)
def likeness(one: str, other: str) -> float:
    """How alike two names are, 0 to 1: the mean of their parts, where each part of the shorter is like one of the
    longer, and begins with its letter; 0 where one is not, or where one of the names has too few parts. 1: each part is
    the same."""
    unlike = _difference(one, other, _unlike)
    return 0.0 if unlike is None else 1 - unlike / min(len(parts(one)), len(parts(other)))


_Compare = Callable[[str, str], float | None]
"""How far two parts are from each other; None where they are not the same part."""


def _difference(one: str, other: str, compare: _Compare) -> float | None:
    """How far two names are from each other: the least sum that pairs each part of the shorter with one of the longer;
    None where none does, or where one of the names has too few parts."""
    shorter, longer = sorted((parts(one), parts(other)), key=lambda found: (len(found), found))
    if len(shorter) < LEAST_PARTS:
        return None
    best = {0: 0.0}
    """By which of the longer are taken, a bit each: not by the ways to come there, which may be millions."""
    for part in shorter:
        far = [(1 << n, apart) for n, other in enumerate(longer) if (apart := compare(part, other)) is not None]
        reached: dict[int, float] = {}
        for taken, so_far in best.items():
            for bit, apart in far:
                if not taken & bit:
                    reached[taken | bit] = min(reached.get(taken | bit, inf), so_far + apart)
        best = reached
    return min(best.values(), default=None)


def _unlike(one: str, other: str) -> float | None:
    """How unlike two parts are that begin with the same letter, 0 to 1."""
    return _apart(one, other) if one[0] == other[0] else None


def _apart(one: str, other: str) -> float | None:
    """How unlike two parts are, 0 to 1, whatever they begin with."""
    alike: float = JaroWinkler.similarity(one, other)
    if alike >= LEAST_LIKENESS:
        return 1 - alike
    # By the measure alone a slip early in a name of five or six letters is too much.
    is_slip = max(len(one), len(other)) >= SLIPS_FROM and one[0] == other[0] and OSA.distance(one, other) == 1
    return 1 - LEAST_LIKENESS if is_slip else None


def _slips(one: str, other: str) -> float | None:
    """How many slips two parts are apart."""
    slips = OSA.distance(one, other)
    letters = min(len(one), len(other), len(SLIPS_IN) - 1)
    return slips if slips <= SLIPS_IN[letters] else None
