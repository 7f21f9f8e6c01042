"""Importing rosters: everything is read and judged before anything is published; then day by day, in step with time.

After each day's events the importer waits until the workers have identified them all, and only then puts the day's
tick on the site's clock: a history site's time never runs ahead of its events. A run that is broken off is made whole
by running it again: event ids depend on content only.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from filelock import FileLock, Timeout

from producers.adapters.csv_file import Problem
from producers.adapters.roster import Jail, Known, Summary, day_events, list_taken
from producers.adapters.roster_file import MOST_BYTES, NYC_COLUMNS, Damaged, Row, read_snapshot
from producers.adapters.roster_sequence import Begun, Imported, Listed, judge_sequence, not_as_begun, stays_of
from producers.replaced_file import replace_file
from schemas import topics
from schemas.codec import digest, encode
from schemas.events import CustodyLevel, Event
from schemas.registry_client import registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site

TICK_KEY: Final = b"~tick"
LOOK_EVERY_S: Final = 0.05
NOTICE_S: Final = 30.0
"""Seconds without progress after which the importer says what it waits for."""
PATIENCE_S: Final = 30.0
"""Seconds for which the broker may leave a question unanswered."""
STATE_FORMAT: Final = 2
"""Of the state's file, the lists' digests included."""
ROW_FIELDS: Final = tuple(one.name for one in fields(Row))


class FileChangedError(Exception):
    """A file is not what was judged any more; the days before it stand. The message names it and says what to do."""


class ImportRefusedError(Exception):
    """Files are damaged, or do not follow each other: nothing was published."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class State:
    """What an import leaves for the next one: July, then August."""

    known: Known
    file: str
    """The last list's."""
    digests: Mapping[date, str]
    """Of every list imported."""

    @property
    def imported(self) -> Imported:
        """As the sequence is judged by it."""
        stays, day = stays_of(self.known.rows.values()), self.known.day
        return Imported(Listed(self.file, day, stays, self.digests[day]), self.digests)

    @property
    def begun(self) -> Begun:
        """The last list, as it is noted before anything of it is published."""
        return Begun(self.known.day, self.digests[self.known.day])


@dataclass(frozen=True, slots=True)
class Day:
    """One day of an import: its events, its tick, and what is known after it."""

    state: State
    events: tuple[Event, ...]
    tick: int
    """Microseconds."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files that stand, by day, and what is wrong with those that were set aside."""

    days: tuple[Listed, ...]
    set_aside: tuple[Problem, ...]
    already_imported: int = 0
    """Days left out because they were imported before."""
    digests: Mapping[date, str] = field(default_factory=dict)
    """Of every list imported before."""


@dataclass(frozen=True, slots=True)
class Allowances:
    """What an import accepts that it otherwise refuses."""

    set_aside: bool = False
    """Damaged files are left out."""
    gaps: bool = False
    """Days are missing."""
    drops: bool = False
    """More people are gone within a day than leave a jail."""
    order: bool = False
    """A list seems to be older than that of the day before."""


NOTHING_ALLOWED: Final = Allowances()


def judge(
    paths: Sequence[Path],
    before: State | None,
    ended: date,
    *,
    begun: Begun | None = None,
    columns: Mapping[str, str] = NYC_COLUMNS,
    most_bytes: int = MOST_BYTES,
    allow: Allowances = NOTHING_ALLOWED,
    again: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> Files:
    """Read all files and judge each, and whether they follow each other and what was imported before.

    `ended` is the last day that has ended where the jail is; `begun` the list of which something was published last.
    With `again`, days that were imported before are taken too. Raises ImportRefusedError with all problems.
    """
    read: list[Listed | Damaged] = []
    for path in paths:
        one = read_snapshot(path, columns, most_bytes)
        read.append(one if isinstance(one, Damaged) else Listed.of(one))
        progress()
    imported = before.imported if before is not None else None
    judged = judge_sequence(
        read,
        imported,
        ended,
        again=again,
        gaps_allowed=allow.gaps,
        drops_allowed=allow.drops,
        order_allowed=allow.order,
    )
    if judged.gaps or (judged.damage and not allow.set_aside):
        raise ImportRefusedError((*judged.damage, *judged.gaps))
    if again and before is not None and judged.good and judged.good[0].day != min(before.digests):
        why = f"the first day imported was {min(before.digests)}: to import again, begin with that day"
        raise ImportRefusedError([Problem(judged.good[0].file, None, why)])
    broken_off = not_as_begun(judged.good, begun, imported)
    if broken_off is not None:
        raise ImportRefusedError([broken_off])
    return Files(judged.good, judged.damage, judged.already_imported, before.digests if before is not None else {})


def days(
    files: Files,
    known: Known | None,
    jail: Jail,
    summary: Summary,
    columns: Mapping[str, str] = NYC_COLUMNS,
    most_bytes: int = MOST_BYTES,
) -> Iterator[Day]:
    """The days of an import after what is known, one after the other, counted into the summary.

    Raises FileChangedError.
    """
    digests = dict(files.digests)
    for listed in files.days:
        snapshot = read_snapshot(Path(listed.file), columns, most_bytes)
        if isinstance(snapshot, Damaged) or snapshot.digest != listed.digest:
            raise FileChangedError(
                f"{listed.file} was changed while it was imported: the days before it stand; import again"
            )
        repeats = known is not None and digests.get(known.day) == listed.digest
        taken = list_taken(known, snapshot, jail, repeats=repeats)
        events = [*day_events(known, snapshot, jail, summary.tally), *taken]
        summary.count(snapshot, events, repeats=repeats)
        known = Known.after(known, snapshot)
        digests[snapshot.day] = listed.digest
        yield Day(State(known, snapshot.file, dict(digests)), tuple(events), jail.as_of(snapshot.day))


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


def publish_all(events: Sequence[Event], sink: Sink, notice: Callable[[str], None]) -> None:
    """Publish events, and return when the broker has them; what is waited for is said."""
    sink.publish_many(events)
    while left := sink.flush(NOTICE_S):
        notice(f"waiting for the broker: {left} events are on disk until it takes them")


def publish_days(
    all_days: Iterator[Day],
    sink: Sink,
    clock: Clock,
    begin: Callable[[Day], None],
    done: Callable[[Day], None],
    notice: Callable[[str], None] = lambda _: None,
) -> None:
    """Publish day by day: events, wait, tick; `begin` is called before anything of a day, `done` after its tick.

    However it ends, a day has its tick only after all of its events.
    """
    for day in all_days:
        begin(day)
        if day.events:
            publish_all(day.events, sink, notice)
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
        """Wait until the workers' group has committed the end of every inbound partition. Raises KafkaException."""
        ends = {(part.topic, part.partition): self._watermarks(part) for part in self._parts}
        best, moved = -1, time.monotonic()
        while True:
            committed = self._consumer.committed(self._parts, timeout=PATIENCE_S)
            # A partition that never had a record, or has none any more, has nothing to be committed.
            if all(
                max(part.offset, low) >= high for part in committed for low, high in [ends[part.topic, part.partition]]
            ):
                return
            done = sum(max(0, part.offset) for part in committed)
            if done > best:
                best, moved = done, time.monotonic()
            elif time.monotonic() - moved > NOTICE_S:
                moved = time.monotonic()
                start = f"sallyport worker --site {self._site.name}"
                self._notice(f"waiting for a worker to take the events; none seems to run: `{start}`")
            time.sleep(LOOK_EVERY_S)

    def _watermarks(self, part: TopicPartition) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(part, timeout=PATIENCE_S)
        return int(low), int(high)

    def tick(self, time_us: int) -> None:
        """Put a tick on the clock's topic. Raises KafkaException where the broker does not take it."""
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
            raise KafkaException(refused[0])

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


class StateFile:
    """Where an import leaves its state, and which day it has begun: private files in the bus's home.

    It holds what the lists held, health flags included, so it is readable by its owner alone.
    """

    def __init__(self, home: Path, site: str, facility: str) -> None:
        self.path = home / "import" / site / f"{facility}.roster.json"
        self.begun_path = self.path.with_name(f"{facility}.begun.json")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this import runs no other may. Raises ValueError where one does."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with FileLock(self.path.with_suffix(".lock"), timeout=0, mode=0o600):
                yield
        except Timeout as error:
            raise ValueError(f"another import into {self.path.parent.name} is running: wait for its end") from error

    def read(self) -> State | None:
        """The state; None before the first import. Raises ValueError where the file is damaged."""
        if not self.path.exists():
            return None
        try:
            whole: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            if whole.get("format") != STATE_FORMAT or whole["sha256"] != digest(whole["state"]):
                raise ValueError("not as it was written, or written by another version")
            kept = whole["state"]
            rows = {row.id: row for row in map(_row, kept["rows"])}
            ended = {row.booking_number: row for row in map(_row, kept["ended"])}
            digests = {date.fromisoformat(day): listed for day, listed in kept["digests"].items()}
            known = Known(date.fromisoformat(kept["day"]), rows, ended)
            digests[known.day]  # what is not there is damage
            return State(known, kept["file"], digests)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.path} is damaged, or of another version of sallyport: remove it and import from the first day "
                "again; nothing is published twice"
            ) from error

    def write(self, state: State) -> None:
        """Keep a state instead of the one before; whole or not at all."""
        kept = {
            "day": state.known.day.isoformat(),
            "file": state.file,
            "digests": {day.isoformat(): listed for day, listed in state.digests.items()},
            "rows": [_kept(row) for row in state.known.rows.values()],
            "ended": [_kept(row) for row in state.known.ended.values()],
        }
        replace_file(self.path, json.dumps({"format": STATE_FORMAT, "sha256": digest(kept), "state": kept}))

    def begun(self) -> Begun | None:
        """The list of which something was published last; None before the first. Raises ValueError where the note is
        damaged."""
        if not self.begun_path.exists():
            return None
        try:
            kept = json.loads(self.begun_path.read_text(encoding="utf-8"))
            return Begun(date.fromisoformat(kept["day"]), str(kept["digest"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.begun_path} is damaged: remove it and go on with the same files as before; nothing is "
                "published twice"
            ) from error

    def begin(self, begun: Begun) -> None:
        """Note a list before anything of it is published."""
        replace_file(self.begun_path, json.dumps({"day": begun.day.isoformat(), "digest": begun.digest}))


def _kept(row: Row) -> dict[str, Any]:
    return {**{name: getattr(row, name) for name in ROW_FIELDS}, "admitted": row.admitted.isoformat()}


def _row(kept: Mapping[str, Any]) -> Row:
    values = {name: kept[name] for name in ROW_FIELDS}
    level = values["level"]
    admitted = datetime.fromisoformat(values["admitted"])
    return Row(**{**values, "admitted": admitted, "level": None if level is None else CustodyLevel(level)})


def quarantine(problems: Sequence[Problem], directory: Path) -> None:
    """Copy damaged files aside, each with what is wrong with it beside it; the originals stay."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number, name in enumerate(sorted({problem.file for problem in problems}), start=1):
        # Numbered: files of one name may come from two folders.
        copy = directory / f"{number:03}-{Path(name).name}"
        why = "".join(f"{problem}\n" for problem in problems if problem.file == name)
        copy.with_name(f"{copy.name}.why.txt").write_text(why, encoding="utf-8")
        try:
            shutil.copyfile(name, copy)
            copy.chmod(0o600)
        except OSError as error:
            with copy.with_name(f"{copy.name}.why.txt").open("a", encoding="utf-8") as out:
                out.write(f"{name}: could not be copied ({error.strerror})\n")
