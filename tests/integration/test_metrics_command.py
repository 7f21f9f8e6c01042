"""`sallyport metrics` on the real bus: scraped over HTTP, with nothing of a tip in it, until it is told to end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from deploy.tallies import STEPS
from schemas import topics
from schemas.events import Event
from schemas.settings import Settings
from tests.county import JAIL, event, today
from tests.free_ports import free_ports
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus
REVIEW = '"classification_review"'
SENTINEL = "SENTINEL"
"""Begins what would tell of a person."""
BEFORE = "before"
"""Who was reviewed before anybody counted."""
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
            *reviewed(BEFORE),
        ]
    )
    housed = topics.inbound(site.site.name, JAIL, "HousingAssigned")
    site.write(JAIL, housed, b"no Avro at all")
    site.until_settled()
    with serving(site, tmp_path) as (process, url):
        until(lambda: _of(scraped(url), "sallyport_topic_lag", housed) == 0, "all is processed")
        # Since when it follows the logs can't be seen: one review after another, until one is counted.
        until(lambda: _of(scraped(url), "sallyport_alerts_known") == 1, "it knows what is open")
        reviews = count(1)

        def is_counted() -> bool:
            site.publish(reviewed(f"p{next(reviews)}"))
            site.until_settled()
            return _of(scraped(url), "sallyport_publish_to_alert_seconds_count", REVIEW) not in (None, 0)

        until(is_counted, "an alert is timed")
        found = scraped(url)
        # What was open before is not raised again.
        raised = _of(found, "sallyport_alert_changes_total", REVIEW, '"raised"') or 0
        assert 1 <= raised < (_of(found, "sallyport_alerts_open", REVIEW) or 0)
        assert (_of(found, "sallyport_disclosure_decisions_total", "county-jail-watch", "DISCLOSED") or 0) >= 1
        steps = {step: _of(found, "sallyport_step_seconds_count", f'"{step}"') for step in STEPS}
        assert {step for step, seen in steps.items() if seen} == set(STEPS) - {"facility"}
        assert (_of(found, "sallyport_certificate_expiry_timestamp_seconds", "broker") or 0) > time.time()
        assert 0 < (_of(found, "sallyport_disk_free_bytes") or 0) < (_of(found, "sallyport_disk_bytes") or 0)
        assert not [one for one in found if SENTINEL in one]
        assert _of(found, "sallyport_up") == 1
        assert _of(found, "sallyport_topic_records", housed) == 3
        assert _of(found, "sallyport_dead_letters", JAIL) == 1
        assert not [one for one in found if "tip" in one]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        with pytest.raises(urllib.error.URLError):
            scraped(url)


def reviewed(person: str) -> list[Event]:
    """What somebody is to be reviewed for, whose numbers would be known if they were told."""
    known_as = SENTINEL + person
    return [
        today("BookingReported", known_as, hours=9, name=f"booking-{person}", booked_as=f"{SENTINEL}, {person}"),
        today("CustodyClassified", known_as, hours=8, name=f"class-{person}"),
        today("DisciplinaryRecorded", known_as, hours=1, name=f"infraction-{person}"),
    ]


def _of(found: dict[str, float], name: str, *labels: str) -> float | None:
    """The sum of a name's samples that have such labels; None where there is none."""
    of_it = [
        value for one, value in found.items() if one.startswith(name + "{") and all(label in one for label in labels)
    ]
    return sum(of_it) if of_it else None
