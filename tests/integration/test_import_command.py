"""`sallyport import roster`, as a person or a script runs it: on the real bus, and without one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from schemas import topics
from schemas.settings import Settings
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus
SAMPLE = tuple(sorted((Path(__file__).parents[1] / "data" / "roster").glob("2026-*.csv*")))
SUMMARY_EVENTS = {
    "AffiliationValidated": 2,
    "BookingReported": 22,
    "CareObserved": 3,
    "CustodyClassified": 19,
    "DisciplinaryRecorded": 5,
    "ListTaken": 8,
    "NoLongerListed": 7,
}
SUMMARY = {
    "days": 8,
    "rows": 128,
    "repeated_days": 1,
    "events": SUMMARY_EVENTS,
    "listed_again": 2,
    "files_set_aside": [],
}


SHOOTINGS = Path(__file__).parents[1] / "data" / "shootings"


def run(
    home: Path, files: Iterable[Path], *options: str, site: WorkingSite | None = None, what: str = "roster"
) -> subprocess.CompletedProcess[str]:
    """Run the command; without a site nothing listens where it would look for a bus."""
    command, where = command_and_environment(home, files, options, site, what)
    return subprocess.run(command, env=where, capture_output=True, text=True, check=False, timeout=120)


def command_and_environment(
    home: Path, files: Iterable[Path], options: Sequence[str], site: WorkingSite | None, what: str = "roster"
) -> tuple[list[str], dict[str, str]]:
    where = [] if site is None else ["--site", str(site.directory)]
    command = [sys.executable, "-m", "deploy", "import", what, *map(str, files), *where, *options]
    if site is None:
        nowhere = {"bootstrap": "127.0.0.1:1", "registry": "https://127.0.0.1:1", "home": home}
        return command, environment(Settings().model_copy(update=nowhere))
    of_the_bus = {"home": home, "ca_file": site.settings.ca_path, "secrets": site.settings.secrets_path}
    return command, environment(site.settings.model_copy(update=of_the_bus))


def test_a_dry_run_says_what_would_come_of_it_without_a_bus_and_leaves_nothing(tmp_path: Path) -> None:
    done = run(tmp_path / "home", SAMPLE, "--dry-run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said | SUMMARY == said
    assert not (tmp_path / "home" / "import").exists()


def test_damaged_files_are_refused_by_name_and_line_and_nothing_is_published(tmp_path: Path) -> None:
    cut = tmp_path / SAMPLE[2].name
    cut.write_bytes(SAMPLE[2].read_bytes()[:-30])
    done = run(tmp_path / "home", [*SAMPLE[:2], cut])
    assert done.returncode == 1
    assert done.stderr.startswith(f"sallyport: {cut}, line 15: ")
    assert done.stderr.splitlines()[-1] == "sallyport: nothing was published"
    assert "Traceback" not in done.stderr


def test_a_hundred_megabytes_are_refused_without_being_read_into_memory(tmp_path: Path) -> None:
    large = tmp_path / "2026-03-01.csv"
    with large.open("wb") as out:
        out.truncate(100 * 2**20)
    done = run(tmp_path / "home", [large], "--dry-run")
    assert done.returncode == 1
    assert done.stderr.startswith(f"sallyport: {large}: ")
    assert "--max-megabytes" in done.stderr


def test_a_damaged_file_is_set_aside_with_its_reason_and_the_others_would_be_imported(
    a_site: Callable[..., WorkingSite], tmp_path: Path
) -> None:
    site = a_site("import-set-aside", like="nyc-history", partitions=1, clock="history")
    site.start_worker()
    cut = tmp_path / SAMPLE[-1].name
    cut.write_bytes(SAMPLE[-1].read_bytes()[:-30])
    done = run(tmp_path / "home", [*SAMPLE[:-1], cut], "--set-aside", "--json", site=site)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["days"], said["files_set_aside"]) == (7, [str(cut)])
    (copy,) = (tmp_path / "home" / "quarantine").rglob("*.csv")
    assert copy.read_bytes() == cut.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert str(cut) in copy.with_name(f"{copy.name}.why.txt").read_text()


def test_a_live_site_takes_no_history(tmp_path: Path) -> None:
    done = run(tmp_path / "home", SAMPLE, "--site", "demo", "--dry-run")
    assert done.returncode == 2
    assert done.stderr == "sallyport: demo is a live site: history is imported only into a site of its own\n"


def test_an_import_into_the_running_bus_then_again_adds_nothing(
    a_site: Callable[..., WorkingSite], tmp_path: Path
) -> None:
    site = a_site("import-command", like="nyc-history", partitions=1, clock="history")
    site.start_worker()
    home = tmp_path / "home"
    first = run(home, SAMPLE, "--json", site=site)
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert said | SUMMARY == said
    published = {name: len(site.read(topics.inbound(site.site.name, "city-jail", name))) for name in SUMMARY_EVENTS}
    assert published == SUMMARY_EVENTS

    again = run(home, SAMPLE, "--json", site=site)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["already_imported"] == len(SAMPLE)
    bookings = site.read(topics.inbound(site.site.name, "city-jail", "BookingReported"))
    assert len(bookings) == published["BookingReported"]


def test_an_importer_killed_in_the_middle_of_a_day_leaves_no_tick_of_it_and_is_made_whole_by_running_it_again(
    a_site: Callable[..., WorkingSite], tmp_path: Path
) -> None:
    site = a_site("import-killed", like="nyc-history", partitions=1, clock="history")
    home = tmp_path / "home"
    command, where = command_and_environment(home, SAMPLE, (), site)
    # No worker runs: it publishes the first day and waits for it to be identified.
    importer = subprocess.Popen(command, env=where, stderr=subprocess.DEVNULL)
    bookings = topics.inbound(site.site.name, "city-jail", "BookingReported")
    until(lambda: site.read(bookings), "the first day's events were published")
    importer.kill()
    importer.wait()
    assert site.read(topics.clock(site.site.name)) == []
    assert not list(home.glob("import/**/*.roster.json")), "no day is done"
    (noted,) = home.glob("import/**/*.begun.json")
    assert json.loads(noted.read_text())["day"] == "2026-03-01", "but one was begun"

    site.start_worker()
    again = run(home, SAMPLE, "--json", site=site)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["already_imported"] == 0
    assert len(site.read(topics.clock(site.site.name))) == len(SAMPLE)
    site.until_settled()
    of_the_lists = site.open_alerts()
    rules = sorted(alert["rule"] for alert in of_the_lists.values())
    # The sample's README says whose reviews are open in the end, and that the last list but one stood still.
    assert rules == ["classification_review"] * 3 + ["feed_frozen"]

    # The same city's shootings beside them: the lists name no group, so nothing follows.
    beside = run(
        home, [SHOOTINGS / "2026-q1.csv"], "--groups", str(SHOOTINGS / "groups.toml"), site=site, what="shootings"
    )
    assert (beside.returncode, beside.stderr) == (0, "")
    assert len(site.read(topics.inbound(site.site.name, "city-pd", "StreetViolenceReported"))) == 2
    site.until_settled()
    assert site.open_alerts() == of_the_lists


def test_a_list_of_shootings_comes_onto_the_bus_as_incidents_and_twice_is_once(
    a_site: Callable[..., WorkingSite], tmp_path: Path
) -> None:
    site = a_site("shootings", like="nyc-history", partitions=1, clock="history")
    site.start_worker()
    groups = "--groups", str(SHOOTINGS / "groups.toml")
    for _ in range(2):
        done = run(tmp_path / "home", [SHOOTINGS / "2026-q1.csv"], *groups, "--json", site=site, what="shootings")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["events"] == {"StreetViolenceReported": 2}
    came = site.records(topics.inbound(site.site.name, "city-pd", "StreetViolenceReported"))
    assert {(one["incident_number"], tuple(one["groups"])) for one in came} == {
        ("900001", ("Harbor", "Westend")),
        ("900003", ("Eastside", "Harbor")),
    }
    # The same incident has the same id, however often it is imported: the picture of the street has each once.
    assert len({one["head"]["event_id"] for one in came}) == 2
    site.until_settled()
    assert site.records(topics.dead_letters(site.site.name, "city-pd")) == []
