"""The page docs/performance.md: what `make bench` measured, written into it between two marks; the rest is by hand."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]

from deploy.artifacts import pinned

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "performance.md"
PLOT: Final = "performance-engine-stage.svg"
PACKAGES: Final = ("faust-streaming", "aiokafka", "quixstreams", "bytewax", "confluent-kafka", "fastavro", "pydantic")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: an engine, and what ours is held to beside it."""

    engine: str
    title: str
    ours: str | None = None
    """The engine of ours that it is compared with; None for ours itself."""
    target: float | None = None
    """How many times its rate ours is to be."""


ROWS: Final = (
    Row("sallyport", "**Sallyport**, facts to alerts"),
    Row("faust", "naive Faust, agent per event, Table", "sallyport", 10),
    Row("quix", "Quix Streams with its state store", "sallyport", 2),
    Row("bytewax", "Bytewax with recovery", "sallyport", 1.2),
    Row("decode-to-event", "consume and decode to the typed event, nothing else", "sallyport", 0.4),
    Row("decode-to-dict", "consume and decode to a dict, nothing else", "sallyport", 0.4),
    Row("sallyport-count", "**Sallyport**, keyed count on the same path"),
    Row("kafka-streams", "Kafka Streams (Java), keyed count", "sallyport-count", 0.5),
    Row("kafka-streams-every-update", "the same, every update on its changelog as on ours", "sallyport-count"),
)


def with_machine(found: Mapping[str, Any], peers_python: Path) -> dict[str, Any]:
    """The result, and on what and with what it was measured."""
    ask = (
        f"import json; from importlib.metadata import version; print(json.dumps({{n: version(n) for n in {PACKAGES}}}))"
    )
    theirs = subprocess.run([str(peers_python), "-c", ask], check=True, capture_output=True, text=True).stdout
    ours = {name: version(name) for name in PACKAGES if name not in ("quixstreams", "bytewax")}
    return {**found, "machine": machine(), "versions": {"ours": ours, "peers": json.loads(theirs)}}


def machine() -> dict[str, Any]:
    """On what it is measured."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "kafka": pinned()["kafka"].version,
    }


def on_machine(machine: Mapping[str, Any], load: float) -> str:
    """The same in words."""
    return (
        f"on {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}, Apache Kafka {machine['kafka']} on the same machine, which had a load of "
        f"{load:.1f} before"
    )


def processor() -> str:
    """What the machine's processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(result: Mapping[str, Any]) -> str:
    """The rates as a table of Markdown."""
    rates: Mapping[str, Sequence[float]] = result["rates"]
    lines = [
        "| engine | records/s, median | least to most | processor time a record | ours is | target |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in ROWS:
        runs = rates.get(row.engine)
        if not runs:
            continue
        median = statistics.median(runs)
        beside = rates.get(row.ours) if row.ours else None
        ratio = f"{statistics.median(beside) / median:.2f} times" if beside else ""
        target = f"at least {row.target:g} times" if row.target else ""
        cpu = statistics.median(result["cpu_us"][row.engine])
        spread = f"{min(runs):,.0f} to {max(runs):,.0f}"
        lines.append(f"| {row.title} | {median:,.0f} | {spread} | {cpu:,.0f} µs | {ratio} | {target} |")
    return "\n".join(lines)


def every_run(result: Mapping[str, Any]) -> str:
    """The rate of every run, in order."""
    rates: Mapping[str, Sequence[float]] = result["rates"]
    count = max(len(runs) for runs in rates.values())
    lines = [
        "| records/s | " + " | ".join(f"run {number + 1}" for number in range(count)) + " |",
        "| --- |" + " ---: |" * count,
    ]
    lines += [
        f"| {row.title} | " + " | ".join(f"{rate:,.0f}" for rate in rates[row.engine]) + " |"
        for row in ROWS
        if row.engine in rates
    ]
    return "\n".join(lines)


def section(result: Mapping[str, Any]) -> str:
    """What stands between the marks."""
    machine, versions = result["machine"], result["versions"]
    runs = len(next(iter(result["rates"].values())))
    peers, ours = versions["peers"], versions["ours"]
    measured = (
        f"{runs} alternating runs of each {on_machine(machine, result['load'])}. {result['facts']:,} facts of "
        f"{result['people']:,} people in {result['partitions']} partitions; {result['counted']:,} records to count, "
        f"{result['decoded']:,} to decode. The first {result['warm']:.0%} of each run warm it and are not counted. "
        f"{result['open_alerts']:,} alerts are open in the end, and the same in every engine."
    )
    used = (
        f"Versions of the peers: {', '.join(f'{name} {peers[name]}' for name in PACKAGES)}; Kafka Streams "
        f"{machine['kafka']}. Of ours: {', '.join(f'{name} {ours[name]}' for name in ours)}."
    )
    plot = f"![Records a second of each engine]({PLOT})"
    return "\n\n".join([table(result), plot, textwrap.fill(measured, 120), every_run(result), textwrap.fill(used, 120)])


def write(result: Mapping[str, Any], peers_python: Path) -> None:
    """Put the result into the page, and draw its plot."""
    replace_section(PAGE, "engine stage", section(result))
    rows = [
        {"title": row.title.replace("**", ""), "runs": result["rates"][row.engine], "ours": row.ours is None}
        for row in ROWS
    ]
    draw(PLOT, rows, "records a second", peers_python)


def draw(file: str, rows: Sequence[Mapping[str, Any]], axis: str, peers_python: Path) -> None:
    """Draw bars into a file of the docs: of each row its title, what its runs came to, and whether it stands out."""
    plot = Path(__file__).with_name("plot.py")
    bars = {"rows": rows, "axis": axis, "file": str(DOCS / file)}
    subprocess.run([str(peers_python), str(plot)], check=True, input=json.dumps(bars, default=str), text=True)


def replace_section(page: Path, name: str, text: str, by: str = "make bench") -> None:
    """Put a text between the two marks of a name, and leave the rest of the page as it is."""
    begin, end = f"<!-- {name}: written by `{by}` -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
