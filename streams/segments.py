"""Segments: what is replaced on a log goes only when the segment is closed in which that stands.

Kafka's cleaner never looks at the segment that is being written, and a broker closes one by its age only when something
is appended. The topics of facts have a tick every second. But on a topic of alerts days may pass: an alert that was
withdrawn because its evidence was expunged would stay readable under its withdrawal. So after a while in which nothing
came, who wrote last appends a tombstone of a key that nobody has: nothing is said by it, and it goes by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from streams.records import Out

CLOSING: Final = b"~closing"
"""Key of the tombstone."""
OLD_ENOUGH: Final = 2 * 3_600_000_000
"""Microseconds after which the segment of the last record is closed by the next one: an hour is `segment.ms` (see
deploy/topic_settings.py), the rest is room for clocks that differ."""


class OpenSegments:
    """The partitions of some topics whose last record is not followed by one that closes its segment."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = frozenset(topics)
        self._since: dict[tuple[str, int], int | None] = {}
        """By topic and partition: the tick by which something was written last; None: that is not known."""

    def recall(self, topic: str, partition: int, key: bytes | None) -> None:
        """A record of that key stands there, after those recalled before: nobody knows since when."""
        if key == CLOSING:
            self._since.pop((topic, partition), None)
        elif topic in self._topics:
            self._since[topic, partition] = None

    def note(self, outs: Iterable[Out], now: int) -> None:
        """These are written, at this tick; 0 as long as there was none."""
        for out in outs:
            if out.topic in self._topics and out.key != CLOSING:
                self._since[out.topic, out.partition] = now or None

    def closing(self, now: int) -> list[Out]:
        """What is to be appended at this tick (microseconds; 0: none yet): to each partition once after its last."""
        if not self._since or not now:
            return []
        due = []
        for part, since in self._since.items():
            if since is None:
                self._since[part] = now
            elif now - since >= OLD_ENOUGH:
                due.append(part)
        for part in due:
            del self._since[part]
        return [Out(topic, partition, CLOSING, None, None) for topic, partition in sorted(due)]
