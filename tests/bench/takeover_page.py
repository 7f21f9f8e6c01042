"""The part of docs/performance.md about takeovers, from what tests/bench/first_alert_after_a_kill.py found."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench.performance_page import PAGE, draw, on_machine, replace_section

PLOT: Final = "performance-takeover.svg"
WAYS: Final = {"cold": "cold: the worker is started again", "standby": "a second worker stands by"}
"""How many workers there are: one, two."""
TARGETS: Final = {"cold": 20, "standby": 10}
"""Seconds to the first new alert, at most."""
PHASES: Final = {
    "first_alert": "first new alert",
    "noticed": "noticed",
    "folded": "folded",
    "reconciled": "reconciled",
    "live": "live",
    "all_alerts": "first alert of the last partition",
}


def seconds(takeover: Mapping[str, Any], what: str) -> float:
    """From the kill to a phase, or to an alert."""
    return float(takeover[what] if what in takeover else takeover["phases"][what])


def section(result: Mapping[str, Any]) -> str:
    """What stands between the marks."""
    lines = [
        "| seconds after the kill, median | " + " | ".join(PHASES.values()) + " | least to most | target |",
        "| --- |" + " ---: |" * (len(PHASES) + 1) + " --- |",
    ]
    for way, title in WAYS.items():
        takeovers = result["ways"][way]
        cells = [f"{statistics.median(seconds(one, what) for one in takeovers):.1f}" for what in PHASES]
        first = [one["first_alert"] for one in takeovers]
        spread = f"{min(first):.1f} to {max(first):.1f}"
        lines.append(f"| {title} | {' | '.join(cells)} | {spread} | first new alert in at most {TARGETS[way]} s |")
    read = statistics.median(one["read"] for one in result["ways"]["cold"])
    measured = (
        f"{len(result['ways']['cold'])} kills of each kind in turn, {on_machine(result['machine'], result['load'])}. "
        f"{result['people']:,} people, {result['facts']:,} records on the log in {result['partitions']} partitions; "
        f"cold, {read:,.0f} were read back. A phase is that of the last partition that was taken over; the first new "
        "alert counts from the kill, and so includes the dead worker's session of six seconds."
    )
    plot = f"![Seconds to the first new alert]({PLOT})"
    return "\n\n".join(["\n".join(lines), plot, textwrap.fill(measured, 120)])


def write(result: Mapping[str, Any], peers_python: Path) -> None:
    """Put the result into the page, and draw its plot."""
    replace_section(PAGE, "takeover", section(result))
    rows = [
        {
            "title": f"{way}, {PHASES[what]}",
            "runs": [seconds(one, what) for one in result["ways"][way]],
            "ours": what == "first_alert",
        }
        for way in WAYS
        for what in ("first_alert", "folded", "live")
    ]
    draw(PLOT, rows, "seconds after kill -9", peers_python)
