"""`sallyport up` as a test starts it: until it says that it runs, or on a terminal; to a Ctrl-C that leaves nothing."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil  # type: ignore[import-untyped]

from deploy.java import mark
from deploy.watchdog import marked
from schemas.settings import Settings
from tests.working_site import environment


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "deploy", "up", *options]


class Terminal:
    """A command on a terminal of 140 columns and 40 lines."""

    def __init__(self, arguments: list[str], where: dict[str, str]) -> None:
        self._outer, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
        self.process = subprocess.Popen(
            arguments, env={**where, "TERM": "xterm-256color"}, stdin=inner, stdout=inner, stderr=inner
        )
        os.close(inner)
        self._written = bytearray()
        # Somebody has to read all the time: a full terminal stops the command.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # the terminal is gone with its last process
            while more := os.read(self._outer, 65536):
                self._written += more

    def press(self, keys: bytes) -> None:
        os.write(self._outer, keys)

    @property
    def text(self) -> str:
        """All that was ever written to it, without what moves and colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._written.decode(errors="replace"))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        os.close(self._outer)


@contextmanager
def up(settings: Settings, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start it and wait until it says that it runs; where it still does in the end Ctrl-C, and nothing may be left."""
    process = subprocess.Popen(command(*options), env=environment(settings), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "The bus runs" in line:
                break
        assert "The bus runs" in said[-1], said
        yield process
    finally:
        if process.poll() is None:
            with nothing_left_of(process):
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0
        assert marked(mark(settings.home)) == []


@contextmanager
def up_on_a_terminal(settings: Settings, *options: str) -> Iterator[Terminal]:
    """Start it on a terminal, as a person does; in the end Ctrl-C, and nothing may be left."""
    terminal = Terminal(command(*options), environment(settings))
    try:
        yield terminal
        with nothing_left_of(terminal.process):
            terminal.press(b"\x03")
            assert terminal.process.wait(60) == 0
    finally:
        terminal.close()
    assert marked(mark(settings.home)) == []


@contextmanager
def nothing_left_of(process: subprocess.Popen[Any]) -> Iterator[None]:
    """When the block has ended it, nothing that it started is there any more: broker, registry, workers, watchdog."""
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4
    yield
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
