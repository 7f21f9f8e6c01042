"""Simulated histories by the thousand: the shells under a seeded broker, clock and fate. `make simulate-faults`.

    python tests/simulation/simulate_faults.py --seeds 1000 --from 0

One seed alone tells its story, whether it kept the promise or not. Exit codes: 0, every seed kept it; 1, one did not.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from tests.simulation.broken_shells import BROKEN, broken
from tests.simulation.simulation import Outcome, outcomes

SHOWN: Final = 5
"""Failing seeds that are told of; the others are counted."""
AT_ONCE: Final = 20
"""Seeds that a process is given at once."""


def main(
    seeds: Annotated[int, typer.Option(help="How many seeds.", min=1)] = 1_000,
    begin: Annotated[int, typer.Option("--from", help="The first seed.", min=0)] = 0,
    shells: Annotated[str | None, typer.Option(help="Break the shells in this way first; ? lists the ways.")] = None,
) -> None:
    """Simulate so many histories, from a seed on. A failing one is replayed exactly by --seeds 1 --from its seed."""
    if shells == "?":
        print("\n".join(BROKEN))
        raise typer.Exit
    raise typer.Exit(int(_run(range(begin, begin + seeds), shells)))


def _some(seeds: range, shells: str | None) -> list[Outcome]:
    """Some seeds in one process. What happened is kept of a single one and of those that failed."""
    with broken(shells) if shells else nullcontext():
        return [
            outcome if outcome.broken or len(seeds) == 1 else replace(outcome, told=[]) for outcome in outcomes(seeds)
        ]


def _all(seeds: range, shells: str | None, cores: int) -> Iterator[Outcome]:
    """All seeds in order, on all cores; one alone in this process."""
    if len(seeds) == 1:
        yield from _some(seeds, shells)
        return
    parts = [seeds[at : at + AT_ONCE] for at in range(0, len(seeds), AT_ONCE)]
    with ProcessPoolExecutor(cores) as processes:
        for some in processes.map(partial(_some, shells=shells), parts):
            yield from some


def _run(seeds: range, shells: str | None) -> bool:
    """Whether any seed failed."""
    console, began, failed, steps = Console(stderr=True), time.monotonic(), [], 0
    cores = len(os.sched_getaffinity(0))
    kinds: Counter[str] = Counter()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("histories", total=len(seeds))
        for outcome in _all(seeds, shells, cores):
            progress.advance(bar)
            steps += outcome.steps
            kinds.update(outcome.kinds)
            if outcome.broken:
                failed.append(outcome.seed)
                if len(failed) <= SHOWN:
                    progress.console.print("\n".join(said(outcome)), highlight=False, markup=False, soft_wrap=True)
            if len(seeds) == 1:
                print(outcome.story())
    seconds = max(time.monotonic() - began, 1e-9)
    happened = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    print(
        f"{len(seeds):,} histories, {len(failed)} broke the promise; {len(seeds) / seconds * 60:,.0f} a minute on "
        f"{cores} cores, {steps:,} steps. {happened}"
    )
    return bool(failed)


def said(outcome: Outcome) -> Iterable[str]:
    """What is said of a failing seed."""
    return (outcome.how_to_replay(), *(f"  {what}" for what in outcome.broken))


if __name__ == "__main__":
    typer.run(main)
