"""What counts as flat: pauses do not tilt it, growth does, however little of it a single sample shows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soak.flatness import Bound, trend
from tests.soak.soak import section, trends

MEMORY = Bound("worker_mb", "memory of the worker", "MB", 0.05, 10)


def run(*, grows: float = 0.0, pauses: bool = False, first: float = 300.0) -> list[tuple[float, float]]:
    """An hour of samples every ten seconds: filled in the first ten minutes, noisy, growing by so much an hour."""
    return [
        (
            n / 6,
            first * min(1.0, n / 60) + grows * n / 360 + (n % 7) + (900 if pauses and n % 50 == 0 else 0),
        )
        for n in range(360)
    ]


def test_what_fills_in_the_first_half_and_stays_is_flat() -> None:
    assert trend(MEMORY, run()).flat


def test_a_slow_leak_is_not_flat() -> None:
    found = trend(MEMORY, run(grows=60))
    assert found.growth == pytest.approx(30, rel=0.05)
    assert not found.flat
    assert "NOT FLAT" in str(found)


def test_single_pauses_do_not_tilt_it() -> None:
    assert abs(trend(MEMORY, run(pauses=True)).growth) < 2
    assert not trend(MEMORY, run(pauses=True, grows=60)).flat


def test_a_small_figure_may_grow_by_little_whatever_share_that_is() -> None:
    assert trend(MEMORY, run(first=20, grows=12)).flat
    assert not trend(MEMORY, run(first=20, grows=60)).flat


def test_the_page_tells_the_run_in_tenths_and_what_was_judged() -> None:
    samples: list[dict[str, Any]] = [
        {"minute": n / 6, "published": 50 * n, "worker_mb": 200.0, "broker_mb": 400.0 + n, "worker_cpu": 0.3, "lag": 9}
        | {"p50_ms": None if n % 9 == 0 else 20.0, "p99_ms": None if n % 9 == 0 else 80.0, "probes": 40}
        for n in range(360)
    ]
    found = {"samples": samples, "lost": 0, "keep_s": 300.0, "rate": 5, "load": 0.1, "cores": 2, "processor": "some"}
    page = section(found)
    assert page.count("| to ") == 10
    assert [t.bound.figure for t in trends(samples) if not t.flat] == ["broker_mb"]
    assert page.count("| **not flat** |") == 1
