"""A pause of a running bus: a backup asks for it, the `sallyport up` of that home ends everything, and begins again.

    home/backup.lock    held by a backup as long as it lives: the kernel drops it with its holder
    home/pause          there while a backup asks for a pause
    home/paused         there while `up` has everything ended, until it runs again

The bus's own lock says when nobody runs it any more. A backup that is killed lets go of `backup.lock`, and the bus goes
on; so nothing that dies leaves it standing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import filelock

from deploy.embedded import BusError, held, holder, lock_of
from deploy.left_snapshot import BACKUP_LOCK
from deploy.private_files import write_private

LOOK_EVERY_S: Final = 0.5
"""Seconds between looks at whether somebody asks."""
MOMENT_S: Final = 1.0
"""Seconds that a lock is waited for: whoever only looks whether it is held takes it for a moment."""
PAUSE_S: Final = 90.0
"""Seconds that a running bus may take to end: its workers have 10, broker and registry 30."""
AGAIN_S: Final = 180.0
"""Seconds that it may take to run again."""


class Pausing:
    """The side of `sallyport up`: a thread that ends and begins what runs when a backup asks for it."""

    def __init__(
        self, home: Path, end: Callable[[], None], begin: Callable[[], None], trouble: Callable[[], str | None]
    ) -> None:
        self._home, self._end, self._begin, self._trouble = home.expanduser().resolve(), end, begin, trouble
        self._turn = threading.Lock()
        self._ending = threading.Event()
        self._failed: str | None = None
        self._thread = threading.Thread(target=self._watch, name="pause", daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        (self._home / "paused").unlink(missing_ok=True)  # of a run that was killed
        self._thread.start()

    def stop(self) -> None:
        """Listen no more; a pause that has begun is not waited for, a bus that is just starting is."""
        self._ending.set()
        self._thread.join()

    def trouble(self) -> str | None:
        """Why what runs can't go on, in one line; None while it runs or stands still on purpose."""
        if not self._turn.acquire(blocking=False):
            return None
        try:
            return self._failed or self._trouble()
        finally:
            self._turn.release()

    def _watch(self) -> None:
        while not self._ending.wait(LOOK_EVERY_S):
            if asked(self._home):
                with self._turn:
                    self._pause()

    def _pause(self) -> None:
        paused = self._home / "paused"
        try:
            paused.touch(mode=0o600)
            self._end()
            while asked(self._home):
                if self._ending.wait(0.1):
                    return
            self._begin()
        except Exception as error:
            # Whatever it is: what stands still must not look as if it ran.
            self._failed = str(error) or type(error).__name__
        finally:
            paused.unlink(missing_ok=True)


def asked(home: Path) -> bool:
    """Somebody who lives asks for a pause."""
    return (home / "pause").exists() and held(home / BACKUP_LOCK)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """While this backup runs no other may. Raises BusError where one does."""
    lock = filelock.FileLock(home / BACKUP_LOCK, mode=0o600, thread_local=False)
    if not _taken(lock, MOMENT_S):
        raise BusError(f"another backup of {home} is running: wait for its end")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def standing_still(home: Path, told: Callable[[str], None]) -> Iterator[bool]:
    """A block in which nobody runs the bus of this home, nor can start it: whether it had to be paused for that.

    When the block ends a paused bus begins again. The caller holds `alone`. Raises BusError where who runs the bus does
    not pause.
    """
    lock = lock_of(home)
    runs = not _taken(lock, MOMENT_S)
    with ExitStack() as stack:
        if runs:
            pid, request = holder(home), home / "pause"
            told(f"Pausing the bus (process {pid}) ...")
            stack.callback(request.unlink, missing_ok=True)
            write_private(request, "")
            if not _taken(lock, PAUSE_S):
                raise BusError(
                    f"process {pid}, which runs the bus, did not pause within {PAUSE_S:.0f} s: "
                    "stop it (Ctrl-C), back up, and start it again."
                )
        stack.callback(lock.release)
        if runs:
            # Whoever would start a bus now, or end this one, finds the process to speak of.
            stack.callback((home / "bus.pid").unlink, missing_ok=True)
            write_private(home / "bus.pid", f"{pid}\n")
        yield runs


def _taken(lock: filelock.BaseFileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds)
    except filelock.Timeout:
        return False
    return True


def runs_again(home: Path) -> bool:
    """Wait for a paused bus to run again: whether it does."""
    deadline = time.monotonic() + AGAIN_S
    while (home / "paused").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not (home / "paused").exists() and held(home / "bus.lock")
