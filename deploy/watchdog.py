"""Ends the bus's Java processes when the process that started them dies without a word (kill -9, a crash).

Run as a script beside them: `python watchdog.py PARENT_PID MARK`. It is a process and not PR_SET_PDEATHSIG, which is
Linux only and fires already when the *thread* that started the child ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

import psutil  # type: ignore[import-untyped]

LOOK_EVERY = 0.5
"""Seconds between looks at the parent."""
GRACE = 20.0
"""Seconds to end cleanly before SIGKILL. The broker closes its logs in half a second, with thousands open in ten."""


def marked(mark: str) -> list[psutil.Process]:
    """Processes whose command line holds this argument. A recycled pid never does."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if mark in (process.info["cmdline"] or ()) and process.pid != os.getpid()
    ]


def end(processes: Iterable[psutil.Process], grace: float = GRACE) -> list[psutil.Process]:
    """End these gracefully, after the grace by force; those that live on all the same are returned."""
    asked = [process for process in processes if _signal(process, signal.SIGTERM)]
    _, alive = psutil.wait_procs(asked, timeout=grace)
    _, alive = psutil.wait_procs([one for one in alive if _signal(one, signal.SIGKILL)], timeout=5)
    return list(alive)


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        pass  # another user's: it is returned as alive
    return True


def watch(parent: int, mark: str) -> None:
    """Wait for the parent's end, then end what is marked."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    end(marked(mark))


if __name__ == "__main__":
    # Ctrl-C in the terminal is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch(int(sys.argv[1]), sys.argv[2])
