"""`sallyport up`: one command, the first alert within 90 seconds, a worker that dies is replaced, one Ctrl-C ends it
all, and the next start finds the state."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from deploy.sites import SITES_DIR
from schemas.settings import Settings
from schemas.site import read_site
from tests.working_site import WorkingSite, until

pytestmark = [pytest.mark.bus, pytest.mark.timeout(300)]
RECIPIENT = "county-jail-watch"


@contextmanager
def up(settings: Settings, *options: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        "SALLYPORT_HOME": str(settings.home),
        "SALLYPORT_KAFKA_PORT": str(settings.kafka_port),
        "SALLYPORT_CONTROLLER_PORT": str(settings.controller_port),
        "SALLYPORT_REGISTRY_PORT": str(settings.registry_port),
    }
    command = [sys.executable, "-m", "deploy", "up", "--site", "demo", *options]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "The bus runs" in line:
                break
        assert "The bus runs" in said[-1], said
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def of_home(settings: Settings) -> list[int]:
    """Processes that belong to a bus: of its home, or workers whose parent they are."""
    home = str(settings.home)
    return [p.pid for p in psutil.process_iter(["cmdline"]) if any(home in part for part in p.info["cmdline"] or ())]


def worker_of(process: subprocess.Popen[str]) -> int | None:
    for child in psutil.Process(process.pid).children():
        try:
            if "worker" in child.cmdline():
                return int(child.pid)
        except psutil.Error:  # it ended just now
            continue
    return None


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_up_plays_the_story_replaces_a_killed_worker_ends_clean_and_comes_back(
    settings_of_a_bus_in: Callable[[Path], Settings], tmp_path: Path
) -> None:
    settings = settings_of_a_bus_in(tmp_path / "home")
    site = WorkingSite(settings, SITES_DIR / "demo", read_site(SITES_DIR / "demo"))
    began = time.monotonic()
    with up(settings, "--story") as process:
        until(lambda: site.shown_to(RECIPIENT), "the shift commander saw the first alert", 90)
        assert time.monotonic() - began < 90
        first = worker_of(process)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: worker_of(process) not in (None, first), "another worker was started")
        # The story goes on, through the worker that took over: police intelligence on two people in 5-A.
        until(
            lambda: any(alert["unit"] == "5-A" for alert in site.shown_to(RECIPIENT).values()),
            "an alert was raised by the new worker",
            90,
        )
        until(
            lambda: not any(alert["unit"] == "4-B" for alert in site.shown_to(RECIPIENT).values()),
            "the move ended the danger in 4-B",
            90,
        )
        site.until_settled()
        shown = site.shown_to(RECIPIENT)
    assert of_home(settings) == []
    assert not any(map(listening, (settings.kafka_port, settings.controller_port, settings.registry_port)))

    with up(settings):
        site.until_settled()
        assert site.shown_to(RECIPIENT).keys() >= {known_as for known_as, a in shown.items() if a["unit"] == "5-A"}
    assert of_home(settings) == []


def test_a_port_in_use_is_one_line_and_leaves_nothing(
    settings_of_a_bus_in: Callable[[Path], Settings], tmp_path: Path
) -> None:
    settings = settings_of_a_bus_in(tmp_path / "home")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.kafka_port))
        taken.listen()
        environment = {
            **os.environ,
            "SALLYPORT_HOME": str(settings.home),
            "SALLYPORT_KAFKA_PORT": str(settings.kafka_port),
            "SALLYPORT_CONTROLLER_PORT": str(settings.controller_port),
            "SALLYPORT_REGISTRY_PORT": str(settings.registry_port),
        }
        command = [sys.executable, "-m", "deploy", "up"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("sallyport: ")
    assert str(settings.kafka_port) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert of_home(settings) == []
