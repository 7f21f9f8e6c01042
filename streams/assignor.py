"""Which worker owns which partition number: the same one for every topic, moved as little as can be.

A worker that owns partition 3 of the inbound facts must own partition 3 of everything its stages read, or the
fold, its recorded alerts and its identities would sit in different processes. Faust's own assignor groups
topics by their partition count and by who subscribed, so topics with one partition and topics with eight
drift apart, and without a table Faust falls back to round robin, which scatters everything. Here a *number*
is assigned, and every topic's partition of that number follows it.

`share_out` decides and is pure; `NumberAssignor` is the shell that aiokafka calls (its three-method assignor
protocol).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

if TYPE_CHECKING:
    from aiokafka.cluster import ClusterMetadata

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member says it held: partition numbers, and the round of assignment (epoch) it got them in."""

    epoch: int = 0
    numbers: frozenset[int] = frozenset()


def share_out(count: int, claims: Mapping[str, Claim]) -> dict[str, frozenset[int]]:
    """Give each of the partition numbers 0 to count-1 to one member.

    No two members differ by more than one number, and no number moves that balance does not force to move: a
    member keeps what it claims up to its share; the newest claim on a number wins (a worker that was away
    claims what it has lost).
    """
    if not claims:
        return {}
    claimed: dict[int, str] = {}
    for member in sorted(claims, key=lambda name: (claims[name].epoch, name)):
        claimed |= dict.fromkeys(claims[member].numbers & set(range(count)), member)
    held: dict[str, list[int]] = {member: [] for member in claims}
    for number, member in sorted(claimed.items()):
        held[member].append(number)
    share, extra = divmod(count, len(claims))
    by_holding = sorted(claims, key=lambda name: (-len(held[name]), name))
    shares = {member: share + (rank < extra) for rank, member in enumerate(by_holding)}
    kept = {member: held[member][: shares[member]] for member in claims}
    unowned = iter(sorted(set(range(count)).difference(*kept.values())))
    for member in sorted(claims):
        while len(kept[member]) < shares[member]:
            kept[member].append(next(unowned))
    return {member: frozenset(numbers) for member, numbers in kept.items()}


class NumberAssignor:
    """The assignor of one consumer: remembers what it held, and shares out when the broker makes its member
    the leader.

    All members run the same code, so they subscribe to the same topics. While an upgrade that adds a topic
    rolls out, a number's owner may not know the topic yet: that partition then waits for it rather than go to
    another worker.
    """

    name = "sallyport-number"
    version = 0

    def __init__(self) -> None:
        self._held = Claim()

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member tells the leader on joining: its topics and its claim."""
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), _dump(self._held))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """The leader's part: every member's partitions, as aiokafka sends them round."""
        counts: dict[str, int] = {}
        for topic in sorted({topic for member in members.values() for topic in member.subscription}):
            partitions = cluster.partitions_for_topic(topic)
            if partitions:
                counts[topic] = len(partitions)
            else:
                log.warning("topic %s has no partitions yet: nobody reads it", topic)
        claims = {member: _load(metadata.user_data) for member, metadata in members.items()}
        epoch = 1 + max((claim.epoch for claim in claims.values()), default=0)
        shares = share_out(max(counts.values(), default=0), claims)
        return {
            member: ConsumerProtocolMemberAssignment(
                self.version,
                [
                    (topic, [number for number in sorted(numbers) if number < counts[topic]])
                    for topic in sorted(members[member].subscription)
                    if topic in counts
                ],
                _dump(Claim(epoch, numbers)),
            )
            for member, numbers in shares.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what the leader gave us: our claim in the next round."""
        self._held = _load(assignment.user_data)


def _dump(claim: Claim) -> bytes:
    return json.dumps({"epoch": claim.epoch, "numbers": sorted(claim.numbers)}).encode()


def _load(raw: Any) -> Claim:
    if not raw:
        return Claim()
    claim = json.loads(bytes(raw))
    return Claim(claim["epoch"], frozenset(claim["numbers"]))
