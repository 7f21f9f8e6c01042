"""A simulated Kafka: logs, transactions, a consumer group. It refuses what Kafka refuses, and is late at random.

What it does as Kafka does:

- A log gives each record the next offset; each transaction's marker takes one too. Readers of what is committed see
  nothing from the first record of an open transaction on (the last stable offset), and never what was aborted.
- A producer's transactional id has an epoch. `init_transactions` raises it, aborts what the predecessor left open, and
  waits for what is being committed. Whoever comes with an older epoch is refused for ever.
- A commit is decided at one moment, and becomes readable on each partition a moment later, in any order; until then
  the same id appends nothing more. A transaction that stays open too long is aborted, and its producer is fenced.
- A compacted log loses, at any moment, records of which a later one has the same key, never the last of a key; and
  tombstones that are older than any reader's patience.
- A group has generations. A member that sends no heartbeat for the session is put out, and what it says later is
  refused. All members rejoin when one joins or leaves; who does not within the rebalance timeout is put out.
- While the broker is away requests wait. It keeps everything, and gives sessions their whole time when it is back.

The integration tests hold the real ones to this (tests/integration/test_fencing.py, test_embedded_bus.py,
tests/e2e/test_workers_die_and_wake.py, and tests/chaos).
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas import topics
from schemas.site import Site
from streams.assignor import Claim, Share, shared_out
from streams.batching import tuned_app_settings
from streams.records import Headers
from tests.simulation.seeded_loop import Gate, SeededLoop

TOMBSTONES_S: Final = 60.0
"""Seconds for which a tombstone is kept: longer than a read-back with pauses in it may take."""
_TUNED: Final = tuned_app_settings(Path())
SESSION_S: Final = float(_TUNED["broker_session_timeout"])
HEARTBEAT_S: Final = float(_TUNED["broker_heartbeat_interval"])
REBALANCE_S: Final = float(_TUNED["broker_rebalance_timeout"])
COMMIT_S: Final = float(_TUNED["broker_commit_interval"])

Part = tuple[str, int]
"""Topic and partition."""
Note = Callable[..., None]
"""Writes a line of the story: who, what, and what the text is formatted with."""


class Entry:
    """A record on a simulated log, as the shells read it."""

    __slots__ = ("aborted", "headers", "key", "offset", "timestamp", "value")

    def __init__(self, offset: int, key: bytes | None, value: bytes | None, headers: Headers, timestamp: int) -> None:
        self.offset = offset
        self.key = key
        self.value = value
        self.headers = headers
        self.timestamp = timestamp
        self.aborted = False


class Log:
    """One partition."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.entries: list[Entry] = []
        self.offsets: list[int] = []
        self.end = 0
        self.aborted = False
        """Whether there are aborted records on it."""
        self.open: dict[Transaction, int] = {}
        """Transactions without a marker here yet: the offset of their first record."""

    @property
    def stable(self) -> int:
        """The last stable offset: what readers of the committed see ends before it."""
        # The first that is still open began first.
        return next(iter(self.open.values())) if self.open else self.end

    def append(self, key: bytes | None, value: bytes | None, headers: Headers, at: int) -> Entry:
        entry = Entry(self.end, key, value, headers, at)
        self.entries.append(entry)
        self.offsets.append(self.end)
        self.end += 1
        return entry

    def read(self, position: int, most: int, end: int) -> list[Entry]:
        """Up to `most` records from an offset on, before `end`: not the aborted ones."""
        return self.read_on(position, most, end)[0]

    def read_on(self, position: int, most: int, end: int, *, committed: bool = True) -> tuple[list[Entry], int]:
        """The same, and from where to read on; with `committed` false, the aborted ones too."""
        first = bisect_left(self.offsets, position)
        last = bisect_left(self.offsets, end, first)
        entries = self.entries[first : min(last, first + most)]
        on = end if first + most >= last else entries[-1].offset + 1
        if committed and self.aborted:
            entries = [entry for entry in entries if not entry.aborted]
        return entries, max(on, position)

    def last_readable(self) -> int:
        """Offset of the last record that readers of the committed see; -1 for none."""
        last = bisect_left(self.offsets, self.stable)
        return next((e.offset for e in reversed(self.entries[:last]) if not e.aborted), -1)

    def keep(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.offsets = [entry.offset for entry in entries]


@dataclass(eq=False)
class Transaction:
    """What one `begin` to `commit` writes."""

    number: int
    writer: str
    """The process whose producer it is."""
    opened: int
    """Counts the openings of producers on this broker: which one this is of."""
    name: str
    epoch: int
    at: float
    logs: dict[Log, None] = field(default_factory=dict)
    written: list[tuple[Part, Entry]] = field(default_factory=list)
    state: str = "OPEN"
    unmarked: int = 0


@dataclass
class TransactionalId:
    """What the coordinator knows of a transactional id."""

    gate: Gate
    epoch: int = -1
    transaction: Transaction | None = None


class SimulatedBroker:
    """Logs, transactions, and the workers' group."""

    def __init__(self, site: Site, loop: SeededLoop, choose: random.Random, note: Note, pace: float) -> None:
        self.site = site
        self.loop = loop
        self.choose = choose
        self.note = note
        self.pace = pace
        """How the group's times relate to the shipped ones: the shorter, the more happens in a simulated second."""
        self.few = False
        """Whether fetches bring few records each, so that there are many batches."""
        self.up = True
        self.back = Gate(loop)
        self.logs: dict[Part, Log] = {}
        self.compacted: set[str] = set()
        for spec in topics.all_topics(site):
            for number in range(spec.partitions):
                self.logs[spec.name, number] = Log((spec.name, number))
            if spec.cleanup is topics.Cleanup.COMPACT:
                self.compacted.add(spec.name)
        self.ids: dict[str, TransactionalId] = {}
        self.committed: list[Transaction] = []
        """Every transaction that was committed, in the order of the decisions; whatever compaction took since."""
        self.group = Group(self)
        self.opened = 0
        self.begun = 0
        self.fenced: dict[str, int] = {}
        self.readers: list[Callable[[], None]] = []
        """Called when there is more to read."""

    # -- being late, being away ----------------------------------------------------------------------------------

    def latency(self) -> float:
        """Seconds that a request takes: mostly little, now and then much."""
        draw = self.choose.random()
        if draw < 0.9:
            return 0.001 + 0.02 * draw
        return 0.05 + 3.0 * (draw - 0.9) if draw < 0.99 else 0.5 + 100.0 * (draw - 0.99)

    async def reached(self) -> None:
        """In a coroutine: the way of a request to the broker."""
        await asyncio.sleep(self.latency())
        while not self.up:
            await self.back.passed()

    def go_away(self) -> None:
        """Answer nothing until `come_back`."""
        self.up = False
        self.note("broker", "goes away")

    def come_back(self) -> None:
        """Answer again; sessions have their whole time."""
        self.up = True
        self.group.heard_all()
        self.note("broker", "is back")
        self.back.open()

    # -- logs ----------------------------------------------------------------------------------------------------

    def append(self, part: Part, key: bytes | None, value: bytes | None, at: int | None = None) -> None:
        """A record of a producer without transactions, who says when it was made, or leaves that to the broker."""
        self.logs[part].append(key, value, (), self._now_ms() if at is None else at)
        self._tell_readers()

    def compact(self, part: Part) -> None:
        """What the cleaner does to one partition of a compacted topic: all of it that is stable, or its older half."""
        log = self.logs[part]
        until = log.stable if self.choose.random() < 0.5 else log.stable // 2
        last = {entry.key: entry.offset for entry in log.entries if entry.offset < until and not entry.aborted}
        old = self._now_ms() - 1000 * TOMBSTONES_S
        kept = [
            entry
            for entry in log.entries
            if entry.offset >= until
            or (last.get(entry.key) == entry.offset and (entry.value is not None or entry.timestamp > old))
        ]
        if len(kept) < len(log.entries):
            self.note("broker", "compacts {}-{}: {} of {} records stay", *part, len(kept), len(log.entries))
            log.keep(kept)

    def _now_ms(self) -> int:
        return int(self.loop.time() * 1000)

    def _tell_readers(self) -> None:
        for tell in self.readers:
            tell()

    # -- transactions --------------------------------------------------------------------------------------------

    def id_of(self, name: str) -> TransactionalId:
        """The coordinator's state of a transactional id."""
        if name not in self.ids:
            self.ids[name] = TransactionalId(Gate(self.loop))
        return self.ids[name]

    def fence(self, name: str) -> TransactionalId:
        """The first step of `init_transactions`: whoever had the id before is refused from now on."""
        state = self.id_of(name)
        state.epoch += 1
        if state.transaction is not None and state.transaction.state == "OPEN":
            self._end(state, state.transaction, "ABORTED")
        return state

    def begin(self, writer: str, opened: int, name: str, epoch: int) -> Transaction | None:
        """Begin a transaction of the present epoch; None where the epoch is an older one."""
        state = self.id_of(name)
        if state.epoch != epoch:
            return None
        self.begun += 1
        state.transaction = Transaction(self.begun, writer, opened, name, epoch, self.loop.time())
        return state.transaction

    def write(self, transaction: Transaction, records: Iterable[tuple[Part, bytes | None, bytes | None, Any]]) -> None:
        """Append records of an open transaction."""
        now = self._now_ms()
        for part, key, value, headers in records:
            log = self.logs[part]
            log.open.setdefault(transaction, log.end)
            transaction.logs[log] = None
            transaction.written.append((part, log.append(key, value, headers, now)))

    def commit(self, transaction: Transaction) -> bool:
        """Decide a transaction, once or again: whether it is committed."""
        state = self.id_of(transaction.name)
        if transaction.state == "OPEN" and state.epoch == transaction.epoch:
            self.committed.append(transaction)
            self._end(state, transaction, "COMMITTED")
        return transaction.state == "COMMITTED" and state.epoch == transaction.epoch

    def time_out(self, transaction: Transaction) -> None:
        """Abort a transaction that stayed open too long, and fence its producer."""
        state = self.id_of(transaction.name)
        if transaction.state == "OPEN":
            state.epoch += 1
            self.note("broker", "aborts the transaction {} of {}: it was open too long", transaction.number,
                      transaction.writer)  # fmt: skip
            self._end(state, transaction, "ABORTED")

    def _end(self, state: TransactionalId, transaction: Transaction, outcome: str) -> None:
        transaction.state = outcome
        transaction.unmarked = len(transaction.logs)
        if not transaction.logs:
            self._done(state, transaction)
        for log in transaction.logs:
            self.loop.call_later(
                self.choose.random() * 0.02, self._mark, state, transaction, log, context=self.loop.world.context
            )

    def _mark(self, state: TransactionalId, transaction: Transaction, log: Log) -> None:
        del log.open[transaction]
        log.end += 1
        if transaction.state == "ABORTED":
            log.aborted = True
            for part, entry in transaction.written:
                entry.aborted = entry.aborted or part == log.part
        transaction.unmarked -= 1
        if not transaction.unmarked:
            self._done(state, transaction)
        self._tell_readers()

    def _done(self, state: TransactionalId, transaction: Transaction) -> None:
        if state.transaction is transaction:
            state.transaction = None
        state.gate.open()


@dataclass(eq=False)
class Member:
    """A member of the group."""

    name: str
    claim: Claim
    heard: float
    joining: asyncio.Future[tuple[int, Share]] | None = None


class Refused(Exception):  # noqa: N818  # a state of the world, as in streams/fencing.py
    """The coordinator refuses: the member is unknown, its generation old, or a rebalance is under way."""


class Group:
    """The consumer group of a site's workers; its leader shares out partition numbers as the shipped assignor does."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self._broker = broker
        self._loop = broker.loop
        self._session = SESSION_S * broker.pace
        self.generation = 0
        self.members: dict[str, Member] = {}
        self.rebalancing = False
        self._rebalance = 0
        self.standbys = 0
        """How many stand by for each number."""
        self.offsets: dict[Part, int] = {}
        self.on_commit: Callable[[str, Mapping[Part, int]], object] = _unseen

    def heard_all(self) -> None:
        """Nobody is put out for what the broker's absence kept from coming."""
        for member in self.members.values():
            member.heard = self._loop.time()

    def join(self, name: str, claim: Claim) -> asyncio.Future[tuple[int, Share]]:
        """Join, or rejoin: the generation and the partition numbers, when all have joined."""
        member = self.members.setdefault(name, Member(name, claim, self._loop.time()))
        member.claim = claim
        joining = member.joining = self._loop.create_future()
        self._prepare()
        self._watch(member)
        self._complete_if_all_joined()
        return joining

    def leave(self, name: str) -> None:
        """Leave the group."""
        if self.members.pop(name, None) is not None:
            self._prepare()
            self._complete_if_all_joined()

    def heartbeat(self, name: str, generation: int) -> bool:
        """A sign of life. False: rejoin. Raises Refused where the member is none any more."""
        member = self.members.get(name)
        if member is None or generation != self.generation:
            raise Refused
        member.heard = self._loop.time()
        return not self.rebalancing

    def commit(self, name: str, generation: int, offsets: Mapping[Part, int]) -> None:
        """Commit offsets. Raises Refused for a member or generation of the past."""
        if name not in self.members or generation != self.generation:
            raise Refused
        self.members[name].heard = self._loop.time()
        self.offsets.update(offsets)
        self.on_commit(name, offsets)

    def _watch(self, member: Member) -> None:
        def look() -> None:
            if self.members.get(member.name) is not member:
                return
            silent = self._loop.time() - member.heard
            if member.joining is None and silent >= self._session and self._broker.up:
                self._broker.note("group", "puts {} out: no heartbeat", member.name)
                self.leave(member.name)
            else:
                left = self._session - silent
                self._later(max(0.05, left) if left > 0 else self._session, look)

        self._later(self._session, look)

    def _prepare(self) -> None:
        if not self.rebalancing:
            self.rebalancing = True
            self._rebalance += 1
            number = self._rebalance

            def end() -> None:
                if self.rebalancing and self._rebalance == number:
                    for name in [name for name, member in self.members.items() if member.joining is None]:
                        self._broker.note("group", "goes on without {}: it did not rejoin", name)
                        del self.members[name]
                    self._complete_if_all_joined()

            self._later(REBALANCE_S * self._broker.pace, end)

    def _complete_if_all_joined(self) -> None:
        if not self.rebalancing or any(member.joining is None for member in self.members.values()):
            return
        self.rebalancing = False
        self.generation += 1
        claims = {name: member.claim for name, member in self.members.items()}
        shares = shared_out(self._broker.site.partitions, claims, self.standbys)
        said = {name: f"{sorted(share.numbers)}+{sorted(share.standbys)}" for name, share in shares.items()}
        self._broker.note("group", "generation {}: {}", self.generation, said)
        for name, member in self.members.items():
            joining, member.joining = member.joining, None
            member.heard = self._loop.time()
            assert joining is not None
            if not joining.done():
                self._later(self._broker.latency(), _tell, joining, (self.generation, shares[name]))

    def _later(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self._loop.call_later(seconds, call, *args, context=self._loop.world.context)


def _tell(future: asyncio.Future[Any], what: Any) -> None:
    if not future.done():
        future.set_result(what)


def _unseen(*_: object) -> None:
    """Nobody looks at commits."""
