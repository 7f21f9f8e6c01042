"""From publishing an event to the alert as its recipient can read it, while a history is imported on the same bus.

    python tests/bench/publish_to_alert.py --help

It starts a bus of its own with `sallyport up` (both shipped sites, their workers) in a temporary home, imports rosters
into the history site, and meanwhile publishes, as the police, violence in one of twenty feuds between groups whose
members the jail has in one unit: each report changes the open alert of its feud. Measured is the time until the
feed of the shift commander's screen has the revision that this report made: publisher's disk, broker, identify, person
or facility with disclose, desk.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from consumers.alert_feed import AlertFeed
from consumers.board import AlertSaid, Said
from deploy.sites import SITES_DIR
from producers.publisher import Publisher
from schemas.events import Event
from schemas.settings import Settings
from schemas.site import read_site
from tests.county import DAY, START, event
from tests.free_ports import free_ports

ROOT = Path(__file__).parents[2]
REAL = sorted((ROOT.parent / "shared" / "data" / "nyc-custody").glob("*.csv.gz"))
SAMPLE = sorted((ROOT / "tests" / "data" / "roster").glob("2026-*.csv*"))
RECIPIENT = "county-jail-watch"
UNITS = [unit.id for unit in read_site(SITES_DIR / "demo").facilities[0].units]
FEUDS = 20
"""An alert shows all the reports that bear it out: with one feud alone it would grow to hundreds of them."""


def today(kind: str, person: str | None = None, **fields: object) -> Event:
    """An event of an hour ago."""
    day = (time.time_ns() // 1000 - START) / DAY - 1 / 24
    return event(kind, person, day=day, **fields)  # type: ignore[arg-type]


def enemies_in_one_unit(feud: int) -> list[Event]:
    """A member of each side in custody, and both in one unit."""
    events = []
    for side in ("east", "west"):
        person = f"{side}-{feud}"
        events += [
            today("BookingReported", person),
            today("HousingAssigned", person, unit=UNITS[feud % len(UNITS)]),
            today("AffiliationValidated", person, group=f"{side} {feud}"),
        ]
    return events


def violence(feud: int, name: str) -> Event:
    """A report of violence between the two sides."""
    return today("StreetViolenceReported", groups=[f"east {feud}", f"west {feud}"], name=name)


class Desk:
    """The shift commander's desk: the feed of `sallyport watch`, and when it said something of an alert."""

    def __init__(self, settings: Settings) -> None:
        self._heard: queue.Queue[None] = queue.Queue()
        self._feed = AlertFeed(settings, read_site(SITES_DIR / "demo"), RECIPIENT)
        self._feed.start(self._deliver)

    def _deliver(self, said: Sequence[Said]) -> None:
        for _ in (one for one in said if isinstance(one, AlertSaid)):
            self._heard.put(None)

    def hears(self, timeout_s: float) -> bool:
        """Whether something was said of an alert in time."""
        try:
            self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return False
        return True

    def close(self) -> None:
        self._feed.stop()


def measure(settings: Settings, count: int, pause_s: float, goes_on: Callable[[], bool] = lambda: True) -> list[float]:
    """Milliseconds from publish to the alert at the desk, of `count` reports, or fewer where it does not go on."""
    site = read_site(SITES_DIR / "demo")
    desk = Desk(settings)
    with Publisher(settings, site, "county-jail") as jail, Publisher(settings, site, "city-pd") as police:
        jail.publish_many([housed for feud in range(FEUDS) for housed in enemies_in_one_unit(feud)])
        police.publish_many([violence(feud, f"first {time.time_ns()}") for feud in range(FEUDS)])
        if not desk.hears(60):
            raise RuntimeError("no alert came in a minute")
        while desk.hears(2):
            pass
        found: list[float] = []
        for number in range(count):
            report = violence(number % FEUDS, f"{number} {time.time_ns()}")
            began = time.perf_counter()
            police.publish(report)
            if not desk.hears(30):
                raise RuntimeError(f"report {number} changed no alert")
            took = (time.perf_counter() - began) * 1000
            if not goes_on():
                break
            found.append(took)
            time.sleep(pause_s)
    desk.close()
    return found


def figures(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "median_ms": round(ordered[len(ordered) // 2], 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 1),
        "max_ms": round(ordered[-1], 1),
        "alerts": len(ordered),
    }


def main(
    count: Annotated[int, typer.Option(help="Reports to publish in each part.")] = 200,
    pause: Annotated[float, typer.Option(help="Seconds between an alert and the next report.")] = 0.1,
    limit_ms: Annotated[float | None, typer.Option(help="Exit with 1 where the p99 while importing is above.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Measure publish to readable alert, alone and while an import runs.

    Example: python tests/bench/publish_to_alert.py --count 200
    """
    kafka, controller, registry = free_ports(3)
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), kafka_port=kafka, controller_port=controller, registry_port=registry)
        environment = {
            **os.environ,
            "SALLYPORT_HOME": home,
            "SALLYPORT_KAFKA_PORT": str(kafka),
            "SALLYPORT_CONTROLLER_PORT": str(controller),
            "SALLYPORT_REGISTRY_PORT": str(registry),
        }
        command = [sys.executable, "-P", "-m", "deploy"]
        up = subprocess.Popen([*command, "up"], env=environment, stderr=subprocess.PIPE, text=True)
        assert up.stderr is not None
        try:
            for line in up.stderr:
                if "The bus runs" in line:
                    break
            threading.Thread(target=up.stderr.read, daemon=True).start()
            alone = measure(settings, count, pause)
            files = [str(path) for path in REAL or SAMPLE]
            importing = subprocess.Popen(
                [*command, "import", "roster", "--json", *files], env=environment, stdout=subprocess.DEVNULL
            )
            during = measure(settings, count, pause, lambda: importing.poll() is None)
            importing.terminate()
            importing.wait()
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(60)
    result = {"alone": figures(alone), "while_importing": figures(during)}
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for name, found in result.items():
            typer.echo(
                f"{name:16} median {found['median_ms']} ms, p99 {found['p99_ms']} ms, of {found['alerts']} alerts"
            )
    if limit_ms is not None and result["while_importing"]["p99_ms"] > limit_ms:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
