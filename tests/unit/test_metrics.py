"""Metrics: what Prometheus is told of a site, how often the broker is asked, and what the dashboard makes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

import deploy
from deploy.metrics import KEPT_S, SiteCollector, families
from deploy.topic_report import DeadLetters, ReportError, StageStands, TopicReport, TopicStands
from schemas.settings import SecretUnreadableError

REPORT = TopicReport(
    "demo",
    (
        TopicStands("demo.county-jail.booking-reported.v1", 4, 120, True, 3, "30 days"),
        TopicStands("demo.city-pd.contraband-tipped.v1", 4, 5, True, 1, "30 days"),
        TopicStands("demo.city-pd.event-withdrawn.v1", 4, 6, True, 0, "30 days"),
        TopicStands("demo.alerts.raised.v1", 4, 40, False, None, "latest of each key"),
        TopicStands("demo.bus.facility.facts.v1", 4, 70, False, 2, "latest of each key"),
        TopicStands("demo.alerts.county-jail-affairs.contraband.v1", 4, 1, False, None, "latest of each key"),
    ),
    (DeadLetters("city-pd", "NAMES_NOBODY", 1, 0), DeadLetters("city-pd", "NOT_FRAMED", 2, 0)),
    (
        StageStands("person", 0, "LIVE", 90_000_000, 1, 0, 0, 97_000_000),
        StageStands("facility", 1, "REFOLDING", 0, 7, 4, 9, 98_500_000),
    ),
)
DASHBOARD = json.loads((Path(deploy.__file__).parent / "grafana" / "sallyport.json").read_text(encoding="utf-8"))


def told(report: TopicReport | None) -> dict[str, float]:
    """Sample, as it is written, to value."""
    return {
        f"{sample.name}{sample.labels}": sample.value
        for family in families(report, "demo", 100.0)
        for sample in family.samples
    }


def test_what_the_report_says_is_told_but_for_what_tips_lead_to() -> None:
    person, facility = "'stage': 'person', 'partition': '0'", "'stage': 'facility', 'partition': '1'"
    assert told(REPORT) == {
        "sallyport_up{'site': 'demo'}": 1,
        "sallyport_topic_records{'site': 'demo', 'topic': 'demo.county-jail.booking-reported.v1'}": 120,
        "sallyport_topic_lag{'site': 'demo', 'topic': 'demo.county-jail.booking-reported.v1'}": 3,
        "sallyport_dead_letters{'site': 'demo', 'agency': 'city-pd', 'reason': 'NOT_FRAMED'}": 2,
        f"sallyport_stage_live{{'site': 'demo', {person}}}": 1,
        f"sallyport_stage_live{{'site': 'demo', {facility}}}": 0,
        f"sallyport_stage_report_age_seconds{{'site': 'demo', {person}}}": 3,
        f"sallyport_stage_report_age_seconds{{'site': 'demo', {facility}}}": 1.5,
        f"sallyport_stage_tick_timestamp_seconds{{'site': 'demo', {person}}}": 90,
    }


def test_of_a_bus_that_is_away_only_that_is_told() -> None:
    assert told(None) == {"sallyport_up{'site': 'demo'}": 0}


def test_no_label_is_about_a_person() -> None:
    labels = {label for family in families(REPORT, "demo", 0) for sample in family.samples for label in sample.labels}
    assert labels == {"site", "topic", "agency", "reason", "stage", "partition"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_broker_is_not_asked_more_often_than_it_should_be() -> None:
    clock = Clock()
    asked: list[float] = []

    def ask() -> TopicReport:
        asked.append(clock.now)
        return REPORT

    registry = CollectorRegistry()
    registry.register(SiteCollector("demo", ask, pytest.fail, clock))
    asked.clear()
    for seconds in (KEPT_S, 1.0, KEPT_S - 1.5, 0.5, KEPT_S):
        clock.now += seconds
        assert b'sallyport_up{site="demo"} 1.0' in generate_latest(registry)
    assert asked == [100 + KEPT_S, 100 + 2 * KEPT_S, 100 + 3 * KEPT_S]


def test_why_it_is_away_is_said_and_it_is_asked_again() -> None:
    clock = Clock()
    said: list[str] = []
    answers: list[TopicReport | Exception] = [
        REPORT,
        SecretUnreadableError("no password"),
        ReportError("it does not answer"),
    ]

    def ask() -> TopicReport:
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    collector = SiteCollector("demo", ask, said.append, clock)
    assert [family.name for family in collector.collect()] == ["sallyport_up"]
    clock.now += KEPT_S
    assert [family.name for family in collector.collect()] == ["sallyport_up"]
    assert said == ["it does not answer", "no password"]
    clock.now += KEPT_S
    assert len([*collector.collect()]) > 1


# -- the dashboard ---------------------------------------------------------------------------------------------------


def asked_for(shape: Any) -> set[str]:
    return set(re.findall(r"sallyport_[a-z_]+", json.dumps(shape)))


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    assert asked_for(DASHBOARD) == {family.name for family in families(REPORT, "demo", 0)}


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_a_panel_is_of_one_site_and_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"]
    for target in panel["targets"]:
        assert target["expr"].count('site="$site"') == target["expr"].count("sallyport_")


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
