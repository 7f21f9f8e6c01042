"""Importing rosters: everything is read and judged before anything is published; then day by day, in step with time.

After each day's events the importer waits until the workers have identified them all, and only then puts the day's
tick on the site's clock: a history site's time never runs ahead of its events. A run that is broken off is made whole
by running it again: event ids depend on content only.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from producers.adapters.roster import Jail, Summary, day_events, sequence_problems
from producers.adapters.roster_file import NYC_COLUMNS, Problem, Row, Snapshot, day_of, read_snapshot
from schemas import topics
from schemas.codec import encode
from schemas.events import CustodyLevel, Event
from schemas.registry_client import registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site

TICK_KEY: Final = b"~tick"
LOOK_EVERY_S: Final = 0.02
NOTICE_S: Final = 15.0
"""Seconds without progress after which the importer says that no worker seems to run."""


class ImportRefusedError(Exception):
    """Files are damaged, or do not follow each other: nothing was published."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Day:
    """One day of an import: its list, its events, its tick."""

    snapshot: Snapshot
    events: tuple[Event, ...]
    tick: int
    """Microseconds."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files that stand, by day, and those that were set aside."""

    days: tuple[tuple[date, Path], ...]
    set_aside: tuple[Problem, ...]


def judge(
    paths: Sequence[Path],
    after: Snapshot | None,
    *,
    columns: Mapping[str, str] = NYC_COLUMNS,
    set_aside: bool = False,
    gaps_allowed: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> Files:
    """Read all files and judge each, and whether they follow each other (and `after`, the list imported last).

    Raises ImportRefusedError with all problems, unless `set_aside`: then the damaged files are left out.
    """
    problems: list[Problem] = []
    good: list[Snapshot] = []
    for path in sorted(paths, key=lambda p: (day_of(p) or date.min, str(p))):
        read = read_snapshot(path, columns)
        progress()
        if isinstance(read, list):
            problems += read
        elif after is None or read.day > after.day:
            # Of a day that was imported before nothing is new: its events would be the same again.
            wrong = sequence_problems([read], good[-1] if good else after, gaps_allowed=gaps_allowed or set_aside)
            problems += wrong
            if not wrong:
                good.append(_light(read))
    if problems and not set_aside:
        raise ImportRefusedError(problems)
    return Files(tuple((snapshot.day, Path(snapshot.file)) for snapshot in good), tuple(problems))


def _light(snapshot: Snapshot) -> Snapshot:
    """A list without all but its newest row: ninety days at once need not be in memory."""
    newest = max(snapshot.rows.values(), key=lambda row: row.admitted, default=None)
    rows = {newest.id: newest} if newest else {}
    return Snapshot(snapshot.day, snapshot.file, rows, snapshot.rows_read, snapshot.sealed, snapshot.set_aside)


def days(
    files: Files,
    before: Snapshot | None,
    jail: Jail,
    summary: Summary,
    columns: Mapping[str, str] = NYC_COLUMNS,
    shuffle: random.Random | None = None,
) -> Iterator[Day]:
    """The days of an import, one after the other, counted into the summary."""
    last = before
    for _, path in files.days:
        snapshot = read_snapshot(path, columns)
        if isinstance(snapshot, list):
            raise ImportRefusedError(snapshot)  # it changed since it was judged
        held = last.rows if last else {}
        events = day_events(held, snapshot, last.day if last else None, jail, summary.not_carried)
        summary.count(snapshot, events, repeats=last is not None and held == snapshot.rows)
        if shuffle is not None:
            shuffle.shuffle(events)
        yield Day(snapshot, tuple(events), jail.as_of(snapshot.day))
        last = snapshot


class Sink(Protocol):
    """Where events go: the Publisher."""

    def publish_many(self, events: Sequence[Event]) -> None:
        """Accept events."""

    def flush(self, timeout_s: float) -> int:
        """Wait until the broker has them; how many it has not."""


class Clock(Protocol):
    """A history site's clock."""

    def until_identified(self) -> None:
        """Wait until the workers have identified all that was published."""

    def tick(self, time_us: int) -> None:
        """Let it be that time."""


def publish_days(all_days: Iterator[Day], sink: Sink, clock: Clock, done: Callable[[Day], None]) -> None:
    """Publish day by day: events, wait, tick; `done` is called after each tick."""
    for day in all_days:
        if day.events:
            sink.publish_many(day.events)
            while sink.flush(NOTICE_S):
                pass
            clock.until_identified()
        clock.tick(day.tick)
        done(day)


class SiteClock:
    """The clock of a history site on the bus, as its user `clock`."""

    def __init__(self, settings: Settings, site: Site, agency: str, notice: Callable[[str], None]) -> None:
        user = site.user("clock")
        self._site = site
        self._notice = notice
        self._consumer = Consumer(
            {**settings.kafka(user), "group.id": topics.consumer_group(site.name), "enable.auto.commit": False}
        )
        self._producer = Producer({**settings.kafka(user), "enable.idempotence": True, "linger.ms": 0})
        self._topic = topics.clock(site.name)
        self._schema_id = schema_ids(registry_client(settings), site, [self._topic])[self._topic, "Tick"]
        self._parts = [
            TopicPartition(topics.inbound(site.name, agency, event_type), number)
            for event_type in site.agency_by_id[agency].event_types
            for number in range(site.partitions)
        ]

    def until_identified(self) -> None:
        """Wait until the group has committed the end of every inbound partition."""
        ends = {(p.topic, p.partition): self._consumer.get_watermark_offsets(p, timeout=30)[1] for p in self._parts}
        best, moved = -1, time.monotonic()
        while True:
            committed = self._consumer.committed(self._parts, timeout=30)
            left = [p for p in committed if p.offset < ends[p.topic, p.partition] and ends[p.topic, p.partition] > 0]
            if not left:
                return
            done = sum(max(0, p.offset) for p in committed)
            if done > best:
                best, moved = done, time.monotonic()
            elif time.monotonic() - moved > NOTICE_S:
                moved = time.monotonic()
                start = f"sallyport worker --site {self._site.name}"
                self._notice(f"waiting for a worker to take the events: start one with `{start}`")
            time.sleep(LOOK_EVERY_S)

    def tick(self, time_us: int) -> None:
        """Put a tick on the clock's topic. Raises RuntimeError where the broker refuses it."""
        refused: list[KafkaError] = []
        self._producer.produce(
            self._topic,
            encode("Tick", {"time": time_us}, self._schema_id),
            TICK_KEY,
            0,
            on_delivery=lambda error, _: refused.append(error) if error else None,
        )
        self._producer.flush()
        if refused:
            raise RuntimeError(f"{self._topic}: the broker refuses the tick ({refused[0].name()})")


class LastList:
    """The list imported last, kept between imports: July, then August.

    A private file in the bus's home; it holds what the list held, health flags included.
    """

    def __init__(self, home: Path, site: str, facility: str) -> None:
        self._path = home / "import" / site / f"{facility}.roster.json"

    def read(self) -> Snapshot | None:
        """The list; None before the first import. Raises ValueError where the file is damaged."""
        if not self._path.exists():
            return None
        try:
            kept: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            rows = {r["id"]: _row(r) for r in kept["rows"]}
            return Snapshot(date.fromisoformat(kept["day"]), kept["file"], rows, 0, 0, ())
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self._path} is damaged: remove it and import from the first day again; nothing is published twice"
            ) from error

    def write(self, snapshot: Snapshot) -> None:
        """Keep a list instead of the one before; whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        rows = [{**asdict(row), "admitted": row.admitted.isoformat()} for row in snapshot.rows.values()]
        text = json.dumps({"day": snapshot.day.isoformat(), "file": snapshot.file, "rows": rows})
        temporary = self._path.with_suffix(".new")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(self._path)


def _row(kept: Mapping[str, Any]) -> Row:
    level = kept["level"]
    return Row(
        kept["id"],
        datetime.fromisoformat(kept["admitted"]),
        None if level is None else CustodyLevel(level),
        kept["health"],
        kept["status"],
        kept["affiliated"],
        kept["charge"],
        kept["infraction"],
    )


def quarantine(problems: Sequence[Problem], directory: Path) -> None:
    """Copy damaged files aside, each with what is wrong with it beside it; the originals stay."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in {problem.file for problem in problems}:
        copy = directory / Path(name).name
        shutil.copyfile(name, copy)
        copy.chmod(0o600)
        why = "".join(f"{problem}\n" for problem in problems if problem.file == name)
        (directory / f"{copy.name}.why.txt").write_text(why, encoding="utf-8")
