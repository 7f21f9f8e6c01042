"""Garbage: when Python looks for objects that hold each other and nobody else."""

from __future__ import annotations

import gc
from typing import Final

COLLECT: Final = (100_000, 50, 1_000)
"""Thresholds of the three generations. The pictures hold millions of objects that never become garbage; by Python's
defaults all are gone through again and again, at a third of a recovery's time and in pauses that grow with what is
known."""


def collect_seldom() -> None:
    """Let this process look for garbage as one that holds pictures should."""
    gc.set_threshold(*COLLECT)
