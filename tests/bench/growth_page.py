"""The part of docs/performance.md about growth, from what tests/bench/growth.py found."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench.performance_page import PAGE, draw, on_machine, replace_section

PLOT: Final = "performance-growth.svg"
MOST_BYTES: Final = 600
LEAST_REFOLD: Final = 100_000
RATES: Final = {"refold": "folded", "live": "live"}


def median(result: Mapping[str, Any], of: str, size: int, name: str) -> float:
    """The median of what the runs of one size came to."""
    return float(statistics.median(run[name] for run in result[of][size]))


def section(result: Mapping[str, Any]) -> str:
    """What stands between the marks."""
    runs = max(len(found) for found in result["sizes"].values())
    measured = (
        f"Medians of {runs} alternating runs of each, {on_machine(result['machine'], result['load'])}. Targets: at "
        f"most {MOST_BYTES} bytes a fact, at least {LEAST_REFOLD:,} facts/s folded, a live rate that falls by at most "
        f"a quarter. In each jail {result['concerned']} people are of the groups that feud."
    )
    plot = f"![Facts a second with the people known and held]({PLOT})"
    return "\n\n".join([_people(result), _jails(result), plot, textwrap.fill(measured, 120)])


def _people(result: Mapping[str, Any]) -> str:
    lines = [
        "| people known | facts | bytes an event | memory a fact | folded, facts/s | reconciled | live, facts/s | |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    first = next(iter(result["sizes"]))
    for people in result["sizes"]:
        of = {name: median(result, "sizes", people, name) for name in result["sizes"][people][0]}
        share = of["live"] / median(result, "sizes", first, "live")
        lines.append(
            f"| {people:,} | {of['facts']:,.0f} | {of['raw']:.0f} | {of['bytes_a_fact']:.0f} B | {of['refold']:,.0f} "
            f"| {of['reconcile_s']:.1f} s | {of['live']:,.0f} | {share:.0%} |"
        )
    return "\n".join(lines)


def _jails(result: Mapping[str, Any]) -> str:
    lines = [
        "| held | a street-violence event takes | moves, records/s | |",
        "| ---: | ---: | ---: | ---: |",
    ]
    first = next(iter(result["jails"]))
    for held in result["jails"]:
        took, moves = (median(result, "jails", held, name) for name in ("violence_ms", "moves"))
        share = moves / median(result, "jails", first, "moves")
        lines.append(f"| {held:,} | {took:.2f} ms | {moves:,.0f} | {share:.0%} |")
    return "\n".join(lines)


def write(result: Mapping[str, Any], peers_python: Path) -> None:
    """Put the result into the page, and draw its plot."""
    replace_section(PAGE, "growth", section(result))
    rows = [
        {"title": f"{people:,} known, {title}", "runs": [run[name] for run in found], "ours": name == "live"}
        for people, found in result["sizes"].items()
        for name, title in RATES.items()
    ]
    rows += [
        {"title": f"{held:,} held, moves", "runs": [run["moves"] for run in found], "ours": True}
        for held, found in result["jails"].items()
    ]
    draw(PLOT, rows, "records a second", peers_python)
