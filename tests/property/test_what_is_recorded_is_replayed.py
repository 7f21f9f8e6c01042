"""What is recorded is replayed as it was, whatever the history; what compaction took is never called a difference."""

from __future__ import annotations

import pytest
from hypothesis import event as hypothesis_event
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from streams.replay import Basis, Verdict
from tests.replayed import outlined, replayed
from tests.told_histories import Telling, tellings

pytestmark = pytest.mark.usefixtures("little_suffices")


@settings(max_examples=80)
@given(tellings())
def test_on_an_uncompacted_log_every_record_is_replayed_identical(telling: Telling) -> None:
    bus = telling.unfold()
    for alert in bus.history(topics.alerts_raised(bus.site.name)):
        found = replayed(bus, alert)
        hypothesis_event(f"{alert['state']}, {alert['cause']['stage']}, {alert['cause']['kind']}")
        assert found.verdict is Verdict.IDENTICAL, found


@settings(max_examples=80)
@given(tellings(compacted=True), st.booleans())
def test_on_a_compacted_log_a_record_is_replayed_identical_or_what_is_lacking_is_named(
    telling: Telling, at_the_end: bool
) -> None:
    bus = telling.unfold()
    alerts = bus.history(topics.alerts_raised(bus.site.name))
    if at_the_end:
        for topic in (topics.person_facts(bus.site.name), topics.facility_facts(bus.site.name)):
            bus.compact(topic)
    for alert in alerts:
        found = replayed(bus, alert)
        hypothesis_event(f"{alert['state']}: {found.verdict.value}, {found.basis.value}")
        assert found.verdict is Verdict.IDENTICAL or (found.verdict is Verdict.CANNOT and found.lacking), found


@settings(max_examples=40)
@given(tellings(st.just(2), compacted=True))
def test_a_record_that_says_something_else_is_never_replayed_identical(telling: Telling) -> None:
    bus = telling.unfold()
    for alert in bus.history(topics.alerts_raised(bus.site.name)):
        changed = {"headline": "Nothing to see here"} if alert["state"] == "OPEN" else {"digest": alert["digest"][::-1]}
        assert replayed(bus, {**alert, **changed}).verdict is not Verdict.IDENTICAL


@settings(max_examples=40)
@given(st.booleans().flatmap(lambda compacted: tellings(compacted=compacted)))
def test_by_what_the_audit_keeps_the_same_is_found_as_by_the_record_or_what_is_lacking_is_named(
    telling: Telling,
) -> None:
    bus = telling.unfold()
    for alert in bus.history(topics.alerts_raised(bus.site.name)):
        outline = outlined(bus, alert)
        if outline is None:
            continue
        found, by_outline = replayed(bus, alert), replayed(bus, outline)
        hypothesis_event(f"by its record {found.verdict.value}, by its outline {by_outline.verdict.value}")
        if found.basis is Basis.WHOLE:
            assert by_outline == found
        else:
            assert by_outline.verdict is Verdict.IDENTICAL or by_outline.lacking, by_outline
            assert by_outline.verdict is not Verdict.DIFFERENT, by_outline
        other = {**outline, "digest": outline["digest"][::-1]}
        assert replayed(bus, other).verdict is not Verdict.IDENTICAL
