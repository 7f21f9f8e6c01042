"""Correlations: one situation a file, pure. This list is what the bus looks for."""

from __future__ import annotations

from typing import Final

from streams.correlations import (
    classification_review,
    contraband_delivery_expected,
    feed_frozen,
    feed_silent,
    rivals_housed_together,
    tip_too_broad,
)
from streams.correlations.situation import FacilityCorrelation, PersonCorrelation

PERSON_CORRELATIONS: Final[tuple[PersonCorrelation, ...]] = (classification_review.CORRELATION,)
"""Evaluated in the person stage."""
FACILITY_CORRELATIONS: Final[tuple[FacilityCorrelation, ...]] = (
    rivals_housed_together.CORRELATION,
    contraband_delivery_expected.CORRELATION,
    tip_too_broad.CORRELATION,
    feed_silent.CORRELATION,
    feed_frozen.CORRELATION,
)
"""Evaluated in the facility stage."""
