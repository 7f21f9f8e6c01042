"""Publishing what people and scripts wrote: read, held against the site as the workers will, accepted, waited for.

It may be larger than memory: it is read once to be judged and once more to be published, a piece at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryFile
from typing import BinaryIO, Final

import typer
from rich.console import Console
from rich.progress import track

from producers.event_json import Parsed, Problem, UnreadableError, parse
from producers.publisher import Publisher, PublishError, why_too_large
from producers.spool import SpoolFullError
from schemas import topics
from schemas.codec import event_body
from schemas.events import Event, type_name
from schemas.settings import Settings
from schemas.site import Agency, Site
from streams.identify import Source, refuse

SHOWN: Final = 20
"""Problems shown to a person; the rest is counted."""
TOLD: Final = 10_000
"""Problems told to a script; the rest is counted."""
CHUNK: Final = 500
"""Events accepted with one write to disk."""
LOOK_S: Final = 0.2
"""Seconds after which a wait for the bus looks whether it is still wanted."""


# -- what was written ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found in all that was written."""

    good: Mapping[str, int]
    """Events that can be published, by type."""
    bad: int
    """Events that can't."""
    problems: Sequence[Problem]
    """What is wrong with them: the first of it."""
    more: int
    """Problems beyond these."""


class Written:
    """Events of an agency as somebody wrote them, in an open file; read as often as is asked, and never held whole."""

    def __init__(self, file: BinaryIO, agency: Agency, site: Site, event_type: str | None = None) -> None:
        """`event_type` is that of events that do not say it."""
        self._file = file
        self._agency = agency
        self._site = site
        self._event_type = event_type
        # One time for all readings, or an event could be fitting in one of them only.
        self._now = time.time_ns() // 1000
        self._stamp = _stamp(file)

    def parsed(self) -> Iterator[Parsed]:
        """Each event, or what is wrong with it. What the workers would set aside is wrong here already, where somebody
        sees it. Raises UnreadableError, OSError.
        """
        for one in parse(self._file, self._agency, self._event_type):
            why = None if one.event is None else _unfit(one.event, self._agency, self._site, self._now)
            yield one if why is None else one._replace(event=None, problems=(Problem(one.line, "", why),))
        self._same()

    def judged(self) -> Judged:
        """All of it, judged. Raises UnreadableError, OSError."""
        good: Counter[str] = Counter()
        problems: list[Problem] = []
        bad = more = 0
        for one in self.parsed():
            if one.event is not None:
                good[type_name(one.event)] += 1
                continue
            bad += 1
            told = one.problems[: TOLD - len(problems)]
            problems += told
            more += len(one.problems) - len(told)
        return Judged(dict(sorted(good.items())), bad, problems, more)

    def chunks(self) -> Iterator[list[Event]]:
        """The good events, as many at a time as are accepted with one write. Raises UnreadableError, OSError."""
        events = (one.event for one in self.parsed() if one.event is not None)
        while chunk := list(islice(events, CHUNK)):
            self._same()
            yield chunk

    def _same(self) -> None:
        if _stamp(self._file) != self._stamp:
            raise UnreadableError("it changed while it was read: publish it again once it is whole")


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """A file, or standard input where it is called -, to be read more than once. Raises OSError.

    What can be read only once is kept in a file without a name, which nobody else can open, until it was published.
    """
    if str(file) == "-":
        with _kept(sys.stdin.buffer) as copy:
            yield copy
        return
    with file.open("rb") as given:
        if S_ISREG(os.fstat(given.fileno()).st_mode):
            yield given
        else:
            with _kept(given) as copy:
                yield copy


@contextmanager
def _kept(given: BinaryIO) -> Iterator[BinaryIO]:
    with TemporaryFile() as copy:
        shutil.copyfileobj(given, copy)
        copy.flush()
        yield copy


def _stamp(file: BinaryIO) -> tuple[int, int]:
    """What changes when somebody writes into a file: its size, and when it was written."""
    now = os.fstat(file.fileno())
    return now.st_size, now.st_mtime_ns


def _unfit(event: Event, agency: Agency, site: Site, now: int) -> str | None:
    refused = refuse(event, _source(event, agency, site), site, now)
    return refused.detail if refused is not None else why_too_large(event_body(event))


def _source(event: Event, agency: Agency, site: Site) -> Source:
    return Source(topics.inbound(site.name, agency.id, type_name(event)), agency, type_name(event))


def tell_problems(judged: Judged, as_json: bool) -> None:
    """Tell a person what is wrong, and that it stopped everything; a script too, with `as_json`."""
    if as_json:
        told = [{"line": one.line, "field": one.field, "why": one.why} for one in judged.problems]
        typer.echo(json.dumps({"published": {}, "problems": told, "more_problems": judged.more}))
    for problem in judged.problems[:SHOWN]:
        typer.echo(f"sallyport: {problem}", err=True)
    more = len(judged.problems[SHOWN:]) + judged.more
    if more:
        typer.echo(f"sallyport: and {more:,} more", err=True)
    typer.echo("sallyport: nothing was published", err=True)


# -- publishing it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events that were to be published."""

    accepted: Mapping[str, int]
    """How many, by type."""
    not_accepted: int
    waiting: int
    """Events of this agency that wait in its spool, earlier ones included."""
    interrupted: bool
    stopped: str | None
    """Why it did not go on, in words; None where nothing went wrong."""

    @property
    def count(self) -> int:
        """How many were accepted."""
        return sum(self.accepted.values())


def publish_events(
    chunks: Iterable[Sequence[Event]],
    total: int,
    settings: Settings,
    site: Site,
    agency: Agency,
    wait: float,
    quiet: bool,
) -> Outcome:
    """Publish, and wait for the bus; with no events only what waits in the spool is sent.

    What goes wrong once something may have been accepted is told in the outcome. Raises PublishError, SpoolFullError,
    SecretUnreadableError, OSError before that.
    """
    accepted: Counter[str] = Counter()
    stopped = None
    with _interruptible() as interrupted, Publisher(settings, site, agency.id) as publisher:
        hidden = quiet or total <= CHUNK
        pieces = -(-total // CHUNK)
        try:
            # Not kept in a name: the bar goes as soon as the loop is left.
            for chunk in track(chunks, "Publishing", pieces, console=Console(stderr=True), disable=hidden):
                if interrupted.is_set():
                    break
                publisher.publish_many(chunk)
                accepted.update(map(type_name, chunk))
        except (PublishError, SpoolFullError, UnreadableError, OSError) as error:
            stopped = str(error)
        try:
            _wait(publisher, time.monotonic() + wait, interrupted)
        except PublishError as error:
            stopped = stopped or str(error)
        waiting = publisher.close(0)
    by_type = dict(sorted(accepted.items()))
    return Outcome(by_type, total - accepted.total(), waiting, interrupted.is_set(), stopped)


def _wait(publisher: Publisher, until: float, interrupted: threading.Event) -> None:
    while not interrupted.is_set() and publisher.flush(min(LOOK_S, max(0.0, until - time.monotonic()))):
        if time.monotonic() >= until:
            break


def why_not_all(outcome: Outcome) -> str | None:
    """What a person is told where publishing did not go on; None where it did."""
    if outcome.stopped is None:
        return None
    total = outcome.count + outcome.not_accepted
    return f"{outcome.count:,} of {total:,} accepted; {outcome.stopped}" if total else outcome.stopped


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C only sets this. As an exception it could come in the middle of anything, a destructor that swallows it
    included; and between what the spool has accepted and what was counted."""
    interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
