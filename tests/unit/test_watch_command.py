"""`sallyport watch` without a screen: what it prints is as it was written, and a blind desk is no quiet night."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from consumers.alert_feed import now_us
from consumers.board import (
    REPORTING,
    SECOND,
    AlertSaid,
    Blind,
    Blindness,
    Board,
    CaughtUp,
    LinkLost,
    ReportSaid,
    Said,
    Sight,
)
from deploy.cli import app
from deploy.commands import dlq, watch
from deploy.dead_letters import Letter
from tests.county import SITE
from tests.disclosed_alert import disclosed

RECIPIENT = "county-jail-watch"
LONG_AGO = 3_600 * SECOND
SILENT = Blindness(Blind.NO_REPORT, 0)
REFOLDING = Blindness(Blind.REFOLDING, 0, number=30)
FARTHER = Blindness(Blind.REFOLDING, 0, number=70)
LOST = Blindness(Blind.UNREACHABLE, 0)


@pytest.fixture(autouse=True)
def nothing_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SALLYPORT_HOME", str(tmp_path))


def alert(name: str, **changes: Any) -> AlertSaid:
    told = {"recipient": RECIPIENT, "severity": "HIGH", "headline": f"Headline of {name}", "at": now_us(), **changes}
    return disclosed(alert_id=name, **told)


def reports(at: int | None = None) -> list[Said]:
    """Of every stage that a desk waits for; all is well with them."""
    then = now_us() if at is None else at
    well = {"state": "LIVE", "tick": then, "lag": 0, "done": 0, "total": 0, "at": then}
    places = [(stage, number) for stage in REPORTING for number in range(SITE.partitions)]
    return [ReportSaid({"stage": stage, "partition": number, **well}) for stage, number in places]


def once(said: Sequence[Said], monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    def read(*_: object) -> Board:
        return board_of(said)

    monkeypatch.setattr(watch, "_read_to_the_end", read)
    return CliRunner().invoke(app, ["watch", "--as", RECIPIENT, "--site", "demo", "--once", *options])


def board_of(said: Sequence[Said], started: int | None = None) -> Board:
    board = Board(SITE, RECIPIENT, now_us() if started is None else started)
    for one in said:
        board.fold(one, now_us())
    return board


@pytest.mark.parametrize("name", ["Doe, J [aka jd]", "Doe, J [/]", "Doe, J [/b]", "Doe :skull: J", "Doe, J \\"])
def test_a_name_is_printed_as_its_agency_wrote_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    subjects = [{"booking_number": "B-1", "name": name, "linked_by": None}]
    done = once([*reports(), alert("one", subjects=subjects), CaughtUp()], monkeypatch)
    assert done.exit_code == 0, done.exception
    assert name in done.stdout


def test_a_long_name_is_not_cut_off_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    subjects = [{"booking_number": None, "name": "Maximilianus-Theodorus-Hieronymus", "linked_by": None}]
    done = once([*reports(), alert("one", subjects=subjects), CaughtUp()], monkeypatch)
    assert "…" not in done.stdout


def test_what_was_set_aside_is_listed_as_it_was_written_and_steers_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    detail = "unit [/] :skull: \\ \x1b]0;owned\x07"
    dlq._show([Letter("1", 0, "INVALID", detail, "demo.a.b.v1", 0, 0, b"")], every=False)
    assert "unit [/] :skull: \\ \N{REPLACEMENT CHARACTER}]0;owned" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_a_blind_desk_has_an_exit_code_of_its_own_and_says_why_on_standard_error(
    options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = now_us() - LONG_AGO
    done = once([*reports(at=old), alert("one"), CaughtUp()], monkeypatch, *options)
    assert done.exit_code == 3
    assert "Headline" in done.stdout, "what is known is shown all the same"
    assert "BLIND since" in done.stderr
    assert "BLIND" not in done.stdout


def test_a_quiet_night_is_an_empty_list_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    done = once([*reports(), CaughtUp()], monkeypatch, "--json")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize(
    ("blind", "starting", "told", "said"),
    [
        ([], False, None, "sighted"),
        ([], True, None, "sighted"),
        ([SILENT], True, None, None),
        ([LOST], True, None, "blind UNREACHABLE"),
        ([SILENT], False, None, "blind NO_REPORT"),
        ([], False, {Blind.NO_REPORT}, "sighted"),
        ([], False, set(), None),
        ([SILENT], False, {Blind.NO_REPORT}, None),
        ([SILENT, REFOLDING], False, {Blind.NO_REPORT}, "blind NO_REPORT REFOLDING"),
        ([REFOLDING], False, {Blind.NO_REPORT, Blind.REFOLDING}, "blind REFOLDING"),
        ([FARTHER], False, {Blind.REFOLDING}, None),
        ([SILENT], True, {Blind.UNREACHABLE}, None),
    ],
)
def test_the_stream_says_whether_the_desk_sees_once_that_is_known_and_when_the_causes_change(
    blind: list[Blindness],
    starting: bool,
    told: set[Blind] | None,
    said: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = None if told is None else frozenset(told)
    after = watch._tell_sight(Sight(starting, tuple(blind), 7), before)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    words = [" ".join([line["change"], *(cause["why"] for cause in line.get("causes", []))]) for line in lines]
    assert words == ([said] if said else [])
    assert after == (before if said is None else {one.why for one in blind})


@pytest.mark.parametrize(
    ("said", "ago", "begins"),
    [
        ([alert("one"), CaughtUp()], 0, True),
        ([alert("one")], 0, False),
        ([alert("one"), LinkLost(Blind.REFUSED, 0)], 9, False),
        ([alert("one"), LinkLost(Blind.REFUSED, 0)], 11, True),
    ],
    ids=["read", "reading", "a topic is refused", "a topic is refused for long"],
)
def test_what_can_be_read_is_told_though_one_topic_is_refused(
    said: list[Said], ago: int, begins: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    board = board_of(said, started=now_us() - ago * SECOND)
    assert watch._begin(board) is begins
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["change"], line["alert_id"]) for line in lines] == ([("open", "one")] if begins else [])
