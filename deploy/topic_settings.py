"""The Kafka settings of each topic. Pure.

Personal data goes when it should: segments are closed by time, since Kafka neither deletes nor compacts a
record before its segment is closed. Ages count from the broker's clock (LogAppendTime): with a writer's own
time, an import of years-old events would be deleted on arrival, and a wrong clock could keep a record for ever.
"""

from __future__ import annotations

from typing import Final

from schemas import topics
from schemas.topics import Cleanup, TopicSpec

HOUR_MS: Final = 3_600_000
MIB: Final = 1 << 20
INBOUND_BYTES: Final = MIB
"""Largest batch of an agency: the default batch of librdkafka and of Kafka's own client fit."""
INTERNAL_BYTES: Final = 2 * MIB
"""Largest batch that the bus writes: a dead letter or a fact is an inbound record with headers added."""


def topic_settings(spec: TopicSpec, brokers: int) -> dict[str, str]:
    """What is set on a topic, on a cluster of that many brokers; everything else is the broker's default."""
    common = {
        "cleanup.policy": spec.cleanup.value,
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(INBOUND_BYTES if _is_inbound(spec.name) else INTERNAL_BYTES),
        # With three brokers one may be away and nothing acknowledged is lost.
        "min.insync.replicas": str(2 if replication(brokers) >= 3 else 1),  # noqa: PLR2004
    }
    # Other people's clients may compress, in ways that the workers' client can't read; and a batch that is small
    # compressed may be large for a dead letter. So the broker takes it apart, and measures it then.
    inbound = {"compression.type": "uncompressed"} if _is_inbound(spec.name) else {}
    return {
        **common,
        **inbound,
        **(_deleted(spec) if spec.cleanup is Cleanup.DELETE else _compacted(spec)),
        **spec.config,
    }


def replication(brokers: int) -> int:
    """Replication factor on a cluster of that many brokers."""
    return max(1, min(3, brokers))


def _is_inbound(topic: str) -> bool:
    try:
        topics.parse_inbound(topic)
    except ValueError:
        return False
    return True


def _deleted(spec: TopicSpec) -> dict[str, str]:
    return {
        "retention.ms": str(spec.retention_ms),
        # A record may outlive its retention by one segment: by a day at most.
        "segment.ms": str(24 * HOUR_MS),
    }


def _compacted(spec: TopicSpec) -> dict[str, str]:
    return {
        # What was withdrawn or replaced is gone from the log within a day, tombstones a day later.
        "delete.retention.ms": str(spec.retention_ms),
        "max.compaction.lag.ms": str(24 * HOUR_MS),
        "segment.ms": str(HOUR_MS),
        # A refold reads what compaction has not yet removed: clean when a fifth is stale, not a half.
        "min.cleanable.dirty.ratio": "0.2",
        # Stage reports are few keys written often, and whoever looks reads them all.
        "segment.bytes": str(MIB if spec.record == "StageReported" else 64 * MIB),
    }
