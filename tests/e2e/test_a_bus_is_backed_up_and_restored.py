"""A bus that runs is backed up into one file, and goes on; out of the file, at another place and on other ports, comes
the same bus: the same open alerts, also on the screen, what desks acknowledged, the users with their passwords, and it
works."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumers.desk import Desk
from schemas import topics
from schemas.events import Event
from schemas.settings import Settings
from schemas.site import read_site
from tests.county import today
from tests.running_up import up, up_on_a_terminal
from tests.working_site import WAIT_S, WorkingSite, environment, site_files, until

pytestmark = [pytest.mark.bus, pytest.mark.timeout(500)]
RECIPIENT = "county-jail-watch"


def rivals(unit: str, *persons: str) -> list[Event]:
    """Two who come into one unit, one of each of the groups."""
    return [
        *(today("BookingReported", person, hours=9) for person in persons),
        *(today("HousingAssigned", person, hours=8, unit=unit) for person in persons),
        *(
            today("AffiliationValidated", person, hours=7, group=group)
            for person, group in zip(persons, ("Eastside", "Harbor"), strict=True)
        ),
    ]


FEUD = today("StreetViolenceReported", hours=1, groups=["Eastside", "Harbor"], retaliation_expected=True)


@contextmanager
def at_work(settings: Settings, directory: Path) -> Iterator[WorkingSite]:
    """The site whose files are there, on the bus of these settings."""
    site = WorkingSite(settings.model_copy(update={"site_file": directory}), directory, read_site(directory))
    try:
        yield site
    finally:
        site.end()


def sallyport(settings: Settings, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "deploy", *arguments],
        env=environment(settings), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def acknowledge(site: WorkingSite, alert_id: str, revision: int) -> None:
    desk, taken = Desk(site.settings, site.site, RECIPIENT), list[bool]()
    desk.acknowledge(alert_id, revision, taken.append)
    desk._producer.flush(WAIT_S)
    desk.close()
    assert taken == [True]


def acknowledged(site: WorkingSite) -> list[tuple[str, int]]:
    actions = site.records(topics.desk_actions(site.site.name, RECIPIENT), RECIPIENT)
    return [(action["alert_id"], action["revision"]) for action in actions]


def open_alerts(site: WorkingSite) -> dict[str, tuple[int, str]]:
    return {known_as: (alert["revision"], alert["digest"]) for known_as, alert in site.open_alerts().items()}


def in_unit(site: WorkingSite, unit: str) -> bool:
    return any(alert["unit"] == unit for alert in site.shown_to(RECIPIENT).values())


def test_a_bus_that_runs_is_backed_up_and_is_the_same_at_another_place(
    settings_of_a_bus_in: Callable[[Path], Settings], tmp_path: Path
) -> None:
    old, new = settings_of_a_bus_in(tmp_path / "old"), settings_of_a_bus_in(tmp_path / "elsewhere" / "new")
    directory = site_files(tmp_path, "our-county")
    (tmp_path / "backups").mkdir()

    with up(old, "--site", str(directory)), at_work(old, directory) as site:
        site.publish([*rivals("4-B", "ada", "bo"), *rivals("5-A", "cy", "di"), FEUD])
        until(lambda: in_unit(site, "4-B") and in_unit(site, "5-A"), "both alerts were disclosed")
        first, *_ = (alert for alert in site.shown_to(RECIPIENT).values() if alert["unit"] == "4-B")
        acknowledge(site, first["alert_id"], first["revision"])
        site.until_settled()
        history = site.records(topics.alerts_raised("our-county"))
        opened, seen, shown = open_alerts(site), acknowledged(site), site.shown_to(RECIPIENT)
        assert len(opened) >= 2
        assert seen == [(first["alert_id"], first["revision"])]

        told = json.loads(sallyport(old, "backup", str(tmp_path / "backups"), "--json"))
        assert (told["sites"], told["paused"], told["runs"]) == (["our-county"], True, True)
        archive = Path(told["file"])
        assert list((tmp_path / "backups").iterdir()) == [archive]
        assert archive.stat().st_mode & 0o777 == 0o600

        # The one that was paused goes on. What happens now is not in the backup.
        site.publish(rivals("4-C", "el", "flo"))
        until(lambda: in_unit(site, "4-C"), "the bus that was backed up raised an alert")
    # As on another machine: of the old one only what every agency and desk has.
    kept = tmp_path / "kept"
    for part in ("secrets", "tls"):
        shutil.copytree(old.home / part, kept / part)
    shutil.rmtree(old.home)
    shutil.rmtree(directory)

    assert "Restored our-county" in sallyport(new, "restore", str(archive))
    directory = new.home / "sites" / "our-county"
    on_a_terminal = up_on_a_terminal(new, "--site", str(directory), "--watch", RECIPIENT)
    with on_a_terminal as terminal, at_work(new, directory) as site:
        until(lambda: first["headline"] in terminal.text, "the screen showed what was open", 240)
        site.until_settled()
        assert open_alerts(site) == opened
        assert site.records(topics.alerts_raised("our-county")) == history, "nothing was raised or withdrawn anew"
        assert acknowledged(site) == seen
        assert site.shown_to(RECIPIENT) == shown
        of_old_users = {"secrets": kept / "secrets", "ca_file": kept / "tls" / "ca.pem"}
        client = WorkingSite(site.settings.model_copy(update=of_old_users), site.directory, site.site)
        client.publish(rivals("4-C", "el", "flo"))
        until(lambda: in_unit(client, "4-C"), "the restored bus raised a new alert")
        assert set(opened) < set(open_alerts(client))
        client.end()
