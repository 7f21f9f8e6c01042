"""Tallies: what is counted of alerts and of decisions on them, under how few labels, and of what nothing is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from deploy.tallies import MATCHED, OTHER, RULES, STEPS, Tallies
from deploy.ways import NEVER_KINDS, AlertRead, DecisionRead, Passed, Step, Trace
from schemas.events import TIP_EVENTS
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from tests.county import SITE

PLACE = Passed("a topic", 0, 7, 1_000_000)
HOUSED = ("rivals_housed_together", "housing", "HIGH")


def alert(
    known_as: str = "a",
    revision: int = 1,
    state: str = "OPEN",
    rule: str = "rivals_housed_together",
    kind: str = "housing",
    severity: str = "HIGH",
    evidence: Iterable[str] = ("HousingAssigned",),
    agency: str = "county-jail",
    *,
    is_news: bool = True,
) -> AlertRead:
    """A record of an alert. A withdrawal has neither severity nor evidence."""
    is_open = state == "OPEN"
    record = {
        "alert_id": known_as,
        "revision": revision,
        "state": state,
        "rule": rule,
        "kind": kind,
        "severity": severity if is_open else "UNKNOWN",
        "evidence": [{"event_type": one, "agency": agency} for one in evidence] if is_open else [],
    }
    return AlertRead(record, PLACE, None, is_news)


def decision(
    known_as: str = "a",
    revision: int = 1,
    recipient: str = "county-jail-watch",
    decision: str = "DISCLOSED",
    reason: str = "AGREEMENT",
) -> DecisionRead:
    said = {"alert_id": known_as, "revision": revision, "recipient": recipient, "decision": decision, "reason": reason}
    return DecisionRead(said, PLACE)


def counted(*seen: AlertRead | DecisionRead | Trace) -> tuple[Tallies, CollectorRegistry]:
    registry = CollectorRegistry()
    tallies = Tallies(SITE, registry)
    for one in seen:
        match one:
            case AlertRead():
                tallies.alert(one)
            case DecisionRead():
                tallies.decision(one)
            case Trace():
                tallies.trace(one)
    return tallies, registry


def above_zero(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """What was counted under which labels, the site's aside."""
    return {
        tuple(value for label, value in sample.labels.items() if label != "site"): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name and sample.value
    }


def changes(*seen: AlertRead) -> dict[tuple[str, ...], float]:
    return above_zero(counted(*seen)[1], "sallyport_alert_changes_total")


def decisions(*seen: AlertRead | DecisionRead) -> dict[tuple[str, ...], float]:
    return above_zero(counted(*seen)[1], "sallyport_disclosure_decisions_total")


# -- what becomes of alerts ------------------------------------------------------------------------------------------


def test_an_alert_is_raised_changed_and_withdrawn() -> None:
    life = alert(), alert(revision=2, severity="CRITICAL"), alert(revision=3, state="WITHDRAWN"), alert(revision=4)
    critical = ("rivals_housed_together", "housing", "CRITICAL")
    assert changes(*life) == {
        (*HOUSED, "raised"): 2,
        (*critical, "changed"): 1,
        (*critical, "withdrawn"): 1,
    }, "a withdrawal is of the severity before it"


def test_what_was_recorded_before_is_open_and_is_no_change() -> None:
    tallies, registry = counted(alert("a", is_news=False), alert("b", is_news=False), alert("b", 2, "WITHDRAWN"))
    tallies.caught_up()
    standing = tallies.standing()
    assert standing is not None
    assert {where: count for where, count in standing.alerts.items() if count} == {HOUSED: 1}
    assert above_zero(registry, "sallyport_alert_changes_total") == {(*HOUSED, "withdrawn"): 1}


def test_until_all_was_read_it_is_not_known_what_is_open_and_again_where_it_begins_anew() -> None:
    tallies, registry = counted(alert())
    assert tallies.standing() is None
    tallies.caught_up()
    assert tallies.standing() is not None
    tallies.begin()
    assert tallies.standing() is None
    tallies.caught_up()
    standing = tallies.standing()
    assert standing is not None
    assert not any(standing.alerts.values())
    assert above_zero(registry, "sallyport_alert_changes_total"), "what was counted stays"


def test_of_nothing_there_is_a_zero_so_that_the_first_is_seen_to_come() -> None:
    tallies, registry = counted()
    tallies.caught_up()
    standing = tallies.standing()
    assert standing is not None
    assert set(standing.alerts.values()) == {0}
    assert {rule for rule, _, _ in standing.alerts} == set(RULES)
    assert {agency for agency, _ in standing.feeds} == set(SITE.agency_by_id)
    first = {"site": "demo", "rule": HOUSED[0], "kind": HOUSED[1], "severity": HOUSED[2], "change": "raised"}
    assert registry.get_sample_value("sallyport_alert_changes_total", first) == 0


@pytest.mark.parametrize(("severity", "fails"), [("HIGH", True), ("MEDIUM", True), ("LOW", False)])
def test_an_agency_whose_feed_fails_is_named_until_it_comes_again(severity: str, fails: bool) -> None:
    told = alert(rule="feed_silent", kind="coordination", severity=severity, agency="city-pd")
    tallies, _ = counted(told, alert("b"))
    tallies.caught_up()
    standing = tallies.standing()
    assert standing is not None
    assert [where for where, is_so in standing.feeds.items() if is_so] == [("city-pd", "feed_silent")] * fails
    assert standing.alerts["feed_silent", "coordination", severity] == 1


# -- what is decided on them -----------------------------------------------------------------------------------------


def test_decisions_are_counted_by_recipient_kind_decision_and_reason() -> None:
    assert decisions(
        alert(),
        decision(),
        decision(recipient="county-jail-classification", decision="WITHHELD", reason="NO_AGREEMENT"),
        alert(revision=2, state="WITHDRAWN"),
        decision(revision=2, decision="WITHDRAWN", reason="NOTHING_HOLDS"),
    ) == {
        ("county-jail-watch", "housing", "DISCLOSED", "AGREEMENT"): 1,
        ("county-jail-classification", "housing", "WITHHELD", "NO_AGREEMENT"): 1,
        ("county-jail-watch", "housing", "WITHDRAWN", "NOTHING_HOLDS"): 1,
    }


def test_a_decision_that_is_seen_before_its_alert_waits_for_it() -> None:
    one = {("county-jail-watch", "housing", "DISCLOSED", "AGREEMENT"): 1.0}
    assert decisions(decision()) == {}
    assert decisions(decision(), alert()) == one
    assert decisions(alert(), decision(revision=2)) == {}
    assert decisions(alert(), decision(revision=2), alert(revision=2)) == one
    assert decisions(alert(), alert(revision=2), decision(revision=1)) == one


# -- how few labels there are ----------------------------------------------------------------------------------------


def labels(registry: CollectorRegistry) -> list[dict[str, str]]:
    """Of each sample, but for the bounds of histograms."""
    return [
        {name: value for name, value in sample.labels.items() if name != "le"}
        for family in registry.collect()
        for sample in family.samples
    ]


def test_whatever_is_on_the_logs_there_are_no_more_series_than_the_site_and_the_code_name() -> None:
    def with_strangers(count: int) -> tuple[Tallies, CollectorRegistry]:
        seen: list[Any] = []
        for number in range(count):
            known_as = f"alert {number}"
            seen += [
                alert(known_as, rule=f"rule {number}", severity=f"severity {number}", agency=f"agency {number}"),
                decision(known_as, recipient=f"recipient {number}", decision=f"decision {number}"),
                Trace(
                    f"event {number}", "", (Step("publish", 0, 5, PLACE),), known_as, 1, f"rule {number}", PLACE, True
                ),
            ]
        tallies, registry = counted(*seen)
        tallies.caught_up()
        return tallies, registry

    tallies, registry = with_strangers(50)
    assert len(labels(registry)) == len(labels(with_strangers(1)[1]))
    assert not re.search(r"\d", str(labels(registry)))
    standing = tallies.standing()
    assert standing is not None
    assert standing.alerts[OTHER, OTHER, OTHER] == 50
    assert len(standing.alerts) == 4 * len(RULES) + 1
    assert {agency for agency, _ in standing.feeds} == set(SITE.agency_by_id)


def test_what_never_comes_is_forgotten() -> None:
    tallies, _ = counted()
    for number in range(MATCHED + 5):
        tallies.decision(decision(f"{number}"))
        tallies.alert(alert(f"other {number}"))
        tallies.alert(alert(f"other {number}", 2, "WITHDRAWN"))
    assert (len(tallies._early), len(tallies._over), len(tallies._open)) == (MATCHED, MATCHED, 0)


# -- of what nothing is counted --------------------------------------------------------------------------------------

TIPPED = [
    alert(rule="contraband_delivery_expected", kind="contraband"),
    alert(rule="tip_too_broad", kind="investigation"),
    alert(kind="care"),
    alert(evidence=("HousingAssigned", "CareObserved")),
    *(alert(evidence=(event_type,)) for event_type in sorted(TIP_EVENTS)),
]


@pytest.mark.parametrize("tipped", TIPPED, ids=lambda one: f"{one.alert['kind']} {one.alert['evidence'][-1]}")
def test_what_rests_on_tips_or_health_changes_nothing_of_what_is_told(tipped: AlertRead) -> None:
    kind, rule = tipped.alert["kind"], tipped.alert["rule"]
    over = alert(revision=3, state="WITHDRAWN", rule=rule, kind=kind)
    tallies, registry = counted(
        decision(), tipped, decision(recipient="county-jail-affairs"), over, decision(revision=3), decision(revision=9)
    )
    tallies.caught_up()
    without, as_before = counted()
    without.caught_up()
    assert tallies.standing() == without.standing()
    assert told_of(registry) == told_of(as_before)


def told_of(registry: CollectorRegistry) -> list[tuple[str, str, float]]:
    return [
        (sample.name, str(sample.labels), sample.value)
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


def test_an_alert_that_comes_to_rest_on_health_is_told_of_no_more() -> None:
    tallies, _ = counted(alert(), alert(revision=2, evidence=("CareObserved",)))
    tallies.caught_up()
    standing = tallies.standing()
    assert standing is not None
    assert not any(standing.alerts.values())


def test_every_rule_is_told_of_or_is_of_a_kind_that_never_is() -> None:
    kinds = {rule.name: rule.kind for rules in (PERSON_CORRELATIONS, FACILITY_CORRELATIONS) for rule in rules}
    assert {name for name, kind in kinds.items() if kind in NEVER_KINDS}.isdisjoint(RULES)
    assert {name: kind for name, kind in kinds.items() if kind not in NEVER_KINDS} == RULES


# -- how long it takes -----------------------------------------------------------------------------------------------


def trace(*, is_first: bool = True) -> Trace:
    parts = Step("waiting", 2_000_000, 2_500_000, PLACE), Step("deciding", 2_500_000, 3_000_000, PLACE)
    steps = Step("publish", 1_000_000, 2_000_000, PLACE), Step("facility", 2_000_000, 3_000_000, PLACE, parts)
    return Trace("e", "", steps, "a", 1, "rivals_housed_together", PLACE, is_first)


def test_the_whole_way_and_each_step_of_it_is_timed_and_a_publishing_once() -> None:
    _, registry = counted(trace(), trace(is_first=False))
    sums, counts = (above_zero(registry, f"sallyport_step_seconds_{what}") for what in ("sum", "count"))
    assert sums == {("publish",): 1, ("facility",): 2, ("waiting",): 1, ("deciding",): 1}
    assert counts == {("publish",): 1, ("facility",): 2, ("waiting",): 2, ("deciding",): 2}
    assert above_zero(registry, "sallyport_publish_to_alert_seconds_sum") == {("rivals_housed_together",): 4}
    assert {step for (step,) in sums} < set(STEPS)
