"""The bench fails where engines did not do the same work, and its page says what was measured."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.bench import performance_page
from tests.bench.engine_stage import ENGINES, _check_agreement
from tests.bench.ground import Alerts, Failed

OURS = Alerts({"a": "1"}, frozenset({("a", 1, "0"), ("a", 2, "1")}))
ENGINE_NAMES = [engine.name for engine in ENGINES]
RESULT = {
    "rates": {name: [1_000.0, 4_000.0, 2_000.0] for name in ENGINE_NAMES} | {"quix": [500.0, 400.0, 600.0]},
    "cpu_us": {name: [10.0] for name in ENGINE_NAMES},
}


def test_the_same_alerts_by_the_same_history_are_the_same_work() -> None:
    _check_agreement({"sallyport": OURS, "quix": OURS})


def test_another_open_alert_fails_the_bench() -> None:
    other = Alerts({"a": "2"}, OURS.history)
    with pytest.raises(Failed, match="quix and sallyport differ in 2 of their open alerts"):
        _check_agreement({"sallyport": OURS, "quix": other})


def test_the_same_end_by_a_shorter_way_fails_the_bench() -> None:
    shorter = Alerts(OURS.open, frozenset({("a", 1, "1")}))
    with pytest.raises(Failed, match="did not do the same work"):
        _check_agreement({"sallyport": OURS, "bytewax": shorter})


def test_records_that_lead_to_no_alert_fail_the_bench() -> None:
    with pytest.raises(Failed, match="nothing was compared"):
        _check_agreement({"sallyport": Alerts({}, frozenset())})


def test_ratios_are_of_the_medians() -> None:
    line = next(line for line in performance_page.table(RESULT).splitlines() if "Quix" in line)
    assert [cell.strip() for cell in line.split("|")[2:-1]] == [
        "500", "400 to 600", "10 µs", "4.00 times", "at least 2 times",
    ]  # fmt: skip


def test_every_engine_has_a_line() -> None:
    assert [row.engine for row in performance_page.ROWS] == sorted(
        ENGINE_NAMES, key=[row.engine for row in performance_page.ROWS].index
    )


def test_only_what_stands_between_the_marks_is_written(tmp_path: Path) -> None:
    before, after = "words\n<!-- a part: written by `make bench` -->\n", "\n<!-- a part: end -->\nmore words\n"
    page = tmp_path / "performance.md"
    page.write_text(f"{before}old{after}")
    performance_page.replace_section(page, "a part", "new")
    assert page.read_text() == f"{before}new{after}"


def test_the_peers_environment_has_all_that_what_they_decide_with_imports() -> None:
    """It is another than ours, and nobody who tests the bus installs it."""
    root = Path(__file__).parents[2]
    names = "import sys; site = {*sys.modules}; import tests.bench.peers.job; print(*{*sys.modules} - site)"
    done = subprocess.run([sys.executable, "-c", names], cwd=root, check=True, capture_output=True, text=True)
    of_package = packages_distributions()
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    needed = {of_package[name][0].lower() for name in imported if name in of_package}
    locked = set(re.findall(r"^([\w.-]+)==", (root / "requirements-bench.lock").read_text(), re.M))
    assert {"fastavro", "pydantic"} <= needed
    assert {re.sub(r"[-_.]+", "-", name) for name in needed} <= {re.sub(r"[-_.]+", "-", name) for name in locked}
