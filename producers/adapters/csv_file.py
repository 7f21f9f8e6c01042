"""A CSV file of a source system, gzipped or not: its rows, or all that is wrong with it.

Pure but for reading the file. Every problem names file and line and says what to do; no message shows a value.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Final

LONGEST: Final = 100
"""Characters of one value. What is longer is no number, code or charge."""
PROBLEMS_SHOWN: Final = 10
"""Problems told of one file: ten lines show the pattern."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file."""

    file: str
    line: int | None
    why: str

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line is not None else self.file
        return f"{where}: {self.why}"


@dataclass
class Reading:
    """A file that is read, and what was found to be wrong with it."""

    file: str
    what: str
    """What it should be, in words: "list of one day"."""
    problems: list[Problem] = field(default_factory=list, kw_only=True)

    def wrong(self, line: int | None, why: str) -> None:
        """Note a problem."""
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(Problem(self.file, line, why))


def text_of(path: Path, most_bytes: int, reading: Reading) -> str | None:
    """The file's text; None where there is something wrong with it. Never holds more than `most_bytes` unpacked."""
    try:
        with _opened(path) as raw:
            data = raw.read(most_bytes + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        reading.wrong(None, "can't be unpacked to its end: it is cut off or damaged; fetch it again")
        return None
    except OSError as error:
        reading.wrong(None, f"can't be read ({error.strerror}): give a file that is there and that you may read")
        return None
    if len(data) > most_bytes:
        size = f"{most_bytes / 1024 / 1024:g} MiB"
        reading.wrong(None, f"is larger than {size} unpacked: it is no {reading.what}, or give --max-megabytes")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reading.wrong(data.count(b"\n", 0, error.start) + 1, "is not UTF-8: export it as UTF-8")
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        reading.wrong(line, "holds zero bytes: it is damaged, or UTF-16; export it as UTF-8")
        return None
    if text and not text.endswith(("\n", "\r")):
        reading.wrong(text.count("\n") + 1, "the last line does not end: the file is cut off; fetch it again")
        return None
    return text


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """By what the file holds: names are changed on the way."""
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if is_gzip or path.suffix == ".gz" else path.open("rb")


def rows_of(
    text: str, columns: Mapping[str, str], most_rows: int, reading: Reading
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each row's line, and its values of the columns in the order of `names_of`. What is wrong is noted.

    `columns` are our names to the file's; an empty one is a column that the file does not have.
    """
    separator = _other_separator(text.split("\n", 1)[0], {theirs for theirs in columns.values() if theirs})
    if separator is not None:
        why = f"its columns are separated by {separator}, not by commas: export it again with commas"
        reading.wrong(1, f"{why} (in Excel: the list separator of the system's regional settings)")
        return
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        if _are_there(header, columns, reading):
            pick = itemgetter(*(header.index(columns[name]) for name in names_of(columns)))
            for line, cells in _whole(lines, len(header), most_rows, reading):
                yield line, pick(cells)
    except csv.Error:
        reading.wrong(lines.line_num, "is no CSV: a quote is not closed, or the line is cut off")


def names_of(columns: Mapping[str, str]) -> tuple[str, ...]:
    """Our names of the columns that a file has."""
    return tuple(ours for ours, theirs in columns.items() if theirs)


def _are_there(header: list[str], columns: Mapping[str, str], reading: Reading) -> bool:
    if not any(header):
        reading.wrong(None, "is empty: the export failed; fetch it again")
        return False
    wanted = {theirs for theirs in columns.values() if theirs}
    missing, twice = sorted(wanted - set(header)), sorted(one for one in wanted if header.count(one) > 1)
    if missing:
        reading.wrong(1, f"lacks the columns {', '.join(missing)}: export them, or name yours with --columns")
    if twice:
        reading.wrong(1, f"has the columns {', '.join(twice)} twice: name each column once")
    return not missing and not twice


def _other_separator(header: str, wanted: Set[str]) -> str | None:
    """What stands between the names of the columns instead of commas, in words; None where nothing known does."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if mark in header and wanted <= {cell.strip(' "\r') for cell in header.split(mark)}:
            return name
    return None


def _whole(lines: Iterator[list[str]], width: int, most_rows: int, reading: Reading) -> Iterator[tuple[int, list[str]]]:
    line = 2
    for number, cells in enumerate(lines):
        if number >= most_rows:
            reading.wrong(None, f"has more than {most_rows:,} rows: it is no {reading.what}")
            return
        # A quoted value may hold line ends: the row is where it began.
        began, line = line, lines.line_num + 1  # type: ignore[attr-defined]
        if not any(cells):
            continue
        if len(cells) != width:
            reading.wrong(began, f"has {len(cells)} columns, not {width}: the line is cut off or has a stray comma")
            continue
        yield began, cells
