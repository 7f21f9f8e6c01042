"""The region's picture: what matters beyond one person or facility. Declared; its first correlations come later.

It will be folded from compact projections on `bus.region.facts`: marks, monikers, contraband methods and sources, the
cadence of feeds. Today it knows the time.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.codec import WriterSchema, decode
from streams.facts import TICK_KEY
from streams.records import Record


class RegionPicture:
    """What is known of the region of one site."""

    def __init__(self, schemas: Mapping[int, WriterSchema]) -> None:
        self._schemas = schemas
        self.now = 0
        """Microseconds: the last tick."""

    def fold(self, record: Record) -> bool:
        """Fold one record of the region facts: whether anything changed."""
        if record.key != TICK_KEY:
            return False
        _, tick = decode(record.value or b"", self._schemas, "Tick")
        before, self.now = self.now, max(self.now, int(tick["time"]))
        return self.now > before
