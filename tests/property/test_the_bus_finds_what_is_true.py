"""In simulated counties the bus finds all that is true, and nothing else; and it would be seen if it did not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from deploy.judged_simulation import judged
from producers.simulator.noise import Noise
from producers.simulator.score import CORRELATIONS, Score
from producers.simulator.truth import BROAD, DELIVERY, FROZEN, REVIEW, RIVALS, SILENT
from schemas.events import AffiliationStatus, CustodyLevel, Tip, VisitCancellation
from streams import correlations
from streams.correlations import classification_review, rivals_housed_together
from streams.names import likeness
from streams.pictures import deliveries, feeds, interceptions, lists, street, tip_match
from tests.small_county import SMALL_COUNTY, TINY_COUNTY

SEEDS, DAYS = (1, 2, 3, 4, 5), 8.0


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed {seed}")
def found(request: pytest.FixtureRequest) -> dict[str, Score]:
    return judged(SMALL_COUNTY, request.param, DAYS, Noise())


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_all_is_found_and_nothing_else_with_the_usual_noise(found: dict[str, Score], correlation: str) -> None:
    one = found[correlation]
    assert not one.missed
    assert not one.wrong
    assert one.found == one.situations
    assert one.right == one.raised


def test_there_is_enough_to_be_found(found: dict[str, Score]) -> None:
    assert all(found[name].situations >= least for name, least in ENOUGH.items())


ENOUGH = {RIVALS: 3, REVIEW: 10, DELIVERY: 10, BROAD: 1}
"""Of feeds there is not one in each, and a silence is not asked for before the third week."""
WEEKS = 28.0
"""Days in which somebody falls silent."""


@pytest.fixture(scope="module")
def heard() -> dict[str, Score]:
    """Of three counties together."""
    each = [judged(TINY_COUNTY, seed, WEEKS, Noise()) for seed in SEEDS[:3]]
    return {name: sum((one[name] for one in each), Score()) for name in (SILENT, FROZEN)}


@pytest.mark.parametrize("correlation", [SILENT, FROZEN])
def test_who_falls_silent_and_whose_list_stands_still_is_found_in_weeks_and_nobody_else(
    heard: dict[str, Score], correlation: str
) -> None:
    one = heard[correlation]
    assert not one.missed
    assert not one.wrong
    assert one.found == one.situations > 0
    assert one.right == one.raised > 0


def test_every_correlation_is_judged() -> None:
    person = {correlation.name for correlation in correlations.PERSON_CORRELATIONS}
    facility = {correlation.name for correlation in correlations.FACILITY_CORRELATIONS}
    assert person | facility == set(CORRELATIONS)


Break = Callable[[pytest.MonkeyPatch], None]


def suspects_do_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rivals_housed_together, "COUNTED", frozenset({AffiliationStatus.MEMBER}))


def no_more_than_two_are_named(patch: pytest.MonkeyPatch) -> None:
    subjects = rivals_housed_together._subjects
    patch.setattr(rivals_housed_together, "_subjects", lambda members: subjects(members)[:2])


def feuds_do_not_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(street, "FEUD_WINDOW", 100 * street.DAY)


def the_highest_level_is_reviewed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(classification_review, "REVIEWED_LEVELS", frozenset(CustodyLevel))


def births_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    courier = tip_match._courier
    patch.setattr(
        tip_match, "_courier", lambda tip, delivery: courier(tip.model_copy(update={"courier_born": None}), delivery)
    )


def names_have_to_be_the_same(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tip_match, "likeness", lambda one, other: float(likeness(one, other) == 1.0))


def mail_is_forgotten_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deliveries, "MAIL_WAITS", deliveries.HOUR)
    patch.setattr(deliveries, "DEPOSIT_COUNTS", deliveries.HOUR)


def times_are_taken_at_their_word(patch: pytest.MonkeyPatch) -> None:
    """Only what begins in a tip's time is in it."""
    patch.setattr(tip_match, "ROUGHLY", 0)
    patch.setattr(deliveries.Delivery, "ends", None)


def any_hour_will_do(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tip_match, "_comes_between", lambda *_: True)


def tips_of_the_last_hour_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    match = tip_match.match

    def too_late(tip: Tip, time: int, awaited: tip_match.Awaited) -> tip_match.Match | None:
        is_late = 0 <= awaited.delivery.at - time < deliveries.HOUR
        return None if is_late else match(tip, time, awaited)

    patch.setattr(interceptions, "match", too_late)


def what_is_over_can_still_be_met(patch: pytest.MonkeyPatch) -> None:
    """Visits that are over, as those that were called off, are forgotten a day later."""
    patch.setattr(deliveries, "VISIT_LINGERS", 24 * deliveries.HOUR)
    patch.setattr(deliveries.Delivery, "ends", None)
    patch.setattr(deliveries, "VisitCompletion", VisitCancellation)


def no_tip_is_too_broad(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(interceptions, "MOST_RECIPIENTS", 100)


def silence_takes_three_days(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(feeds, "LEAST_SLOTS", 3 * feeds.SLOTS_A_DAY)


def two_slots_are_silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(feeds, "AS_IT_LIKES", 2.0)


def lists_may_stand_still(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lists, "UNLIKELY", 1_000.0)


@pytest.mark.parametrize(
    ("breaks", "correlation", "figure"),
    [
        (silence_takes_three_days, SILENT, "recall"),
        (two_slots_are_silence, SILENT, "precision"),
        (lists_may_stand_still, FROZEN, "recall"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bus_that_hears_badly_is_seen_to(
    breaks: Break, correlation: str, figure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    assert getattr(judged(TINY_COUNTY, 1, WEEKS, Noise())[correlation], figure) < 1.0


@pytest.mark.parametrize(
    ("breaks", "correlation", "figure", "seed"),
    [
        (suspects_do_not_count, "rivals_housed_together", "recall", 4),
        (no_more_than_two_are_named, "rivals_housed_together", "recall", 4),
        (feuds_do_not_end, "rivals_housed_together", "precision", 4),
        (the_highest_level_is_reviewed, "classification_review", "precision", 4),
        (births_are_not_compared, "contraband_delivery_expected", "precision", 4),
        (names_have_to_be_the_same, "contraband_delivery_expected", "recall", 4),
        (mail_is_forgotten_at_once, "contraband_delivery_expected", "recall", 4),
        (times_are_taken_at_their_word, "contraband_delivery_expected", "recall", 4),
        (any_hour_will_do, "contraband_delivery_expected", "precision", 4),
        (tips_of_the_last_hour_are_not_heard, "contraband_delivery_expected", "recall", 2),
        (what_is_over_can_still_be_met, "contraband_delivery_expected", "precision", 4),
        (no_tip_is_too_broad, "tip_too_broad", "recall", 4),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bus_that_is_wrong_is_seen_to_be(
    breaks: Break, correlation: str, figure: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    # More mistakes in names, so that there are some among few.
    one = judged(TINY_COUNTY, seed, 7.0, dataclasses.replace(Noise(), misspelt=0.2))[correlation]
    assert getattr(one, figure) < 1.0
