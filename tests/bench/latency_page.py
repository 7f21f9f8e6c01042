"""The part of docs/performance.md about latency, from what tests/bench/publish_to_alert.py found."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench.performance_page import PAGE, draw, on_machine, replace_section

PLOT: Final = "performance-latency.svg"
TARGETS: Final = {1_000: "p99 at most 50 ms"}
SHARES: Final = {"p50_ms": "median", "p99_ms": "p99", "p999_ms": "p99.9", "max_ms": "most"}
WAYS: Final = {"report": "report: two transactions", "move": "move: three transactions"}


def line(found: Mapping[str, Any]) -> str:
    """A rate's figures in one line."""
    cores = ", ".join(f"{name} {busy}" for name, busy in found["cores"].items())
    return (
        f"{found['rate']:>6,}/s: accepted {found['accepted_rate']:,.0f}/s, through {found['achieved_rate']:,.0f}/s; "
        f"p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms, most {found['max_ms']} ms of {found['probes']} probes; "
        f"cores busy: {cores}"
    )


def section(result: Mapping[str, Any]) -> str:
    """What stands between the marks."""
    where = on_machine(result["machine"], result["load"])
    seconds = ", ".join(f"{found['seconds']:g}" for found in result["rates"])
    measured = (
        f"{seconds} s of the rates in their order, each after 5 s that are not counted, in one run, after "
        f"{result['compile_s']:g} s in which the broker compiled itself, {where}. "
        "Where fewer events came through than were published, what waits grows as long as it goes on, and so does the "
        "latency."
    )
    parts = [_rates(result), f"![Latency at each rate]({PLOT})", textwrap.fill(measured, 120)]
    steps = {way: of_it for way, of_it in result["steps"].items() if of_it}
    if steps:
        parts += ["Where the time goes at 1,000 events/s, by the step, milliseconds:", _steps(steps)]
    if result["imports"]:
        parts += [_imports(result["imports"])]
    return "\n\n".join(parts)


def _rates(result: Mapping[str, Any]) -> str:
    columns = "asked", "published", "came through", "probes", "median, p99, p99.9, most"
    cores = "cores: worker, broker, publishers"
    lines = [f"| {' | '.join(columns)} | {cores} | target |", "| ---: | ---: | ---: | ---: | ---: | --- | --- |"]
    for found in result["rates"]:
        busy = found["cores"]
        cores = f"{busy['worker']:.2f}, {busy['kafka']:.2f}, {busy['publishers']:.2f}"
        # Of too few probes one of a thousand is not told.
        *shares, most = (f"{found[share]:,.0f}" if share in found else "–" for share in SHARES)
        times = f"{', '.join(shares)} and {most} ms"
        rates = " | ".join(f"{found[of]:,.0f}/s" for of in ("rate", "accepted_rate", "achieved_rate"))
        lines.append(f"| {rates} | {_probes(found)} | {times} | {cores} | {TARGETS.get(found['rate'], '')} |")
    return "\n".join(lines)


def _probes(found: Mapping[str, Any]) -> str:
    """How many are counted; where much waits, some are decided together with the next one of their alert."""
    return f"{found['probes']:,}" + (f" ({found['merged']:,} not told apart)" if found["merged"] else "")


def _steps(steps: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    names = [*dict.fromkeys(name for way in sorted(steps) for name in steps[way])]
    titles = [f"{WAYS[way]} ({max(s['probes'] for s in of_it.values()):,.0f} probes)" for way, of_it in steps.items()]
    lines = ["| | " + " | ".join(f"{title}, median | p99" for title in titles) + " |"]
    lines.append("| --- |" + " ---: | ---: |" * len(steps))
    for name in names:
        cells = [steps[way].get(name) for way in steps]
        told = [f"{cell['p50_ms']:,.1f} | {cell['p99_ms']:,.1f}" if cell else " | " for cell in cells]
        lines.append(f"| {name} | " + " | ".join(told) + " |")
    return "\n".join(lines)


def _imports(imports: Mapping[str, Mapping[str, float]]) -> str:
    lines = [
        "| reports one by one, on `sallyport up` | alerts | median | p99 | most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in imports.items():
        times = " | ".join(f"{found[share]:,.0f} ms" for share in ("p50_ms", "p99_ms", "max_ms"))
        lines.append(f"| {name.replace('_', ' ')} | {found['probes']} | {times} |")
    return "\n".join(lines)


def write(result: Mapping[str, Any], peers_python: Path) -> None:
    """Put the result into the page, and draw its plot."""
    replace_section(PAGE, "latency", section(result))
    rows = [
        {"title": f"{found['rate']:,} events/s, {title}", "runs": [found[share]], "ours": share == "p99_ms"}
        for found in result["rates"]
        for share, title in SHARES.items()
        if share in found and share != "max_ms"
    ]
    draw(PLOT, rows, "milliseconds from publish to readable alert", peers_python)
