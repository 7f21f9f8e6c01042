"""`sallyport up` as a test starts it: until it says that it runs, and to a Ctrl-C that leaves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil  # type: ignore[import-untyped]

from deploy.java import mark
from deploy.watchdog import marked
from schemas.settings import Settings
from tests.working_site import environment


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "deploy", "up", *options]


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
def nothing_left_of(process: subprocess.Popen[Any]) -> Iterator[None]:
    """When the block has ended it, nothing that it started is there any more: broker, registry, workers, watchdog."""
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4
    yield
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
