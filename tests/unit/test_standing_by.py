"""Standing by: what is followed gives way, is bounded, and is not trusted where it may not be."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from schemas.events import Event
from schemas.registry_client import RegistryAway, SchemaCache
from schemas.settings import Settings
from streams import standby
from streams.agents import Partitions, Running
from streams.backtest import SCHEMAS
from streams.fold import CONSUME, BrokerQuietError, Fold, OutdatedError, Progress, catch_up, is_past, recover
from streams.outside import Outside
from streams.partition import FOLDING, Partition
from streams.records import LoggedRecord
from streams.stage import FACILITY, PERSON, input_of
from streams.standby import DERIVING_S, FACT_BYTES, GIVE_WAY_S, GO_S, LOOK_S, TOO_FAR, TRUSTED_S, Following, Standbys
from tests.county import JAIL, agency_of, demo_site, event
from tests.in_memory_bus import InMemoryBus

SITE: Final = demo_site(partitions=1, clock="history")
Logs = Mapping[tuple[str, int], Sequence[LoggedRecord]]


class Message:
    """A record, or the end of a partition, as a consumer brings it."""

    def __init__(self, part: tuple[str, int], record: LoggedRecord | None) -> None:
        self._part, self._record = part, record

    def topic(self) -> str:
        return self._part[0]

    def partition(self) -> int:
        return self._part[1]

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self._record is None else None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._record, name)
        return lambda: (1, found) if name == "timestamp" else found


@dataclass
class LogReader:
    """A consumer of logs in memory."""

    logs: Callable[[], Logs]
    committed_to: dict[str, int]
    read: int = 0
    broken: Exception | None = None
    begins: dict[str, int] = field(default_factory=dict)
    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    looks: int = 0
    """How often it was asked what the owner has committed: once for each look at what is new."""
    markers: dict[str, int] = field(default_factory=dict)
    """By topic: offsets at its end that are no records."""

    def assign(self, parts: Sequence[TopicPartition]) -> None:
        self.positions = {(p.topic, p.partition): max(0, p.offset) for p in parts}

    def unassign(self) -> None:
        self.positions = {}

    def close(self) -> None:
        pass

    def consume(self, most: int, timeout: float) -> list[Any]:
        del timeout
        if self.broken is not None:
            raise self.broken
        self.asked.append(most)
        for part, position in list(self.positions.items()):
            records = [r for r in self.logs()[part] if r.offset >= position][:most]
            self.read += len(records)
            if records:
                self.positions[part] = records[-1].offset + 1
                return [Message(part, record) for record in records]
            del self.positions[part]
            return [Message(part, None)]
        return []

    def committed(self, parts: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        del timeout
        self.looks += 1
        return [TopicPartition(p.topic, p.partition, self.committed_to.get(p.topic, -1001)) for p in parts]

    def get_watermark_offsets(self, part: TopicPartition, timeout: float) -> tuple[int, int]:
        del timeout
        log = self.logs()[part.topic, part.partition]
        return self.begins.get(part.topic, 0), (log[-1].offset + 1 if log else 0) + self.markers.get(part.topic, 0)


class KnownSchemas(dict[int, Any]):
    """Every schema is known but those of some values; counts how often that is asked for."""

    asked = 0
    unknown: frozenset[bytes] = frozenset()
    """Values whose schema the registry does not tell."""

    def ensure(self, values: Sequence[bytes]) -> None:
        self.asked += 1
        if not self.unknown.isdisjoint(values):
            raise RegistryAway


@dataclass
class Here:
    """The time of a test, and how often a thread waited."""

    now: float = 1_000.0
    waits: int = 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds == LOOK_S
        self.waits += 1

    def producer(self, config: Mapping[str, Any]) -> Producer:
        raise AssertionError(config)

    def consumer(self, config: Mapping[str, Any]) -> Consumer:
        raise AssertionError(config)

    def wall_clock(self) -> int:
        raise AssertionError


def reviews(people: int) -> list[Event]:
    return [
        told
        for number in range(people)
        for person in [f"p{number}"]
        for told in (
            event("BookingReported", person, day=0),
            event("CustodyClassified", person, day=1),
            event("DisciplinaryRecorded", person, day=2),
        )
    ]


@dataclass
class Scene:
    """A bus in memory on which an owner works, and somebody who stands by for its one number."""

    bus: InMemoryBus = field(default_factory=lambda: InMemoryBus(SITE))
    here: Here = field(default_factory=Here)
    schemas: KnownSchemas = field(default_factory=lambda: KnownSchemas(SCHEMAS))
    busy: bool = False
    most_bytes: int = 1 << 30
    readies: int = 0
    reader: LogReader = field(init=False)
    standbys: Standbys = field(init=False)

    def __post_init__(self) -> None:
        self.reader = LogReader(lambda: self.bus.logs, {})
        self.standbys = Standbys(
            SITE,
            cast(SchemaCache, self.schemas),
            lambda: cast(Consumer, self.reader),
            lambda: self.busy,
            self._on_ready,
            self.most_bytes,
            cast(Outside, self.here),
        )

    def _on_ready(self) -> None:
        self.readies += 1

    def happens(self, events: Sequence[Event]) -> None:
        """Events are published and processed, and that is committed."""
        for what in events:
            self.bus.publish(what, agency_of(what))
        self.bus.run()
        running = self.bus.running[0]
        self.reader.committed_to = {input_of(stage, SITE): running.committed[stage] for stage in FOLDING}

    def goes_on(self) -> None:
        """One more event comes, and all before it is committed: at every moment there is one that is not."""
        came = {input_of(stage, SITE): self.bus.input_of(stage, 0)[-1].offset + 1 for stage in FOLDING}
        self.bus.publish(event("HousingAssigned", "p1", day=3, unit="4-A"), JAIL)
        self.reader.committed_to = came

    async def is_looked_at(self) -> None:
        """Whoever stands by has looked at all there is by now."""
        # One look may have begun before.
        looks = self.reader.looks + 2
        await self.until(lambda: self.reader.looks > looks)

    def stand_by(self, awaited: frozenset[int] = frozenset()) -> Following:
        self.standbys.stand_by_for(frozenset({0}), awaited, {})
        return self.standbys.following[0]

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110  # of a thread
                await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "FOLLOW_EVERY_S", 0.002)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def persons(fold: Fold) -> int:
    return len(list(fold.partition.person.picture.persons()))


async def test_only_the_tail_is_read_on_a_takeover_and_only_whom_it_touched_is_derived(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.happens(reviews(30))
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    scene.standbys.release(0)
    fold = await scene.standbys.taken_over(following)
    assert fold is not None
    scene.happens(reviews(31)[90:])
    scene.reader.read, derived = 0, []
    derive = type(fold.partition.person.book).derive
    monkeypatch.setattr(
        type(fold.partition.person.book),
        "derive",
        lambda book, picture, focuses, now: derive(book, picture, [derived.append(f) or f for f in focuses], now),  # type: ignore[func-returns-value]
    )
    recovered = recover(fold, Progress(), cast(Consumer, scene.reader), cast(SchemaCache, scene.schemas))
    written = 3 + 1 + 1 + 1
    assert scene.reader.read <= written, "three facts, the alert, who was told of it"
    assert list(recovered.outs) == [], "all of it was written by the owner"
    assert len(derived) == 1
    await scene.standbys.close()


async def test_what_the_owner_has_not_committed_is_left_to_the_next_owner(scene: Scene) -> None:
    scene.happens(reviews(3))
    scene.reader.committed_to[input_of(PERSON, SITE)] = 4
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    # But for what led to something that is recorded: of that nothing is to be said again.
    last_cause = following.fold.partition.last_cause(PERSON)
    assert following.fold.folded[PERSON] == max(4, last_cause + 1)
    await scene.standbys.close()


async def test_it_gives_way_before_each_go_as_long_as_somebody_is_busy_and_gets_on_all_the_same(scene: Scene) -> None:
    scene.busy = True
    scene.happens(reviews(5))
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    goes = scene.here.waits / round(GIVE_WAY_S / LOOK_S)
    # One after each batch, of which there is one from each log that has any, and one after each lot that was derived.
    assert 4 <= goes <= 12
    assert max(scene.reader.asked) == standby.AT_A_TIME < CONSUME
    await scene.standbys.close()


async def test_it_waits_for_nobody_who_has_nothing_to_do(scene: Scene) -> None:
    scene.happens(reviews(5))
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    assert scene.here.waits == 0
    await scene.standbys.close()


async def test_a_number_that_is_too_large_is_given_up_and_holds_nothing() -> None:
    scene = Scene(most_bytes=10_000)
    scene.happens(reviews(200))
    following = scene.stand_by(awaited=frozenset({0}))
    await scene.until(lambda: following.failed)
    assert persons(following.fold) == 0
    # Whoever waits for it waits for nothing better.
    await scene.until(lambda: scene.readies)
    assert (scene.standbys.ready(), scene.standbys.gave_up()) == (frozenset(), frozenset({0}))
    scene.standbys.release(0)
    assert await scene.standbys.taken_over(following) is None
    await scene.standbys.close()


async def test_what_was_given_up_is_remembered_until_it_is_made_ready() -> None:
    scene = Scene(most_bytes=10_000)
    told = reviews(200)
    scene.happens(told)
    following = scene.stand_by()
    await scene.until(lambda: following.failed)
    scene.standbys.stand_by_for(frozenset(), frozenset(), {})
    assert (scene.standbys.ready(), scene.standbys.gave_up()) == (frozenset(), frozenset({0}))
    scene.happens([event("EventWithdrawn", agency=JAIL, target_event_id=one.head.event_id) for one in told])
    scene.bus.compact(input_of(PERSON, SITE))
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready or following.failed)
    assert (scene.standbys.ready(), scene.standbys.gave_up()) == (frozenset({0}), frozenset())
    await scene.is_looked_at()
    following.reckon(caught_up=False)
    following.is_ready = False
    assert scene.standbys.gave_up() == frozenset(), "that it falls behind does not say that it is given up again"
    scene.standbys.stand_by_for(frozenset(), frozenset(), {})
    assert scene.standbys.gave_up() == frozenset()
    await scene.standbys.close()


async def test_what_has_gone_from_the_log_takes_no_room() -> None:
    scene = Scene(most_bytes=100_000)
    following = scene.stand_by()
    for number in range(6):
        told = [event("BookingReported", f"p{number}-{one}", day=0) for one in range(60)]
        scene.happens(told)
        await scene.until(lambda: following.failed or persons(following.fold) == 60)
        assert following.bytes > 60 * FACT_BYTES
        scene.happens([event("EventWithdrawn", agency=JAIL, target_event_id=one.head.event_id) for one in told])
        await scene.until(lambda: following.failed or persons(following.fold) == 0)
        assert following.bytes == 0
    assert not following.failed
    await scene.standbys.close()


async def test_what_a_worker_knew_when_it_handed_a_number_over_takes_room() -> None:
    scene = Scene(most_bytes=10_000)
    scene.happens(reviews(200))
    fold = Fold(Partition.of(SITE, 0, SCHEMAS))
    recover(fold, Progress(), cast(Consumer, scene.reader), cast(SchemaCache, scene.schemas))
    scene.standbys.stand_by_for(frozenset({0}), frozenset(), {0: fold})
    scene.happens(reviews(201)[-3:])
    await scene.until(lambda: scene.standbys.following[0].failed)
    await scene.standbys.close()


async def test_what_is_followed_is_not_trusted_when_a_tombstone_may_have_gone_unread(scene: Scene) -> None:
    scene.happens(reviews(3))
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    scene.standbys.release(0)
    scene.here.now += TRUSTED_S + 1
    assert await scene.standbys.taken_over(following) is None
    await scene.standbys.close()


async def test_who_is_at_the_end_of_a_quiet_log_is_trusted_for_ever(scene: Scene) -> None:
    scene.happens(reviews(3))
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    for _ in range(3):
        scene.here.now += TRUSTED_S / 2
        await scene.until(lambda: following.at_end == scene.here.now)
    scene.standbys.release(0)
    assert await scene.standbys.taken_over(following) is following.fold
    await scene.standbys.close()


@pytest.mark.parametrize("markers", [0, 2])
async def test_who_follows_a_log_that_never_rests_is_trusted_for_as_long_as_it_keeps_up(
    scene: Scene, markers: int
) -> None:
    scene.happens(reviews(3))
    # The other log rests, after the markers of a transaction: nobody ever commits past them.
    scene.reader.markers[input_of(FACILITY, SITE)] = markers
    scene.goes_on()
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    first = following.fold
    for _ in range(26):
        scene.here.now += 1_800
        scene.goes_on()
        await scene.is_looked_at()
        assert scene.here.now - following.at_end <= 2 * 1_800
    assert scene.standbys.ready() == {0}
    scene.standbys.release(0)
    assert await scene.standbys.taken_over(following) is first
    await scene.standbys.close()


async def test_it_is_complete_up_to_when_it_looked_where_the_logs_end_not_to_when_it_came_there(scene: Scene) -> None:
    scene.happens(reviews(3))
    scene.goes_on()
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    begun = scene.here.now
    for _ in range(2):
        scene.here.now += 1_800
        await scene.is_looked_at()
        assert following.at_end == begun
    scene.goes_on()
    await scene.is_looked_at()
    assert following.at_end == begun + 1_800
    await scene.standbys.close()


@pytest.mark.parametrize(("comes_at", "is_there"), [(3, True), (4, False), (6, False), (7, True), (9, True)])
def test_an_end_is_reached_where_nothing_but_markers_is_before_it(comes_at: int, is_there: bool) -> None:
    fold, facts = Fold(Partition.of(SITE, 0, SCHEMAS)), input_of(PERSON, SITE)
    fold.folded = {PERSON: 4, FACILITY: 0}
    logs = {fold.input_of(PERSON): [LoggedRecord(comes_at, b"key", b"")], fold.input_of(FACILITY): []}
    assert is_past(fold, {PERSON: 7, FACILITY: 0}, cast(Consumer, LogReader(lambda: logs, {facts: 4}))) is is_there


async def test_who_does_not_come_to_an_end_that_it_saw_is_trusted_no_longer_and_begins_again(scene: Scene) -> None:
    scene.happens(reviews(3))
    scene.bus.publish(event("HousingAssigned", "p1", day=3, unit="4-A"), JAIL)  # of which nobody commits
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    first, begun = following.fold, following.at_end
    for _ in range(12):
        scene.here.now += TRUSTED_S / 12
        await scene.is_looked_at()
        assert (following.fold, following.at_end) == (first, begun)
    scene.here.now += 1
    await scene.until(lambda: following.fold is not first)
    await scene.until(lambda: following.is_ready)
    assert (following.at_end, following.look) == (scene.here.now, None)
    scene.standbys.release(0)
    assert await scene.standbys.taken_over(following) is following.fold
    await scene.standbys.close()


async def test_who_begins_again_knows_nothing_of_what_has_gone_with_its_tombstone_meanwhile(scene: Scene) -> None:
    told = reviews(3)
    scene.happens(told)
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    for one in told[:3]:
        scene.bus.publish(event("EventWithdrawn", agency=JAIL, target_event_id=one.head.event_id), JAIL)
    await scene.is_looked_at()
    assert persons(following.fold) == 3
    scene.bus.run()
    scene.bus.compact(input_of(PERSON, SITE))
    scene.here.now += TRUSTED_S + 1
    await scene.until(lambda: following.is_ready and persons(following.fold) == 2)
    await scene.standbys.close()


async def test_nobody_is_said_to_be_ready_who_is_not_trusted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "FOLLOW_EVERY_S", 3_600)  # as in a process that was stopped
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    assert scene.standbys.ready() == {0}
    scene.here.now += TRUSTED_S + 1
    assert scene.standbys.ready() == frozenset()
    await scene.standbys.close()


def lose_the_tail(scene: Scene) -> None:
    scene.bus.logs[input_of(PERSON, SITE), 0] = scene.bus.logs[input_of(PERSON, SITE), 0][:4]


def lose_the_head(scene: Scene) -> None:
    scene.reader.begins[input_of(PERSON, SITE)] = 100
    scene.bus.logs[input_of(PERSON, SITE), 0] = [LoggedRecord(100, b"~withdrawn/a/" + b"0" * 32, b"")]


def lose_the_broker(scene: Scene) -> None:
    scene.reader.broken = KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))


@pytest.mark.parametrize("lose", [lose_the_tail, lose_the_head, lose_the_broker])
async def test_where_the_log_is_another_one_it_is_followed_anew(scene: Scene, lose: Callable[[Scene], None]) -> None:
    scene.happens(reviews(3))
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    first = following.fold
    lose(scene)
    await scene.until(lambda: following.fold is not first)
    assert first not in (following.fold,)
    scene.reader.broken = None
    await scene.until(lambda: following.is_ready)
    await scene.standbys.close()


async def test_a_takeover_from_a_log_that_lost_its_tail_is_refused(scene: Scene) -> None:
    scene.happens(reviews(3))
    fold = Fold(Partition.of(SITE, 0, SCHEMAS))
    catch_up(fold, Progress(), cast(Consumer, scene.reader), cast(SchemaCache, scene.schemas))
    lose_the_tail(scene)
    with pytest.raises(OutdatedError):
        recover(fold, Progress(), cast(Consumer, scene.reader), cast(SchemaCache, scene.schemas))


async def test_one_that_failed_is_given_up_and_the_others_go_on(scene: Scene) -> None:
    scene.happens(reviews(3))
    scene.reader.broken = RuntimeError("whatever it is")
    following = scene.stand_by()
    await scene.until(lambda: following.failed)
    assert following.failed == "RuntimeError"
    scene.standbys.release(0)
    assert await scene.standbys.taken_over(following) is None
    await scene.standbys.close()


@pytest.mark.parametrize("fails", [None, 2])
async def test_one_number_after_the_other_is_made_ready_the_clocks_last_and_one_that_fails_is_passed_over(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, fails: int | None
) -> None:
    turns: list[int] = []

    def catches_up(fold: Fold, *_: object) -> bool:
        number = fold.partition.number
        turns.append(number)
        if number == fails:
            raise BrokerQuietError
        return turns.count(number) >= 3

    monkeypatch.setattr(standby, "catch_up", catches_up)
    three = demo_site(partitions=3, clock="history")
    reader, here = cast(Consumer, scene.reader), cast(Outside, scene.here)
    standbys = Standbys(
        three, cast(SchemaCache, scene.schemas), lambda: reader, lambda: False, lambda: None, 1 << 30, here
    )
    standbys.stand_by_for(frozenset({0, 1, 2}), frozenset(), {})
    wanted = [number for number in (2, 1, 0) if number != fails]
    await scene.until(lambda: standbys.ready() == frozenset(wanted))
    until_ready = [number for place, number in enumerate(turns) if turns[:place].count(number) < 3 and number != fails]
    assert until_ready == [number for number in wanted for _ in range(3)]
    await standbys.close()


# -- deriving, and falling behind --------------------------------------------------------------------------------------


def deriving_takes(scene: Scene, monkeypatch: pytest.MonkeyPatch, seconds: float, each: Callable[[], None]) -> None:
    """One is derived at a time, and takes so long; `each` is called for each."""
    derive_ahead = Partition.derive_ahead

    def slowly(partition: Partition, most: int) -> int:
        del most
        each()
        scene.here.now += seconds
        return derive_ahead(partition, 1)

    monkeypatch.setattr(Partition, "derive_ahead", slowly)


async def test_a_go_of_deriving_is_a_slice_of_time_and_it_gives_way_before_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.busy = True
    in_a_go: Counter[int] = Counter()
    deriving_takes(scene, monkeypatch, GO_S / 3, lambda: in_a_go.update([scene.here.waits]))
    scene.happens(reviews(20))
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    assert sum(in_a_go.values()) >= 20
    assert 3 <= max(in_a_go.values()) <= 4
    await scene.standbys.close()


async def test_who_reads_and_reads_says_how_many_it_has_not_derived(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reads_without_end(*args: Any) -> bool:
        catch_up(*args)
        return False

    monkeypatch.setattr(standby, "catch_up", reads_without_end)
    scene.happens(reviews(20))
    following = scene.stand_by()
    await scene.until(lambda: following.report(0)["lag"] == following.to_derive >= 20)
    assert not following.is_ready
    await scene.standbys.close()


async def test_who_has_much_to_derive_reads_on_meanwhile(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_turn: Counter[int] = Counter()
    deriving_takes(scene, monkeypatch, DERIVING_S / 3, lambda: in_a_turn.update([scene.reader.looks]))
    scene.happens(reviews(20))
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    assert sum(in_a_turn.values()) >= 20
    assert 3 <= max(in_a_turn.values()) <= 4
    await scene.standbys.close()


async def test_while_one_has_much_to_derive_the_others_that_were_ready_have_their_turns(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_derive, looks = {0: 0, 1: 0, 2: 0}, Counter[int]()

    def catches_up(fold: Fold, *_: object) -> bool:
        looks[fold.partition.number] += 1
        return True

    def derives(partition: Partition, _: int) -> int:
        scene.here.now += DERIVING_S
        return to_derive[partition.number]

    monkeypatch.setattr(standby, "catch_up", catches_up)
    monkeypatch.setattr(Partition, "derive_ahead", derives)
    three = demo_site(partitions=3, clock="history")
    reader, here = cast(Consumer, scene.reader), cast(Outside, scene.here)
    standbys = Standbys(
        three, cast(SchemaCache, scene.schemas), lambda: reader, lambda: False, lambda: None, 1 << 30, here
    )
    standbys.stand_by_for(frozenset({0, 1, 2}), frozenset(), {})
    await scene.until(lambda: standbys.ready() == {0, 1, 2})
    to_derive[2] = TOO_FAR
    before = looks.copy()
    await scene.until(lambda: min((looks - before)[number] for number in range(3)) >= 3)
    assert standbys.ready() == {0, 1, 2}
    to_derive[2] = to_derive[1] = TOO_FAR + 1
    await scene.until(lambda: standbys.ready() == {0})
    before = looks.copy()
    await scene.until(lambda: min((looks - before)[number] for number in range(3)) >= 3)
    report = standbys.following[2].report(0)
    assert (report["state"], report["lag"]) == ("REFOLDING", TOO_FAR + 1)
    to_derive[2] = 1
    before = looks.copy()
    await scene.until(lambda: (looks - before)[2] >= 3)
    assert standbys.ready() == {0}, "it is so again when it has caught up, not when it is less far behind"
    to_derive[2] = 0
    await scene.until(lambda: standbys.ready() == {0, 2})
    report = standbys.following[2].report(0)
    assert (report["state"], report["lag"]) == ("LIVE", 0)
    await standbys.close()


@pytest.mark.parametrize(
    ("unread", "to_derive", "is_ready"),
    [(0, TOO_FAR, True), (TOO_FAR, 0, True), (1, TOO_FAR, False), (TOO_FAR + 1, 0, False)],
)
def test_who_is_ready_stays_so_until_more_is_left_to_read_and_derive_than_a_takeover_may_take(
    unread: int, to_derive: int, is_ready: bool
) -> None:
    following = Following(0, Fold(Partition.of(SITE, 0, SCHEMAS)), 0.0)
    following.progress.total, following.progress.done, following.to_derive = 7 + unread, 7, to_derive
    following.reckon(caught_up=False)
    assert not following.is_ready, "it never was"
    following.is_ready = True
    following.reckon(caught_up=False)
    assert following.is_ready is is_ready


async def test_who_cannot_read_on_is_ready_until_it_is_too_far_behind_and_again_when_it_has_caught_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "TOO_FAR", 10)
    told = reviews(30)
    scene.happens(told[:9])
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    first = following.fold
    facts = scene.bus.input_of(PERSON, 0)
    come = len(facts)
    for what in told[9:]:
        scene.bus.publish(what, agency_of(what))
    scene.schemas.unknown = frozenset(fact.value or b"" for fact in facts[come:])
    scene.happens([])
    await scene.until(lambda: not following.is_ready)
    assert scene.standbys.ready() == frozenset()
    scene.schemas.unknown = frozenset()
    await scene.until(lambda: following.is_ready)
    assert (following.fold, persons(first)) == (first, 30), "it went on from where it was"
    await scene.standbys.close()


async def test_one_that_is_taken_over_in_the_middle_is_gone_on_from_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "AT_A_TIME", 5)
    scene.busy = True
    scene.happens(reviews(20))
    following = scene.stand_by()

    def wait(_: float) -> None:
        while following.fold.folded.get(PERSON, 0) >= 10 and not following.progress.abandoned:
            time.sleep(0.001)

    monkeypatch.setattr(scene.here, "sleep", wait)
    await scene.until(lambda: following.fold.folded.get(PERSON, 0) >= 10)
    scene.standbys.release(0)
    fold = await scene.standbys.taken_over(following)
    assert fold is not None
    come = fold.folded[PERSON]
    assert come == 10
    scene.reader.read = 0
    recovered = recover(fold, Progress(), cast(Consumer, scene.reader), cast(SchemaCache, scene.schemas))
    assert scene.reader.read <= 60 - come + 2 * 20 + 20
    assert (fold.folded[PERSON], list(recovered.outs), persons(fold)) == (60, [], 20)
    await scene.standbys.close()


async def test_who_is_to_own_a_number_says_once_that_it_is_ready(scene: Scene) -> None:
    scene.happens(reviews(3))
    scene.stand_by(awaited=frozenset({0}))
    await scene.until(lambda: scene.readies)
    before = scene.reader.read
    scene.happens(reviews(4)[9:])
    await scene.until(lambda: scene.reader.read > before)
    assert scene.readies == 1
    await scene.standbys.close()


async def test_what_an_owner_leaves_is_kept_only_where_all_it_decided_is_written() -> None:
    partitions = Partitions(Settings(security_protocol="PLAINTEXT"), SITE, cast(SchemaCache, {}), {}, lambda _: None)
    running: Running = partitions._prepare(0)
    assert running.left() is None, "it was never live"
    running.live.set()
    running.positions = {PERSON: 7, FACILITY: 3}
    running.loop.all_written = False
    assert running.left() is None, "its transaction may have been broken off"
    running.loop.all_written = True
    left = running.left()
    assert left is not None
    assert (left.folded, left.recalled) == ({PERSON: 7, FACILITY: 3}, {}), "what others write next is recalled"
    running.loop.abandon()


# -- a refold's memory -------------------------------------------------------------------------------------------------


def long_log(records: int) -> Iterator[LoggedRecord]:
    value = b"\0" * 150
    for offset in range(records):
        # Of a kind that leaves nothing behind in the stages: their memory is measured elsewhere.
        yield LoggedRecord(offset, b"no/such/key", value)


@contextmanager
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def test_a_refold_holds_one_batch_at_a_time_and_asks_for_schemas_once_a_batch() -> None:
    many = 20_000
    log, source = long_log(many), (input_of(PERSON, SITE), 0)

    class Endless(LogReader):
        def consume(self, most: int, timeout: float) -> list[Any]:
            if source not in self.positions:
                return super().consume(most, timeout)
            found: list[Any] = [Message(source, record) for record in islice(log, most)]
            return found or [Message(source, None)]

        def get_watermark_offsets(self, part: TopicPartition, timeout: float) -> tuple[int, int]:
            del timeout
            return 0, many if part.topic == source[0] else 0

    empty: dict[tuple[str, int], list[LoggedRecord]] = {
        part: [] for part in [*Partition.of(SITE, 0, SCHEMAS).outputs(), source]
    }
    reader = Endless(lambda: empty, {source[0]: many})
    fold, schemas, progress = Fold(Partition.of(SITE, 0, SCHEMAS)), KnownSchemas(SCHEMAS), Progress()
    with traced():
        recover(fold, progress, cast(Consumer, reader), cast(SchemaCache, schemas))
        _, peak = tracemalloc.get_traced_memory()
    assert (fold.folded[PERSON], progress.read, progress.done, progress.total) == (many, many, many, many)
    assert peak < CONSUME * 1_500, "no more than a batch of 2,000 records"
    assert schemas.asked <= many / CONSUME + 1


async def test_a_worker_that_is_told_twice_to_end_stands_by_for_nothing_and_ends(scene: Scene) -> None:
    following = scene.stand_by()
    await scene.until(lambda: following.is_ready)
    await asyncio.gather(scene.standbys.close(), scene.standbys.close())
    assert scene.standbys.following == {}
