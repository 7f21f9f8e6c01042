"""A police department's list of shootings becomes events, an incident each, or is refused with what is wrong."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.sites import SITES_DIR
from producers.adapters.shootings import (
    AtOdds,
    Import,
    Incident,
    Police,
    Shootings,
    read_groups,
    read_shootings,
    to_import,
)
from schemas.events import StreetViolenceReported
from schemas.site import read_site

DATA = Path(__file__).parents[1] / "data" / "shootings"
LIST, GROUPS = DATA / "2026-q1.csv", DATA / "groups.toml"
REAL = Path(__file__).parents[3] / "shared" / "data" / "nyc-shootings" / "2022-q3.csv"
ZONE = ZoneInfo("America/New_York")
POLICE = Police(read_site(SITES_DIR / "nyc-history").agency_by_id["city-pd"], ZONE)
NOW = POLICE.micros(datetime(2026, 3, 31))  # noqa: DTZ001  # local, as the list has it
HEADER = "INCIDENT_KEY,OCCUR_DATE,OCCUR_TIME,BORO,PRECINCT\n"


def listed(*files: Path) -> Shootings:
    found = read_shootings(files or (LIST,), POLICE, NOW)
    assert isinstance(found, Shootings), found
    return found


def imported() -> Import:
    return to_import(listed(), read_groups(GROUPS), POLICE)


def test_a_row_is_a_victim_and_an_event_is_an_incident() -> None:
    assert imported().summary == {
        "victims": 6,
        "incidents": 3,
        "events": {"StreetViolenceReported": 2},
        "event_ids": {event.incident_number: event.head.event_id for event in imported().events},
        "not_carried": {"incidents of which no groups are known": 1},
    }


def test_an_event_says_when_and_where_and_which_groups_were_at_odds_in_the_order_of_time() -> None:
    first, second = imported().events
    assert (first.incident_number, first.groups, first.place) == (
        "900001",
        ("Harbor", "Westend"),
        "Northside, precinct 12",
    )
    assert first.head.time == int(datetime(2026, 2, 27, 23, 15, tzinfo=ZONE).timestamp()) * 1_000_000
    assert (second.incident_number, second.place, second.retaliation_expected) == ("900003", "unknown", True)
    assert first.head.ori == POLICE.agency.ori
    assert not first.retaliation_expected
    assert first.head.persons == ()


def test_the_same_lists_and_groups_make_the_same_events_and_other_groups_another() -> None:
    assert [e.head.event_id for e in imported().events] == [e.head.event_id for e in imported().events]
    other = to_import(listed(), {"900001": AtOdds(("Westend", "Eastside"))}, POLICE)
    assert other.events[0].head.event_id != imported().events[0].head.event_id


def only_event(incident: Incident, at_odds: AtOdds) -> StreetViolenceReported:
    (made,) = to_import(Shootings({incident.number: incident}, 1), {incident.number: at_odds}, POLICE).events
    return made


FIRST = Incident("1", datetime(2026, 3, 1, 1, 15), "Northside, precinct 12", 2)  # noqa: DTZ001  # local
AT_ODDS = AtOdds(("Westend", "Harbor"))


@pytest.mark.parametrize(
    ("incident", "at_odds", "same"),
    [
        (FIRST, AT_ODDS, True),
        (replace(FIRST, line=7), AT_ODDS, True),
        (FIRST, AtOdds(("Harbor", "Westend")), True),
        (FIRST, AtOdds(("Harbor", " Westend ", "Harbor")), True),
        (replace(FIRST, occurred=datetime(2026, 3, 1, 23, 15)), AT_ODDS, False),  # noqa: DTZ001  # local
        (replace(FIRST, place="Northside, precinct 13"), AT_ODDS, False),
        (FIRST, AtOdds(("Westend", "Eastside")), False),
        (FIRST, AtOdds(("Westend", "Harbor"), retaliation_expected=True), False),
    ],
)
def test_what_is_corrected_is_another_event_and_what_says_the_same_is_the_same_one(
    incident: Incident, at_odds: AtOdds, same: bool
) -> None:
    first, other = only_event(FIRST, AT_ODDS), only_event(incident, at_odds)
    assert (first == other) is same
    assert (first.head.event_id == other.head.event_id) is same, "no id has two contents"


def test_without_groups_nothing_is_carried_and_that_is_counted() -> None:
    bare = to_import(listed(), {}, POLICE)
    assert list(bare.events) == []
    assert bare.summary["not_carried"] == {"incidents of which no groups are known": 3}


def test_files_may_be_packed_and_an_incident_may_be_in_two_of_them(tmp_path: Path) -> None:
    packed = tmp_path / "list.csv.gz"
    packed.write_bytes(gzip.compress(LIST.read_bytes()))
    assert listed(packed, LIST).victims == 12
    assert len(listed(packed, LIST).incidents) == 3


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", None, "is empty: the export failed"),
        (HEADER, None, "lists no shooting"),
        (HEADER.replace("BORO,", ""), 1, "lacks the columns BORO"),
        (f"{HEADER}1,02/30/2026,10:00:00,X,1\n", 2, "date or time is not as the list has it"),
        (f"{HEADER}1,02/20/2026,25:00:00,X,1\n", 2, "date or time is not as the list has it"),
        (f"{HEADER}1,03/31/2026,00:00:01,X,1\n", 2, "date and time are in the future"),
        (f"{HEADER},02/20/2026,10:00:00,X,1\n", 2, "the incident's number is empty"),
        (f"{HEADER}1,02/20/2026,10:00:00,{'X' * 101},1\n", 2, "borough has more than 100 characters"),
        (f"{HEADER}1,02/20/2026\n", 2, "has 2 columns, not 5"),
        (f"{HEADER}1,02/20/2026,10:00:00,X,1", 2, "the last line does not end"),
        (f"{HEADER}1,02/20/2026,10:00:00,X,1\n1,02/20/2026,11:00:00,X,1\n", 3, "contradicts line 2 about the same"),
        (f'{HEADER}1,02/20/2026,10:00:00,"X,1\n', 2, "is no CSV"),
    ],
)
def test_a_damaged_list_is_refused_with_line_and_what_to_do(
    tmp_path: Path, text: str, line: int | None, why: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    found = read_shootings([LIST, path], POLICE, NOW)
    assert isinstance(found, tuple)
    assert [(problem.file, problem.line) for problem in found] == [(str(path), line)]
    assert why in found[0].why


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    for path, why in ((LIST, "is larger than"), (tmp_path / "none.csv", "can't be read (No such file or directory)")):
        found = read_shootings([path], POLICE, NOW, most_bytes=100)
        assert isinstance(found, tuple)
        assert why in found[0].why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 = [", "Invalid value"),
        ('1 = "Eastside"', "give the groups by name"),
        ('1 = ["Eastside", ""]', "give the groups by name"),
        ('1 = ["Eastside", "eastside "]', "has two of them at least"),
        ('1 = { groups = ["A", "B"], retaliation_expected = "yes" }', "retaliation_expected is true or false"),
        ("1 = { }", "give the groups by name"),
    ],
)
def test_groups_that_can_not_be_read_are_told_with_the_incident(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "groups.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=why):
        read_groups(path)


def test_groups_of_an_incident_that_no_file_lists_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="groups are given for 4711, which no file lists"):
        to_import(listed(), {"4711": AtOdds(("A", "B"))}, POLICE)


def test_a_shooting_before_there_were_any_is_named() -> None:
    long_ago = Incident("1", datetime(1850, 1, 1), "x", 2)  # noqa: DTZ001  # local, as the list has it
    with pytest.raises(ValueError, match=r"no event can be made of incident 1: its time is wrong"):
        to_import(Shootings({"1": long_ago}, 1), {"1": AtOdds(("A", "B"))}, POLICE)


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["import", "shootings", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_a_dry_run_says_what_would_come_of_it_without_a_bus() -> None:
    code, out, _ = run(str(LIST), "--groups", str(GROUPS), "--dry-run", "--json")
    assert code == 0
    assert json.loads(out) == imported().summary
    code, out, _ = run(str(LIST), "--dry-run")
    assert code == 0
    assert "incidents of which no groups are known" in out


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (["--site", "demo"], 2, "demo is a live site"),
        (["--agency", "nobody"], 2, "no agency 'nobody' on site nyc-history"),
        (["--time-zone", "Mars"], 2, "'Mars' is no IANA time zone"),
        (["--groups", "none.toml"], 2, "none.toml"),
    ],
)
def test_what_can_not_be_imported_is_told_in_a_line(options: list[str], code: int, why: str) -> None:
    found, _, err = run(str(LIST), *options, "--dry-run")
    assert found == code
    assert why in err
    assert "Traceback" not in err


def test_a_damaged_list_ends_with_1_and_nothing_published(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(HEADER)
    code, out, err = run(str(path), "--json")
    assert code == 1
    assert json.loads(out)["problems"][0]["why"].startswith("lists no shooting")
    assert "nothing was published" in err


@pytest.mark.skipif(not REAL.exists(), reason="the real data (../shared/data/nyc-shootings) is not here")
@pytest.mark.real_data
def test_the_real_list_is_read_whole() -> None:
    found = listed(REAL)
    assert (found.victims, len(found.incidents)) == (539, 407)
