"""The supervisor starts again what ended, and what could not be started just now."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deploy.supervisor import Supervised, Supervisor


def until(holds: Any) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_ends_is_started_again_and_all_is_ended_in_the_end(tmp_path: Path) -> None:
    endless = Supervised("endless", [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
    supervisor = Supervisor([endless])
    supervisor.start()
    first = endless.process
    assert first is not None
    first.kill()
    until(lambda: endless.process not in (None, first))
    second = endless.process
    supervisor.stop()
    assert second is not None
    assert second.poll() is not None


def test_a_start_that_the_machine_refuses_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Supervised("endless", [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
    supervisor = Supervisor([endless])
    supervisor.start()
    start: Any = subprocess.Popen
    refused: list[bool] = []

    def without_memory(*arguments: Any, **options: Any) -> Any:
        if not refused:
            refused.append(True)
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", without_memory)
    first = endless.process
    assert first is not None
    first.kill()
    until(lambda: refused and endless.process not in (None, first))
    supervisor.stop()
