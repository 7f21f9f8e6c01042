"""What a command says as JSON lines, while it runs."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterable
from typing import Any

from tests.working_site import WAIT_S


class Stream:
    """What a command says with `--json`, line by line; a line that does not come in time fails the test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.said: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._lines.put(line)

    def until(self, *changes: str, seconds: float = WAIT_S) -> dict[str, Any]:
        """The next of these changes."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.said.append(json.loads(self._lines.get(timeout=max(0.0, deadline - time.monotonic()))))
            except queue.Empty:
                raise AssertionError(f"waited {seconds} s in vain for {changes} after {self.said}") from None
            if self.said[-1]["change"] in changes:
                return self.said[-1]
