"""The judge of simulation and chaos: whatever is wrong with what a site wrote, it says so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.county import demo_site
from tests.kept_promises import KEPT, History, Written, difference, opened

SITE = demo_site()
TO = ("county-jail-watch", "county-jail-classification")
"""Who is told of housing alerts."""


def raised(revision: int = 1, state: str = "OPEN", digest: str = "x") -> dict[str, Any]:
    return {
        "alert_id": "an alert",
        "revision": revision,
        "state": state,
        "digest": digest,
        "kind": "housing",
        "rule_version": 1,
        "at": revision,
        "cause": {"offset": revision},
    }


def told(to: str, revision: int = 1, state: str = "OPEN", digest: str = "x") -> dict[str, Any]:
    return {**raised(revision, state, digest), "recipient": to}


def decided(to: str, decision: str = "DISCLOSED", revision: int = 1) -> dict[str, Any]:
    state, digest = ("WITHDRAWN", "w") if decision == "WITHDRAWN" else ("OPEN", "x")
    of_it = {name: raised(revision, state, digest)[of] for name, of in KEPT.items()}
    return {"alert_id": "an alert", "revision": revision, "recipient": to, "decision": decision, **of_it}


BOTH = [told(to) for to in TO]
DECIDED = [decided(to) for to in TO]
OVER = [raised(), raised(2, "WITHDRAWN", "w")]


def broken(*written: Written) -> list[str]:
    history = History(SITE)
    return [what for one in written for what in history.take(one)]


def test_an_alert_that_everyone_is_told_of_breaks_nothing() -> None:
    assert broken(Written([raised()], BOTH, DECIDED)) == []


def test_one_that_is_withheld_needs_its_decision_too() -> None:
    assert broken(Written([raised()], BOTH[:1], [DECIDED[0], decided(TO[1], "WITHHELD")])) == []
    (found,) = broken(Written([raised()], BOTH[:1], DECIDED[:1]))
    assert found == "an alert is raised in revision 1 without a decision on county-jail-classification"


def test_a_decision_on_another_revision_is_none() -> None:
    assert len(broken(Written([raised(2)], (), DECIDED))) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("digest", "y"), ("state", "UNKNOWN"), ("rule_version", 2), ("revision_at", 0), ("revision_cause", None)],
)
def test_what_the_audit_keeps_of_an_alert_is_what_its_record_says(name: str, value: object) -> None:
    (found,) = broken(Written([raised()], BOTH, [DECIDED[0], {**DECIDED[1], name: value}]))
    assert found == f"the audit has another {name} of an alert in revision 1 than its record"
    (later,) = broken(Written([raised()], BOTH, DECIDED), Written((), (), [{**DECIDED[1], name: value}]))
    assert later == found


def test_what_is_told_needs_its_own_audit() -> None:
    again = [*BOTH, told(TO[0], 2, digest="y")]
    (found,) = broken(Written([raised()], again, DECIDED))
    assert found == "county-jail-watch is told of an alert without an audit (DISCLOSED)"


def test_whoever_was_told_is_told_that_it_is_over_and_the_audit_has_it() -> None:
    over = [told(to, 2, "WITHDRAWN", "w") for to in TO]
    taken_back = [decided(to, "WITHDRAWN", 2) for to in TO]
    assert broken(Written(OVER, [*BOTH, *over], [*DECIDED, *taken_back])) == []
    assert broken(Written(OVER, [*BOTH, over[0]], [*DECIDED, *taken_back])) == [
        "an alert is withdrawn, and county-jail-classification is not told"
    ]
    assert broken(Written(OVER, [*BOTH, *over], [*DECIDED, taken_back[0]])) == [
        "county-jail-classification is told of an alert without an audit (WITHDRAWN)"
    ]


@pytest.mark.parametrize("together", [True, False])
def test_two_contents_in_one_revision_are_found_wherever_they_were_written(together: bool) -> None:
    first, second = Written([raised()], BOTH, DECIDED), Written([raised(digest="y")], BOTH, DECIDED)
    both = Written([raised(), raised(digest="y")], BOTH, DECIDED)
    assert broken(*([both] if together else [first, second])) == ["an alert says two things in revision 1"]
    (found,) = broken(Written([raised()], [*BOTH, told(TO[0], digest="y")], [*DECIDED, decided(TO[0])]))
    assert found == "an alert says two things to county-jail-watch in revision 1"


def test_what_is_open_is_what_was_said_last() -> None:
    assert opened([raised(), raised(2, digest="y")]) == {"an alert": "y"}
    assert opened(OVER) == {}
    assert difference({"a": "1", "b": "1"}, {"b": "2", "c": "1"}) == (
        "lacking ['c'], too many ['a'], with other content ['b']"
    )
