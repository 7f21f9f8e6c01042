"""The spool: events that an agency has handed over and the bus has not acknowledged, on disk.

One SQLite file a publisher process (write-ahead log, full synchronisation), so that a power cut or a kill -9 in the
middle of a write costs nothing that was accepted: SQLite finds a torn tail by its checksums and cuts it. A publisher
that starts takes over the spools that dead ones left, in the order in which they were begun.
Each event is kept with the schema it was written with: a spool may outlive the version that wrote it.
Spools hold personal data: the directory is the owner's alone, and what is forgotten is wiped.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from filelock import FileLock, Timeout

from schemas.avro_files import whole_schema

SUFFIX: Final = ".spool"
BIG_PAGES: Final = 256
"""Pages of an empty spool (4 KiB each) from which on its file is made small again."""
DIRECTORY_LOCK_S: Final = 30.0
"""Seconds that beginning or ending a spool of the same agency may take."""


class SpoolFullError(Exception):
    """The disk takes no more: the events were not accepted. The message says where."""


class SpoolDamagedError(Exception):
    """A spool can't be read; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """An encoded event on its way: everything but the schema id, which only the registry knows."""

    event_type: str
    topic: str
    key: bytes
    body: bytes
    """Avro, without framing."""
    headers: tuple[tuple[str, str], ...]
    schema: str
    """The schema, as JSON, with which the body was written."""


class Spool:
    """The spool file of one process. Safe for several threads."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        """Open or begin the file whose lock is held. Raises SpoolFullError, SpoolDamagedError."""
        self.path = path
        self._lock = lock
        self._turn = threading.Lock()
        self._closed = False
        # Made before SQLite opens it: its log gets the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA secure_delete=ON")
            # FULL: accepted means on the disk, not in a cache.
            self._db.execute("PRAGMA synchronous=FULL")
            with self._transaction():
                self._make_tables()
            self._schemas = {int(row[0]): str(row[1]) for row in self._db.execute("SELECT id, text FROM schemas")}
            self._schema_numbers = {text: number for number, text in self._schemas.items()}
            self._waiting = int(self._db.execute("SELECT count(*) FROM spooled").fetchone()[0])
        except sqlite3.OperationalError as error:
            self._db.close()
            raise SpoolFullError(f"the spool {path} can't be written ({error}): free some disk") from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise SpoolDamagedError(
                f"the spool {path} is damaged ({error}): move it away and keep it, the events in it may not have been "
                "published; publishing goes on without it"
            ) from error

    @classmethod
    def create(cls, directory: Path) -> Self:
        """A new spool of this process, after all that are there. Raises SpoolFullError, OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        with _directory_locked(directory):
            number = max((int(path.stem) for path in _spools(directory)), default=0) + 1
            path = directory / f"{number:08d}{SUFFIX}"
            lock = _lock_of(path)
            lock.acquire(timeout=0)
            return cls._opened(path, lock)

    @classmethod
    def left_behind(cls, directory: Path) -> list[Self]:
        """The spools that dead processes left, in the order in which they were begun; they are ours from now on.

        Raises SpoolDamagedError, SpoolFullError: then none was taken.
        """
        if not directory.is_dir():
            return []
        found: list[Self] = []
        try:
            with _directory_locked(directory):
                for path in _spools(directory):
                    lock = _lock_of(path)
                    with suppress(Timeout):
                        lock.acquire(timeout=0)
                        found.append(cls._opened(path, lock))
        except BaseException:
            for spool in found:
                spool.close()
            raise
        return found

    @classmethod
    def _opened(cls, path: Path, lock: FileLock) -> Self:
        try:
            return cls(path, lock)
        except BaseException:
            lock.release()
            raise

    def _make_tables(self) -> None:
        self._db.execute("CREATE TABLE IF NOT EXISTS schemas (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        self._db.execute(
            # AUTOINCREMENT: a number is never given twice, or an event could be passed over.
            "CREATE TABLE IF NOT EXISTS spooled (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
            " type TEXT, topic TEXT, key BLOB, body BLOB, headers TEXT, schema INTEGER)"
        )
        if "schema" in {row[1] for row in self._db.execute("PRAGMA table_info(spooled)")}:
            return
        # Of the versions that did not say with which schema an event was written. They had the schemas of this one.
        self._db.execute("ALTER TABLE spooled ADD COLUMN schema INTEGER")
        types = [row[0] for row in self._db.execute("SELECT DISTINCT type FROM spooled")]
        for number, event_type in enumerate(types, start=1):
            self._db.execute("INSERT INTO schemas VALUES (?, ?)", (number, whole_schema(event_type)))
            self._db.execute("UPDATE spooled SET schema = ? WHERE type = ?", (number, event_type))

    def add(self, events: Sequence[Spooled]) -> None:
        """Put events on disk. Raises SpoolFullError: then none was accepted."""
        try:
            with self._turn:
                new = dict.fromkeys(e.schema for e in events if e.schema not in self._schema_numbers)
                named = {text: number for number, text in enumerate(new, start=len(self._schemas) + 1)}
                numbers = self._schema_numbers | named
                rows = [
                    (e.event_type, e.topic, e.key, e.body, json.dumps(e.headers), numbers[e.schema]) for e in events
                ]
                with self._transaction():
                    self._db.executemany("INSERT INTO schemas (text, id) VALUES (?, ?)", named.items())
                    self._db.executemany(
                        "INSERT INTO spooled (type, topic, key, body, headers, schema) VALUES (?, ?, ?, ?, ?, ?)", rows
                    )
                self._schema_numbers = numbers
                self._schemas |= {number: text for text, number in named.items()}
                self._waiting += len(rows)
        except sqlite3.OperationalError as error:
            raise SpoolFullError(
                f"the spool {self.path.parent} takes no more events ({error}): free some disk; "
                "what did not fit was not accepted"
            ) from error

    def after(self, number: int, limit: int) -> list[tuple[int, Spooled]]:
        """Up to `limit` events whose number is greater, in the order they were added; none once it is closed."""
        with self._turn:
            if self._closed:
                return []
            rows = self._db.execute(
                "SELECT seq, type, topic, key, body, headers, schema FROM spooled WHERE seq > ? ORDER BY seq LIMIT ?",
                (number, limit),
            ).fetchall()
            schemas = self._schemas
            return [
                (row[0], Spooled(row[1], row[2], row[3], row[4], _headers(row[5]), schemas[row[6]])) for row in rows
            ]

    def drop(self, numbers: Iterable[int]) -> bool:
        """Forget events that the bus has acknowledged; false where the disk is too full for that, or it is closed.

        Not waited for until it is on the disk: what a power cut brings back is sent again, as the same event.
        """
        wanted = [(number,) for number in numbers]
        with self._turn:
            if self._closed:
                return False
            try:
                self._db.execute("PRAGMA synchronous=NORMAL")
                with self._transaction():
                    gone = self._db.executemany("DELETE FROM spooled WHERE seq = ?", wanted).rowcount
                # Those that really went: who is not sure whether a number is forgotten drops it again.
                self._waiting -= gone
            except sqlite3.OperationalError:
                return False
            finally:
                self._db.execute("PRAGMA synchronous=FULL")
            self._shrink()
        return True

    def _shrink(self) -> None:
        """Give the disk back after an outage."""
        if not self._waiting and int(self._db.execute("PRAGMA page_count").fetchone()[0]) > BIG_PAGES:
            # Where there is no room even for this, the file ends with the process.
            with suppress(sqlite3.OperationalError):
                self._db.execute("VACUUM")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def __len__(self) -> int:
        return self._waiting

    def close(self) -> None:
        """Give the spool up; an empty one is removed. Safe to call twice."""
        # In one turn: what is added between a look and the end would be accepted, and gone.
        with self._turn:
            if self._closed:
                return
            self._closed = True
            with _directory_locked(self.path.parent):
                empty = self._holds_nothing()
                self._db.close()
                if empty:
                    for suffix in ("", "-wal", "-shm"):
                        Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                self._lock.release()
                if empty:
                    Path(self._lock.lock_file).unlink(missing_ok=True)

    def _holds_nothing(self) -> bool:
        """Whether the file may go: by what is in it, not by what was counted. What can't be looked into stays."""
        try:
            return self._db.execute("SELECT 1 FROM spooled LIMIT 1").fetchone() is None
        except sqlite3.DatabaseError:
            return False


def _headers(written: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(written))


def _spools(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def _lock_of(path: Path) -> FileLock:
    # The kernel drops the lock with its holder, also over kill -9.
    return FileLock(f"{path}.lock", mode=0o600, thread_local=False)


def _directory_locked(directory: Path) -> FileLock:
    """Held while spools begin and end, so that nobody takes one that is just being made or removed."""
    return FileLock(directory / "lock", mode=0o600, timeout=DIRECTORY_LOCK_S)


def waiting_in(directory: Path) -> int:
    """How many events wait in an agency's spools, whoever has them. Takes none of them.

    Raises SpoolDamagedError; OSError where it can't be seen, which is not the same as none.
    """
    try:
        # To glob a directory that is closed to us is an empty one.
        os.scandir(directory).close()
    except FileNotFoundError:
        return 0
    count = 0
    for path in _spools(directory):
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as spool:
                count += int(spool.execute("SELECT count(*) FROM spooled").fetchone()[0])
        except sqlite3.OperationalError as error:
            if "no such table" in str(error) or not path.exists():
                continue  # it is just being made, or was just removed
            raise OSError(errno.EIO, str(error), str(path)) from error
        except sqlite3.DatabaseError as error:
            raise SpoolDamagedError(f"the spool {path} is damaged ({error})") from error
    return count


def spool_directory(home: Path, site: str, agency: str) -> Path:
    """Where an agency's spools are."""
    return home / "spool" / site / agency
