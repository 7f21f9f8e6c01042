"""Situations: what a picture means. A correlation finds them; the engine turns what changed into alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from schemas.agreements import Kind
from streams.facts import Provenance
from streams.pictures.facility import FacilityPicture, UnitKey
from streams.pictures.person import PersonPicture

P = TypeVar("P")
F = TypeVar("F")


class Severity(StrEnum):
    """How urgent, most urgent first."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Confidence(StrEnum):
    """How sure the evidence makes it."""

    HIGH = "HIGH"
    MODERATE = "MODERATE"
    LOW = "LOW"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that a situation rests on. Small, so that each can be granted or left out by itself."""

    text: str
    fields: tuple[str, ...]
    """Fields of the event that the text shows."""
    source: Provenance
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A person whom a situation concerns."""

    person: str
    agency: str
    """Agency that number and name are known from."""
    booking_number: str | None = None
    name: str | None = None
    linked_by: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """Something that holds now and that someone should know of."""

    key: tuple[str, ...]
    """What tells it from others of the same correlation. It names its focus, so that only one partition raises it."""
    severity: Severity
    confidence: Confidence
    headline: str
    """One line; shows nothing that needs a grant: no name, no group, no place."""
    subjects: tuple[Subject, ...]
    evidence: tuple[Evidence, ...]
    actions: tuple[str, ...]
    """The least restrictive first: move the threat, not the threatened; never "segregate", never "hold"."""
    facility: str | None = None
    unit: str | None = None
    until: int | None = None
    """Microseconds: when its focus is to be evaluated again; that is how clocks and absences fire."""


@dataclass(frozen=True)
class Correlation(Generic[P, F]):
    """A rule: a pure function over a picture, for one focus at a time; it keeps no state.

    It is evaluated when an event of `triggers` touched the focus, when something was withdrawn, purged or joined, and
    when a situation's `until` comes; what it says may therefore depend on nothing else in the picture.
    """

    name: str
    version: int
    kind: Kind
    triggers: frozenset[str]
    situations: Callable[[P, F, int], set[Situation]]


PersonCorrelation = Correlation[PersonPicture, str]
"""Its focus is a person."""
UnitCorrelation = Correlation[FacilityPicture, UnitKey]
"""Its focus is a housing unit."""


def joined(names: Iterable[str]) -> str:
    """Names in one phrase: "a", "a and b", "a, b and c"."""
    listed = list(names)
    if len(listed) < 2:  # noqa: PLR2004
        return "".join(listed)
    return ", ".join(listed[:-1]) + " and " + listed[-1]
