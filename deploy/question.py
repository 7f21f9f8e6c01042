"""A question asked in the background: who wants the answer waits only so long for it, and then has the last one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What was answered last."""

    what: T
    at: float
    """When it came, by the question's clock."""


class Question(Generic[T]):
    """Asked when somebody wants to know, by one thread at a time, and not again while its answer is new."""

    def __init__(self, ask: Callable[[], T], kept: float, clock: Callable[[], float]) -> None:
        """`kept`: seconds for which an answer is told again before it is asked anew."""
        self._ask = ask
        self._kept = kept
        self._clock = clock
        self._turn = threading.Lock()
        self._asking: threading.Thread | None = None
        self._last: Answer[T] | None = None
        self._failed: Exception | None = None

    def answer(self, patience: float) -> Answer[T] | None:
        """The last answer, after as many seconds at most; None where none ever came. Raises what asking raised."""
        self._asked().join(patience)
        if self._failed is not None:
            raise self._failed
        return self._last

    def _asked(self) -> threading.Thread:
        """The thread that asks, or was the last that did."""
        with self._turn:
            asking, last = self._asking, self._last
            is_new = last is not None and self._clock() - last.at < self._kept
            if asking is None or not (is_new or asking.is_alive()):
                # A daemon: whoever ends the program does not wait for a broker that is silent.
                asking = threading.Thread(target=self._hear, name="question", daemon=True)
                asking.start()
                self._asking = asking
            return asking

    def _hear(self) -> None:
        try:
            self._last, self._failed = Answer(self._ask(), self._clock()), None
        except Exception as error:  # whatever it is, it is for whoever wants to know
            self._failed = error
