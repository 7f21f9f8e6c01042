"""The engine stage, facts to alerts, against its peers: one run, one broker, the same records, the same decisions.

    make bench-engine-stage ARGS=--quick
    python tests/bench/engine_stage.py --help

It starts an embedded bus of its own in a temporary home. Each engine is a process of its own (tests/bench/peers/),
runs alone, and works through the same facts, in rounds, so that what the machine does meanwhile befalls all. After each
run the open alerts must be the same, and the facts must be in the engine's durable state; else the bench fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from deploy.kafka_config import ADMIN
from schemas import topics
from schemas.settings import Settings
from tests.bench import performance_page
from tests.bench.ground import (
    Alerts,
    Failed,
    FilledSite,
    alerts,
    bus_of_the_bench,
    counts,
    fill,
    forget_group,
    make_topic,
    person_facts,
    stored_facts,
)
from tests.bench.peers.job import Job

ROOT: Final = Path(__file__).parents[2]
PEERS: Final = ROOT / "tests" / "bench" / "peers"
PEERS_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"
WARM: Final = 0.5
"""Share of the records that warms an engine and is not counted: Java compiles for the first half million."""
RUN_SECONDS: Final = 900


COUNTED: Final = 16
DECODED: Final = 4


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine of the bench."""

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    ours: bool = True
    """It runs in our environment, not in the peers'."""
    decides: bool = False
    """It turns facts into alerts, on a site that is new in each round; the others count by key, or only decode."""
    times: int = 1
    """How many times over it reads the facts: it would be through with them in a second else."""

    @property
    def counts(self) -> bool:
        """It counts by key."""
        return self.times == COUNTED


ENGINES: Final = (
    Engine("sallyport", "ours.py", decides=True),
    Engine("faust", "naive_faust.py", ours=False, decides=True),
    Engine("quix", "quix_streams.py", ours=False, decides=True),
    Engine("bytewax", "bytewax_flow.py", ours=False, decides=True),
    Engine("sallyport-count", "ours.py", ("count",), times=COUNTED),
    Engine("kafka-streams", "kafka_streams.py", times=COUNTED),
    Engine("kafka-streams-every-update", "kafka_streams.py", ("every-update",), times=COUNTED),
    Engine("decode-to-dict", "consume_and_decode.py", times=DECODED),
    Engine("decode-to-event", "consume_and_decode.py", ("typed",), times=DECODED),
)


@dataclass(frozen=True, slots=True)
class Bench:
    """The running bus, and what runs on it."""

    settings: Settings
    partitions: int
    console: Console
    profiles: Path | None
    """Directory for a profile of each run; None for none."""

    def run(self, engine: Engine, filled: FilledSite, number: int) -> tuple[dict[str, float], Job]:
        """One run: records a second, and microseconds of processor time a record."""
        ours = engine.script == "ours.py"
        name = (
            f"{filled.site.name}.bench.{engine.name}.{number}"
            if not ours
            else f"{filled.site.name}.alerts.{engine.name}.{number}"
        )
        scratch = self.settings.home / "bench" / f"{engine.name}-{number}"
        scratch.mkdir(parents=True, mode=0o700)
        job = Job(
            bootstrap=self.settings.bootstrap_servers,
            user=ADMIN,
            password=self.settings.password(ADMIN),
            ca=str(self.settings.ca_path),
            site=filled.site.name,
            partitions=self.partitions,
            input=filled.input,
            output=name,
            group=topics.consumer_group(filled.site.name) if ours else name.replace(".", "-"),
            ends=filled.ends,
            warm=int(sum(filled.ends) * WARM),
            scratch=str(scratch),
            schema_ids=filled.ids,
            settings=self.settings.model_dump_json() if ours else "",
            profile=str(self.profiles.resolve() / f"{engine.name}-{number}.prof") if self.profiles else "",
        )
        make_topic(self.settings, name, self.partitions)
        said = self._process(engine, job, scratch)
        if said["seen"] != job.records:
            raise Failed(f"{engine.name} took {said['seen']} of {job.records} records, or some twice: not comparable")
        records = said["records"]
        return {"rate": records / said["seconds"], "cpu_us": said["cpu_seconds"] / records * 1e6}, job

    def _process(self, engine: Engine, job: Job, scratch: Path) -> dict[str, float]:
        python = sys.executable if engine.ours else str(PEERS_PYTHON)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        errors = scratch.with_suffix(".err")
        with errors.open("wb") as err:
            process = subprocess.Popen(
                [python, "-P", str(PEERS / engine.script), *engine.arguments],
                env=environment,
                cwd=scratch,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
            )
            try:
                out, _ = process.communicate(job.text().encode(), RUN_SECONDS)
            except BaseException as error:
                process.kill()
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise Failed(f"{engine.name} did not end in {RUN_SECONDS} s: {_last(errors)}") from error
                raise
        lines = [line for line in out.decode().splitlines() if line.startswith('{"seconds"')]
        if process.returncode or not lines:
            raise Failed(f"{engine.name} ended with {process.returncode}: {out.decode()[-500:]} {_last(errors)}")
        said: dict[str, float] = json.loads(lines[-1])
        return said


def _last(errors: Path) -> str:
    return "\n".join(errors.read_text(errors="replace").splitlines()[-15:])


def rounds(bench: Bench, engines: Sequence[Engine], runs: int, people: int, facts_each: int) -> dict[str, Any]:
    """All runs, and what they were of: rates and processor times by engine."""
    bench.console.print("Making the records ...")
    outs = person_facts(people, facts_each)
    ran: dict[str, list[dict[str, float]]] = {engine.name: [] for engine in engines}
    many = {
        times: fill(bench.settings, f"times{times}", bench.partitions, outs, times)
        for times in sorted({engine.times for engine in engines if not engine.decides})
    }
    open_in: list[int] = []
    for number in range(runs):
        filled = fill(bench.settings, f"round{number}", bench.partitions, outs)
        decided: dict[str, Alerts] = {}
        # Another one begins each time, so that nobody always has the fresh or the tired broker.
        shift = number % len(engines)
        for engine in [*engines[shift:], *engines[:shift]]:
            took, job = bench.run(engine, filled if engine.decides else many[engine.times], number)
            ran[engine.name].append(took)
            told = f"{took['rate']:10,.0f}/s {took['cpu_us']:8,.0f} us of processor a record"
            bench.console.print(f"round {number + 1} of {runs}: {engine.name:28} {told}")
            if engine.decides:
                decided[engine.name] = _checked(bench, engine, filled, job)
            elif engine.counts:
                _check_counts(bench, engine, many[engine.times], job)
            shutil.rmtree(job.scratch, ignore_errors=True)
        _check_agreement(decided)
        open_in += [len(found.open) for found in decided.values()]
    return {
        "rates": {name: [took["rate"] for took in runs_of] for name, runs_of in ran.items()},
        "cpu_us": {name: [took["cpu_us"] for took in runs_of] for name, runs_of in ran.items()},
        "people": people,
        "facts": len(outs),
        "counted": len(outs) * COUNTED,
        "decoded": len(outs) * DECODED,
        "partitions": bench.partitions,
        "open_alerts": max(open_in, default=0),
        "warm": WARM,
    }


def _checked(bench: Bench, engine: Engine, filled: FilledSite, job: Job) -> Alerts:
    if engine.script == "ours.py":
        return alerts(bench.settings, filled, topics.alerts_raised(filled.site.name))
    stored = stored_facts(bench.settings, engine.name, job)
    if stored != filled.keys:
        raise Failed(f"{engine.name} has {stored} of {filled.keys} facts in its state")
    return alerts(bench.settings, filled, job.output)


def _check_counts(bench: Bench, engine: Engine, many: FilledSite, job: Job) -> None:
    ours = engine.script == "ours.py"
    topic = job.output if ours else f"{job.group}-counts-changelog"
    found = counts(bench.settings, topic, bench.partitions)
    # Every partition has a tick of its own under one key.
    wanted = {person: count for person, count in many.facts_of.items() if not person.startswith(b"~")}
    if {person: count for person, count in found.items() if not person.startswith(b"~")} != wanted:
        raise Failed(f"{engine.name} counted wrong")
    if ours:
        forget_group(bench.settings, job.group)


def _check_agreement(decided: Mapping[str, Alerts]) -> None:
    """Every engine must have the same alerts open, by the same history; and there must be some."""
    if not decided:
        return
    (first, ours), *others = decided.items()
    if not ours.open:
        raise Failed(f"{first} has no alert open: nothing was compared")
    for name, theirs in others:
        differing = len(theirs.open.items() ^ ours.open.items())
        if differing:
            raise Failed(f"{name} and {first} differ in {differing} of their open alerts")
        differing = len(theirs.history ^ ours.history)
        if differing:
            raise Failed(f"{name} and {first} differ in {differing} records of alerts: they did not do the same work")


def main(
    runs: Annotated[int, typer.Option(help="Rounds in which each engine runs once.")] = 5,
    people: Annotated[int, typer.Option(help="People of the county.")] = 5_000,
    facts_each: Annotated[int, typer.Option(help="Events of each, about.")] = 10,
    partitions: Annotated[int, typer.Option()] = 4,
    only: Annotated[list[str] | None, typer.Option(help="This engine alone; may be repeated.")] = None,
    profiles: Annotated[Path | None, typer.Option(help="A directory for a profile of each run; it slows them.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="500 people, one round; the page stays as it is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Measure the engine stage against its peers, and write docs/performance.md.

    Example: python tests/bench/engine_stage.py --quick
    """
    console = Console(stderr=True)
    engines = [engine for engine in ENGINES if not only or engine.name in only]
    if not engines:
        raise typer.BadParameter(f"no such engine; there are {', '.join(e.name for e in ENGINES)}")
    if not PEERS_PYTHON.exists():
        missing = PEERS_PYTHON.parents[1].name
        raise typer.BadParameter(f"the peers are not installed in {missing}: run `make bench-engine-stage`")
    if quick:
        runs, people = 1, 500
    load = os.getloadavg()[0]
    with bus_of_the_bench(console) as (settings, _):
        found = rounds(Bench(settings, partitions, console, profiles), engines, runs, people, facts_each)
    result = performance_page.with_machine({**found, "load": load}, PEERS_PYTHON)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        typer.echo(performance_page.table(result))
    if not (quick or only or profiles):
        performance_page.write(result, PEERS_PYTHON)
        console.print(f"{performance_page.PAGE.relative_to(ROOT)} written")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
