"""How the engine grows: what a fact costs in time and memory with ever more people known, and in ever larger jails.

    python tests/bench/growth.py --help

The pure stages alone, without a broker, each size in a process of its own (memory is that process's). Of each size:
facts folded silently, as on recovery; bytes a fact that nobody asked about; reconciling; then facts of the same people
taken live. And a street-violence event in jails of several sizes, in which the same few are of the groups concerned.
"""

from __future__ import annotations

import gc
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import psutil  # type: ignore[import-untyped]
import typer

from schemas import topics
from schemas.codec import encode
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.custody import Placed, custody_key
from streams.facts import TICK_KEY
from streams.garbage import collect_seldom
from streams.records import LoggedRecord, Out
from streams.stage import FacilityStage, PersonStage
from tests.bench.mix import Published, county, facts, inbound
from tests.bench.performance_page import PAGE, replace_section
from tests.county import DAY, START, demo_site, event

SITE: Final = demo_site(partitions=1)
SIZES: Final = ((10_000, 10), (100_000, 10), (1_000_000, 2))
"""People, and events of each."""
JAILS: Final = (1_000, 5_000, 20_000)
CONCERNED: Final = 20
"""Members of the feuding groups, in each of the jails."""
LIVE: Final = 5_000
"""Facts taken live."""
MOST_BYTES: Final = 600
LEAST_REFOLD: Final = 100_000


@dataclass(frozen=True, slots=True)
class Size:
    """What one size of the county came to."""

    people: int
    facts: int
    raw: float
    """Bytes of an event, without what the bus adds."""
    bytes_a_fact: float
    refold: float
    """Facts a second."""
    reconcile_s: float
    live: float
    """Facts a second."""


def person_facts(people: int, facts_each: int, file: Path) -> None:
    """Write the person facts of a county to a file, one after the other."""
    with file.open("wb") as out:
        for published in county(people, facts_each):
            for fact in facts(*inbound(published, SITE), SITE):
                if fact.topic == topics.person_facts(SITE.name):
                    pickle.dump((fact.key, fact.value, fact.headers), out)


def read(file: Path) -> Iterator[LoggedRecord]:
    """The facts of a file, as a log has them."""
    with file.open("rb") as source:
        offset = 0
        while True:
            try:
                key, value, headers = pickle.load(source)  # noqa: S301  # written a moment ago, by ourselves
            except EOFError:
                return
            yield LoggedRecord(offset, key, value, headers)
            offset += 1


def measure(file: Path, people: int) -> Size:
    """Fold a file, all but the last facts silently."""
    collect_seldom()  # as a worker does
    total = sum(1 for _ in read(file))
    records = read(file)
    stage = PersonStage(SITE, 0, SCHEMAS)
    gc.collect()
    before, spent, raw = psutil.Process().memory_info().rss, 0.0, 0
    silent = max(0, total - LIVE) // LIVE * LIVE
    for _ in range(silent // LIVE):
        some = list(islice(records, LIVE))
        began = time.perf_counter()
        for record in some:
            stage.refold(record)
        spent += time.perf_counter() - began
        raw += sum(len(record.value or b"") for record in some)
    del some, record
    gc.collect()
    size = (psutil.Process().memory_info().rss - before) / silent
    # The time of the last facts: who was feuding half a year ago is at peace.
    stage.refold(LoggedRecord(total, TICK_KEY, encode("Tick", {"time": START}, SCHEMA_IDS["Tick"])))
    began = time.perf_counter()
    stage.reconcile(silent)
    reconciled = time.perf_counter() - began
    rest = list(records)
    began = time.perf_counter()
    for record in rest:
        stage.process(record)
    live = time.perf_counter() - began
    return Size(people, total, raw / silent, size, silent / spent, reconciled, len(rest) / live)


def violence_ms(jail: int) -> float:
    """Milliseconds that a street-violence event takes in a jail of so many, `CONCERNED` of whom are of its groups."""
    stage = FacilityStage(SITE, 0, SCHEMAS)
    units = [unit.id for unit in SITE.facilities[0].units]
    for number in range(jail):
        # Of who has no standing with a group a jail is told nothing: the others are of other groups.
        others = f"Group {number % 97}"
        group = "Eastside" if number < CONCERNED // 2 else "Harbor" if number < CONCERNED else others
        stage.refold(_placed(number, units[number % len(units)], group))
    took = []
    for number in range(50):
        told = event("StreetViolenceReported", day=number / 10, name=f"v{number}", groups=["Eastside", "Harbor"])
        source, value = inbound(Published(told, "city-pd"), SITE)
        record = next(out for out in facts(source, value, SITE) if out.topic == topics.facility_facts(SITE.name))
        began = time.perf_counter()
        outs = stage.process(logged(jail + number, record))
        took.append((time.perf_counter() - began) * 1_000)
        if not outs:
            raise RuntimeError("the violence changed no alert")
        withdrawn = Out(record.topic, 0, record.key, None, None)
        stage.process(logged(jail + number, withdrawn))
    return statistics.median(took)


def logged(offset: int, out: Out) -> LoggedRecord:
    """A record as it is read back."""
    value = out.value
    if value is not None and not isinstance(value, bytes):
        value = encode(out.name or "", value, SCHEMA_IDS[out.name or ""])
    return LoggedRecord(offset, out.key, value, out.headers)


def _placed(number: int, unit: str, group: str) -> LoggedRecord:
    provenance = {
        "agency": "county-jail",
        "event_type": "HousingAssigned",
        "event_id": f"{number:032}",
        "event_time": START - DAY,
        "topic": "t",
        "via": "county-jail number",
        "joined": False,
        "marked": False,
    }
    value = {
        "person_id": f"person-{number}",
        "facility": SITE.facilities[0].id,
        "revision": 1,
        "digest": str(number),
        "in_custody": True,
        "booking_number": f"B-{number}",
        "name": None,
        "unit": unit,
        "housing": [provenance],
        "affiliations": [{"group": group, "status": "MEMBER", **provenance}],
        "cause": {"kind": "FACT", "stage": "person", "partition": 0, "offset": number, "event_id": None},
    }
    facility = SITE.facilities[0].id
    head = Placed(0, number, 1, str(number), here=True, standings=1, event_id="", unit=unit)
    key = custody_key(facility, f"person-{number}")
    return logged(number, Out(topics.facility_facts(SITE.name), 0, key, "PersonInCustody", value, head.headers()))


# -- the page ----------------------------------------------------------------------------------------------------------


def section(sizes: list[Size], jails: dict[int, float]) -> str:
    """What stands between the marks of the page."""
    lines = [
        "| people | facts | bytes an event | memory a fact, bytes | folded, facts/s | reconciled in | live, facts/s |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {s.people:,} | {s.facts:,} | {s.raw:.0f} | {s.bytes_a_fact:.0f} | {s.refold:,.0f} | "
            f"{s.reconcile_s:.1f} s | {s.live:,.0f} |"
            for s in sizes
        ),
        "",
        f"Targets: at most {MOST_BYTES} bytes a fact, at least {LEAST_REFOLD:,} facts/s folded, a live rate that",
        "falls by at most a quarter.",
        "",
        f"A street-violence event that concerns {CONCERNED} people in custody, median of 50:",
        ", ".join(f"{ms:.2f} ms in a jail of {jail:,}" for jail, ms in jails.items()) + ".",
    ]
    return "\n".join(lines)


def main(
    size: Annotated[
        list[int] | None, typer.Option(help="People; may be repeated. 10 events each, above 100,000 two.")
    ] = None,
    one: Annotated[Path | None, typer.Option(hidden=True, help="Measure a file of facts in this process.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON; the page stays as it is.")] = False,
) -> None:
    """Measure how time and memory of a fact grow with the people known, and write it into docs/performance.md.

    Example: python tests/bench/growth.py --size 10000 --json
    """
    if one is not None:
        found = measure(one, (size or [0])[0])
        typer.echo(json.dumps({name: getattr(found, name) for name in found.__slots__}))
        return
    chosen = [(people, 10 if people <= SIZES[1][0] else 2) for people in size] if size else list(SIZES)
    sizes = []
    for people, each in chosen:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "facts"
            person_facts(people, each, file)
            command = [sys.executable, __file__, "--one", str(file), "--size", str(people)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        sizes.append(Size(**json.loads(said)))
        typer.echo(f"{people:,} people measured", err=True)
    jails = {jail: violence_ms(jail) for jail in JAILS}
    if as_json:
        rows = [{name: getattr(s, name) for name in s.__slots__} for s in sizes]
        typer.echo(json.dumps({"sizes": rows, "violence_ms": jails}))
    else:
        text = section(sizes, jails)
        replace_section(PAGE, "growth", text)
        typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
