"""The alerts of one stage: what changed is raised, told anew or withdrawn; what is as it was is not said again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.codec import digest
from streams import alerts as alerts_module
from streams.alerts import CONTENT, WITHDRAWN_DIGEST, AlertBook, Cause, CauseKind, alert_id, content
from streams.correlations.situation import (
    Caution,
    Cautioned,
    Confidence,
    Correlation,
    Evidence,
    Severity,
    Situation,
    Subject,
)
from streams.facts import Provenance
from streams.records import Out

NOW = 1_000
SAID_BY = Provenance("county-jail", "HousingAssigned", "e1", 90, "demo.county-jail.housing-assigned.v1", "number", True)
BARE = Situation(("4-A",), Severity.LOW, "Somebody should look", (), (), ())
WHOLE = Situation(
    ("4-A", "Eastside"),
    Severity.MEDIUM,
    "Members are housed together",
    (Subject("p1", "county-jail", "B-1", "Adams, Ada"), Subject("p2", "county-jail")),
    (
        Evidence("housed in 4-A", ("unit", "time"), SAID_BY, "p1", "side", "first", Severity.HIGH, Confidence.LOW),
        Evidence("seen", (), SAID_BY),
    ),
    ("Look", "Move"),
    facility="main",
    unit="4-A",
    until=5_000,
    cautions=(Cautioned(Caution.CALL_FIRST, "Call first", ("Ask",)),),
)
FACT = Cause(CauseKind.FACT, "person", 3, 17, "e1")

Picture = dict[str, set[Situation]]
"""What holds for each focus."""


def rule(name: str = "rule", version: int = 1, triggers: frozenset[str] = frozenset({"HousingAssigned"})) -> Any:
    return Correlation[Picture, str](
        name, version, "housing", triggers, lambda picture, at, _: picture.get(at, set()), str
    )


def book(*rules: Any, stage: str = "person", partition: int = 3) -> AlertBook[Picture, str]:
    return AlertBook("demo", stage, partition, rules or (rule(),))


def evaluated(alerts: AlertBook[Picture, str], picture: Picture, cause: Cause = FACT, now: int = NOW) -> list[Any]:
    """The records of an evaluation of all focuses, in short: focus, revision, state."""
    outs = alerts.evaluate(picture, sorted({*picture, "a", "b"}), ("HousingAssigned",), cause, now)
    return [out.value for out in outs]


def said(records: list[Any]) -> list[tuple[str, int, str]]:
    return [(record["key"][0], record["revision"], record["state"]) for record in records]


def recall(alerts: AlertBook[Picture, str], records: list[Any]) -> AlertBook[Picture, str]:
    for record in records:
        alerts.recall(record)
    return alerts


# -- what a record says ----------------------------------------------------------------------------------------------


def test_an_alert_says_all_that_its_situation_does() -> None:
    saying = {
        "severity": "HIGH",
        "least_severity": "MEDIUM",
        "confidence": "LOW",
        "facility": "main",
        "unit": "4-A",
        "headline": "Members are housed together",
        "subjects": [
            {"person_id": "p1", "booking_number": "B-1", "name": "Adams, Ada", "agency": "county-jail"},
            {"person_id": "p2", "booking_number": None, "name": None, "agency": "county-jail"},
        ],
        "evidence": [
            {
                "text": "housed in 4-A",
                "fields": ["unit", "time"],
                **SAID_BY.record(),
                "person_id": "p1",
                "ground": "side",
                "alternative": "first",
                "severity": "HIGH",
                "confidence": "LOW",
                "line": "NONE",
                "staff": False,
                "caution": None,
                "due": None,
            },
            {
                "text": "seen",
                "fields": [],
                **SAID_BY.record(),
                "person_id": None,
                "ground": "",
                "alternative": "",
                "severity": None,
                "confidence": None,
                "line": "NONE",
                "staff": False,
                "caution": None,
                "due": None,
            },
        ],
        "actions": ["Look", "Move"],
        "cautions": [{"caution": "CALL_FIRST", "limit": "Call first", "actions": ["Ask"]}],
    }
    assert content(WHOLE) == saying
    known_as = alert_id("rule", WHOLE.key)
    (out,) = book().evaluate({"a": {WHOLE}}, ["a"], ("HousingAssigned",), FACT, NOW)
    assert out == Out(
        "demo.alerts.raised.v1",
        3,
        known_as.encode(),
        "AlertRaised",
        {
            **saying,
            "alert_id": known_as,
            "revision": 1,
            "state": "OPEN",
            "digest": digest(saying),
            "rule": "rule",
            "rule_version": 1,
            "key": ["4-A", "Eastside"],
            "kind": "housing",
            "at": NOW,
            "cause": {"kind": "FACT", "stage": "person", "partition": 3, "offset": 17, "event_id": "e1"},
            "group": None,
            "until": 5_000,
        },
    )


def test_a_withdrawal_says_nothing_of_the_situation_but_which_it_was() -> None:
    alerts = book()
    evaluated(alerts, {"a": {WHOLE}})
    (out,) = alerts.evaluate({}, ["a"], ("HousingAssigned",), FACT._replace(offset=18), NOW + 1)
    known_as = alert_id("rule", WHOLE.key)
    assert out == Out(
        "demo.alerts.raised.v1",
        3,
        known_as.encode(),
        "AlertRaised",
        {
            "alert_id": known_as,
            "revision": 2,
            "state": "WITHDRAWN",
            "digest": WITHDRAWN_DIGEST,
            "rule": "rule",
            "rule_version": 1,
            "key": ["4-A", "Eastside"],
            "kind": "housing",
            "at": NOW + 1,
            "cause": {"kind": "FACT", "stage": "person", "partition": 3, "offset": 18, "event_id": "e1"},
            "group": None,
            "severity": "UNKNOWN",
            "least_severity": "UNKNOWN",
            "confidence": "UNKNOWN",
            "facility": None,
            "unit": None,
            "headline": "",
            "subjects": [],
            "evidence": [],
            "actions": [],
            "cautions": [],
            "until": None,
        },
    )


def test_an_alerts_id_is_its_rule_and_key_for_ever() -> None:
    assert alert_id("rule", ("a", "b")) == "32d166c3-6091-5f95-9ef6-13833121638c"
    assert len({alert_id("rule", ("a", "b")), alert_id("rule", ("ab",)), alert_id("rulea", ("b",))}) == 3


# -- what changed ----------------------------------------------------------------------------------------------------


def test_what_changed_is_told_with_a_revision_more_and_what_did_not_is_not_told() -> None:
    alerts, graver = book(), replace(BARE, least_severity=Severity.HIGH)
    assert said(evaluated(alerts, {"a": {BARE}})) == [("4-A", 1, "OPEN")]
    assert said(evaluated(alerts, {"a": {BARE}})) == []
    assert said(evaluated(alerts, {"a": {replace(BARE, until=9_000)}})) == [], "its time is none of its content"
    assert said(evaluated(alerts, {"a": {graver}})) == [("4-A", 2, "OPEN")]
    assert said(evaluated(alerts, {})) == [("4-A", 3, "WITHDRAWN")]
    assert said(evaluated(alerts, {})) == []
    assert said(evaluated(alerts, {"a": {graver}})) == [("4-A", 4, "OPEN")]
    assert alerts.open_alerts() == {alert_id("rule", BARE.key): digest(content(graver))}


def test_of_several_situations_of_one_focus_each_stands_for_itself() -> None:
    alerts, other, third = book(), replace(BARE, key=("4-B",)), replace(BARE, key=("4-C",))
    evaluated(alerts, {"a": {BARE, other}})
    assert said(evaluated(alerts, {"a": {other, third}})) == [("4-C", 1, "OPEN"), ("4-A", 2, "WITHDRAWN")]
    assert sorted(alerts.open_alerts()) == sorted(alert_id("rule", one.key) for one in (other, third))


def test_records_of_one_change_are_in_an_order_that_does_not_depend_on_how_they_were_found() -> None:
    keys = [(f"key {number}",) for number in range(9)]
    alerts = book()
    ids = [record["alert_id"] for record in evaluated(alerts, {"a": {replace(BARE, key=key) for key in keys}})]
    assert ids == sorted(ids)
    assert [record["alert_id"] for record in evaluated(alerts, {})] == ids


@pytest.mark.parametrize(
    ("happened", "looked_at"),
    [
        (("HousingAssigned",), ["housing"]),
        (("CustodyEnded",), ["custody"]),
        (("BookingReported", "CustodyEnded"), ["custody"]),
        (("BookingReported",), []),
        (("Joined",), ["housing", "custody"]),
        (("Purged",), ["housing", "custody"]),
        (("Replaced",), ["housing", "custody"]),
        (("EventWithdrawn",), ["housing", "custody"]),
        (None, ["housing", "custody"]),
    ],
)
def test_a_change_is_the_business_of_the_rules_that_it_triggers(
    happened: tuple[str, ...] | None, looked_at: list[str]
) -> None:
    alerts = book(rule("housing"), rule("custody", triggers=frozenset({"CustodyEnded"})))
    outs = alerts.evaluate({"a": {BARE}}, ["a"], happened, FACT, NOW)
    assert [out.value["rule"] for out in outs if isinstance(out.value, dict)] == looked_at


# -- recovery --------------------------------------------------------------------------------------------------------

CAUSED = [("person", 3, True), ("person", 2, False), ("facility", 3, False)]


@pytest.mark.parametrize(("stage", "partition", "ours"), CAUSED)
def test_only_what_this_stage_of_this_partition_recorded_is_recalled(stage: str, partition: int, ours: bool) -> None:
    records = evaluated(
        book(stage=stage, partition=partition), {"a": {BARE}}, FACT._replace(stage=stage, partition=partition)
    )
    alerts = recall(book(), records)
    assert (alerts.last_cause, len(alerts.open_alerts())) == ((17, 1) if ours else (-1, 0))


def test_the_last_cause_is_the_latest_one_whatever_the_order_of_the_records() -> None:
    alerts = recall(book(), evaluated(book(), {"a": {BARE}}, FACT._replace(offset=30)))
    assert recall(alerts, evaluated(book(), {"a": {BARE}}, FACT._replace(offset=20))).last_cause == 30
    assert recall(book(), evaluated(book(), {"a": {BARE}}, FACT._replace(offset=0))).last_cause == 0


def reconciled(alerts: AlertBook[Picture, str], picture: Picture, now: int = NOW) -> list[Any]:
    alerts.derive(picture, sorted(picture), now)
    return [out.value for out in alerts.settle(now, position=40)]


def test_a_recovery_that_finds_everything_as_recorded_writes_nothing_and_goes_on_from_there() -> None:
    alerts = recall(book(), evaluated(book(), {"a": {BARE}}))
    assert reconciled(alerts, {"a": {BARE}}) == []
    assert evaluated(alerts, {"a": {BARE}}) == []
    (over,) = evaluated(alerts, {})
    assert (over["revision"], over["state"], over["rule_version"], over["kind"]) == (2, "WITHDRAWN", 1, "housing")


def test_what_a_recovery_finds_is_one_group_and_its_cause_is_the_record_before() -> None:
    alerts = recall(book(), evaluated(book(), {"a": {BARE}}))
    other, third = replace(BARE, key=("4-B",)), replace(BARE, key=("4-C",))
    records = reconciled(alerts, {"b": {other, third}})
    assert sorted(said(records)) == [("4-A", 2, "WITHDRAWN"), ("4-B", 1, "OPEN"), ("4-C", 1, "OPEN")]
    for record in records:
        assert record["group"] == f"rule: found on recovery of person-3 at {NOW}"
        assert record["cause"] == {
            "kind": "RECONCILED", "stage": "person", "partition": 3, "offset": 39, "event_id": None,
        }  # fmt: skip
        assert record["at"] == NOW


@pytest.mark.parametrize(
    ("now_installed", "holds", "group"),
    [
        (rule(version=2), {"a": {replace(BARE, headline="Look now")}}, "rule: version 2"),
        (rule(version=2), {}, "rule: version 2"),
        (rule("another"), {}, "rule: no longer in force"),
    ],
    ids=["says it otherwise", "does not find it", "is gone"],
)
def test_what_another_version_of_a_rule_changes_says_so(now_installed: Any, holds: Picture, group: str) -> None:
    alerts = recall(book(now_installed), evaluated(book(), {"a": {BARE}}))
    (record,) = reconciled(alerts, holds)
    assert record["group"] == group
    assert record["cause"] == {
        "kind": "RULE_CHANGED", "stage": "person", "partition": 3, "offset": 39, "event_id": None,
    }  # fmt: skip
    assert record["revision"] == 2


def test_what_was_withdrawn_before_is_not_withdrawn_again_on_recovery() -> None:
    before = book()
    records = [*evaluated(before, {"a": {BARE}}), *evaluated(before, {})]
    alerts = recall(book(), records)
    assert alerts.open_alerts() == {}
    assert reconciled(alerts, {}) == []
    assert said(reconciled(recall(book(), records), {"a": {BARE}})) == [("4-A", 3, "OPEN")]


def test_a_recovery_looks_again_when_a_situations_time_comes() -> None:
    alerts = book()
    alerts.derive({"a": {WHOLE}, "b": {replace(BARE, until=NOW)}}, ["a", "b"], NOW)
    assert [alerts.due(at) for at in (4_999, 5_000, 5_001)] == [[], ["a"], []]


OTHER, THIRD = replace(BARE, key=("4-B",)), replace(BARE, key=("4-C",))
ANEW = replace(BARE, headline="Look now")


@pytest.mark.parametrize(
    ("weighed", "recorded", "derived_since", "found"),
    [
        ({"a": {BARE}}, {"a": {BARE}}, {}, []),
        ({"a": {BARE}}, {}, {}, [("4-A", 1, "OPEN")]),
        ({"a": {BARE}}, {"a": {ANEW}}, {}, [("4-A", 2, "OPEN")]),
        ({"a": {BARE}}, {"a": {BARE}}, {"a": {ANEW}}, [("4-A", 2, "OPEN")]),
        ({"a": {ANEW}}, {"a": {BARE}}, {"a": {BARE}}, []),
        ({"a": {BARE}}, {"a": {BARE}}, {"a": set()}, [("4-A", 2, "WITHDRAWN")]),
        ({"a": {BARE}, "b": {OTHER}}, {"a": {BARE}}, {"b": {THIRD}}, [("4-C", 1, "OPEN")]),
        ({"a": {BARE, OTHER, THIRD}}, {"a": {BARE, OTHER}}, {}, [("4-C", 1, "OPEN")]),
        ({"a": {BARE, OTHER, THIRD}}, {"a": {OTHER, THIRD}}, {}, [("4-A", 1, "OPEN")]),
        ({"a": {BARE, OTHER, THIRD}}, {"a": {BARE, THIRD}}, {}, [("4-B", 1, "OPEN")]),
    ],
    ids=[
        "recorded as it is",
        "not recorded",
        "recorded otherwise",
        "it says something else since",
        "it says again what is recorded",
        "it holds no more since",
        "at another focus something else holds since",
        "the third is not recorded",
        "the first is not recorded",
        "the second is not recorded",
    ],
)
def test_what_was_weighed_ahead_is_compared_as_it_holds_when_it_is_settled(
    weighed: Picture, recorded: Picture, derived_since: Picture, found: list[tuple[str, int, str]]
) -> None:
    alerts = book()
    alerts.derive(weighed, ["a", "b"], NOW)
    alerts.weigh(["a", "b"])
    recall(alerts, evaluated(book(), recorded))
    for focus in derived_since:
        for _ in range(2):
            alerts.derive(derived_since, [focus], NOW)
    assert said([out.value for out in alerts.settle(NOW, position=40)]) == found
    assert reconciled(alerts, {**weighed, **derived_since}) == [], "it is settled"


def test_what_was_weighed_ahead_and_is_recorded_so_is_not_reckoned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    holds = {"a": {BARE, OTHER}, "b": {WHOLE}}
    alerts = recall(book(), evaluated(book(), holds))
    alerts.derive(holds, ["a", "b"], NOW)
    alerts.weigh(["a", "b"])
    reckoned: list[Situation] = []

    def counted(situation: Situation) -> dict[str, Any]:
        reckoned.append(situation)
        return content(situation)

    monkeypatch.setattr(alerts_module, "content", counted)
    assert list(alerts.settle(NOW, position=40)) == []
    assert reckoned == []
    assert list(alerts.settle(NOW, position=41)) == []
    assert sorted(one.key for one in reckoned) == [("4-A",), ("4-A", "Eastside"), ("4-B",)], "and is kept no longer"


# -- time ------------------------------------------------------------------------------------------------------------


def test_a_focus_is_looked_at_again_when_its_time_has_come_and_once() -> None:
    alerts = book()
    evaluated(alerts, {"b": {replace(BARE, until=NOW + 2)}, "a": {replace(WHOLE, until=NOW + 2)}})
    assert [alerts.due(NOW + later) for later in (1, 2, 3)] == [[], ["a", "b"], []]


@pytest.mark.parametrize(
    ("asked", "first"),
    [([0], None), ([1], 1), ([1, 1], 1), ([1, 3], 1), ([3, 1], 1)],
    ids=["already past", "to come", "the same twice", "later than asked before", "sooner than asked before"],
)
def test_the_soonest_time_counts(asked: list[int], first: int | None) -> None:
    alerts = book()
    for later in asked:
        alerts.schedule(NOW + later, "a", NOW)
    assert next((later for later in range(5) if alerts.due(NOW + later) == ["a"]), None) == first


def test_one_focus_does_not_keep_another_from_being_asked_for() -> None:
    alerts = book()
    alerts.schedule(NOW + 1, "a", NOW)
    alerts.schedule(NOW + 2, "b", NOW)
    assert [alerts.due(NOW + later) for later in (1, 2)] == [["a"], ["b"]]


def test_focuses_that_cannot_be_compared_are_due_together_all_the_same() -> None:
    alerts = AlertBook[Any, Any]("demo", "person", 3, ())
    for focus in (("main", "4-A"), "ada", ("main", None)):
        alerts.schedule(NOW + 1, focus, NOW)
    assert sorted(map(repr, alerts.due(NOW + 1))) == sorted(map(repr, (("main", "4-A"), "ada", ("main", None))))


def test_a_late_time_is_waited_for_once_however_much_happens_before() -> None:
    alerts = book()
    for later in range(1, 100):
        alerts.schedule(NOW + 1_000, "a", NOW)
        alerts.schedule(NOW + later, "a", NOW)
        assert alerts.due(NOW + later) == ["a"]
    assert len(alerts._timers) == 1
    assert [alerts.due(NOW + later) for later in (999, 1_000)] == [[], ["a"]]


def test_after_its_time_came_a_focus_can_be_asked_for_again() -> None:
    alerts = book()
    for later in (1, 3):
        alerts.schedule(NOW + later, "b", NOW + later - 1)
        assert [alerts.due(NOW + at) for at in (later - 1, later)] == [[], ["b"]]
    alerts = book()
    alerts.schedule(NOW + 3, "a", NOW)
    alerts.schedule(NOW + 1, "a", NOW)
    assert alerts.due(NOW + 1) == ["a"]
    alerts.schedule(NOW + 2, "a", NOW + 1)
    assert alerts.due(NOW + 2) == ["a"]


def test_the_fields_that_hold_content_are_these() -> None:
    assert tuple(content(WHOLE)) == tuple(content(BARE)) == CONTENT
