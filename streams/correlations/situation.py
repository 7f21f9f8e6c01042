"""Situations: what a picture means. A correlation finds them; the engine turns what changed into alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from schemas.agreements import Kind
from streams.facts import Provenance
from streams.pictures.facility import FacilityPicture
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


class Line(StrEnum):
    """On which side of the tear-line a piece of evidence stands, where its publisher is not to be known by it."""

    NONE = "NONE"
    """There is no such line: who may see it sees whose it is, and when it was."""
    ABOVE = "ABOVE"
    """What is torn off and handed on: what, where, when. Whoever gets it learns neither author nor time of report, nor
    from how many sources it is."""
    BELOW = "BELOW"
    """What stays with the author."""


class Caution(StrEnum):
    """What must not be done at once on a piece of evidence, the strictest first."""

    WATCH_ONLY = "WATCH_ONLY"
    CALL_FIRST = "CALL_FIRST"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that a situation rests on. Small, so that each can be granted or left out by itself."""

    text: str
    fields: tuple[str, ...]
    """Fields of the event that the text shows."""
    source: Provenance
    person: str | None = None
    """Whom it is about. The text does not name the person: whether it may is decided for each recipient."""
    ground: str = ""
    """What of the situation it carries; empty where it only supports. A situation stands while each of its grounds has
    an alternative: so it is disclosed on what a recipient may know, whatever else there is that it may not."""
    alternative: str = ""
    """The pieces of one ground that carry it together; one alternative is enough."""
    severity: Severity | None = None
    """How severe it alone makes the situation."""
    confidence: Confidence | None = None
    """How sure it makes its ground."""
    line: Line = Line.NONE
    staff: bool = False
    """Whether it speaks of the facility's staff: then only internal affairs are told."""
    caution: Caution | None = None
    """What whoever is told of it must not do at once."""
    due: int | None = None
    """Microseconds: when what it speaks of is expected."""


@dataclass(frozen=True, slots=True)
class Cautioned:
    """What holds for whoever is told of evidence that carries a caution."""

    caution: Caution
    limit: str
    """What is asked of everybody who is told: it stands before whatever is advised, and is none of it."""
    actions: tuple[str, ...]
    """What can be done within that, the least restrictive first."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A person whom a situation concerns."""

    person: str
    agency: str
    """Agency that number and name are known from."""
    booking_number: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """Something that holds now and that someone should know of."""

    key: tuple[str, ...]
    """What tells it from others of the same correlation. It names its focus, so that only one partition raises it."""
    least_severity: Severity
    """Without the evidence that makes it graver."""
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
    cautions: tuple[Cautioned, ...] = ()
    """What is asked and advised instead under each caution."""

    @property
    def severity(self) -> Severity:
        """As all of its evidence makes it."""
        return gravest(self.least_severity, (item.severity for item in self.evidence))

    @property
    def confidence(self) -> Confidence:
        """As all of its evidence makes it: a ground is as sure as its best evidence, the whole as its least ground."""
        return surest_of_all((item.ground, item.confidence) for item in self.evidence) or Confidence.HIGH


def gravest(least: Severity, more: Iterable[Severity | None]) -> Severity:
    """The gravest of these."""
    order = list(Severity)
    return min((least, *(one for one in more if one is not None)), key=order.index)


def strictest(cautions: Iterable[Caution]) -> Caution | None:
    """The strictest of these; None for none."""
    return min(cautions, key=list(Caution).index, default=None)


def surest_of_all(grounds: Iterable[tuple[str, Confidence | None]]) -> Confidence | None:
    """How sure pieces of evidence make the whole, each given with its ground; None where none of them says so."""
    order, best = list(Confidence), dict[str, Confidence]()
    for ground, sure in grounds:
        if sure is not None:
            best[ground] = min(best.get(ground, sure), sure, key=order.index)
    return max(best.values(), key=order.index, default=None)


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
    about: type[F]
    """What its focus is. The parts of the focus are in the key of each situation."""


PersonCorrelation = Correlation[PersonPicture, str]
"""Its focus is a person."""
FacilityCorrelation = Correlation[FacilityPicture, Any]
"""Its focus is a part of a facility (a housing unit, a delivery, a tip), or the feeds or a list of an agency."""


def joined(names: Iterable[str]) -> str:
    """Names in one phrase: "a", "a and b", "a, b and c"."""
    listed = list(names)
    if len(listed) < 2:  # noqa: PLR2004
        return "".join(listed)
    return ", ".join(listed[:-1]) + " and " + listed[-1]
