"""`sallyport up`: one command, the first alert, a worker that dies is replaced, and all of it ends with its broker.

That one Ctrl-C ends it, and the next start finds the state: test_a_bus_is_backed_up_and_restored.py.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from deploy.sites import SITES_DIR
from schemas import topics
from schemas.settings import Settings
from schemas.site import read_site
from tests.running_up import command, nothing_left_of, up
from tests.working_site import WorkingSite, environment, until

pytestmark = [pytest.mark.bus, pytest.mark.timeout(900)]
RECIPIENT = "county-watch"
COUNTY = ("--site", "county")


def worker_of(process: subprocess.Popen[str]) -> int | None:
    for child in psutil.Process(process.pid).children():
        try:
            if "worker" in child.cmdline():
                return int(child.pid)
        except psutil.Error:  # it ended just now
            continue
    return None


def finds_all_well(settings: Settings) -> bool:
    doctor = [sys.executable, "-m", "deploy", "doctor", "--site", "county", "--json"]
    found = subprocess.run(doctor, env=environment(settings), capture_output=True, text=True, check=False)
    return found.returncode == 0 and json.loads(found.stdout)["grade"] == "OK"


def ever_shown(site: WorkingSite, kind: str, rule: str) -> list[dict[str, Any]]:
    """What the shift commander was told of so far by one rule, whatever became of it."""
    told = site.records(topics.alerts_for(site.site.name, RECIPIENT, kind), RECIPIENT)
    return [alert for alert in told if alert["rule"] == rule]


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_up_simulates_a_county_replaces_a_killed_worker_and_ends_clean_where_it_loses_its_broker(
    settings_of_a_bus_in: Callable[[Path], Settings], tmp_path: Path
) -> None:
    settings = settings_of_a_bus_in(tmp_path / "home")
    ports = (settings.kafka_port, settings.controller_port, settings.registry_port)
    site = WorkingSite(settings, SITES_DIR / "county", read_site(SITES_DIR / "county"))
    with up(settings, *COUNTY, "--simulate", "--speed", "1800") as process:
        # How soon is for an idle machine to say: here other tests run beside it.
        until(lambda: site.shown_to(RECIPIENT), "the shift commander saw the first alert", 240)
        first = worker_of(process)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: worker_of(process) not in (None, first), "another worker was started")
        # Life goes on, through the worker that took over: something new is raised, and something is over.
        killed, shown = time.time_ns() // 1000, set(site.shown_to(RECIPIENT))
        until(
            lambda: any(alert["at"] > killed for alert in site.shown_to(RECIPIENT).values()),
            "an alert was raised by the new worker",
            240,
        )
        until(lambda: shown - set(site.shown_to(RECIPIENT)), "something that was shown before is over", 240)
        # Of what one starts it to see, there has been some by now, mostly; the county's days are short.
        until(lambda: ever_shown(site, "housing", "rivals_housed_together"), "rivals in one unit were shown", 240)
        until(lambda: ever_shown(site, "contraband", "contraband_delivery_expected"), "a tip's delivery was shown", 240)
        tipped, *_ = ever_shown(site, "contraband", "contraband_delivery_expected")
        assert {"text": "Contraband is said to be coming", "agency": "", "event_time": None} in tipped["why"]
        # Soon: the new worker has to catch up with a county that does not wait for it.
        until(lambda: finds_all_well(settings), "the doctor finds all well", 240)

        # It loses its broker.
        (broker,) = [
            child for child in psutil.Process(process.pid).children(recursive=True) if "kafka.Kafka" in child.cmdline()
        ]
        with nothing_left_of(process):
            broker.kill()
            assert process.wait(60) == 2
        assert process.stderr is not None
        *_, line = process.stderr.read().splitlines()
        assert line.startswith("sallyport: Kafka ended: ")
    assert not any(map(listening, ports))


def test_a_port_in_use_is_one_line_and_leaves_nothing(
    settings_of_a_bus_in: Callable[[Path], Settings], tmp_path: Path
) -> None:
    settings = settings_of_a_bus_in(tmp_path / "home")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.kafka_port))
        taken.listen()
        done = subprocess.run(command(*COUNTY), env=environment(settings), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("sallyport: ")
    assert str(settings.kafka_port) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    home = str(settings.home)
    assert not [p for p in psutil.process_iter(["cmdline"]) if any(home in part for part in p.info["cmdline"] or ())]
