"""The supervisor: keeps processes running, starts again what ended, ends all of them for certain."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.2
BACKOFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a process that keeps ending is started again."""
STEADY_S: Final = 30.0
"""A process that ran so long is no longer one that keeps ending."""
STOP_SECONDS: Final = 10.0


@dataclass(slots=True)
class Supervised:
    """One process that is to run."""

    name: str
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    ended_in_a_row: int = 0
    again_at: float = 0.0
    restarts: int = 0
    ended_with: int | None = None
    """Exit code with which it ended last; below 0 the signal that killed it."""


@dataclass(slots=True)
class Supervisor:
    """Runs processes in sessions of their own, so that Ctrl-C in the terminal reaches only us."""

    processes: list[Supervised]
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start all, and keep them running until `stop`; after it they can be started again."""
        self._stop.clear()
        for supervised in self.processes:
            _start(supervised)
        self._thread = threading.Thread(target=self._keep, name="supervisor", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            for supervised in self.processes:
                _look_after(supervised, time.monotonic())

    def stop(self) -> None:
        """End all: asked first, killed after a grace."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        running = [s.process for s in self.processes if s.process is not None and s.process.poll() is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _look_after(supervised: Supervised, now: float) -> None:
    process = supervised.process
    if process is not None:
        if process.poll() is None:
            return
        supervised.ended_with = process.returncode
        steady = now - supervised.started > STEADY_S
        _put_off(supervised, now, 1 if steady else supervised.ended_in_a_row + 1)
        supervised.process = None
        supervised.restarts += 1
    elif now >= supervised.again_at:
        try:
            _start(supervised)
        except OSError as error:  # no memory, no descriptor, no space for its log: later there may be
            log.error("%s can't be started (%s): it is tried again", supervised.name, error.strerror)
            _put_off(supervised, now, supervised.ended_in_a_row + 1)


def _put_off(supervised: Supervised, now: float, ended_in_a_row: int) -> None:
    supervised.ended_in_a_row = ended_in_a_row
    supervised.again_at = now + BACKOFF_S[min(ended_in_a_row, len(BACKOFF_S)) - 1]


def _start(supervised: Supervised) -> None:
    descriptor = os.open(supervised.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        supervised.process = subprocess.Popen(
            supervised.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    supervised.started = time.monotonic()
