"""A damaged roster is refused whole, by name and line and with what to do; a sound one beside it does not suffer."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.adapters import roster_file
from producers.adapters.roster_file import NYC_COLUMNS, Snapshot, read_snapshot
from producers.roster_import import Allowances, ImportRefusedError, judge

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
        judge([before, path], None)
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
        judge([write(tmp_path, 1, GOOD)], None)
    assert "more than 2 rows" in refused.value.problems[0].why


@pytest.mark.parametrize("name", ["1899-12-31.csv", "2099-12-31.csv", "2126-03-01.csv"])
def test_a_day_that_no_event_can_be_of_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(GOOD)
    with pytest.raises(ImportRefusedError) as refused:
        judge([path], None)
    assert "day" in refused.value.problems[0].why


def test_a_list_that_names_admissions_of_the_next_day_was_swapped_with_it(tmp_path: Path) -> None:
    second, third = listed(row(1), row(5, day=2)), listed(row(1), row(5, day=2), row(6, day=3))
    files = [write(tmp_path, 1, GOOD), write(tmp_path, 2, third), write(tmp_path, 3, second)]
    with pytest.raises(ImportRefusedError) as refused:
        judge(files, None)
    assert {problem.file for problem in refused.value.problems} == {str(files[1]), str(files[2])}


def test_a_list_that_lacks_most_people_is_cut_off_unless_it_is_said_that_they_left(tmp_path: Path) -> None:
    many, few = listed(*(row(n) for n in range(60))), listed(*(row(n) for n in range(20)))
    files = [write(tmp_path, 1, many), write(tmp_path, 2, few)]
    with pytest.raises(ImportRefusedError) as refused:
        judge(files, None)
    assert [problem.file for problem in refused.value.problems] == [str(files[1])]
    assert "--allow-drops" in refused.value.problems[0].why
    assert len(judge(files, None, allow=Allowances(drops=True)).days) == 2


def test_other_names_of_columns_are_given_and_one_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "2026-03-01.csv"
    path.write_text("BookingNo,In\n7,2026-02-01T10:00:00\n")
    columns = {**dict.fromkeys(NYC_COLUMNS, ""), "id": "BookingNo", "admitted": "In"}
    snapshot = read_snapshot(path, columns)
    assert isinstance(snapshot, Snapshot)
    assert list(snapshot.rows) == ["7"]


def test_two_days_that_are_swapped_are_both_named(tmp_path: Path) -> None:
    third, fourth = listed(row(1), row(5, day=3)), listed(row(1), row(5, day=3), row(6, day=4))
    files = [write(tmp_path, 2, GOOD), write(tmp_path, 3, fourth), write(tmp_path, 4, third)]
    with pytest.raises(ImportRefusedError) as refused:
        judge(files, None)
    assert {problem.file for problem in refused.value.problems} == {str(files[1]), str(files[2])}


def test_a_gap_of_days_is_named_and_may_be_accepted(tmp_path: Path) -> None:
    files = [write(tmp_path, 1, GOOD), write(tmp_path, 4, GOOD)]
    with pytest.raises(ImportRefusedError) as refused:
        judge(files, None)
    assert "2026-03-02" in str(refused.value.problems[0])
    assert len(judge(files, None, allow=Allowances(gaps=True)).days) == 2


def test_a_day_given_twice_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "again"
    other.mkdir()
    with pytest.raises(ImportRefusedError, match="1 problem"):
        judge([write(tmp_path, 1, GOOD), write(other, 1, GOOD)], None)


def test_a_damaged_file_is_set_aside_where_asked_and_the_others_stand(tmp_path: Path) -> None:
    files = [write(tmp_path, 1, GOOD), write(tmp_path, 2, GOOD[:-20]), write(tmp_path, 3, GOOD)]
    judged = judge(files, None, allow=Allowances(set_aside=True, gaps=True))
    assert [listed.day.day for listed in judged.days] == [1, 3]
    assert {problem.file for problem in judged.set_aside} == {str(files[1])}


@pytest.mark.parametrize("change", [str, lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")])
def test_a_byte_order_mark_and_windows_line_ends_are_no_damage(tmp_path: Path, change: Callable[[str], str]) -> None:
    assert isinstance(read_snapshot(write(tmp_path, 1, change(GOOD))), Snapshot)
