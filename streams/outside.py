"""The outside: what the shells get their clients of Kafka and their time from.

Everything else that a shell does it decides itself, or asks the event loop for. So a simulation that puts another
outside, and another event loop, in their place runs the shells as they are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from confluent_kafka import Consumer, Producer

from streams.clock import wall_clock


class Outside(Protocol):
    """Clients of Kafka, and time."""

    def producer(self, config: Mapping[str, Any]) -> Producer:
        """A producer with librdkafka's configuration."""

    def consumer(self, config: Mapping[str, Any]) -> Consumer:
        """A consumer with librdkafka's configuration."""

    def wall_clock(self) -> int:
        """Now, microseconds."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Let a thread wait."""


class RealOutside:
    """librdkafka's clients, and this machine's time."""

    def producer(self, config: Mapping[str, Any]) -> Producer:
        """See Outside."""
        return Producer(dict(config))

    def consumer(self, config: Mapping[str, Any]) -> Consumer:
        """See Outside."""
        return Consumer(dict(config))

    def wall_clock(self) -> int:
        """See Outside."""
        return wall_clock()

    def monotonic(self) -> float:
        """See Outside."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See Outside."""
        time.sleep(seconds)


REAL: Outside = RealOutside()
