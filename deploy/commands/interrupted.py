"""What ends a command from outside is heard as Ctrl-C, so that nothing half is left of what it did."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
"""Of whoever stops a program, and of a session that closes."""


def ended_as_by_ctrl_c() -> None:
    """From now on a signal that ends programs raises KeyboardInterrupt, once."""
    for number in ENDING:
        # Where it is ignored somebody wants that: `nohup`.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_: int, __: FrameType | None) -> None:
    # A session that closes may say so twice: what is cleaned up now is not broken off.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
