"""Publishing what people and scripts wrote: read, held against the site as the workers will, accepted, waited for."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import track

from producers.event_json import Parsed, Problem
from producers.publisher import Publisher, why_too_large
from schemas import topics
from schemas.codec import event_body
from schemas.events import Event, type_name
from schemas.settings import Settings
from schemas.site import Agency, Site
from streams.identify import Source, refuse

SHOWN: Final = 20
"""Problems shown to a person; the rest is counted."""
CHUNK: Final = 500
"""Events accepted with one write to disk."""
LOOK_S: Final = 0.2
"""Seconds after which a wait for the bus looks whether it is still wanted."""


class NotTextError(Exception):
    """A file is no text; the message says where."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events that were published."""

    accepted: int
    waiting: int
    """Events of this agency that wait in its spool, earlier ones included."""
    interrupted: bool


def text_of(file: Path) -> str:
    """What a file holds, or standard input where it is called -. Raises NotTextError, OSError."""
    raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotTextError(f"{file}: not UTF-8 at byte {error.start}: save it as UTF-8") from error


def fitting(parsed: Iterator[Parsed], agency: Agency, site: Site) -> Iterator[Parsed]:
    """Events that the workers would set aside are said to be wrong here, where somebody sees it."""
    now = time.time_ns() // 1000
    for one in parsed:
        why = None if one.event is None else _unfit(one.event, agency, site, now)
        yield one if why is None else replace(one, event=None, problems=(Problem(one.line, "", why),))


def _unfit(event: Event, agency: Agency, site: Site, now: int) -> str | None:
    refused = refuse(event, _source(event, agency, site), site, now)
    return refused.detail if refused is not None else why_too_large(event_body(event))


def _source(event: Event, agency: Agency, site: Site) -> Source:
    return Source(topics.inbound(site.name, agency.id, type_name(event)), agency, type_name(event))


def counted(events: Iterable[Event]) -> dict[str, int]:
    """How many of each type there are, as a script is told."""
    return dict(sorted(Counter(type_name(event) for event in events).items()))


def tell_problems(bad: Sequence[Parsed], as_json: bool) -> None:
    """Tell a person what is wrong, and that it stopped everything; a script too, with `as_json`."""
    problems = [problem for one in bad for problem in one.problems]
    if as_json:
        told = [{"line": one.line, "field": one.field, "why": one.why} for one in problems]
        typer.echo(json.dumps({"published": {}, "problems": told}))
    for problem in problems[:SHOWN]:
        typer.echo(f"sallyport: {problem}", err=True)
    if len(problems) > SHOWN:
        typer.echo(f"sallyport: and {len(problems) - SHOWN} more", err=True)
    typer.echo("sallyport: nothing was published", err=True)


def publish_events(
    events: Sequence[Event], settings: Settings, site: Site, agency: Agency, wait: float, quiet: bool
) -> Outcome:
    """Publish, and wait for the bus; with no events only what waits in the spool is sent.

    Raises PublishError, SpoolFullError, SecretUnreadableError, OSError.
    """
    accepted = 0
    with _interruptible() as interrupted, Publisher(settings, site, agency.id) as publisher:
        chunks = [events[start : start + CHUNK] for start in range(0, len(events), CHUNK)]
        hidden = quiet or len(chunks) < 2  # noqa: PLR2004
        for chunk in track(chunks, "Publishing", console=Console(stderr=True), disable=hidden):
            if interrupted.is_set():
                break
            publisher.publish_many(chunk)
            accepted += len(chunk)
        until = time.monotonic() + wait
        while not interrupted.is_set() and publisher.flush(min(LOOK_S, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                break
        return Outcome(accepted, publisher.close(0), interrupted.is_set())


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
