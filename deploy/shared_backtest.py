"""What is open in the end, found by several processes: each reads some of the lines, and holds one of the partitions.

Whatever order the facts come in, and on however many partitions, the same follows: that is the engine's law. So no
process waits for another before the end, and who is idle takes the next lines.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from deploy.candidate import blamed
from deploy.child_process import children, until_ctrl_c
from deploy.event_lines import Lines, read_events
from producers.event_json import Problem
from schemas.site import Site
from streams.alerts import alerts_in
from streams.backtest import MOST_PARTS, Alert, InTheEnd, Rules, in_parts, open_in_the_end
from streams.records import Out

Written = Sequence[bytes]
"""By process: the records that are for its partition, as they travel; only who gets them unpacks them."""


class Share(NamedTuple):
    """What a process found in some lines."""

    lines: int
    events: int
    latest: int
    """When the latest event happened, microseconds; 0 for none."""
    problems: Sequence[Problem]
    written: Written


class Round(NamedTuple):
    """What a process found in the end, in one round."""

    alerts: Sequence[Alert]
    is_last: bool
    """Nothing was left to be written."""
    written: Written


class SharedBacktest:
    """The processes. Use it in a `with`.

    It raises BrokenProcessPool where one of them dies, and CandidateError where the rules, of the file `rule`, fail.
    """

    def __init__(self, site: Site, rules: Rules, rule: Path | None) -> None:
        self._count = min(os.cpu_count() or 1, MOST_PARTS)
        self._site = in_parts(site, self._count)
        self._rules = rules
        self._rule = rule
        self._opened = ExitStack()
        self._pools: list[ProcessPoolExecutor] = []
        self._waiting: list[list[bytes]] = [[] for _ in range(self._count)]
        """By process: what it has to take in before anything else."""

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for number in range(self._count):
                test = InTheEnd(self._site, self._rules, (number,))
                mine = _Mine(self._site, test, self._rule, number, self._count)
                pool = opened.enter_context(children(1, _MINE.append, mine))
                # Begun one after the other, each while those before it do nothing: a fork copies what is being done.
                pool.submit(_is_ready).result()
                self._pools.append(pool)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def read(self, goes: Iterator[Lines]) -> Iterator[Share]:
        """What is found in the lines, in whatever order."""
        running = {self._give(number, lines): number for number, lines in enumerate(islice(goes, self._count))}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                number, share = running.pop(future), future.result()
                self._pass_on(share.written)
                yield share
                running |= {self._give(number, lines): number for lines in islice(goes, 1)}

    def end(self, now: int) -> list[Alert]:
        """The alerts that are open when all has been read and it is so late, microseconds."""
        return open_in_the_end(self._rounds(now))

    def _rounds(self, now: int) -> Iterator[Iterable[Alert]]:
        while True:
            futures = [
                pool.submit(until_ctrl_c, _settle, self._take(number), now) for number, pool in enumerate(self._pools)
            ]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            rounds = [future.result() for future in futures]
            for one in rounds:
                self._pass_on(one.written)
                yield one.alerts
            if all(one.is_last for one in rounds):
                return

    def _give(self, number: int, lines: Lines) -> Future[Share]:
        return self._pools[number].submit(until_ctrl_c, _read, self._take(number), lines)

    def _take(self, number: int) -> list[bytes]:
        taken, self._waiting[number] = self._waiting[number], []
        return taken

    def _pass_on(self, written: Written) -> None:
        for waiting, records in zip(self._waiting, written, strict=False):
            if records:
                waiting.append(records)


# -- in a process of its own -----------------------------------------------------------------------------------------


class _Mine(NamedTuple):
    """What a process holds: the partition of its number."""

    site: Site
    test: InTheEnd
    rule: Path | None
    number: int
    processes: int


_MINE: list[_Mine] = []
"""What this process holds, once it has begun."""


def _is_ready() -> bool:
    return bool(_MINE)


def _read(written: Iterable[bytes], lines: Lines) -> Share:
    (mine,) = _MINE
    _take_in(mine, written)
    problems: list[Problem] = []
    others: list[list[Out]] = [[] for _ in range(mine.processes)]
    events = latest = 0
    for read in read_events(mine.site, lines):
        if read.problem is not None:
            problems.append(read.problem)
            continue
        events, latest = events + 1, max(latest, read.time)
        _write(mine, read.facts, others)
    return Share(len(lines), events, latest, problems, _packed(others))


def _settle(written: Iterable[bytes], now: int) -> Round:
    (mine,) = _MINE
    _take_in(mine, written)
    mine.test.advance(now)
    with blamed(mine.rule):
        outs = mine.test.settle()
    others: list[list[Out]] = [[] for _ in range(mine.processes)]
    _write(mine, outs, others)
    return Round(alerts_in(outs), not outs, _packed(others))


def _take_in(mine: _Mine, written: Iterable[bytes]) -> None:
    for records in written:
        # Another of these processes wrote it.
        mine.test.tell(map(Out._make, pickle.loads(records)))  # noqa: S301


def _write(mine: _Mine, outs: Sequence[Out], others: Sequence[list[Out]]) -> None:
    """Take in what is for this process, and lay aside what is for others."""
    mine.test.tell(outs)
    for out in outs:
        if out.partition != mine.number:
            others[out.partition].append(out)


def _packed(others: Iterable[Sequence[Out]]) -> Written:
    # As plain tuples: each class takes a call back to Python to be written, and another to be read.
    return [pickle.dumps([*map(tuple, outs)], pickle.HIGHEST_PROTOCOL) if outs else b"" for outs in others]
