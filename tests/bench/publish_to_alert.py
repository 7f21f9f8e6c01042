"""From publishing an event to the alert as its recipient can read it: at fixed rates, and while a history is imported.

    python tests/bench/publish_to_alert.py --help

Each part starts a bus of its own in a temporary home. Measured are probes (tests/bench/probes.py), whose alerts the
feed of the shift commander's screen hears: publisher's disk, broker, identify, person, facility with disclose, desk.

At a rate: the mix of real events is published on schedule by another process (tests/bench/open_loop.py), and probes
among it. Latency counts from the moment at which a probe was to be published, whether or not it could be. One worker,
with a watch on its doors, so that one rate's time can be told by the step. While importing: `sallyport up`, and the
real lists of a city jail, or the sample, come into the history site beside it.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import psutil  # type: ignore[import-untyped]
import typer

from deploy.embedded import EmbeddedBus
from deploy.provision import provision
from deploy.sites import SITES_DIR
from schemas.settings import Settings
from schemas.site import read_site
from tests.bench import hops, latency_page
from tests.bench.engine_stage import PEERS_PYTHON
from tests.bench.performance_page import machine
from tests.bench.probes import FEUDS, Probe, Probes, Way, in_turn
from tests.free_ports import settings_on_free_ports
from tests.working_site import WorkingSite, environment, site_files

ROOT: Final = Path(__file__).parents[2]
WATCHED: Final = ROOT / "tests" / "bench" / "watched_worker.py"
OPEN_LOOP: Final = ROOT / "tests" / "bench" / "open_loop.py"
REAL: Final = sorted((ROOT.parent / "shared" / "data" / "nyc-custody").glob("*.csv.gz"))
SAMPLE: Final = sorted((ROOT / "tests" / "data" / "roster").glob("2026-*.csv*"))
PARTITIONS: Final = 4
UNITS: Final = tuple(f"P-{number}" for number in range(2 * FEUDS))
RATES: Final = (100, 500, 1_000, 10_000)
STEPS_AT: Final = 1_000
"""The rate whose probes' way is told by the step."""
PROBES_A_SECOND: Final = 10
"""A probe changes an alert, and who is told of it: it costs several times what an event of the mix does, of which one
in ten thousand leads to one. Fifty a second took a third of the worker's time."""
MOST_PROBES: Final = 0.2
"""Of the events, where they are few."""
REPORTS: Final = 0.2
"""Share of reports among the probes: each goes to every partition."""
COMPILE_S: Final = 90.0
"""Seconds of the middle rate before all others: a broker that just started is half busy with compiling itself, and
encrypts ten times slower until it has."""
WARM_S: Final = 5.0
"""Seconds of each rate before the first probe that counts."""
ENOUGH_FOR_P999: Final = 1_000
"""Probes of which a 99.9th percentile is told."""
MOST_MERGED: Final = 0.9
"""Share of the probes of which it may be unknown when their alerts came."""
SECONDS: Final = 120.0
"""That count, of each rate: 1,200 probes. Of fewer than a thousand the 99.9th percentile would be the worst one."""
TOO_MUCH_S: Final = 30.0
"""Of a rate that is more than the bus takes: what waits grows as long as it goes on."""
PATIENCE_S: Final = 60.0
"""How long the desk may wait for a probe's alert, where the rate is more than the bus takes."""


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least of some ordered values below or at which so many of them are."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def figures(probes: Sequence[Probe]) -> dict[str, float]:
    ordered = sorted(probe.took_ms for probe in probes)
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    if len(ordered) >= ENOUGH_FOR_P999:
        shares["p999_ms"] = 0.999
    return {name: round(quantile(ordered, share), 1) for name, share in shares.items()} | {"probes": len(ordered)}


# -- at a rate -------------------------------------------------------------------------------------------------------


def site_of_probes(settings: Settings, parent: Path) -> WorkingSite:
    """A site as the demo's, whose jail has a unit for each feud: nobody else is housed with them."""
    directory = site_files(parent, "rates", PARTITIONS)
    path = directory / "site.toml"
    intake = '  { id = "INTAKE", capacity = 24 },'
    text = path.read_text()
    assert intake in text
    path.write_text(text.replace(intake, "\n".join([intake, *(f'  {{ id = "{u}", capacity = 24 }},' for u in UNITS)])))
    site = read_site(directory)
    provision(settings, site)
    return WorkingSite(settings.model_copy(update={"site_file": directory}), directory, site)


class OpenLoop:
    """The process that publishes the mix."""

    def __init__(self, settings: Settings) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(OPEN_LOOP)],
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **what: float) -> None:
        assert self.process.stdin is not None
        print(json.dumps(what), file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the open loop ended"
        said: dict[str, float] = json.loads(line)
        return said

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        if self.process.wait(30):
            raise RuntimeError("the open loop failed")


class Busy:
    """How many cores some processes keep busy, from one look to the next."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.since_last()

    def since_last(self) -> dict[str, float]:
        """By process: cores' worth of processor time since it was asked last."""
        return {name: round(process.cpu_percent() / 100, 2) for name, process in self._processes.items()}


def at_rate(
    probes: Probes, load: OpenLoop, busy: Busy, rate: int, seconds: float
) -> tuple[dict[str, Any], list[Probe]]:
    """Latency of the probes among so many events a second; the first seconds are not counted."""
    each_s = min(PROBES_A_SECOND, rate * MOST_PROBES)
    events = int((rate - each_s) * (WARM_S + seconds))
    load.ask(events=events)
    load.answer()
    begins = time.time() + 0.5
    load.ask(rate=rate - each_s, at=begins)
    sent = in_turn(int(each_s * (WARM_S + seconds)), REPORTS)
    busy.since_last()
    for number, probe in enumerate(sent):
        probe.due = int((begins + number / each_s) * 1e9)
        time.sleep(max(0.0, probe.due / 1e9 - time.time()))
        probes.send(probe)
    cores = busy.since_last()
    behind = max(0.0, load.answer()["behind_s"])
    merged = probes.until_heard(PATIENCE_S)
    if merged > len(sent) * MOST_MERGED:
        raise RuntimeError(f"of {merged} of {len(sent)} probes it can't be said when their alerts came")
    took = max(WARM_S + seconds, max(probe.heard for probe in sent) / 1e9 - begins)
    counted = [probe for probe in sent if probe.heard and probe.due >= (begins + WARM_S) * 1e9]
    return {
        "rate": rate,
        "seconds": seconds,
        "merged": merged,
        "accepted_rate": (events + len(sent)) / (WARM_S + seconds + behind),
        "achieved_rate": (events + len(sent)) / took,
        **figures(counted),
        "by_way": {way: figures(some) for way in Way if (some := [p for p in counted if p.way is way])},
        "cores": cores,
    }, counted


def at_rates(rates: Sequence[int], seconds: float, compile_s: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Latency at each rate, and the steps of one of them."""
    with tempfile.TemporaryDirectory() as home:
        settings = settings_on_free_ports(Path(home))
        with EmbeddedBus(settings) as bus:
            site = site_of_probes(settings, Path(home))
            marks = Path(home) / "marks"
            worker = site.start_worker(["-P", str(WATCHED), "-", str(marks)])
            load = OpenLoop(site.settings)
            probes = Probes(site.settings, site.site, UNITS)
            broker = {process.name.lower(): process.process.pid for process in bus._processes}
            busy = Busy({"worker": worker.pid, "publishers": load.process.pid, "desk": os.getpid()} | broker)
            found, stepped, where = [], list[Probe](), {}
            try:
                probes.set_up()
                at_rate(probes, load, busy, STEPS_AT, compile_s)
                for rate in rates:
                    lasts = seconds if rate <= STEPS_AT else min(seconds, TOO_MUCH_S)
                    result, counted = at_rate(probes, load, busy, rate, lasts)
                    say(latency_page.line(result))
                    found.append(result)
                    if rate == STEPS_AT:
                        stepped = counted
                        where = hops.places(settings, site.site, {probe.event_id for probe in counted})
                load.close()
                worker.send_signal(signal.SIGTERM)
                worker.wait(60)
                of_it = hops.read_marks(marks)
            except RuntimeError as failed:
                raise RuntimeError(f"{failed}; the worker said: {site.said(worker)[-2000:]}") from failed
            finally:
                probes.close()
                site.end()
    return {"rates": found, "steps": by_step(stepped, lambda probe: hops.steps(probe, where, of_it))}


def by_step(probes: Sequence[Probe], of: Callable[[Probe], dict[str, float] | None]) -> dict[str, Any]:
    """By way: of each step median and p99, and of how many probes they are known."""
    told: dict[str, Any] = {}
    for way in Way:
        took: defaultdict[str, list[float]] = defaultdict(list)
        for probe in probes:
            if probe.way is way:
                for step, ms in (of(probe) or {}).items():
                    took[step].append(ms)
        told[way] = {
            step: {"p50_ms": round(quantile(sorted(ms), 0.5), 1), "p99_ms": round(quantile(sorted(ms), 0.99), 1)}
            | {"probes": len(ms)}
            for step, ms in took.items()
        }
    return told


# -- while a history is imported -------------------------------------------------------------------------------------


@contextmanager
def up(settings: Settings) -> Iterator[None]:
    """`sallyport up`: both shipped sites and their workers."""
    command = [sys.executable, "-P", "-m", "deploy", "up"]
    process = subprocess.Popen(command, env=environment(settings), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "The bus runs" in line:
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def one_by_one(probes: Probes, count: int, pause_s: float, goes_on: Callable[[], bool] = lambda: True) -> list[Probe]:
    """So many reports, each after the alert of the one before, or fewer where it does not go on."""
    found = []
    for probe in in_turn(count, 1.0):
        probes.send(probe)
        if probes.until_heard(30):
            raise RuntimeError("a report changed no alert")
        if not goes_on():
            break
        found.append(probe)
        time.sleep(pause_s)
    return found


def while_importing(count: int, pause_s: float) -> dict[str, dict[str, float]]:
    """Latency of reports, alone and while rosters are imported."""
    with tempfile.TemporaryDirectory() as home:
        settings = settings_on_free_ports(Path(home))
        with up(settings):
            demo = read_site(SITES_DIR / "demo")
            probes = Probes(settings, demo, [unit.id for unit in demo.facilities[0].units])
            try:
                probes.set_up([Way.REPORT])
                alone = one_by_one(probes, count, pause_s)
                command = [sys.executable, "-P", "-m", "deploy", "import", "roster", "--json"]
                importing = subprocess.Popen(
                    [*command, *(str(path) for path in REAL or SAMPLE)],
                    env=environment(settings),
                    stdout=subprocess.DEVNULL,
                )
                during = one_by_one(probes, count, pause_s, lambda: importing.poll() is None)
                importing.terminate()
                importing.wait()
            finally:
                probes.close()
    return {"alone": figures(alone), "while_importing": figures(during)}


def main(
    rate: Annotated[list[int] | None, typer.Option(help="Events a second; may be repeated.")] = None,
    seconds: Annotated[
        float, typer.Option(help=f"Seconds that count, of each rate; at most {TOO_MUCH_S:g} of one above {STEPS_AT:,}.")
    ] = SECONDS,
    count: Annotated[int, typer.Option(help="Reports alone, and while importing; 0 leaves both out.")] = 200,
    pause: Annotated[float, typer.Option(help="Seconds between an alert and the next report.")] = 0.1,
    limit_ms: Annotated[float | None, typer.Option(help="Exit with 1 where the p99 while importing is above.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="100 and 1,000 a second, 5 s each; no import.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON; the page stays as it is.")] = False,
) -> None:
    """Measure publish to readable alert, and write it into docs/performance.md.

    Example: python tests/bench/publish_to_alert.py --quick
    """
    rates = tuple(rate) if rate else (100, STEPS_AT) if quick else RATES
    compile_s = COMPILE_S
    if quick:
        seconds, count, compile_s = 5, 0, 5
    load = os.getloadavg()[0]
    result = at_rates(rates, seconds, compile_s, lambda line: typer.echo(line, err=True))
    result |= {
        "machine": machine(),
        "compile_s": compile_s,
        "load": load,
        "imports": while_importing(count, pause) if count else {},
    }
    if as_json:
        typer.echo(json.dumps(result))
    else:
        typer.echo(latency_page.section(result))
        if rates == RATES and count:
            latency_page.write(result, PEERS_PYTHON)
    if limit_ms is not None and count and result["imports"]["while_importing"]["p99_ms"] > limit_ms:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
