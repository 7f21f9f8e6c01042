"""Which worker owns which partition number: the same one for every topic, moved as little as can be. And which others
stand by for it.

A worker that owns partition 3 of the inbound facts must own partition 3 of everything its stages read, or the
fold, its recorded alerts and its identities would sit in different processes. Faust's own assignor groups
topics by their partition count and by who subscribed, so topics with one partition and topics with eight
drift apart, and without a table Faust falls back to round robin, which scatters everything. Here a *number*
is assigned, and every topic's partition of that number follows it.

With standbys a number moves only to a worker that is ready for it, that has followed its logs up to now, as Kafka
Streams has it (KIP-441): who comes new follows first, says when it is ready, and is given its share then. A number
whose owner died goes to who stood by for it, though that one may have more than its share for a while. Who gave a
number up, since it is too large to stand by for, is given others rather, and where there are no others nothing waits
for it to be ready.

`shared_out` decides and is pure; `NumberAssignor` is the shell that aiokafka calls (its three-method assignor
protocol).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

if TYPE_CHECKING:
    from aiokafka.cluster import ClusterMetadata

log = logging.getLogger(__name__)
NONE: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member says it has, as partition numbers, and the round of assignment (epoch) it got them in."""

    epoch: int = 0
    numbers: frozenset[int] = NONE
    """Those that it owned."""
    follows: frozenset[int] = NONE
    """Those that it stood by for."""
    ready: frozenset[int] = NONE
    """Those of them that it could take over at once."""
    gave_up: frozenset[int] = NONE
    """Those that it stood by for and could not be made ready for."""
    awaited: frozenset[int] = NONE
    """Those that it was to own as soon as it is ready for them."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a member is given, as partition numbers."""

    numbers: frozenset[int] = NONE
    """To own."""
    standbys: frozenset[int] = NONE
    """To stand by for."""
    awaited: frozenset[int] = NONE
    """Those of its standbys that it is to own as soon as it is ready for them."""


def shared_out(count: int, claims: Mapping[str, Claim], standbys: int) -> dict[str, Share]:
    """Give each of the partition numbers 0 to count-1 to one member, and to others to stand by for.

    In the end no two members own more than one number more than each other. Until then, with standbys: a number moves
    only to who is ready for it, or gave up all that could be moved; one whose owner has gone goes to one who is ready,
    if there is any. Who was to own a number still is, while it lives and does not give it up: as soon as all are ready
    all is in place.

    Each number has `standbys` who stand by for it, or as many as there are members besides its owner. They stay as they
    are as far as that leaves nobody with more than its share of them.
    """
    fair = share_out(count, _as_planned(claims))
    if not standbys or len(claims) < 2:  # noqa: PLR2004
        return {member: Share(numbers) for member, numbers in fair.items()}
    to_be = {number: member for member, numbers in fair.items() for number in numbers}
    newest = max(claim.epoch for claim in claims.values())
    # Who claims by an older round has lost it meanwhile, and knows nothing of it any more.
    held = {number: member for number, member in _held(count, claims).items() if claims[member].epoch == newest}
    owner: dict[int, str] = {}
    for number, wanted in to_be.items():
        ready = [member for member in sorted(claims) if number in claims[member].ready]
        if wanted in ready:
            owner[number] = wanted
        elif number in held:
            # There is nothing to wait for where even this one was given up.
            owner[number] = wanted if number in claims[wanted].gave_up else held[number]
        else:
            owner[number] = min(ready, key=lambda member: (_count(owner, member), member), default=wanted)
    following = _standbys(owner, to_be, claims, min(standbys, len(claims) - 1))
    return {
        member: Share(
            frozenset(number for number, who in owner.items() if who == member),
            frozenset(number for number, who in following.items() if member in who),
            frozenset(number for number, who in to_be.items() if who == member and owner[number] != member),
        )
        for member in claims
    }


def _as_planned(claims: Mapping[str, Claim]) -> dict[str, Claim]:
    """The claims, each number at who awaits it, as if that one had it already."""
    newest = max((claim.epoch for claim in claims.values()), default=0)
    waiting = {
        number: member
        for member in sorted(claims)
        if claims[member].epoch == newest
        for number in claims[member].awaited - claims[member].gave_up
    }
    given = frozenset(waiting)
    return {
        member: replace(claim, numbers=claim.numbers - given | {n for n, who in waiting.items() if who == member})
        for member, claim in claims.items()
    }


def _count(owner: Mapping[int, str], member: str) -> int:
    return sum(who == member for who in owner.values())


def _held(count: int, claims: Mapping[str, Claim]) -> dict[int, str]:
    """By number: who owned it last. The newest claim wins: a worker that was away claims what it has lost."""
    held: dict[int, str] = {}
    for member in sorted(claims, key=lambda name: (claims[name].epoch, name)):
        held |= dict.fromkeys(claims[member].numbers & set(range(count)), member)
    return held


def _standbys(
    owner: Mapping[int, str], to_be: Mapping[int, str], claims: Mapping[str, Claim], each: int
) -> dict[int, set[str]]:
    """By number: who stands by for it. First who is to own it; then who has it already; then who has the fewest, and
    did not give it up."""
    most = -(-len(owner) * each // len(claims))
    following: dict[int, set[str]] = {number: {to_be[number]} - {member} for number, member in sorted(owner.items())}
    load = {member: sum(member in who for who in following.values()) for member in claims}

    def add(number: int, member: str) -> None:
        following[number].add(member)
        load[member] += 1

    for number, who in following.items():
        has_it = [m for m in sorted(claims) if number in _knows(claims[m]) and m != owner[number]]
        for member in sorted(has_it, key=lambda m: (number not in claims[m].ready | claims[m].numbers, m)):
            if len(who) < each and load[member] < most and member not in who:
                add(number, member)
    for number, who in following.items():
        while len(who) < each:
            others = [member for member in sorted(claims) if member != owner[number] and member not in who]
            add(number, min(others, key=lambda member: (number in claims[member].gave_up, load[member])))
    return following


def _knows(claim: Claim) -> frozenset[int]:
    return claim.numbers | (claim.follows - claim.gave_up)


def share_out(count: int, claims: Mapping[str, Claim]) -> dict[str, frozenset[int]]:
    """Give each of the partition numbers 0 to count-1 to one member.

    No two members differ by more than one number, and no number moves that balance does not force to move: a
    member keeps what it claims up to its share, and gives away first what others are ready for, last what they gave up.
    What nobody has goes to who is ready for it, as far as its share goes.
    """
    if not claims:
        return {}
    held: dict[str, list[int]] = {member: [] for member in claims}
    claimed = _held(count, claims)
    for number, member in sorted(claimed.items()):
        held[member].append(number)
    orphans = set(range(count)) - claimed.keys()
    share, extra = divmod(count, len(claims))
    by_holding = sorted(claims, key=lambda name: (-len(held[name]), -len(claims[name].ready & orphans), name))
    shares = {member: share + (rank < extra) for rank, member in enumerate(by_holding)}
    takers = [claim for member, claim in claims.items() if len(held[member]) < shares[member]]

    def welcome(number: int) -> tuple[bool, bool]:
        """How well others could take it, the least first."""
        return any(number in c.ready for c in takers), any(number not in c.gave_up for c in takers)

    kept = {member: sorted(numbers, key=welcome)[: shares[member]] for member, numbers in held.items()}
    unowned = sorted(set(range(count)).difference(*kept.values()))
    for number in list(unowned):
        ready = [m for m in sorted(claims) if number in claims[m].ready and len(kept[m]) < shares[m]]
        if ready:
            kept[min(ready, key=lambda m: len(kept[m]) - shares[m])].append(number)
            unowned.remove(number)
    for member in sorted(claims):
        while len(kept[member]) < shares[member]:
            unowned.sort(key=lambda number: (number in claims[member].gave_up, number))
            kept[member].append(unowned.pop(0))
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

    def __init__(
        self,
        standbys: int = 0,
        ready: Callable[[], frozenset[int]] = frozenset,
        gave_up: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        """`standbys`: how many are to stand by for each number; `ready`: for which this member is ready now; `gave_up`:
        for which it never will be."""
        self._standbys = standbys
        self._ready = ready
        self._gave_up = gave_up
        self._epoch = 0
        self.share = Share()
        """What this member was given last."""

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member tells the leader on joining: its topics and its claim."""
        share = self.share
        claim = Claim(self._epoch, share.numbers, share.standbys, self._ready(), self._gave_up(), share.awaited)
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), _dump(_fields(claim)))

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
        claims = {member: _claim(metadata.user_data) for member, metadata in members.items()}
        epoch = 1 + max((claim.epoch for claim in claims.values()), default=0)
        shares = shared_out(max(counts.values(), default=0), claims, self._standbys)
        return {
            member: ConsumerProtocolMemberAssignment(
                self.version,
                [
                    (topic, [number for number in sorted(share.numbers) if number < counts[topic]])
                    for topic in sorted(members[member].subscription)
                    if topic in counts
                ],
                _dump({"epoch": epoch, **_fields(share)}),
            )
            for member, share in shares.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what the leader gave us: our claim in the next round."""
        given = _load(assignment.user_data)
        self._epoch = given.get("epoch", 0)
        self.share = Share(*(frozenset(given.get(name, ())) for name in Share.__slots__))


def _fields(what: Claim | Share) -> dict[str, Any]:
    """Its fields, as JSON has them."""
    fields = {name: getattr(what, name) for name in what.__slots__}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in fields.items()}


def _dump(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said).encode()


def _load(raw: Any) -> dict[str, Any]:
    return dict(json.loads(bytes(raw))) if raw else {}


def _claim(raw: Any) -> Claim:
    said = _load(raw)
    numbers = (frozenset(said.get(name, ())) for name in ("numbers", "follows", "ready", "gave_up", "awaited"))
    return Claim(said.get("epoch", 0), *numbers)
