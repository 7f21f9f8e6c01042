"""Processes that work for another: they end when it ends, and at Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool

import psutil  # type: ignore[import-untyped]
import pytest

from deploy.child_process import children, until_ctrl_c

WAITS = """
import os, signal
from deploy.child_process import children
with children(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    signal.pause()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("ends", [signal.SIGKILL, signal.SIGTERM], ids=lambda ends: ends.name)
def test_a_child_ends_when_its_parent_was_killed(parent: subprocess.Popen[str], ends: signal.Signals) -> None:
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(ends)
    gone, alive = psutil.wait_procs([child], timeout=20)
    assert (gone, alive) == ([child], [])


def interrupted(where: str) -> str:
    """Ctrl-C, in the middle of a task."""
    os.kill(os.getpid(), signal.SIGINT)
    return f"{where}: it went on"


def test_ctrl_c_ends_a_child_in_its_task_and_nowhere_else() -> None:
    with children(1) as pool:
        assert pool.submit(interrupted, "at rest").result() == "at rest: it went on"
        assert pool.submit(until_ctrl_c, len, "abc").result() == 3
        assert pool.submit(interrupted, "after a task").result() == "after a task: it went on"
        with pytest.raises(BrokenProcessPool):
            pool.submit(until_ctrl_c, interrupted, "in a task").result()


def test_children_are_gone_when_their_work_is_done() -> None:
    before = {*multiprocessing.active_children()}
    with children(2) as pool:
        assert pool.submit(len, "abc").result() == 3
        assert {*multiprocessing.active_children()} - before
    assert {*multiprocessing.active_children()} <= before


def interrupted_while_one_reads(reads: int, tasks: list[Future[bytes]]) -> None:
    """Ctrl-C, when one child has more tasks than it takes on at once."""
    with children(1) as pool:
        tasks += [pool.submit(os.read, reads, 1) for _ in range(9)]
        raise KeyboardInterrupt


def test_an_error_waits_for_no_task_and_begins_no_other() -> None:
    # A task ends when something is written.
    reads, writes = os.pipe()
    tasks: list[Future[bytes]] = []
    # Another file's tests may have started a bus from this process.
    before = {*psutil.Process().children()}
    with pytest.raises(KeyboardInterrupt):
        interrupted_while_one_reads(reads, tasks)
    (child,) = {*psutil.Process().children()} - before
    with pytest.raises(CancelledError):
        tasks[-1].result(timeout=20)
    assert not tasks[0].done()
    # One byte each for those that had been handed over.
    os.write(writes, b"x" * len(tasks))
    assert psutil.wait_procs([child], timeout=20)[1] == []
    for end in (reads, writes):
        os.close(end)


KEPT: list[object] = []


def kept() -> int:
    """How much this process keeps."""
    return len(KEPT)


def test_a_child_begins_with_what_it_is_given_pickled_or_not() -> None:
    with children(1, KEPT.append, lambda: "can't be pickled") as pool:
        assert (pool.submit(kept).result(), kept()) == (1, 0)
