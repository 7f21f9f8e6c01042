"""`sallyport explain` and `sallyport replay` on the real bus: an alert is raised, ends, and is accounted for, also when
only its last record is left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from schemas import topics
from streams.fold import plain_consumer, read_back
from tests.compaction import compacted_in_moments
from tests.county import event_id, today
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus


RIVALS_IN_4B = [
    today("BookingReported", "ada", hours=9),
    today("BookingReported", "bo", hours=9),
    today("HousingAssigned", "ada", hours=8, unit="4-B"),
    today("HousingAssigned", "bo", hours=8, unit="4-B"),
    today("AffiliationValidated", "ada", hours=7, group="Eastside"),
    today("AffiliationValidated", "bo", hours=7, group="Harbor"),
]
FEUD = today("StreetViolenceReported", name="the feud", groups=["Eastside", "Harbor"], retaliation_expected=True)
MOVED = today("HousingAssigned", "bo", hours=0.1, name="the move", unit="5-A")


def in_a_terminal(site: WorkingSite, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as a person starts it, with 80 columns."""
    command, where = [sys.executable, "-P", "-m", "deploy", *arguments], environment(site.settings, COLUMNS="80")
    return subprocess.run(command, env=where, capture_output=True, text=True, check=False, timeout=120)


def run(site: WorkingSite, *arguments: str) -> Result:
    """The same command without a process of its own, which takes long to start."""
    return CliRunner().invoke(app, arguments, env=environment(site.settings))


def compact_alerts(site: WorkingSite, known_as: str) -> None:
    """Let the broker compact the alerts until of this one only the last record is left."""
    raised, user = topics.alerts_raised(site.site.name), site.site.user("bus")
    parts = [(raised, number) for number in range(site.site.partitions)]

    def is_compacted() -> bool:
        for _, number in parts:
            # The broker cleans no segment that it still writes: it gets another record.
            site.write("bus", raised, None, b"another alert", number)
        consumer = plain_consumer(site.settings, user, topics.consumer_group(site.site.name))
        try:
            return [record.key for _, record in read_back(consumer, parts)].count(known_as.encode()) == 1
        finally:
            consumer.close()

    with compacted_in_moments(site.settings, raised):
        until(is_compacted, "the alert's earlier records were gone")


def what_the_audit_keeps_is_explained(site: WorkingSite, known_as: str, before: list[dict[str, Any]]) -> None:
    """Of all revisions but the last: the same as `before` their records were gone, but for what they said."""
    told = in_a_terminal(site, "explain", known_as)
    assert (told.returncode, told.stderr) == (0, "")
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert told.stdout.count("its words are gone; this is what the audit keeps") == len(before) - 1
    left = json.loads(run(site, "explain", known_as, "--json").stdout)
    *gone, last = left["revisions"]
    assert {**last, "changed": None} == {**before[-1], "changed": None}
    assert left["missing"] == [one["revision"] for one in gone]
    for kept, whole in zip(gone, before[:-1], strict=True):
        assert (kept["record"], kept["outline"]["digest"]) == (None, whole["record"]["digest"])
        same = ("revision", "origin", "before", "decisions")
        assert {name: kept[name] for name in same} == {name: whole[name] for name in same}
        of_each = ("agency", "event_type", "event_id", "person", "facts", "inbound", "gone")
        for ground in kept["grounds"]:
            assert {n: ground[n] for n in of_each} in [{n: one[n] for n in of_each} for one in whole["grounds"]]
        assert {one["event_id"] for one in kept["grounds"]} == {one["event_id"] for one in whole["grounds"]}


def what_the_audit_keeps_is_replayed(site: WorkingSite, known_as: str, revisions: int) -> None:
    """Every revision is replayed, all but the last by their outlines."""
    again = run(site, "replay", known_as, "--json")
    replays = json.loads(again.stdout)["replays"]
    assert [one["revision"] for one in replays] == list(range(1, revisions + 1))
    assert {one["verdict"] for one in replays} == {"IDENTICAL"}
    assert [one["record"] for one in replays] == [*[False] * (revisions - 1), True]
    assert (again.exit_code, again.stderr) == (0, "")
    first = run(site, "replay", known_as, "--revision", "1")
    assert first.exit_code == 0
    assert "held against the digest that the audit keeps of them" in " ".join(first.stdout.split())
    never = run(site, "replay", known_as, "--revision", str(revisions + 1))
    assert (never.exit_code, never.stdout) == (2, "")
    assert never.stderr == f"sallyport: the alert has no revision {revisions + 1}: its last one is {revisions}\n"


def test_an_alert_that_was_raised_and_is_over_is_explained_and_replayed(a_site: Callable[..., WorkingSite]) -> None:
    site = a_site("explained")
    worker = site.start_worker()
    site.publish([*RIVALS_IN_4B, FEUD])
    until(lambda: site.shown_to("county-jail-watch"), "the alert was raised")
    (known_as,) = site.open_alerts()
    site.publish([MOVED])
    until(lambda: not site.shown_to("county-jail-watch"), "the alert was withdrawn")
    site.until_settled()

    told = in_a_terminal(site, "explain", known_as[:8])
    assert (told.returncode, told.stderr) == (0, "")
    assert known_as in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80
    found = json.loads(run(site, "explain", known_as, "--json").stdout)
    assert found["state"] == "WITHDRAWN"
    assert [one["record"]["state"] for one in found["revisions"]][-2:] == ["OPEN", "WITHDRAWN"]
    *_, opened, over = found["revisions"]
    violence = next(one for one in opened["grounds"] if one["event_id"] == event_id("the feud"))
    inbound = topics.inbound(site.site.name, "city-pd", "StreetViolenceReported")
    assert [place["topic"] for place in violence["inbound"]] == [inbound]
    told_to = {(one["recipient"], one["how"], *one["agreements"]) for one in violence["told"]}
    assert ("county-jail-watch", "AGREEMENT", "city-pd-to-county-jail-housing") in told_to
    for ground in opened["grounds"]:
        for trace in ground["facts"]:
            place = trace["place"]
            (record,) = [
                m
                for m in site.read(place["topic"])
                if (m.partition(), m.offset()) == (place["partition"], place["offset"])
            ]
            assert trace["what"] == "PLACEMENT" or ground["event_id"].encode() in record.key()
    assert (over["origin"]["kind"], over["origin"]["event_id"]) == ("FACT", event_id("the move"))
    moved_on = topics.inbound(site.site.name, "county-jail", "HousingAssigned")
    assert [place["topic"] for place in over["origin"]["inbound"]] == [moved_on]
    assert {one["decision"] for one in over["decisions"] if one["recipient"] == "county-jail-watch"} == {"WITHDRAWN"}

    again = run(site, "replay", known_as[:8], "--json")
    replays = json.loads(again.stdout)["replays"]
    assert [(one["state"], one["verdict"]) for one in replays][-2:] == [
        ("OPEN", "IDENTICAL"),
        ("WITHDRAWN", "IDENTICAL"),
    ]
    assert (again.exit_code, again.stderr) == (0, "")

    compact_alerts(site, known_as)
    what_the_audit_keeps_is_explained(site, known_as, found["revisions"])
    what_the_audit_keeps_is_replayed(site, known_as, len(found["revisions"]))

    unknown = run(site, "replay", "00000000-0000")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert unknown.stderr == f"sallyport: no alert begins with 00000000-0000 on site {site.site.name}\n"
    assert not [one for one in ("B-ada", "Eastside", "5th and Main") if one in site.said(worker)]
