"""How the engine grows: what a fact costs in time and memory with ever more people known, and in ever larger jails.

    make bench-growth ARGS="--size 10000 --json"

The pure stages alone, without a broker, each measurement in a process of its own (memory is that process's). Of each
number of people: facts folded silently, as on recovery; bytes a fact that nobody asked about; reconciling; then facts
of the same people taken live. And in jails of several sizes, in which the same few are of the groups concerned:
what a street-violence event takes, and how many of the jail's own records a second are taken.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
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
from tests.bench import growth_page
from tests.bench.engine_stage import PEERS_PYTHON
from tests.bench.mix import Published, county, facts, inbound
from tests.bench.performance_page import machine
from tests.county import DAY, START, demo_site, event

SITE: Final = demo_site(partitions=1)
SIZES: Final = ((10_000, 10), (100_000, 10), (1_000_000, 2))
"""People, and events of each."""
JAILS: Final = (1_000, 5_000, 20_000)
CONCERNED: Final = 20
"""Members of the feuding groups, in each of the jails."""
VIOLENCE: Final = 50
"""Street-violence events in each of them."""
LIVE: Final = 25_000
"""Facts taken live: with a fifth of them the rates of one process differed by more than those of two sizes."""
AT_ONCE: Final = 5_000
"""Facts read before the clock starts."""


@dataclass(frozen=True, slots=True)
class Size:
    """What one number of people came to, once."""

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


@dataclass(frozen=True, slots=True)
class InJail:
    """What one size of a jail came to, once."""

    violence_ms: float
    """Of a street-violence event that concerns `CONCERNED` of its people; the median of many."""
    moves: float
    """Records a second of people who are moved from one unit to another."""


def measure(file: Path) -> Size:
    """Fold a file, all but the last facts silently."""
    collect_seldom()  # as a worker does
    total = sum(1 for _ in read(file))
    records = read(file)
    stage = PersonStage(SITE, 0, SCHEMAS)
    gc.collect()
    before, spent, raw = psutil.Process().memory_info().rss, 0.0, 0
    silent = max(0, total - LIVE) // AT_ONCE * AT_ONCE
    for _ in range(silent // AT_ONCE):
        some = list(islice(records, AT_ONCE))
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
    list(stage.reconcile(silent))
    reconciled = time.perf_counter() - began
    rest = list(records)
    began = time.perf_counter()
    for record in rest:
        stage.process(record)
    live = time.perf_counter() - began
    return Size(total, raw / silent, size, silent / spent, reconciled, len(rest) / live)


def in_jail(jail: int) -> InJail:
    """Put so many people into a jail, `CONCERNED` of them of two groups, and see what happens there."""
    collect_seldom()  # as a worker does
    stage = FacilityStage(SITE, 0, SCHEMAS)
    for number in range(jail):
        stage.refold(_placed(number, number, revision=1))
    took = _violence_ms(stage, jail)
    # Everybody in turn, or every tenth of ten thousand: those concerned in the share that they have of the jail.
    who = [place * max(1, jail // LIVE) % jail for place in range(LIVE)]
    moved = [_placed(2 * jail + place, number, revision=2 + place // jail) for place, number in enumerate(who)]
    began = time.perf_counter()
    for record in moved:
        stage.process(record)
    return InJail(took, LIVE / (time.perf_counter() - began))


def _violence_ms(stage: FacilityStage, offset: int) -> float:
    """Milliseconds of a street-violence event, the median of many; the last one stands."""
    took = []
    for number in range(VIOLENCE):
        told = event("StreetViolenceReported", day=number / 10, name=f"v{number}", groups=["Eastside", "Harbor"])
        source, value = inbound(Published(told, "city-pd"), SITE)
        record = next(out for out in facts(source, value, SITE) if out.topic == topics.facility_facts(SITE.name))
        began = time.perf_counter()
        outs = stage.process(logged(offset + 2 * number, record))
        took.append((time.perf_counter() - began) * 1_000)
        if not outs:
            raise RuntimeError("the violence changed no alert")
        if number < VIOLENCE - 1:
            stage.process(logged(offset + 2 * number + 1, Out(record.topic, 0, record.key, None, None)))
    return statistics.median(took)


def logged(offset: int, out: Out) -> LoggedRecord:
    """A record as it is read back."""
    value = out.value
    if value is not None and not isinstance(value, bytes):
        value = encode(out.name or "", value, SCHEMA_IDS[out.name or ""])
    return LoggedRecord(offset, out.key, value, out.headers)


def _placed(offset: int, number: int, revision: int) -> LoggedRecord:
    """The record of a person in custody, in another unit with each revision."""
    facility = SITE.facilities[0]
    unit = facility.units[(number + revision) % len(facility.units)].id
    # Of who has no standing with a group a jail is told nothing: the others are of other groups.
    others = f"Group {number % 97}"
    group = "Eastside" if number < CONCERNED // 2 else "Harbor" if number < CONCERNED else others
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
        "facility": facility.id,
        "revision": revision,
        "digest": f"{number} {revision}",
        "in_custody": True,
        "booking_number": f"B-{number}",
        "name": None,
        "unit": unit,
        "housing": [provenance],
        "affiliations": [{"group": group, "status": "MEMBER", **provenance}],
        "cause": {"kind": "FACT", "stage": "person", "partition": 0, "offset": offset, "event_id": None},
    }
    head = Placed(0, offset, revision, f"{number} {revision}", here=True, standings=1, event_id="", unit=unit)
    key = custody_key(facility.id, f"person-{number}")
    return logged(offset, Out(topics.facility_facts(SITE.name), 0, key, "PersonInCustody", value, head.headers()))


def elsewhere(*arguments: str) -> dict[str, float]:
    """What a measurement finds in a process of its own."""
    said = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(said)
    return found


def main(
    size: Annotated[
        list[int] | None, typer.Option(help="People; may be repeated. 10 events each, above 100,000 two.")
    ] = None,
    runs: Annotated[int, typer.Option(help="Runs of each, which alternate.")] = 5,
    of: Annotated[Path | None, typer.Option(hidden=True, help="Measure a file of facts in this process.")] = None,
    jail: Annotated[int | None, typer.Option(hidden=True, help="Measure a jail of so many in this process.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON; the page stays as it is.")] = False,
) -> None:
    """Measure how time and memory grow with the people known and held, and write it into docs/performance.md.

    Example: python tests/bench/growth.py --size 10000 --runs 1 --json
    """
    if of is not None or jail is not None:
        typer.echo(json.dumps(asdict(measure(of) if of is not None else in_jail(jail or 0))))
        return
    chosen = {people: 10 if people <= SIZES[1][0] else 2 for people in size} if size else dict(SIZES)
    load = os.getloadavg()[0]
    sizes: dict[int, list[dict[str, float]]] = {people: [] for people in chosen}
    jails: dict[int, list[dict[str, float]]] = {held: [] for held in JAILS}
    with tempfile.TemporaryDirectory() as directory:
        for people, each in chosen.items():
            person_facts(people, each, Path(directory) / f"{people}")
        for run in range(runs):
            for people in in_turn(chosen, run):
                sizes[people].append(elsewhere("--of", str(Path(directory) / f"{people}")))
                typer.echo(f"run {run + 1}: {people:,} people measured", err=True)
            for held in in_turn(jails, run):
                jails[held].append(elsewhere("--jail", str(held)))
    result = {"sizes": sizes, "jails": jails, "concerned": CONCERNED, "machine": machine(), "load": load}
    if as_json:
        typer.echo(json.dumps(result))
    else:
        growth_page.write(result, PEERS_PYTHON)
        typer.echo(growth_page.section(result))


def in_turn(sizes: Iterable[int], run: int) -> list[int]:
    """The order of a run: forth, and the next time back, so that none is always the first."""
    return list(sizes) if run % 2 == 0 else list(sizes)[::-1]


if __name__ == "__main__":
    typer.run(main)
