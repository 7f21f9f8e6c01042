"""Simulated histories by the thousand: the shells under a seeded broker, clock and fate. `make simulate-faults`.

    python tests/simulation/simulate_faults.py --seeds 1000 --from 0

One seed alone tells its story, whether it kept the promise or not. Exit codes: 0, every seed kept it; 1, one did not.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tests.simulation.broken_shells import BROKEN, broken
from tests.simulation.simulation import Outcome, outcomes

SHOWN = 5
"""Failing seeds that are told of; the others are counted."""


def main(
    seeds: Annotated[int, typer.Option(help="How many seeds.", min=1)] = 1_000,
    begin: Annotated[int, typer.Option("--from", help="The first seed.", min=0)] = 0,
    shells: Annotated[str | None, typer.Option(help="Break the shells in this way first; ? lists the ways.")] = None,
) -> None:
    """Simulate so many histories, from a seed on. A failing one is replayed exactly by --seeds 1 --from its seed."""
    if shells == "?":
        print("\n".join(BROKEN))
        raise typer.Exit
    with broken(shells) if shells else nullcontext():
        raise typer.Exit(int(_run(range(begin, begin + seeds))))


def _run(seeds: range) -> bool:
    """Whether any seed failed."""
    console, began, failed, steps = Console(stderr=True), time.process_time(), [], 0
    kinds: Counter[str] = Counter()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("histories", total=len(seeds))
        for outcome in outcomes(seeds):
            progress.advance(bar)
            steps += outcome.steps
            kinds.update(outcome.kinds)
            if outcome.broken:
                failed.append(outcome.seed)
                if len(failed) <= SHOWN:
                    progress.console.print("\n".join(said(outcome)), highlight=False, markup=False, soft_wrap=True)
            if len(seeds) == 1:
                print(outcome.story())
    seconds = max(time.process_time() - began, 1e-9)
    happened = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    print(
        f"{len(seeds):,} histories, {len(failed)} broke the promise; {len(seeds) / seconds * 60:,.0f} a minute of one "
        f"core, {steps:,} steps. {happened}"
    )
    return bool(failed)


def said(outcome: Outcome) -> Iterable[str]:
    """What is said of a failing seed."""
    return (outcome.how_to_replay(), *(f"  {what}" for what in outcome.broken))


if __name__ == "__main__":
    typer.run(main)
