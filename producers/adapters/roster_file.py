"""One file of a roster: a jail's list of everybody in custody on one day, in CSV. Read whole or refused whole.

Pure but for reading the file. Every problem names file and line and says what to do; no message shows a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from producers.adapters.csv_file import LONGEST, Problem, Reading, names_of, rows_of, text_of
from schemas.events import CustodyLevel

MOST_BYTES: Final = 8 * 1024 * 1024
"""Bytes of one day, unpacked. A jail of 10,000 people makes one megabyte, and 8 KB of memory for each of them."""

NYC_COLUMNS: Final[Mapping[str, str]] = {
    "id": "inmateid",
    "admitted": "admitted_dt",
    "level": "custody_level",
    "health": "bradh",
    "status": "inmate_status_code",
    "sealed": "sealed",
    "affiliated": "srg_flg",
    "charge": "top_charge",
    "infraction": "infraction",
}
"""Our names of the columns that are used, and theirs in New York City's "Daily Inmates In Custody" (7479-ugqb).

Whatever else a file holds (race, gender, age) is never read into anything."""
REQUIRED: Final = ("id", "admitted")
"""Columns that a list must have; a jail that keeps no other says so by an empty name."""
EARLIEST_ADMISSION: Final = datetime(1900, 1, 2)  # noqa: DTZ001  # local time, as the lists have it
FIRST_DAY: Final = date(1900, 1, 2)
LAST_DAY: Final = date(2099, 12, 30)
"""Days that a list can be of: in any time zone, what an event's time can be (`schemas.events.Micros`)."""
MOST_ROWS: Final = 100_000
"""Rows of one day's list: several times what any jail holds."""
ROWS_REMEMBERED: Final = 32_768
"""Rows as read that are not read again: nearly all of a list were on the one before."""

DRAWN_WITHIN: Final = timedelta(hours=4)
"""After the midnight that ends its day, when a nightly list is drawn. Who came since is on the next one as well."""

LEVELS: Final = {
    "": None,
    "MIN": CustodyLevel.MINIMUM,
    "MED": CustodyLevel.MEDIUM,
    "MAX": CustodyLevel.MAXIMUM,
}
FLAGS: Final = {"Y": True, "N": False, "": False}
SEALED_BLANK: Final = (
    "sealed is blank: it says Y or N in each row; export the column again, or say with --columns that there is none"
)
"""An export whose column came out empty would tell of everybody who is sealed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One person on the list of one day."""

    id: str
    admitted: datetime
    """Local time, without a zone, as the list has it."""
    level: CustodyLevel | None
    health: bool | None
    """None: the list does not say."""
    status: str
    affiliated: bool
    charge: str
    infraction: bool

    @property
    def booking_number(self) -> str:
        """The stay: one id may be admitted again."""
        return f"{self.id}-{self.admitted:%Y%m%dT%H%M%S}"


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that is not taken, and why."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A day's list, as far as it counts: stays by id."""

    day: date
    file: str
    rows: Mapping[str, Row]
    rows_read: int
    sealed: int
    """Rows of sealed cases: they count as absent."""
    set_aside: tuple[SetAside, ...]
    digest: str
    """SHA-256 of what counts of the list, whatever the order of its rows."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file that is not taken: all that is wrong with it."""

    file: str
    day: date | None
    """The day in its name."""
    problems: tuple[Problem, ...]
    newest_admission: datetime | None = None
    """The latest admission in it, where it is a list of a later day than its name says."""


@dataclass
class _Reading(Reading):
    day: date
    too_new: datetime | None = None
    """The latest admission after the day of the file."""

    @property
    def midnight(self) -> datetime:
        """That ends the day, local."""
        return datetime.combine(self.day + timedelta(days=1), datetime.min.time())

    @property
    def damaged(self) -> Damaged:
        return Damaged(self.file, self.day, tuple(self.problems), self.too_new)


def day_of(path: Path) -> date | None:
    """The day in a file's name, such as 2022-07-01.csv.gz; None without one."""
    found = re.search(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)", path.name)
    try:
        day = date(*map(int, found.groups())) if found else None
    except ValueError:
        return None
    return day if day is not None and FIRST_DAY <= day <= LAST_DAY else None


def read_snapshot(
    path: Path, columns: Mapping[str, str] = NYC_COLUMNS, most_bytes: int = MOST_BYTES
) -> Snapshot | Damaged:
    """A day's list from its file, gzipped or not; or everything that is wrong with it.

    `columns` are our names to the file's. Never holds more of the file than `most_bytes` unpacked.
    """
    day = day_of(path)
    if day is None and not path.exists():
        return Damaged(str(path), None, (Problem(str(path), None, "there is no such file"),))
    if day is None:
        why = "its name has no day, such as 2026-03-01.csv: name it after the day it lists"
        return Damaged(str(path), None, (Problem(str(path), None, why),))
    reading = _Reading(str(path), "list of one day", day)
    text = text_of(path, most_bytes, reading)
    snapshot = None if text is None else _snapshot(reading, _found(text, columns, reading))
    return reading.damaged if reading.problems or snapshot is None else snapshot


@dataclass(frozen=True, slots=True)
class _Read:
    """What a row says."""

    row: Row
    sealed: bool
    told: str
    """All that counts of it, as text."""


@dataclass(frozen=True, slots=True)
class _Found:
    line: int
    read: _Read


def _found(text: str, columns: Mapping[str, str], reading: _Reading) -> Iterator[_Found]:
    names = names_of(columns)
    for line, values in rows_of(text, columns, MOST_ROWS, reading):
        read = _read(names, values)
        if isinstance(read, str):
            reading.wrong(line, read)
        elif read.row.admitted >= reading.midnight + DRAWN_WITHIN:
            reading.wrong(line, f"admitted after {reading.day}: a list of a later day; days are swapped or misnamed")
            reading.too_new = max(reading.too_new or read.row.admitted, read.row.admitted)
        else:
            yield _Found(line, read)


@lru_cache(ROWS_REMEMBERED)
def _read(names: tuple[str, ...], values: tuple[str, ...]) -> _Read | str:
    """What a row says; or what is wrong with it."""
    cells = {name: value.strip() for name, value in zip(names, values, strict=True)}
    level = cells.get("level", "")
    flags = {name: cells.get(name, "") for name in ("health", "sealed", "affiliated", "infraction")}
    admitted = _admitted(cells["admitted"])
    problems = [
        *([] if cells["id"] else ["the id is empty"]),
        *(f"{name} has more than {LONGEST} characters" for name, cell in cells.items() if len(cell) > LONGEST),
        *([] if level in LEVELS else ["the custody level is none of MIN, MED, MAX or empty"]),
        *(f"{name} is none of Y, N or empty" for name, flag in flags.items() if flag not in FLAGS),
        *([SEALED_BLANK] if cells.get("sealed") == "" else []),
        *([admitted] if isinstance(admitted, str) else []),
    ]
    if problems or isinstance(admitted, str):
        return "; ".join(problems)
    row = Row(
        id=cells["id"],
        admitted=admitted,
        level=LEVELS[level],
        health=FLAGS[flags["health"]] if flags["health"] else None,
        status=cells.get("status", ""),
        affiliated=FLAGS[flags["affiliated"]],
        charge=cells.get("charge", ""),
        infraction=FLAGS[flags["infraction"]],
    )
    # As it always was where there is no such column: digests of lists that were imported must not change.
    told = row if "health" in cells else replace(row, health=False)
    return _Read(row, FLAGS[flags["sealed"]], repr(told))


def _admitted(text: str) -> datetime | str:
    """A local time of admission, to the second; or what is wrong with it."""
    try:
        admitted = datetime.fromisoformat(text)
    except ValueError:
        return "the time of admission is no ISO 8601 time, such as 2026-03-01T14:30: export the column in that form"
    if admitted.tzinfo is not None:
        return "the time of admission has a time zone: give the facility's local time"
    if admitted < EARLIEST_ADMISSION:
        return "the time of admission is before 1900"
    return admitted.replace(microsecond=0)


def _snapshot(reading: _Reading, listed: Iterable[_Found]) -> Snapshot:
    kept: dict[str, _Found] = {}
    aside: list[SetAside] = []
    rows_read = sealed = 0
    for found in listed:
        rows_read += 1
        if found.read.sealed:
            sealed += 1
            continue
        row = found.read.row
        if row.admitted >= reading.midnight:
            aside.append(SetAside(found.line, "admitted after the day had ended: the next list tells of it"))
            continue
        known = kept.setdefault(row.id, found)
        if known is found:
            continue
        if known.read.row == row:
            aside.append(SetAside(found.line, "the same row again"))
        elif known.read.row.admitted == row.admitted:
            if not _agree(known.read.row, row):
                reading.wrong(found.line, f"contradicts line {known.line} about the same stay: export it again")
            # Not the first: the order of rows means nothing.
            kept[row.id], other = sorted((known, found), key=lambda one: (one.read.row.charge, one.read.row.status))
            aside.append(SetAside(other.line, "the same stay again, with another charge or status"))
        else:
            earlier, kept[row.id] = sorted((known, found), key=lambda one: one.read.row.admitted)
            aside.append(SetAside(earlier.line, "an earlier admission of somebody who is listed with a later one"))
    if not rows_read and not reading.problems:
        reading.wrong(None, "lists nobody: the export failed; fetch it again")
    return Snapshot(
        day=reading.day,
        file=reading.file,
        rows={known_as: one.read.row for known_as, one in kept.items()},
        rows_read=rows_read,
        sealed=sealed,
        set_aside=tuple(aside),
        digest=sha256("\n".join(sorted(one.read.told for one in kept.values())).encode()).hexdigest(),
    )


def _agree(one: Row, other: Row) -> bool:
    """Whether two rows of one stay differ at most in what no change of is ever carried."""
    return replace(one, charge=other.charge, status=other.status) == other
