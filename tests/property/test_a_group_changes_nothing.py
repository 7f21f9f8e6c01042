"""Whether changes are grouped or not, every log has the same records but for their groups, in the same order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event as hypothesis_event
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import decode
from schemas.events import Event
from streams import storm
from streams.backtest import SCHEMAS
from tests.in_memory_bus import InMemoryBus, digests
from tests.property.test_the_engine_keeps_its_promise import histories, unfold


def said(bus: InMemoryBus) -> dict[Any, list[Any]]:
    """Every log, decoded, groups left out."""
    return {
        where: [(r.key, r.value and {**decode(r.value, SCHEMAS)[1], "group": None}) for r in log]
        for where, log in bus.logs.items()
        if log and ("alerts" in where[0] or "audit" in where[0])
    }


@settings(max_examples=40)
@given(histories, st.integers(0, 2**32), st.sampled_from([0, 1]))
def test_groups_are_all_that_grouping_adds(history: list[Event], seed: int, many: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(storm, "MANY", 1_000_000)
        alone = unfold(history, seed, 2, compact=False)
        patched.setattr(storm, "MANY", many)
        together = unfold(history, seed, 2, compact=False)
        again = unfold(history, seed, 2, compact=False)
    names = {topic for topic, _ in together.logs if "alerts" in topic}
    grouped = any(record["group"] for name in names for record in together.history(name))
    hypothesis_event(f"something is grouped: {grouped}")
    assert digests(together) == digests(alone)
    assert said(together) == said(alone)
    assert {w: log for w, log in together.logs.items() if log} == {w: log for w, log in again.logs.items() if log}, (
        "the same input has the same groups"
    )
