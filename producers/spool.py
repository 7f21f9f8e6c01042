"""The spool: events that an agency has handed over and the bus has not acknowledged, on disk.

One SQLite file a publisher process (write-ahead log, full synchronisation), so that a power cut or a kill -9 in the
middle of a write costs nothing that was accepted. A publisher that starts takes over the spools that dead ones left.
Spools hold personal data: the directory is the owner's alone.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from filelock import FileLock, Timeout

SUFFIX: Final = ".spool"


class SpoolFullError(Exception):
    """The disk takes no more: the events were not accepted. The message says where."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """An encoded event on its way: everything but the schema id, which only the registry knows."""

    event_type: str
    topic: str
    key: bytes
    body: bytes
    """Avro, without framing."""
    headers: tuple[tuple[str, str], ...]


class Spool:
    """The spool file of one process. Safe for two threads: one that adds, one that reads and drops."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path = path
        self._lock = lock
        self._turn = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        # FULL: accepted means on the disk, not in a cache.
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS spooled"
            " (seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT, topic TEXT, key BLOB, body BLOB, headers TEXT)"
        )

    @classmethod
    def create(cls, directory: Path) -> Self:
        """A new spool of this process."""
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        path = directory / f"{uuid.uuid4()}{SUFFIX}"
        lock = _lock_of(path)
        lock.acquire(timeout=0)
        return cls(path, lock)

    @classmethod
    def left_behind(cls, directory: Path) -> list[Self]:
        """The spools that dead processes left, oldest first; they are ours from now on."""
        found = []
        for path in sorted(directory.glob(f"*{SUFFIX}"), key=lambda p: p.stat().st_mtime):
            lock = _lock_of(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            if path.exists():
                found.append(cls(path, lock))
            else:
                lock.release()
        return found

    def add(self, events: Sequence[Spooled]) -> int:
        """Put events on disk; returns the number of the last. Raises SpoolFullError: then none was accepted."""
        rows = [(e.event_type, e.topic, e.key, e.body, json.dumps(e.headers)) for e in events]
        try:
            with self._turn:
                return self._insert(rows)
        except sqlite3.OperationalError as error:
            raise SpoolFullError(
                f"the spool {self.path.parent} takes no more events ({error}): free some disk; they were not accepted"
            ) from error

    def _insert(self, rows: Sequence[tuple[str, str, bytes, bytes, str]]) -> int:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO spooled (type, topic, key, body, headers) VALUES (?, ?, ?, ?, ?)", rows)
            last = self._db.execute("SELECT max(seq) FROM spooled").fetchone()[0]
            self._db.execute("COMMIT")
        except sqlite3.OperationalError:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return int(last)

    def after(self, seq: int, limit: int) -> list[tuple[int, Spooled]]:
        """Up to `limit` events that come after number `seq`, in the order in which they were added."""
        with self._turn:
            rows = self._db.execute(
                "SELECT seq, type, topic, key, body, headers FROM spooled WHERE seq > ? ORDER BY seq LIMIT ?",
                (seq, limit),
            ).fetchall()
        return [
            (row[0], Spooled(row[1], row[2], row[3], row[4], tuple((k, v) for k, v in json.loads(row[5]))))
            for row in rows
        ]

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget events that the bus has acknowledged."""
        with self._turn:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM spooled WHERE seq = ?", [(number,) for number in numbers])
            self._db.execute("COMMIT")

    def __len__(self) -> int:
        with self._turn:
            return int(self._db.execute("SELECT count(*) FROM spooled").fetchone()[0])

    def close(self) -> None:
        """Give the spool up; an empty one is removed."""
        empty = len(self) == 0
        self._db.close()
        if empty:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._lock.release()
        if empty:
            Path(self._lock.lock_file).unlink(missing_ok=True)


def _lock_of(path: Path) -> FileLock:
    # The kernel drops the lock with its holder, also over kill -9.
    return FileLock(f"{path}.lock", mode=0o600, thread_local=False)


def spool_directory(home: Path, site: str, agency: str) -> Path:
    """Where an agency's spools are."""
    return home / "spool" / site / agency
