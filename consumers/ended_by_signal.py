"""A signal ends the screen, even where its terminal takes no more output.

A terminal that is held (Ctrl-S, a connection that hangs) blocks who writes to it. Textual's writer then fills its
queue, and the main thread, and with it the event loop, waits for a place there: a handler of the loop's would never
run. Python's own handlers do, within that wait; and what is thrown away unwritten lets the screen end as always.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

GRACE_S: Final = 3.0
"""Seconds in which a screen that can write has ended and given the terminal back."""
AGAIN_S: Final = 0.05
NUMBERS: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_by_signal(end: Callable[[], object]) -> Iterator[None]:
    """Within it a signal calls `end`, on the main thread, and some time later takes the terminal from who waits for it.

    What the screen still writes is then lost, with what would bring back the picture before it. For the main thread.
    """
    output = sys.__stderr__
    if output is None:
        raise ValueError("without stderr there is no screen")
    terminal = os.dup(output.fileno())

    def hear(_: int, __: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, GRACE_S, AGAIN_S)
        end()

    def discard(_: int, __: FrameType | None) -> None:
        with contextlib.suppress(OSError), open(os.devnull, "wb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), output.fileno())
        # Who is in the middle of a long write needs room more than once; it is woken only where output starts anew.
        with contextlib.suppress(termios.error):
            termios.tcflush(terminal, termios.TCOFLUSH)
            termios.tcflow(terminal, termios.TCOOFF)
            termios.tcflow(terminal, termios.TCOON)

    handlers = {number: signal.signal(number, hear) for number in NUMBERS}
    handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, discard)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(terminal)
