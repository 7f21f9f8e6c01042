"""`sallyport explain` and `sallyport replay` on the real bus: an alert is raised, ends, and is accounted for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from schemas import topics
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

    unknown = run(site, "replay", "00000000-0000")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert unknown.stderr == f"sallyport: no alert begins with 00000000-0000 on site {site.site.name}\n"
    assert not [one for one in ("B-ada", "Eastside", "5th and Main") if one in site.said(worker)]
