"""Whether a soak was flat: the rule, and what it says of each figure.

Judged is the second half of a run; the first fills what is to be filled: windows, caches, the broker's heap. Its slope
is the median of the slopes between any two samples (Theil and Sen: single pauses do not tilt it). What that adds up to
over the half is the growth, which may be a share of the half's median.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a figure of the samples may grow in the second half."""

    figure: str
    title: str
    unit: str
    growth: float
    """As a share of its median."""
    least: float
    """In its unit: less than so much is no growth, whatever share it is."""


BOUNDS: Final = (
    Bound("worker_mb", "memory of the worker", "MB", 0.05, 10),
    Bound("broker_mb", "memory of the broker", "MB", 0.10, 40),
    Bound("p50_ms", "publish to alert, median", "ms", 0.20, 10),
    Bound("p99_ms", "publish to alert, 99th percentile", "ms", 0.50, 50),
    Bound("lag", "records not yet processed, in hundreds of each stage", "records", 0.50, 300),
)


@dataclass(frozen=True, slots=True)
class Trend:
    """What a figure did in the second half."""

    bound: Bound
    median: float
    growth: float
    """In the figure's unit, over the half."""

    @property
    def flat(self) -> bool:
        """Whether it grew by less than the bound."""
        return self.growth <= max(self.bound.least, self.bound.growth * self.median)

    def __str__(self) -> str:
        said = "flat" if self.flat else "NOT FLAT"
        return (
            f"{self.bound.title}: {self.median:,.0f} {self.bound.unit}, {self.growth:+,.1f} in the second half: {said}"
        )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median slope of all pairs of points; 0 for fewer than two."""
    slopes = [(b - a) / (at - before) for (before, a), (at, b) in combinations(points, 2) if at > before]
    return statistics.median(slopes) if slopes else 0.0


def trend(bound: Bound, points: Sequence[tuple[float, float]]) -> Trend:
    """What a figure, as pairs of minute and value, did in the second half of a run."""
    end = points[-1][0]
    half = [point for point in points if point[0] >= end / 2]
    return Trend(bound, statistics.median(value for _, value in half), slope(half) * (end - half[0][0]))
