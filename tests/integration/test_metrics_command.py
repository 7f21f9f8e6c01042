"""`sallyport metrics` on the real bus: scraped over HTTP, with nothing of a tip in it, until it is told to end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas import topics
from schemas.settings import Settings
from tests.county import JAIL, event, today
from tests.free_ports import free_ports
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus
SAMPLE = re.compile(r"^(sallyport_\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)


@pytest.fixture
def site(bus: Settings, tmp_path: Path) -> Iterator[WorkingSite]:
    site = WorkingSite.make(bus, tmp_path / "site", "measured", partitions=1)
    site.start_worker()
    yield site
    site.end()


@contextmanager
def serving(site: WorkingSite, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and where its metrics are."""
    (port,) = free_ports(1)
    of_the_bus = {"home": tmp_path / "home", "ca_file": site.settings.ca_path, "secrets": site.settings.secrets_path}
    command = [sys.executable, "-m", "deploy", "metrics", "--site", str(site.directory), "--port", str(port)]
    process = subprocess.Popen(
        command, env=environment(site.settings.model_copy(update=of_the_bus)), stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert f"at http://127.0.0.1:{port}/metrics" in process.stderr.readline()
        yield process, f"http://127.0.0.1:{port}/metrics"
    finally:
        process.kill()
        process.wait()


def scraped(url: str) -> dict[str, float]:
    """Each sample's value, by its name and labels."""
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310  # loopback
        text = answer.read().decode()
    return {f"{name}{labels}": float(value) for name, labels, value in SAMPLE.findall(text)}


def test_what_came_and_what_was_set_aside_is_counted_and_nothing_of_a_tip(site: WorkingSite, tmp_path: Path) -> None:
    site.publish(
        [
            today("HousingAssigned", "ada", hours=2, unit="4-B"),
            today("HousingAssigned", "bo", hours=1, unit="4-B"),
            event("ContrabandTipped", day=0, courier_name="Cole, Dana", facility="county-jail-main"),
        ]
    )
    housed = topics.inbound(site.site.name, JAIL, "HousingAssigned")
    site.write(JAIL, housed, b"no Avro at all")
    site.until_settled()
    with serving(site, tmp_path) as (process, url):
        until(lambda: _of(scraped(url), "sallyport_topic_lag", housed) == 0, "all is processed")
        found = scraped(url)
        assert _of(found, "sallyport_up") == 1
        assert _of(found, "sallyport_topic_records", housed) == 3
        assert _of(found, "sallyport_dead_letters", JAIL) == 1
        assert not [one for one in found if "tip" in one.replace("multiple", "")]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        with pytest.raises(urllib.error.URLError):
            scraped(url)


def _of(found: dict[str, float], name: str, label: str = "") -> float | None:
    """The first sample of a name that has such a label."""
    return next((value for one, value in found.items() if one.startswith(name + "{") and label in one), None)
