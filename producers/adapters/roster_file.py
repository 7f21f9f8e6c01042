"""One file of a roster: a jail's list of everybody in custody on one day, in CSV. Read whole or refused whole.

Pure but for reading the file. Every problem names file and line and says what to do; no message shows a value.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Final

from schemas.events import CustodyLevel

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of one day, unpacked. A jail of 10,000 people makes one megabyte."""

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

LEVELS: Final = {
    "": None,
    "MIN": CustodyLevel.MINIMUM,
    "MED": CustodyLevel.MEDIUM,
    "MAX": CustodyLevel.MAXIMUM,
}
FLAGS: Final = {"Y": True, "N": False, "": False}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file."""

    file: str
    line: int | None
    why: str

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line is not None else self.file
        return f"{where}: {self.why}"


@dataclass(frozen=True, slots=True)
class Row:
    """One person on the list of one day."""

    id: str
    admitted: datetime
    """Local time, without a zone, as the list has it."""
    level: CustodyLevel | None
    health: bool
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

    @property
    def newest_admission(self) -> datetime | None:
        """The latest admission on the list."""
        return max((row.admitted for row in self.rows.values()), default=None)


@dataclass
class _Reading:
    file: str
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, line: int | None, why: str) -> None:
        if len(self.problems) < 10:  # noqa: PLR2004  # ten lines show the pattern
            self.problems.append(Problem(self.file, line, why))


def day_of(path: Path) -> date | None:
    """The day in a file's name, such as 2022-07-01.csv.gz; None without one."""
    found = re.search(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)", path.name)
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def read_snapshot(
    path: Path, columns: Mapping[str, str] = NYC_COLUMNS, most_bytes: int = MOST_BYTES
) -> Snapshot | list[Problem]:
    """A day's list from its file, gzipped or not; or everything that is wrong with it."""
    reading = _Reading(str(path))
    day = day_of(path)
    if day is None:
        reading.wrong(None, "its name has no day, such as 2026-03-01.csv: name it after the day it lists")
        return reading.problems
    try:
        with _opened(path) as raw:
            data = raw.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        reading.wrong(None, f"can't be read to its end ({_kind(error)}): it is cut off or damaged; fetch it again")
        return reading.problems
    if len(data) > most_bytes:
        reading.wrong(None, f"is larger than {most_bytes} bytes unpacked: it is no list of one day")
        return reading.problems
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reading.wrong(line, "is not UTF-8: export it as UTF-8")
        return reading.problems
    if text and not text.endswith(("\n", "\r")):
        reading.wrong(text.count("\n") + 1, "the last line does not end: the file is cut off; fetch it again")
        return reading.problems
    snapshot = _rows(text, day, reading, columns)
    return reading.problems if reading.problems or snapshot is None else snapshot


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _kind(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


def _rows(text: str, day: date, reading: _Reading, columns: Mapping[str, str]) -> Snapshot | None:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(lines, [])
        missing = [name for name in columns.values() if name not in header]
        if missing:
            reading.wrong(1, f"lacks the columns {', '.join(missing)}: export them, or name yours with --columns")
            return None
        where = {ours: header.index(theirs) for ours, theirs in columns.items()}
        return _snapshot(day, reading, _parsed(lines, len(header), where, day, reading))
    except csv.Error:
        reading.wrong(lines.line_num, "is no CSV: a quote is not closed, or the line is cut off")
        return None


Parsed = tuple[int, Row, bool]
"""Line, row, sealed."""


def _parsed(
    lines: Iterable[list[str]], width: int, where: Mapping[str, int], day: date, reading: _Reading
) -> Iterator[Parsed]:
    for line, cells in enumerate(lines, start=2):
        if len(cells) != width:
            reading.wrong(line, f"has {len(cells)} columns, not {width}: the line is cut off or has a stray comma")
            continue
        row = _row({ours: cells[index].strip() for ours, index in where.items()}, line, reading)
        if row is None:
            continue
        if row[0].admitted.date() > day:
            reading.wrong(line, f"admitted after {day}: the file is of a later day; days are swapped or misnamed")
            continue
        yield line, *row


def _row(cells: Mapping[str, str], line: int, reading: _Reading) -> tuple[Row, bool] | None:
    problems = [
        *([] if cells["id"] else ["the id is empty"]),
        *([] if cells["level"] in LEVELS else ["the custody level is none of MIN, MED, MAX or empty"]),
        *(
            f"{name} is none of Y, N or empty"
            for name in ("health", "sealed", "affiliated", "infraction")
            if cells[name] not in FLAGS
        ),
    ]
    try:
        admitted = datetime.fromisoformat(cells["admitted"]).replace(microsecond=0)
    except ValueError:
        problems.append("the time of admission is no ISO 8601 time")
    if problems:
        reading.wrong(line, "; ".join(problems))
        return None
    return Row(
        cells["id"],
        admitted,
        LEVELS[cells["level"]],
        FLAGS[cells["health"]],
        cells["status"],
        FLAGS[cells["affiliated"]],
        cells["charge"],
        FLAGS[cells["infraction"]],
    ), FLAGS[cells["sealed"]]


def _snapshot(day: date, reading: _Reading, parsed: Iterable[Parsed]) -> Snapshot | None:
    rows: dict[str, Row] = {}
    line_of: dict[str, int] = {}
    aside: list[SetAside] = []
    read = sealed = 0
    for line, row, is_sealed in parsed:
        read += 1
        if is_sealed:
            sealed += 1
            continue
        known = rows.get(row.id)
        if known is None:
            rows[row.id], line_of[row.id] = row, line
        elif known == row:
            aside.append(SetAside(line, "the same row again"))
        elif known.admitted == row.admitted:
            reading.wrong(line, f"contradicts line {line_of[row.id]} about the same stay")
        else:
            older = line if row.admitted < known.admitted else line_of[row.id]
            aside.append(SetAside(older, "an earlier admission of somebody who is listed with a later one"))
            if row.admitted > known.admitted:
                rows[row.id], line_of[row.id] = row, line
    if not read and not reading.problems:
        reading.wrong(None, "lists nobody: the export failed; fetch it again")
    return Snapshot(day, reading.file, rows, read, sealed, tuple(aside))
