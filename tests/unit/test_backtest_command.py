"""`sallyport backtest`: a file of events to the alerts that they would have led to."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from deploy import event_lines
from deploy.commands.backtest import _step, _ticks, backtest
from schemas.events import Event, type_name
from tests.county import DAY, START, event

HOUR = DAY // 24
RIVALS = [
    event("BookingReported", "ada", booked_as="Adams, Ada"),
    event("BookingReported", "bo"),
    event("HousingAssigned", "ada", day=1, unit="4-B"),
    event("HousingAssigned", "bo", day=1, unit="4-B"),
    event("AffiliationValidated", "ada", day=1, group="Eastside"),
    event("AffiliationValidated", "bo", day=1, group="Harbor"),
    event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"]),
]
APART = event("HousingAssigned", "bo", day=3, unit="5-A")


def lines(events: Iterable[Event]) -> str:
    shapes = ({"type": type_name(what), **what.model_dump(mode="json")} for what in events)
    return "".join(json.dumps(shape) + "\n" for shape in shapes)


def run(tmp_path: Path, events: Iterable[Event], *options: str, more: str = "") -> Result:
    file = tmp_path / "events.jsonl"
    file.write_text(lines(events) + more)
    app = typer.Typer()
    app.command()(backtest)
    return CliRunner().invoke(app, [str(file), "--site", "demo", *options])


def alerts(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_record_is_told_as_it_would_have_come(tmp_path: Path) -> None:
    result = run(tmp_path, [*RIVALS, APART])
    assert result.exit_code == 0, result.stderr
    assert [(a["rule"], a["revision"], a["state"], a["unit"]) for a in alerts(result)] == [
        ("rivals_housed_together", 1, "OPEN", "4-B"),
        ("rivals_housed_together", 2, "WITHDRAWN", None),
    ]
    assert "8 events: 1 open, 1 withdrawn" in result.stderr


@pytest.mark.parametrize(("events", "found"), [(RIVALS, 1), ([*RIVALS, APART], 0), ([APART, *RIVALS[::-1]], 0)])
def test_final_tells_what_is_open_at_the_end_in_whatever_order_it_is_told(
    tmp_path: Path, events: list[Event], found: int
) -> None:
    result = run(tmp_path, events, "--final")
    assert [a["rule"] for a in alerts(result)] == ["rivals_housed_together"] * found


def test_what_ends_with_time_ends(tmp_path: Path) -> None:
    later = event("BookingReported", "cy", day=20)
    result = run(tmp_path, [*RIVALS, later], "--tick", "1d")
    assert [(a["state"], a["cause"]["kind"]) for a in alerts(result)] == [("OPEN", "FACT"), ("WITHDRAWN", "TICK")]
    assert alerts(run(tmp_path, [*RIVALS, later], "--final")) == []


def test_a_line_that_is_no_event_is_told_and_the_others_count(tmp_path: Path) -> None:
    misspelt = lines([APART]).replace('"unit"', '"unti"')
    stranger = lines([APART]).replace("NY099013C", "NY0000000")
    refused = lines([APART]).replace("5-A", "9-Z")
    result = run(tmp_path, RIVALS, more=f"{misspelt}{stranger}{refused}no json\n")
    assert result.exit_code == 1
    assert len(alerts(result)) == 1
    assert "line 8: unit: is missing" in result.stderr
    assert "line 9: head.ori: is not that of an agency of the site" in result.stderr
    assert "line 10: unit is not one of county-jail-main; add it to site.toml" in result.stderr
    assert "line 11: no JSON" in result.stderr
    assert "Adams" not in result.stderr


def array(events: Iterable[Event]) -> str:
    return f"[{', '.join(lines(events).splitlines())}]\n"


def test_a_line_may_be_an_array_of_events_of_several_agencies(tmp_path: Path) -> None:
    result = run(tmp_path, [], "--final", more=f"[]\n{array(RIVALS)}{array([event('BookingReported', 'cy')])}")
    assert result.exit_code == 0, result.stderr
    assert [a["rule"] for a in alerts(result)] == ["rivals_housed_together"]
    assert "8 events: 1 open" in result.stderr


def test_what_is_wrong_within_an_array_is_told_and_the_others_count(tmp_path: Path) -> None:
    stranger = array([APART, *RIVALS]).replace("NY099013C", "NY0000000", 1)
    refused = array([APART]).replace("5-A", "9-Z")
    cut_short = array([event("BookingReported", "cy"), APART])[:-3] + "\n"
    result = run(tmp_path, [], "--final", more=f"\n{stranger}{refused}{cut_short}")
    assert result.exit_code == 1
    assert [a["rule"] for a in alerts(result)] == ["rivals_housed_together"]
    told = result.stderr.splitlines()
    assert told[0] == "sallyport: line 2: head.ori: is not that of an agency of the site"
    assert told[1] == "sallyport: line 3: unit is not one of county-jail-main; add it to site.toml"
    assert told[2].startswith("sallyport: line 4: no JSON: ")
    assert told[3] == "sallyport: 8 events: 1 open"


def test_several_processes_share_what_is_evaluated_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(event_lines, "LINES", 1)
    others = [event("BookingReported", f"other {n}", sid=f"S{n}") for n in range(20)]
    shared = run(tmp_path, [*others, *RIVALS], "--final", more="no json\n" * 2)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    alone = run(tmp_path, [*others, *RIVALS], "--final", more="no json\n" * 2)
    assert len(alerts(shared)) == 1
    assert (shared.stdout, shared.stderr) == (alone.stdout, alone.stderr)
    assert [line[:17] for line in shared.stderr.splitlines()[:2]] == ["sallyport: line 2"] * 2
    assert shared.exit_code == 1


def draft(tmp_path: Path, situations: str) -> str:
    """A rule in a file of its author's, of which the situations are those."""
    written = tmp_path / "draft.py"
    written.write_text(
        textwrap.dedent(
            f"""
            import dataclasses, os
            from streams.correlations import rivals_housed_together
            def situations(picture, unit, now):
                return {situations}
            CORRELATION = dataclasses.replace(rivals_housed_together.CORRELATION, version=2, situations=situations)
            """
        )
    )
    return str(written)


def test_a_process_that_dies_is_told_in_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, RIVALS, "--final", "--rule", draft(tmp_path, "os._exit(9)"))
    assert result.exit_code == 2
    assert result.stderr.startswith("sallyport: one of its processes was ended from outside")


@pytest.mark.parametrize("way", [["--final"], []], ids=["in the end", "as it went"])
def test_where_a_draft_fails_is_told_in_one_line(tmp_path: Path, way: list[str]) -> None:
    result = run(tmp_path, RIVALS, *way, "--rule", draft(tmp_path, "{unit.floor}"))
    assert result.exit_code == 2
    # Never the error's words, which may hold a name.
    assert result.stderr == f"sallyport: {tmp_path / 'draft.py'}: it failed: AttributeError at line 5\n"


def test_a_draft_alone_is_evaluated(tmp_path: Path) -> None:
    assert alerts(run(tmp_path, RIVALS, "--rule", draft(tmp_path, "set()"))) == []


def test_a_line_that_is_no_utf_8_is_told_and_the_others_count(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(lines(RIVALS).encode() + lines([APART]).replace("5-A", "5-\u00c4").encode("latin-1"))
    app = typer.Typer()
    app.command()(backtest)
    result = CliRunner().invoke(app, [str(file), "--site", "demo", "--final"])
    assert result.exit_code == 1
    assert len(alerts(result)) == 1
    at = lines([APART]).index("5-A") + 3
    assert f"line 8: not UTF-8 at byte {at}: save it as UTF-8" in result.stderr


def test_alerts_are_written_where_only_their_owner_reads_them(tmp_path: Path) -> None:
    out = tmp_path / "alerts.jsonl"
    result = run(tmp_path, RIVALS, "--out", str(out), "--json")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert len(out.read_text().splitlines()) == 1
    assert json.loads(result.stderr) == {"events": 7, "wrong": 0, "alerts": {"OPEN": 1}, "problems": []}


@pytest.mark.parametrize("way", [["--final"], []], ids=["in the end", "as it went"])
def test_the_processes_that_worked_for_it_are_gone_when_it_is_done(tmp_path: Path, way: list[str]) -> None:
    # Of one that another test has waited for itself this module never hears that it has ended.
    before = {*multiprocessing.active_children()}
    assert run(tmp_path, RIVALS, *way).exit_code == 0
    assert {*multiprocessing.active_children()} <= before


@pytest.mark.parametrize("tick", ["99999999999999999d", "9" * 5000 + "s", "366d", "8761h", "31536001s"])
def test_a_tick_of_more_than_a_year_is_refused_in_one_line(tmp_path: Path, tick: str) -> None:
    result = run(tmp_path, RIVALS, f"--tick={tick}")
    assert (result.exit_code, result.stderr) == (
        2,
        "sallyport: --tick: time is told once in 365 days at least, as with 365d\n",
    )


def test_a_tick_of_a_year_is_taken() -> None:
    assert _step("365d") == _step("0031536000s") == 365 * DAY


@pytest.mark.parametrize("tick", ["", "h", "0h", "1", "1w", "-1h", "1.5h", "\u0661h"])
def test_a_tick_that_is_no_duration_is_refused(tmp_path: Path, tick: str) -> None:
    result = run(tmp_path, RIVALS, f"--tick={tick}")
    assert result.exit_code == 2
    assert "is no duration such as 30m, 1h or 1d" in result.stderr


def test_a_duration_is_read() -> None:
    assert [_step(tick) for tick in ("90s", "30m", "1h", "2d")] == [90_000_000, HOUR // 2, HOUR, 2 * DAY]


@pytest.mark.parametrize(
    ("now", "time", "ticks"),
    [
        (0, START, [START - START % HOUR]),
        (10 * HOUR, 10 * HOUR + 5, []),
        (10 * HOUR, 13 * HOUR + 5, [11 * HOUR, 12 * HOUR, 13 * HOUR]),
        (10 * HOUR, 2 * HOUR, []),
        (10 * HOUR, 10_000_000 * HOUR, [10_000_000 * HOUR]),
    ],
)
def test_time_is_told_at_every_whole_step(now: int, time: int, ticks: list[int]) -> None:
    assert list(_ticks(now, time, HOUR)) == ticks


def test_there_is_no_such_file(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(backtest)
    result = CliRunner().invoke(app, [str(tmp_path / "nowhere.jsonl"), "--site", "demo"])
    assert result.exit_code == 2
    assert "nowhere.jsonl: No such file or directory" in result.stderr
