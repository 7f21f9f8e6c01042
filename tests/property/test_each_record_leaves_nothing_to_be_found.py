"""Whatever a record changes is found by what it triggers: to look at everything anew after it finds nothing more."""

from __future__ import annotations

import pytest
from hypothesis import event as hypothesis_event
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.alerts import Cause, CauseKind
from streams.backtest import SCHEMAS
from streams.stage import FACILITY, PERSON, FacilityStage, PersonStage
from tests.told_histories import Telling, tellings

pytestmark = pytest.mark.usefixtures("little_suffices")

CAUSE = Cause(CauseKind.FACT, PERSON, 0, 0)


@settings(max_examples=60)
@given(tellings(st.sampled_from([1, 2])))
def test_a_record_triggers_all_that_follows_from_it(telling: Telling) -> None:
    bus = telling.unfold()
    written = 0
    for number in range(telling.partitions):
        persons = PersonStage(bus.site, number, SCHEMAS)
        for record in bus.input_of(PERSON, number):
            written += len(persons.process(record))
            everybody = sorted(persons.picture.persons())
            assert persons.book.evaluate(persons.picture, everybody, None, CAUSE, persons.tick) == []
            assert not any(persons._placements.lacks(person) for person in everybody)
        units = FacilityStage(bus.site, number, SCHEMAS)
        for record in bus.input_of(FACILITY, number):
            written += len(units.process(record))
            assert units.book.evaluate(units.picture, units.picture.focuses(), None, CAUSE, units.tick) == []
    hypothesis_event(f"something followed: {written > 0}")
