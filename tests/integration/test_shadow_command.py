"""`sallyport shadow` on the real bus: a draft beside the live rule, at a glance and followed; nothing is written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from schemas import topics
from schemas.events import Event
from tests.county import today
from tests.json_lines import Stream
from tests.working_site import WAIT_S, WorkingSite, environment, until

pytestmark = pytest.mark.bus
DRAFT = """
from __future__ import annotations
from dataclasses import replace
from streams.correlations import rivals_housed_together
from streams.correlations.situation import Situation
from streams.pictures.facility import FacilityPicture, UnitKey

def situations(picture: FacilityPicture, unit: UnitKey, now: int) -> set[Situation]:
    found = rivals_housed_together.situations(picture, unit, now)
    return {one for one in found if %s}

CORRELATION = replace(rivals_housed_together.CORRELATION, version=2, situations=situations)
"""
THREE = DRAFT % "len(one.subjects) > 2"
BROKEN = DRAFT % "{}[one.subjects[0].name]"


def booked(person: str) -> Event:
    return today("BookingReported", person, hours=9).model_copy(update={"name": f"GARROW, {person.upper()}"})


RIVALS = [
    *(booked(person) for person in ("ada", "bo")),
    *(today("HousingAssigned", person, hours=8, unit="4-B") for person in ("ada", "bo")),
    today("AffiliationValidated", "ada", hours=7, group="Eastside"),
    today("AffiliationValidated", "bo", hours=7, group="Harbor"),
    today("StreetViolenceReported", hours=1, groups=["Eastside", "Harbor"]),
]
A_THIRD = [
    booked("cy"),
    today("HousingAssigned", "cy", hours=0.5, unit="4-B"),
    today("AffiliationValidated", "cy", hours=0.4, group="Harbor"),
]


def command(draft: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "deploy", "shadow", str(draft), *options]


def shadow(site: WorkingSite, draft: Path, *options: str) -> subprocess.CompletedProcess[str]:
    where = environment(site.settings)
    return subprocess.run(
        command(draft, *options), env=where, capture_output=True, text=True, check=False, timeout=WAIT_S
    )


def test_a_draft_is_compared_with_the_live_rule_and_followed_and_nothing_is_written(
    a_site: Callable[..., WorkingSite], tmp_path: Path
) -> None:
    three, broken = tmp_path / "three.py", tmp_path / "broken.py"
    three.write_text(THREE)
    broken.write_text(BROKEN)
    site = a_site("shadowed")
    worker = site.start_worker()
    site.publish(RIVALS)
    until(site.open_alerts, "the rivals were found")
    ((known_as, alert),) = site.open_alerts().items()

    glance = shadow(site, three, "--json")
    assert glance.returncode == 1, glance.stderr
    told = json.loads(glance.stdout)
    assert (told["rule"], told["version"], told["installed"]) == ("rivals_housed_together", 2, 1)
    assert told["verdicts"] == {"RAISE": 0, "CHANGE": 0, "WITHDRAW": 1, "UNKNOWN": 0}
    assert [one["alert_id"] for one in told["differences"]] == [known_as]
    withdrawn = {"NEW": 0, "CHANGED": 0, "WITHDRAWN": 1}
    assert told["recipients"] == dict.fromkeys(("county-jail-watch", "county-jail-classification"), withdrawn)
    assert "GARROW" not in glance.stdout + glance.stderr

    process = subprocess.Popen(
        command(three, "--follow", "--json"), env=environment(site.settings), stdout=subprocess.PIPE, text=True
    )
    stream = Stream(process)
    assert stream.until("started")["open_now"] == 1
    # With three of them the draft agrees; without the third it does not, again.
    site.publish(A_THIRD)
    assert stream.until("appeared", "disappeared")["change"] == "disappeared"
    site.publish([today("HousingAssigned", "cy", hours=0.1, unit="5-A")])
    again = stream.until("appeared", "disappeared")
    assert (again["change"], again["verdict"], again["alert_id"]) == ("appeared", "WITHDRAW", known_as)
    process.send_signal(signal.SIGINT)
    ended = stream.until("ended")
    assert process.wait(WAIT_S) == 1
    assert (ended["appeared"], ended["disappeared"], ended["verdicts"]["WITHDRAW"]) == (2, 1, 1)
    assert [line["change"] for line in stream.said] == ["appeared", "started", "disappeared", "appeared", "ended"]

    # With the workers gone nothing moves that a shadow does not move.
    worker.kill()
    worker.wait()
    before = everything(site)
    named = shadow(site, three, "--evidence")
    assert named.returncode == 1, named.stderr
    assert f"would withdraw HIGH county-jail-main 4-B: {alert['headline']}" in named.stdout
    assert "about GARROW, ADA, booking B-ada" in named.stdout
    failed = shadow(site, broken)
    assert failed.returncode == 3, failed.stderr
    assert "can't say HIGH county-jail-main 4-B" in failed.stdout
    assert "the rule failed 1 times: KeyError at line 10, on partition" in failed.stdout
    assert "GARROW" not in failed.stdout + failed.stderr
    assert everything(site) == before
    assert {alert["rule_version"] for alert in site.records(topics.alerts_raised(site.site.name))} == {1}


def everything(site: WorkingSite) -> dict[str, Any]:
    """The ends of the site's topics, and what its workers' group has committed."""
    group = topics.consumer_group(site.site.name)
    admin = AdminClient(site.settings.kafka(site.site.user("bus")))
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result().topic_partitions
    committed = {(part.topic, part.partition): part.offset for part in asked}
    return {"committed": committed, **{spec.name: site.end_of(spec.name) for spec in topics.all_topics(site.site)}}
