"""Correlations: one situation a file, pure. This list is what the bus looks for."""

from __future__ import annotations

from typing import Final

from streams.correlations import classification_review, rivals_housed_together
from streams.correlations.situation import PersonCorrelation, UnitCorrelation

PERSON_CORRELATIONS: Final[tuple[PersonCorrelation, ...]] = (classification_review.CORRELATION,)
"""Evaluated in the person stage."""
UNIT_CORRELATIONS: Final[tuple[UnitCorrelation, ...]] = (rivals_housed_together.CORRELATION,)
"""Evaluated in the facility stage."""
