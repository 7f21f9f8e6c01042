"""Chaos on a real broker: events flow while workers, broker and registry are killed and stopped. `make chaos`.

    python tests/chaos/chaos.py --seed 1 --events 100000

What goes wrong, and what flows, are functions of the seed: a failing one is run again by the same command. How the
operating system and the network interleave it is not, so another run of it may go well.
Exit codes: 0, every promise was kept; 1, one was not.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tests.chaos.plan import plan
from tests.chaos.run import Found, run
from tests.free_ports import settings_on_free_ports


def main(
    seed: Annotated[int, typer.Option(help="Of the plan and of the events.", min=0)] = 1,
    events: Annotated[int, typer.Option(help="How many events flow.", min=1_000)] = 100_000,
    keep: Annotated[Path | None, typer.Option(help="Keep bus and logs in this directory, which must be new.")] = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="Print the plan, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write what was found as JSON.")] = False,
) -> None:
    """Let events flow through a bus of its own while a seed's plan goes wrong, and judge what came of it.

    Example: python tests/chaos/chaos.py --seed 7 --events 20000
    """
    typer.echo(f"Seed {seed}, {events:,} events. The plan:", err=True)
    for fault in plan(seed, events):
        typer.echo(f"  {fault}", err=True)
    if only_plan:
        return
    with tempfile.TemporaryDirectory() as scratch:
        where = keep or Path(scratch)
        where.mkdir(exist_ok=keep is None)
        found = run(
            settings_on_free_ports(where / "home"), where, seed, events, lambda line: typer.echo(line, err=True)
        )
    if as_json:
        typer.echo(json.dumps({"seed": seed, "events": events, "broken": found.broken, **found.figures}))
    else:
        typer.echo("\n".join(told(found, seed, events)))
    raise typer.Exit(int(bool(found.broken)))


def told(found: Found, seed: int, events: int) -> list[str]:
    """What was found, for people."""
    lines = [f"{name}: {value if not isinstance(value, dict) else ', '.join(f'{k} {v:,}' for k, v in value.items())}"
             for name, value in found.figures.items()]  # fmt: skip
    if not found.broken:
        return [*lines, "Every promise was kept."]
    return [
        *lines,
        *(f"BROKEN: {what}" for what in found.broken),
        f"The same plan again: make chaos SEED={seed} EVENTS={events}",
    ]


if __name__ == "__main__":
    typer.run(main)
