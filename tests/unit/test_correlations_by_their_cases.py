"""Every correlation ships its cases; they are told in order, to one partition and to several, and end as they say."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.correlations.situation import Correlation
from tests.county import DAY, START, agency_of, demo_site, event, event_id
from tests.in_memory_bus import InMemoryBus

CASES = Path(__file__).parents[1] / "cases"
ASPECTS = {"fires", "quiet", "boundary", "late", "twice", "withdrawn"}
ALL: list[Correlation[Any, Any]] = [*PERSON_CORRELATIONS, *FACILITY_CORRELATIONS]
RULES = [correlation.name for correlation in ALL]


def cases() -> list[Any]:
    found = []
    for path in sorted(CASES.glob("*.toml")):
        told = tomllib.loads(path.read_text())
        for case in told["case"]:
            background = told["background"]["events"] if case.get("background", True) else []
            name = f"{told['rule']}: {case['aspect']}: {case['says']}"
            found.append(pytest.param(told["rule"], background + case["events"], case, id=name))
    return found


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize(("rule", "events", "case"), cases())
def test_case(rule: str, events: list[dict[str, Any]], case: dict[str, Any], partitions: int) -> None:
    bus = InMemoryBus(demo_site(partitions=partitions))
    for told in events:
        fields = dict(told.get("fields", {}))
        if "target" in told:
            fields["target_event_id"] = event_id(told["target"])
        rest = {k: v for k, v in told.items() if k not in {"fields", "target"}}
        what = event(**rest, **fields)
        bus.publish(what, agency_of(what))
        bus.run()
    bus.tick(START + int(case["tick"] * DAY))
    bus.run()
    assert bus.dead_letters == []
    found = [alert for alert in bus.open_alerts().values() if alert["rule"] == rule]
    assert [_as_told(alert, told) for alert, told in zip(found, case["open"], strict=False)] == case["open"]
    assert len(found) == len(case["open"])


def _as_told(alert: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """The alert's side of the comparison: only what the case speaks of."""
    shown = {
        **alert,
        "subjects": sorted(subject["booking_number"] for subject in alert["subjects"]),
        "evidence": [item["text"] for item in alert["evidence"]],
    }
    return {key: shown[key] for key in told}


@pytest.mark.parametrize("rule", RULES)
def test_a_correlation_without_cases_of_every_aspect_is_refused(rule: str) -> None:
    told = tomllib.loads((CASES / f"{rule}.toml").read_text())
    assert {case["aspect"] for case in told["case"]} == ASPECTS


@pytest.mark.parametrize("correlation", ALL, ids=RULES)
def test_a_correlation_says_what_it_detects_what_it_misses_and_what_to_do(correlation: Any) -> None:
    module = __import__(correlation.situations.__module__, fromlist=["__doc__"])
    for words in ("Detects:", "Misses:", "The recipient should:"):
        assert words in (module.__doc__ or "")
