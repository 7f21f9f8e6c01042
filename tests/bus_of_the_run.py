"""The bus that all processes of a test run share: who needs it first starts it, and it ends with the last of them.

It is a process of its own, since which of them ends last is known to nobody.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import psutil  # type: ignore[import-untyped]

from deploy.embedded import EmbeddedBus, running
from schemas.settings import Settings
from tests.working_site import environment, until

LOOK_S = 0.2
LOCK = "the-bus.lock"


@contextmanager
def bus_of_the_run(directory: Path, make: Callable[[Path], Settings]) -> Iterator[Settings]:
    """The settings of the bus, which runs. `directory` is the run's; `make` makes the settings of a bus in a home."""
    users, told = directory / "users-of-the-bus", directory / "settings-of-the-bus.json"
    users.mkdir(exist_ok=True)
    mine = users / str(os.getpid())
    with filelock.FileLock(directory / LOCK):
        mine.touch()
        if not told.exists():
            told.write_text(make(directory / "bus").model_dump_json())
        # With what is not set, too: that would be taken from the environment.
        settings = Settings.model_validate_json(told.read_text())
        if not running(settings):
            _start(settings, users)
    try:
        yield settings
    finally:
        mine.unlink()


def _start(settings: Settings, users: Path) -> None:
    ready, words = users.with_name("the-bus-runs"), users.with_name("the-bus.out")
    ready.unlink(missing_ok=True)
    with words.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, __file__, str(users), str(ready)],
            env=environment(settings),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    until(lambda: ready.exists() or process.poll() is not None, "the bus of the run began")
    assert ready.exists(), words.read_text()


def _run(users: Path, ready: Path) -> None:
    """Run the bus as long as any process uses it."""
    bus = EmbeddedBus(Settings())
    bus.start()
    ready.touch()
    while True:
        time.sleep(LOOK_S)
        # Who would use it looks for it under the same lock: nobody is given one that is about to end.
        with filelock.FileLock(users.with_name(LOCK)):
            if not bus.alive() or not any(psutil.pid_exists(int(user.name)) for user in users.iterdir()):
                bus.stop()
                return


if __name__ == "__main__":
    _run(Path(sys.argv[1]), Path(sys.argv[2]))
