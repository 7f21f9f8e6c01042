"""Lines of a file of events: what each event puts on the logs, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from producers.event_json import Parsed, Problem, parse_of_several
from schemas.site import Agency, Site
from streams.backtest import Published, facts_of, published
from streams.identify import DeadLetter
from streams.records import Out

LINES: Final = 2_000
"""Lines that are read and identified in one go."""
TOGETHER: Final = 32
"""Lines that are parsed, then encoded, then identified, before whoever asks has them: each of these is a lot of code,
and a fifth faster where the others don't come between."""
Lines = Sequence[tuple[int, bytes]]
"""Some lines, each with its number, from 1."""


class Read(NamedTuple):
    """One event: when it happened (microseconds) and what it puts on the logs, or what is wrong with it."""

    time: int
    facts: Sequence[Out]
    problem: Problem | None


def in_goes(lines: Iterable[bytes]) -> Iterator[Lines]:
    """The lines, so many as are read in one go."""
    numbered = enumerate(lines, start=1)
    return iter(lambda: list(islice(numbered, LINES)), [])


def read_events(site: Site, lines: Lines) -> Iterator[Read]:
    """What each event puts on the logs of the site; a line is one event, or an array of them."""
    by_ori = {agency.ori: agency for agency in site.agencies}
    for at in range(0, len(lines), TOGETHER):
        some = lines[at : at + TOGETHER]
        parsed = [(number, one) for number, line in some for one in _parsed(line, by_ori)]
        encoded = [(number, _published(one, by_ori)) for number, one in parsed]
        yield from [_read(number, one, site) for number, one in encoded]


def _parsed(line: bytes, by_ori: Mapping[str, Agency]) -> Iterable[Parsed]:
    try:
        return parse_of_several(line.decode(), by_ori)
    except UnicodeDecodeError as error:
        return (Parsed(1, None, None, (Problem(1, "", f"not UTF-8 at byte {error.start + 1}: save it as UTF-8"),)),)


def _published(parsed: Parsed, by_ori: Mapping[str, Agency]) -> Published | Problem:
    event = parsed.event
    return parsed.problems[0] if event is None else published(event, by_ori[event.head.ori])


def _read(number: int, one: Published | Problem, site: Site) -> Read:
    if isinstance(one, Problem):
        return Read(0, (), replace(one, line=number))
    facts = facts_of(one, site)
    if isinstance(facts, DeadLetter):
        return Read(0, (), Problem(number, "", facts.detail))
    return Read(one.event.head.time, facts, None)
