"""`sallyport dlq` on the real bus: nothing leaves it unseen, and nobody else's letters are there to be seen."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from deploy.topic_report import topic_report
from schemas import topics
from schemas.codec import encode_event
from schemas.events import Event, type_name
from schemas.registry_client import registry_client, schema_ids
from schemas.settings import Settings
from tests.county import JAIL, MAIN, POLICE, event_id, today
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus
NAMES = count()


@pytest.fixture
def site(bus: Settings, tmp_path: Path) -> Iterator[WorkingSite]:
    site = WorkingSite.make(bus, tmp_path / "site", f"letters-{next(NAMES)}", partitions=1)
    site.settings = site.settings.model_copy(
        update={"home": tmp_path / "home", "ca_file": bus.ca_path, "secrets": bus.secrets_path}
    )
    site.start_worker()
    yield site
    site.end()


def dlq(site: WorkingSite, *arguments: str, agency: str = JAIL) -> Result:
    return CliRunner().invoke(app, ["dlq", *arguments, "--as", agency], env=environment(site.settings))


def send(site: WorkingSite, *events: Event) -> None:
    """As another system's own client would: what does not fit is found by the workers only."""
    with registry_client(site.settings) as registry:
        for what in events:
            topic = topics.inbound(site.site.name, JAIL, type_name(what))
            schema_id = schema_ids(registry, site.site, [topic])[topic, type_name(what)]
            site.write(JAIL, topic, encode_event(what, schema_id))


def counted(site: WorkingSite) -> dict[str, int]:
    return {one.reason: one.count for one in topic_report(site.settings, site.site).dead_letters}


def test_letters_are_looked_at_mended_published_again_or_dismissed(site: WorkingSite, tmp_path: Path) -> None:
    send(
        site,
        today("HousingAssigned", "ada", hours=3, unit="9-Z", name="ada is housed"),
        today("HousingAssigned", "bo", hours=2, unit="9-Z", name="bo is housed"),
    )
    site.write(JAIL, topics.inbound(site.site.name, JAIL, "HousingAssigned"), b"no Avro at all")
    until(lambda: sum(counted(site).values()) == 3, "all three were set aside")

    listed = dlq(site, "list", "--json")
    assert listed.exit_code == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert [one["reason"] for one in found] == ["UNKNOWN_UNIT", "UNKNOWN_UNIT", "NOT_FRAMED"]
    assert "9-Z" not in listed.stdout
    ada, bo, junk = (one["number"] for one in found)
    assert json.loads(dlq(site, "show", ada).stdout)["event"]["unit"] == "9-Z"
    assert json.loads(dlq(site, "show", junk).stdout)["bytes"] == b"no Avro at all".hex()

    mend = tmp_path / "mend.jsonl"
    scripted = dlq(site, "take", "--out", str(tmp_path / "scripted.jsonl"), "--json")
    assert json.loads(scripted.stdout) == {
        "file": str(tmp_path / "scripted.jsonl"),
        "taken": [ada, bo],
        "conflicts": 0,
        "unreadable": 1,
        "newer": [],
    }
    taken = dlq(site, "take", "--out", str(mend))
    assert (taken.exit_code, taken.stdout) == (0, f"2 events in {mend}\n")
    assert "1 can't be read as events" in taken.stderr
    assert stat.S_IMODE(mend.stat().st_mode) == 0o600
    assert dlq(site, "take", "--out", str(mend)).exit_code == 2, "what is there is not written over"

    # Not mended: nothing is published, nothing settled.
    still = dlq(site, "publish", str(mend))
    assert (still.exit_code, len(json.loads(dlq(site, "list", "--json").stdout))) == (1, 3)
    assert "unit is not one of county-jail-main" in still.stderr
    refused = json.loads(dlq(site, "publish", str(mend), "--json").stdout)
    assert (refused["published"], [one["line"] for one in refused["problems"]]) == ({}, [1, 2])

    first, _ = mend.read_text().splitlines()
    mend.write_text(first.replace("9-Z", "4-B") + "\n")
    done = dlq(site, "publish", str(mend))
    assert done.stdout.splitlines()[-1] == "1 event published, 1 letter settled", done.stderr
    until(lambda: counted(site) == {"UNKNOWN_UNIT": 1, "NOT_FRAMED": 1}, "the mended one is counted no more")
    facts = [bytes(one.value() or b"") for one in site.read(topics.person_facts(site.site.name))]
    assert any(event_id("ada is housed").encode() in fact for fact in facts), "it is among the facts"

    assert dlq(site, "dismiss", junk, "--why", " ").exit_code == 2
    assert dlq(site, "dismiss", "4711", "--why", "x").stderr.startswith("sallyport: no dead letter 4711")
    mended = dlq(site, "dismiss", bo, ada, "--why", "x")
    assert (mended.exit_code, mended.stderr) == (
        1,
        f"sallyport: dead letter {ada} was published already: nothing is dismissed\n",
    )
    assert counted(site) == {"UNKNOWN_UNIT": 1, "NOT_FRAMED": 1}, "none of them was settled"
    assert dlq(site, "dismiss", junk, bo, "--why", "of the test system").stdout == "2 letters dismissed\n"
    assert dlq(site, "list").stdout == f"No dead letters of {JAIL} that are not settled.\n"
    assert counted(site) == {}
    every = json.loads(dlq(site, "list", "--all", "--json").stdout)
    assert [(one["became"], one["why"]) for one in every] == [
        ("PUBLISHED", ""),
        ("DISMISSED", "of the test system"),
        ("DISMISSED", "of the test system"),
    ]

    assert dlq(site, "list", agency=POLICE).stdout == f"No dead letters of {POLICE} that are not settled.\n"
    assert dlq(site, "list", agency="nobody").stderr.startswith("sallyport: no agency 'nobody'")


def test_what_was_refused_of_care_is_listed_mended_and_settled_with_the_rest(site: WorkingSite, tmp_path: Path) -> None:
    nowhere = f"{MAIN}-annex"
    send(
        site,
        today("HousingAssigned", "ada", hours=3, unit="9-Z"),
        today("CareObserved", "ada", hours=3, facility=nowhere, name="mended"),
    )
    until(lambda: sum(counted(site).values()) == 2, "both were set aside")
    send(site, today("CareObserved", "ada", hours=2, facility=nowhere, name="dismissed"))
    until(lambda: sum(counted(site).values()) == 3, "so was the third")
    found = json.loads(dlq(site, "list", "--json").stdout)
    assert {one["reason"] for one in found} == {"UNKNOWN_UNIT", "UNKNOWN_FACILITY"}
    of_care = [one["number"] for one in found if one["reason"] == "UNKNOWN_FACILITY"]
    assert [number.startswith("care-") for number in of_care] == [True, True]
    assert json.loads(dlq(site, "show", of_care[0]).stdout)["event"]["facility"] == nowhere

    mend = tmp_path / "mend.jsonl"
    assert dlq(site, "take", "--out", str(mend)).exit_code == 0
    lines = [line for line in mend.read_text().splitlines() if event_id("dismissed") not in line]
    mend.write_text("".join(line.replace("9-Z", "4-B").replace(nowhere, MAIN) + "\n" for line in lines))
    done = dlq(site, "publish", str(mend))
    assert done.stdout.splitlines()[-1] == "2 events published, 2 letters settled", done.stderr
    assert dlq(site, "dismiss", of_care[1], "--why", "of the test system").stdout == "1 letter dismissed\n"
    assert counted(site) == {}
    general = site.read(topics.dead_letters(site.site.name, JAIL), JAIL)
    assert [dict(one.headers())["reason"] for one in general] == [b"UNKNOWN_UNIT"], "no word of care is there"


def test_what_the_bus_could_make_nothing_of_is_the_operator_s_to_look_at_and_not_to_be_published(
    site: WorkingSite, tmp_path: Path
) -> None:
    own = topics.person_facts(site.site.name)
    site.write("bus", own, b"no fact at all", key=b"p/nobody")
    until(lambda: counted(site) == {"POISON": 1}, "it was set aside")
    (poison,) = json.loads(dlq(site, "list", "--json", agency="bus").stdout)
    assert (poison["reason"], poison["topic"], poison["became"]) == ("POISON", own, None)
    number = poison["number"]
    assert json.loads(dlq(site, "show", number, agency="bus").stdout)["bytes"] == b"no fact at all".hex()
    assert dlq(site, "take", "--out", str(tmp_path / "of the bus"), agency="bus").exit_code == 1
    refused = dlq(site, "publish", "-", agency="bus")
    assert (refused.exit_code, "defect of ours" in refused.stderr) == (1, True)
    assert dlq(site, "dismiss", number, number, "--why", "reported", agency="bus").stdout == "1 letter dismissed\n"
    assert counted(site) == {}


def test_scripts_are_told_what_was_published_and_which_letters_are_settled(site: WorkingSite, tmp_path: Path) -> None:
    send(site, today("HousingAssigned", "ada", unit="9-Z"))
    site.write(JAIL, topics.inbound(site.site.name, JAIL, "HousingAssigned"), b"no Avro at all")
    until(lambda: sum(counted(site).values()) == 2, "both were set aside")
    by_reason = {one["reason"]: one["number"] for one in json.loads(dlq(site, "list", "--json").stdout)}
    mend = tmp_path / "mend.jsonl"
    dlq(site, "take", "--out", str(mend))
    mend.write_text(mend.read_text().replace("9-Z", "4-B"))

    done = dlq(site, "publish", str(mend), "--json")
    assert json.loads(done.stdout) == {
        "published": {"HousingAssigned": 1},
        "waiting": 0,
        "not_accepted": 0,
        "stopped": None,
        "settled": [by_reason["UNKNOWN_UNIT"]],
    }
    dismissed = dlq(site, "dismiss", by_reason["NOT_FRAMED"], "--why", "of the test system", "--json")
    assert json.loads(dismissed.stdout) == {"settled": [by_reason["NOT_FRAMED"]]}
    nothing = dlq(site, "take", "--out", str(tmp_path / "nothing.jsonl"), "--json")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
