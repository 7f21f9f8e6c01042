"""A process that another began: it ends when that one ends, however that comes about."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

LOOK_EVERY_S = 0.5
"""Seconds between looks at the parent."""
T = TypeVar("T")
_GIVEN_UP: list[ProcessPoolExecutor] = []
"""Pools that an error ended. Of one that is no longer there Python forgets that nothing more is to be begun."""


def end_with(parent: int) -> None:
    """Let this process end at once when its parent is gone: one that was killed can't end those it began."""
    threading.Thread(target=_wait_for, args=(parent,), name="parent", daemon=True).start()


def _wait_for(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)


@contextmanager
def children(count: int, begin: Callable[..., object] = int, *begins: Any) -> Iterator[ProcessPoolExecutor]:
    """So many processes that work for this one. Each begins by calling `begin`: what it is given need not be pickled,
    for they are forks of this process.

    In the end they are gone. Where an error or Ctrl-C ends it nobody waits for what they do: no more of it is begun.
    """
    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(count, fork, initializer=_work, initargs=(os.getpid(), begin, *begins))
    try:
        yield pool
    except BaseException:
        _GIVEN_UP.append(pool)
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    # Waited for: else Python, which ends now, wakes them while they close what it wakes them by, and says so.
    pool.shutdown()


def _work(parent: int, begin: Callable[..., object], *begins: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
    begin(*begins)


def until_ctrl_c(task: Callable[..., T], *given: Any) -> T:
    """A task as a child is to be given it: Ctrl-C ends the child in the middle of it, without a word.

    But not while it says what it found: who gets half of that waits for the rest for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return task(*given)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
