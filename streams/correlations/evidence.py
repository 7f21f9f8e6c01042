"""Evidence in words: how correlations say what they rest on, in pieces small enough to be granted one by one.

And how much of it: of one ground `MOST` cases, and how many more there are. An alert is one record, written anew
whenever one of its facts changes; and nobody reads hundreds of reports at three in the morning.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from schemas.events import AffiliationStatus
from streams.correlations.situation import Caution, Confidence, Evidence, Line, Severity
from streams.pictures.street import Feud, Violence

FEUD: Final = "feud"
"""The ground that a feud is. Each violent event is an alternative of it."""
MOST: Final = 50
"""Cases of one ground that are told one by one."""

Case: TypeAlias = tuple[Evidence, ...]
"""All that is said of one alternative of a ground, with what only its author sees of it; or of one event that only
supports. It is told as a whole or not at all: half of one might be seen by who may not see the other half."""


# -- how much of it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bounded:
    """Some cases of a ground, in the order in which they were given, and how many more there are."""

    cases: tuple[Case, ...]
    more: Mapping[Hashable, int]
    """By who may see them."""


def bounded(cases: Iterable[Case], more: Mapping[Hashable, int] | None = None) -> Bounded:
    """The gravest and newest `MOST` of a ground's cases, and of each kind the gravest and the oldest besides.

    It depends on the cases alone, not on their order; and what is taken of several parts, each bounded, is what is
    taken of all at once. `more` are those that the parts had left out.

    An alert's evidence decides who is told of it, and how: by agency, type of event, marking, tear-line and fields.
    What is shown then makes severity, confidence and caution, says under which agreements it is known, and how a person
    was. Two cases of one *kind* are the same in all of this. So as long as one of each kind is there, every recipient
    is told, or not told, as it would be by all of them; and since whole cases are left out, nobody is told by half of
    one. The oldest is there as well: the oldest reference is the one by which authors of tips are called, whatever
    comes later (`streams/disclose.py`). There are no more kinds than a site's agencies can make by their types of
    events.

    Nothing outlives its facts by this: what is left out is of the picture as what is told is, and all of it is looked
    at anew whenever one of them is withdrawn, purged or past.
    """
    given = tuple(cases)
    left_out = Counter(more or {})
    if len(given) <= MOST:
        return Bounded(given, left_out)
    order = sorted(range(len(given)), key=lambda number: _rank(given[number]))
    kinds: dict[Hashable, list[int]] = {}
    for number in order:
        kinds.setdefault(_kind(given[number]), []).append(number)
    told = set(order[:MOST])
    for alike in kinds.values():
        told |= {alike[0], min(alike, key=lambda number: _when(given[number]))}
    left_out.update(_seen_by(given[number]) for number in order if number not in told)
    return Bounded(tuple(given[number] for number in sorted(told)), left_out)


def in_pieces(ground: Bounded) -> Iterator[Evidence]:
    """The evidence of a ground: its cases, and after the last that the same may see how many more they could see."""
    last = {_seen_by(case): number for number, case in enumerate(ground.cases)} if ground.more else {}
    for number, case in enumerate(ground.cases):
        yield from case
        if last and last[_seen_by(case)] == number and (count := ground.more.get(_seen_by(case))):
            yield _how_many_more(case, count)


def _how_many_more(case: Case, count: int) -> Evidence:
    """That there are more such cases: shown with one of them, to whom that one is shown. How many sources there are
    stays with their author where there is a tear-line."""
    first, text = case[0], f"And {count:,} more like this"
    if any(item.line is not Line.NONE for item in case):
        return Evidence(text, first.fields, first.source, line=Line.BELOW, staff=first.staff)
    return Evidence(text, first.fields, first.source, ground=first.ground, alternative=first.alternative)


def _seen_by(case: Case) -> Hashable:
    """What decides who may know that there is such a case."""
    return frozenset(
        (item.source.agency, item.source.event_type, item.source.marked, item.line, item.staff) for item in case
    )


def _kind(case: Case) -> Hashable:
    """All that decides who is told what because of it: but for its words, its person and its time."""
    return tuple(
        (
            item.source.agency,
            item.source.event_type,
            item.source.marked,
            item.source.via,
            item.source.joined,
            item.line,
            item.staff,
            # What stays with its author is shown to nobody else, whatever is granted.
            item.fields if item.line is not Line.BELOW else (),
            item.ground,
            item.severity,
            item.confidence,
            item.caution,
        )
        for item in case
    )


def _when(case: Case) -> tuple[Any, ...]:
    """The order of events; of one event's cases by whom and what they are about."""
    source = case[0].source
    return source.event_time, source.event_id, source.agency, *((item.person or "", item.text) for item in case)


def _rank(case: Case) -> tuple[Any, ...]:
    """The gravest first, then what is to be done with most care, then the surest, then the newest."""
    return (
        _least(case, "severity", _SEVERITIES),
        _least(case, "caution", _CAUTIONS),
        _least(case, "confidence", _CONFIDENCES),
        -case[0].source.event_time,
        *_when(case)[1:],
    )


_SEVERITIES: Final = {one: number for number, one in enumerate(Severity)}
_CAUTIONS: Final = {one: number for number, one in enumerate(Caution)}
_CONFIDENCES: Final = {one: number for number, one in enumerate(Confidence)}


def _least(case: Case, of: str, order: Mapping[Any, int]) -> int:
    return min(order.get(getattr(item, of), len(order)) for item in case)


# -- feuds -----------------------------------------------------------------------------------------------------------


def feud_evidence(
    feuds: Collection[Feud], expected: Severity | None = None, since: int | None = None
) -> Iterator[Evidence]:
    """What is known of feuds, which are one ground: that there was violence, where, and whether more is expected.

    `expected` is how severe the situation is where it is. Violence up to `since` (microseconds) only supports.
    """
    parts = [_of_feud(feud, expected, since) for feud in feuds]
    more = sum((Counter(part.more) for part in parts), Counter[Hashable]())
    return in_pieces(bounded((case for part in parts for case in part.cases), more))


def _of_feud(feud: Feud, expected: Severity | None, since: int | None) -> Bounded:
    """The same for each unit and each person for whom as much of it only supports."""
    supporting = 0 if since is None else bisect_right(feud.violence, since, key=lambda violence: violence.fact.time)
    made = expected, supporting
    if made not in feud.memo:
        feud.memo[made] = bounded(
            _of_violence(feud, violence, expected, carries=number >= supporting)
            for number, violence in enumerate(feud.violence)
        )
    found: Bounded = feud.memo[made]
    return found


def _of_violence(feud: Feud, violence: Violence, expected: Severity | None, *, carries: bool) -> Case:
    made = FEUD, feud.names, expected, carries
    if made not in violence.memo:
        violence.memo[made] = tuple(_in_words(feud.names, violence, expected, FEUD if carries else ""))
    found: Case = violence.memo[made]
    return found


def _in_words(names: tuple[str, str], violence: Violence, expected: Severity | None, ground: str) -> list[Evidence]:
    body, source = violence.body, violence.fact.provenance
    said = [Evidence(f"Violence between the groups {names[0]} and {names[1]}", ("groups",), source)]
    if body.place:
        said.append(Evidence(f"It happened at {body.place}", ("place",), source))
    if body.retaliation_expected:
        said.append(Evidence("Retaliation is expected", ("retaliation_expected",), source, severity=expected))
    return [replace(item, ground=ground, alternative=source.event_id if ground else "") for item in said]


def membership_in_words(status: AffiliationStatus, group: str | None) -> str:
    """That somebody is a member of a group, or only suspected to be; None for one that is not named."""
    member = "suspected member" if status is AffiliationStatus.SUSPECT else "member"
    return f"{member} of the group {group}" if group else f"{member} of a security threat group"
