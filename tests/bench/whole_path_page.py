"""The part of docs/performance.md about the whole path, from what tests/bench/whole_path.py found."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.performance_page import PAGE, draw, on_machine, replace_section

PLOT: Final = "performance-whole-path.svg"
TARGET: Final = 12_000
PARTS: Final = (
    ("identify", "identify: decode, who is it, facts"),
    ("person", "person: fold, place, correlate"),
    ("facility", "facility: fold, correlate"),
    ("disclose", "disclose: who may know"),
    ("encode", "encode what is written"),
    ("clock", "clock"),
    ("loop", "the rest of the deciding thread: Faust, asyncio, acknowledging"),
    ("threads", "other threads: fetching (aiokafka), transactions (librdkafka)"),
)


def rates(result: Mapping[str, Any], workers: int) -> list[float]:
    """Events a second of each run with so many workers."""
    return [run["rate"] for run in result["runs"][str(workers)]]


def part(result: Mapping[str, Any], name: str, workers: int = 1) -> list[float]:
    """Microseconds an event of one part in each run."""
    return [run["parts_us"][name] for run in result["runs"][str(workers)]]


def ratio(result: Mapping[str, Any]) -> float:
    """How many times one worker's rate two have, by the medians."""
    return statistics.median(rates(result, 2)) / statistics.median(rates(result, 1))


def section(result: Mapping[str, Any]) -> str:
    """What stands between the marks."""
    one: Sequence[Mapping[str, Any]] = result["runs"]["1"]
    person, facility = (_median([run["facts"][stage] for run in one]) for stage in ("person", "facility"))
    measured = (
        f"{len(one)} alternating runs of each {on_machine(result['machine'], result['load'])}. {result['events']:,} "
        f"events of {result['people']:,} people in {result['partitions']} partitions, of all event types but those of "
        f"deliveries, tips, lists, calls and hearings; each leads to {person:.2f} records for the person stage and "
        f"{facility:.2f} for the facility's. The first {result['warm']:.0%} are worked through before the clock "
        f"starts. {result['open_alerts']:,} alerts are open in the end."
    )
    plot = f"![Microseconds an event of each part]({PLOT})"
    return "\n\n".join([_rates(result), _parts(result), plot, textwrap.fill(measured, 120)])


def _rates(result: Mapping[str, Any]) -> str:
    lines = [
        "| | events/s, median | least to most | workers' processor time an event | broker's | target |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    targets = {1: f"at least {TARGET:,}/s", 2: f"{ratio(result):.2f} times one"}
    for workers, title in ((1, "one worker"), (2, "two workers")):
        found, runs = rates(result, workers), result["runs"][str(workers)]
        worker_us, kafka_us = (_median([run[name] for run in runs]) for name in ("cpu_us", "kafka_us"))
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        lines.append(
            f"| {title} | {_median(found):,.0f} | {spread} | {worker_us:,.0f} µs | {kafka_us:,.0f} µs "
            f"| {targets[workers]} |"
        )
    return "\n".join(lines)


def _parts(result: Mapping[str, Any]) -> str:
    lines = ["| one worker's processor time | microseconds an event, median |", "| --- | ---: |"]
    lines += [f"| {title} | {_median(part(result, name)):,.1f} |" for name, title in PARTS]
    return "\n".join(lines)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def write(result: Mapping[str, Any], peers_python: Path) -> None:
    """Put the result into the page, and draw its plot."""
    replace_section(PAGE, "whole path", section(result))
    rows = [{"title": title, "runs": part(result, name), "ours": True} for name, title in PARTS if name != "clock"]
    draw(PLOT, rows, "microseconds of processor an event", peers_python)
