"""A damaged roster is refused whole, by name and line and with what to do; a sound one beside it does not suffer."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from deploy.sites import SITES_DIR
from producers.adapters import roster_file
from producers.adapters.roster import Jail, Summary
from producers.adapters.roster_file import NYC_COLUMNS, Snapshot, read_snapshot
from producers.adapters.roster_sequence import most_that_end
from producers.roster_import import Allowances, ImportRefusedError, days, judge
from schemas.site import read_site

ENDED = date(2026, 3, 31)
SITE = read_site(SITES_DIR / "nyc-history")
JAIL = Jail(SITE.agencies[0], SITE.facilities[0])
HEAD = (
    "inmateid,admitted_dt,custody_level,bradh,race,gender,age,inmate_status_code,sealed,srg_flg,top_charge,infraction"
)


def row(number: int, day: int = 1, level: str = "MIN") -> str:
    return f"{number},2026-03-{day:02d}T04:00:00.000,{level},N,,,30.0,DE,N,N,120.05,N"


def listed(*rows: str) -> str:
    return "\n".join([HEAD, *rows]) + "\n"


def write(directory: Path, day: int, content: str | bytes, suffix: str = ".csv") -> Path:
    path = directory / f"2026-03-{day:02d}{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


GOOD = listed(row(1), row(2), row(3))
CUT = gzip.compress(listed(*(row(n) for n in range(500))).encode())


@pytest.mark.parametrize(
    ("name", "content", "line", "why"),
    [
        ("2026-03-02.csv.gz", CUT[: len(CUT) // 2], None, "fetch it again"),
        ("2026-03-02.csv", GOOD[:-20], 4, ""),
        ("2026-03-02.csv", GOOD.replace("custody_level", "level"), 1, "custody_level"),
        ("2026-03-02.csv", GOOD.encode("utf-16"), None, "UTF-8"),
        ("2026-03-02.csv", GOOD.replace("120.05", "Gef\xe4ngnis").encode("latin-1"), 2, "UTF-8"),
        ("2026-03-02.csv", listed(row(1), row(2, level="SUPER")), 3, "level"),
        ("2026-03-02.csv", listed(row(1), row(2).replace(",N,120", ",X,120")), 3, ""),
        ("2026-03-02.csv", listed(row(1), row(2).replace("2026-03-01T", "2026-13-01T")), 3, "admi"),
        (
            "2026-03-02.csv",
            listed(row(1), row(2).replace("2026-03-01T04:00:00.000", "03/01/2026 04:00")),
            3,
            "such as 2026",
        ),
        ("2026-03-02.csv", listed(row(1), row(2).replace("DE,N,", "DE,,")), 3, "sealed is blank"),
        ("2026-03-02.csv", GOOD.replace(",", ";"), 1, "separated by semicolons"),
        ("2026-03-02.csv", GOOD.replace("custody_level", '"custody_level"').replace(",", ";"), 1, "by semicolons"),
        ("2026-03-02.csv", GOOD.replace(",", "\t").replace("\n", "\r\n"), 1, "separated by tabs"),
        ("2026-03-02.csv", "", None, ""),
        ("2026-03-02.csv", HEAD + "\n", None, ""),
        ("2026-03-02.csv", listed(row(1), row(2, day=9)), None, "later"),
        ("roster.csv", GOOD, None, "day"),
    ],
    ids=[
        "gzip cut off",
        "cut in a row",
        "a column is missing",
        "UTF-16",
        "latin-1",
        "an unknown level",
        "an unknown flag",
        "no such date",
        "a date as in the United States",
        "not said whether it is sealed",
        "semicolons",
        "semicolons and quotes",
        "tabs",
        "empty",
        "nobody listed",
        "of a later day",
        "a name without a day",
    ],
)
def test_a_damaged_file_is_refused_by_name_and_line(
    tmp_path: Path, name: str, content: str | bytes, line: int | None, why: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = write(tmp_path, 1, GOOD)
    with pytest.raises(ImportRefusedError) as refused:
        judge([before, path], None, ENDED)
    problems = [problem for problem in refused.value.problems if problem.file == str(path)]
    assert problems
    assert any(why in problem.why for problem in problems), problems
    if line is not None:
        assert line in [problem.line for problem in problems], problems
    assert all(problem.file == str(path) for problem in refused.value.problems)


def test_a_file_that_is_too_large_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    path = write(tmp_path, 1, gzip.compress(GOOD.encode() + b" " * 1_000_000), ".csv.gz")
    assert not isinstance(read_snapshot(path, most_bytes=100_000), Snapshot)


def test_a_list_of_more_people_than_any_jail_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_file, "MOST_ROWS", 2)
    with pytest.raises(ImportRefusedError) as refused:
        judge([write(tmp_path, 1, GOOD)], None, ENDED)
    assert "more than 2 rows" in refused.value.problems[0].why


@pytest.mark.parametrize("name", ["1899-12-31.csv", "2099-12-31.csv", "2126-03-01.csv"])
def test_a_day_that_no_event_can_be_of_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(GOOD)
    with pytest.raises(ImportRefusedError) as refused:
        judge([path], None, ENDED)
    assert "day" in refused.value.problems[0].why


def test_a_list_drawn_in_the_night_is_of_the_day_before_and_leaves_out_who_came_since(tmp_path: Path) -> None:
    came = row(4, day=2).replace("T04:00:00", "T03:59:59")
    snapshot = read_snapshot(write(tmp_path, 1, listed(row(1), came)))
    assert isinstance(snapshot, Snapshot)
    assert list(snapshot.rows) == ["1"]
    assert [(aside.line, aside.why) for aside in snapshot.set_aside] == [
        (3, "admitted after the day had ended: the next list tells of it")
    ]
    assert not isinstance(read_snapshot(write(tmp_path, 1, listed(row(1), row(4, day=2)))), Snapshot)


@pytest.mark.parametrize(("day", "name"), [(1, "2026-03-02.csv"), (1, "2062-03-01.csv")])
def test_a_list_of_a_day_that_has_not_ended_is_refused_and_leaves_no_days_missing(
    tmp_path: Path, day: int, name: str
) -> None:
    files = [write(tmp_path, 1, GOOD), tmp_path / name]
    files[1].write_text(GOOD)
    with pytest.raises(ImportRefusedError) as refused:
        judge(files, None, date(2026, 3, day))
    assert [(problem.file, problem.why) for problem in refused.value.problems] == [
        (
            str(files[1]),
            "is of a day that has not ended: name it after the last day that it lists, or import it after midnight",
        )
    ]
    judged = judge(files, None, date(2026, 3, day), allow=Allowances(set_aside=True))
    assert [listed.day.day for listed in judged.days] == [1]


def test_a_list_that_names_admissions_of_the_next_day_was_swapped_with_it(tmp_path: Path) -> None:
    second, third = listed(row(1), row(5, day=2)), listed(row(1), row(5, day=2), row(6, day=3))
    files = [write(tmp_path, 1, GOOD), write(tmp_path, 2, third), write(tmp_path, 3, second)]
    with pytest.raises(ImportRefusedError) as refused:
        judge(files, None, ENDED)
    assert {problem.file for problem in refused.value.problems} == {str(files[1]), str(files[2])}


def test_a_list_that_lacks_most_people_is_cut_off_unless_it_is_said_that_they_left(tmp_path: Path) -> None:
    many, few = listed(*(row(n) for n in range(60))), listed(*(row(n) for n in range(20)))
    files = [write(tmp_path, 1, many), write(tmp_path, 2, few)]
    with pytest.raises(ImportRefusedError) as refused:
        judge(files, None, ENDED)
    assert [problem.file for problem in refused.value.problems] == [str(files[1])]
    assert "--allow-drops" in refused.value.problems[0].why
    assert len(judge(files, None, ENDED, allow=Allowances(drops=True)).days) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([f"{n:06}" for n in range(500)], [str(n) for n in range(500)]),
        ([str(n) for n in range(1000)], [str(n) for n in range(500)]),
        ([str(n) for n in range(49)], ["17"]),
        ([str(n) for n in range(5)], []),
    ],
    ids=["ids without their zeros", "half a large jail", "all but one of a small jail", "a handful"],
)
def test_a_list_from_which_more_people_are_gone_than_leave_a_jail_is_refused_after_a_list_and_after_an_import(
    tmp_path: Path, before: list[str], after: list[str]
) -> None:
    # Somebody new, so that nobody is said to be missing because a list is empty.
    lists = [listed(*(row(0).replace("0", number, 1) for number in ids)) for ids in (before, [*after, "9999"])]
    files = [write(tmp_path, day, text) for day, text in enumerate(lists, start=1)]
    last = next(days(judge(files[:1], None, ENDED), None, JAIL, Summary())).state
    for given, imported in ((files, None), (files[1:], last)):
        with pytest.raises(ImportRefusedError) as refused:
            judge(given, imported, ENDED)
        (problem,) = refused.value.problems
        assert problem.file == str(files[1])
        assert f"of the {len(before)} people of 2026-03-01: " in problem.why
        assert "--allow-drops" in problem.why
        assert judge(given, imported, ENDED, allow=Allowances(drops=True)).days


@pytest.mark.parametrize(
    ("stays", "days_between", "may_end"),
    [(0, 1, 4), (5, 1, 4), (22, 1, 8), (100, 1, 22), (1000, 1, 138), (5700, 1, 661), (22, 7, 21), (1000, 7, 585)],
)
def test_how_many_may_leave_grows_with_the_jail_and_with_the_days_that_are_missing(
    stays: int, days_between: int, may_end: int
) -> None:
    assert most_that_end(stays, days_between) == may_end


def test_other_names_of_columns_are_given_and_one_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "2026-03-01.csv"
    path.write_text("BookingNo,In\n7,2026-02-01T10:00:00\n")
    columns = {**dict.fromkeys(NYC_COLUMNS, ""), "id": "BookingNo", "admitted": "In"}
    snapshot = read_snapshot(path, columns)
    assert isinstance(snapshot, Snapshot)
    assert list(snapshot.rows) == ["7"]


@pytest.mark.parametrize(("flag", "said"), [("Y", True), ("N", False), ("", None)])
def test_a_blank_health_flag_says_neither_yes_nor_no(tmp_path: Path, flag: str, said: bool | None) -> None:
    snapshot = read_snapshot(write(tmp_path, 1, listed(row(1).replace("MIN,N,", f"MIN,{flag},"))))
    assert isinstance(snapshot, Snapshot)
    assert snapshot.rows["1"].health is said


def test_a_list_without_a_health_column_is_what_it_was_when_it_was_imported_before(tmp_path: Path) -> None:
    path = write(tmp_path, 1, GOOD)
    without, with_it = read_snapshot(path, {**NYC_COLUMNS, "health": ""}), read_snapshot(path)
    assert isinstance(without, Snapshot)
    assert isinstance(with_it, Snapshot)
    assert [one.health for one in without.rows.values()] == [None] * 3
    assert without.digest == with_it.digest


def test_two_days_that_are_swapped_are_both_named(tmp_path: Path) -> None:
    third, fourth = listed(row(1), row(5, day=3)), listed(row(1), row(5, day=3), row(6, day=4))
    files = [write(tmp_path, 2, GOOD), write(tmp_path, 3, fourth), write(tmp_path, 4, third)]
    with pytest.raises(ImportRefusedError) as refused:
        judge(files, None, ENDED)
    assert {problem.file for problem in refused.value.problems} == {str(files[1]), str(files[2])}


def test_a_gap_of_days_is_named_and_may_be_accepted(tmp_path: Path) -> None:
    files = [write(tmp_path, 1, GOOD), write(tmp_path, 4, GOOD)]
    with pytest.raises(ImportRefusedError) as refused:
        judge(files, None, ENDED)
    assert "2026-03-02" in str(refused.value.problems[0])
    assert len(judge(files, None, ENDED, allow=Allowances(gaps=True)).days) == 2


def test_a_day_given_twice_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "again"
    other.mkdir()
    with pytest.raises(ImportRefusedError, match="1 problem"):
        judge([write(tmp_path, 1, GOOD), write(other, 1, GOOD)], None, ENDED)


def test_a_damaged_file_is_set_aside_where_asked_and_the_others_stand(tmp_path: Path) -> None:
    files = [write(tmp_path, 1, GOOD), write(tmp_path, 2, GOOD[:-20]), write(tmp_path, 3, GOOD)]
    judged = judge(files, None, ENDED, allow=Allowances(set_aside=True, gaps=True))
    assert [listed.day.day for listed in judged.days] == [1, 3]
    assert {problem.file for problem in judged.set_aside} == {str(files[1])}


@pytest.mark.parametrize("change", [str, lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")])
def test_a_byte_order_mark_and_windows_line_ends_are_no_damage(tmp_path: Path, change: Callable[[str], str]) -> None:
    assert isinstance(read_snapshot(write(tmp_path, 1, change(GOOD))), Snapshot)
