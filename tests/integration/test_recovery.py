"""On the real broker: a partition is recovered from its log as the log is, and taken over by who stood by for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from deploy.health import Grade, workers_found
from deploy.topic_report import StageStands, all_live, topic_report
from schemas import topics
from schemas.codec import FRAMED, encode_event, frame
from schemas.events import Event, type_name
from schemas.registry_client import SchemaCache, registry_client, schema_ids
from schemas.settings import Settings
from schemas.subjects import subjects
from streams import agents
from streams.agents import Partitions, sources
from streams.assignor import Share
from streams.batching import Batch
from streams.clock import wall_clock
from streams.disclose import DISCLOSE
from streams.facts import TICK_KEY
from streams.fencing import Fenced, PartitionWriter
from streams.fold import (
    Fold,
    Progress,
    batches_back,
    catch_up,
    plain_consumer,
    read_back,
    recover,
)
from streams.heard import NOTES
from streams.identify import IDENTIFY, DeadLetter, identify
from streams.partition import FOLDING, Partition
from streams.partition_loop import Delivery
from streams.records import LoggedRecord, Out, header
from streams.stage import FACILITY, PERSON, input_of
from tests.compaction import compacted_in_moments
from tests.county import DAY, START, agency_of, event
from tests.in_memory_bus import digests, from_scratch
from tests.working_site import WorkingSite, until

pytestmark = pytest.mark.bus


class Ground:
    """A site without workers, whose facts a test writes itself."""

    def __init__(self, site: WorkingSite) -> None:
        self.working, self.settings, self.site = site, site.settings, site.site
        client = registry_client(self.settings)
        self.schemas = SchemaCache(client)
        self.ids = schema_ids(client, self.site, {subject.topic for subject in subjects(self.site)})

    def facts(self, events: Iterable[Event]) -> list[Out]:
        """What identify writes of these events, but for the notes that they came."""
        by_type = {(s.agency.id, s.event_type): s for s in sources(self.site).values()}
        outs: list[Out] = []
        for what in events:
            source = by_type[agency_of(what), type_name(what)]
            value = encode_event(what, self.ids[source.topic, source.event_type])
            self.schemas.ensure([value])
            found = identify(LoggedRecord(0, None, value), source, self.site, self.schemas, START + 400 * DAY)
            assert not isinstance(found, DeadLetter), found
            outs += [out for out in found.records if not out.key.startswith(NOTES)]
        return outs

    def write(self, outs: Sequence[Out], *, aborted: bool = False) -> None:
        """Write records in one transaction."""
        producer = Producer({**self.settings.kafka("admin"), "transactional.id": f"{self.site.name}.test"})
        producer.init_transactions(60)
        producer.begin_transaction()
        for out in outs:
            assert out.value is None or isinstance(out.value, bytes)
            producer.produce(out.topic, out.value, out.key, out.partition, headers=list(out.headers))
        producer.flush(60)
        if aborted:
            producer.abort_transaction(60)
        else:
            producer.commit_transaction(60)

    def consumer(self) -> Consumer:
        return plain_consumer(self.settings, self.site.user("bus"), topics.consumer_group(self.site.name))

    def commit(self, stage: str, offset: int, number: int = 0) -> None:
        """Let the workers' group have processed a stage's input up to an offset."""
        consumer = self.consumer()
        consumer.commit(offsets=[TopicPartition(input_of(stage, self.site), number, offset)], asynchronous=False)
        consumer.close()

    def committed(self, stage: str, number: int = 0) -> int:
        consumer = self.consumer()
        (part,) = consumer.committed([TopicPartition(input_of(stage, self.site), number)], timeout=60)
        consumer.close()
        return int(part.offset)

    def log(self, topic: str) -> list[LoggedRecord]:
        """What is on partition 0 of a topic now."""
        consumer = self.consumer()
        try:
            return [record for _, record in read_back(consumer, [(topic, 0)])]
        finally:
            consumer.close()

    def offsets(self, stage: str) -> list[int]:
        """Offsets of the records that are on a stage's input."""
        return [record.offset for record in self.log(input_of(stage, self.site))]

    def is_cleaned(self, topic: str) -> bool:
        """Whether each key is there once. The broker cleans no segment that it still writes: it gets another record."""
        self.write([Out(topic, 0, TICK_KEY, None, None)])
        keys = [record.key for record in self.log(topic) if record.key != TICK_KEY]
        return len(keys) == len(set(keys))

    def fold(self, number: int = 0) -> Fold:
        return Fold(Partition.of(self.site, number, self.schemas))

    def with_consumer(self, what: Callable[..., Any], fold: Fold, *more: Any) -> Any:
        consumer = self.consumer()
        try:
            return what(fold, *more, consumer, self.schemas)
        finally:
            consumer.close()

    def recovered(self, fold: Fold) -> list[Out]:
        return list(self.with_consumer(recover, fold, Progress()).outs)


@pytest.fixture(scope="module")
def made(bus: Settings, tmp_path_factory: pytest.TempPathFactory) -> WorkingSite:
    return WorkingSite.make(bus, tmp_path_factory.mktemp("site"), "recovered", partitions=1, clock="history")


@pytest.fixture
def ground(made: WorkingSite) -> Iterator[Ground]:
    site = made.renewed()
    yield Ground(site)
    site.end()


def reviews(*people: str) -> list[Event]:
    """For each person what a review is due for, person by person."""
    return [
        told
        for person in people
        for told in (
            event("BookingReported", person, day=0),
            event("CustodyClassified", person, day=1),
            event("DisciplinaryRecorded", person, day=2),
        )
    ]


def raised(outs: Iterable[Out]) -> int:
    return sum(out.name == "AlertRaised" for out in outs)


def persons(fold: Fold) -> int:
    return len(list(fold.partition.person.picture.persons()))


def test_what_is_committed_within_the_first_batch_is_folded_and_what_comes_after_is_processed(ground: Ground) -> None:
    ground.write(ground.facts(reviews("ada", "bo", "cy")))
    ground.commit(PERSON, 4)
    fold = ground.fold()
    outs = ground.recovered(fold)
    assert fold.folded == {PERSON: 4, FACILITY: 0}
    assert (persons(fold), raised(outs)) == (2, 1), "Ada's facts and one of Bo's: Ada's review was never written"


def test_a_fact_whose_schema_the_registry_does_not_know_costs_what_rests_on_it_alone(ground: Ground) -> None:
    facts = ground.facts(reviews("ada", "bo"))
    value = facts[1].value
    assert isinstance(value, bytes)
    ground.write([facts[0], facts[1]._replace(value=frame(2**31 - 1, value[FRAMED:])), *facts[2:]])
    ground.commit(PERSON, len(facts))
    outs = ground.recovered(ground.fold())
    letters = [out for out in outs if out.topic == topics.dead_letters(ground.site.name, topics.BUS)]
    assert raised(outs) == 1, "Bo's review"
    assert [header(out.headers, "reason") for out in letters] == ["RULE_FAILED"]


def test_a_worker_that_begins_within_the_first_batch_commits_past_it(a_site: Callable[..., WorkingSite]) -> None:
    ground = Ground(a_site("begun-within", partitions=1, clock="history"))
    events = reviews("ada", "bo", "cy")
    ground.write(ground.facts(events))
    ground.commit(PERSON, 4)
    ground.working.start_worker()
    until(lambda: len(ground.working.open_alerts()) == 3, "all are reviewed")
    until(lambda: ground.committed(PERSON) == 9, "the whole batch is committed")
    assert digests(ground.working) == from_scratch(ground.site.name, events)


A_RECOVERY_BY_STEPS = """
import functools, pathlib, sys, time
from streams import fold

here = pathlib.Path(sys.argv.pop(1))
fold.catch_up = functools.partial(fold.catch_up, at_a_time=100)

# After each batch it halts until it is told to go on.
count = fold.Progress.count
def halting(progress, records):
    while progress.done and not (here / f"past {progress.done}").exists():
        time.sleep(0.02)
    count(progress, records)
fold.Progress.count = halting

from deploy.cli import main
main()
"""


def test_a_worker_that_recovers_says_how_far_it_is_and_is_ready_for_nothing_until_it_is_done(
    a_site: Callable[..., WorkingSite], tmp_path: Path
) -> None:
    ground = Ground(a_site("by-steps", partitions=1, clock="history"))
    # What is said of it is in hundreds.
    people = [f"p{number}" for number in range(100)]
    ground.write(ground.facts(reviews(*people)))
    ground.commit(PERSON, 300)
    program, since = tmp_path / "recovery_by_steps.py", wall_clock()
    program.write_text(A_RECOVERY_BY_STEPS)

    def reported() -> tuple[StageStands, ...]:
        return topic_report(ground.settings, ground.site).stages

    def said() -> dict[str, tuple[str, int, int]]:
        return {one.stage: (one.state, one.done, one.total) for one in reported() if one.stage in (*FOLDING, DISCLOSE)}

    ground.working.start_worker([str(program), str(tmp_path), "worker"])
    for done in (100, 200):
        wanted = dict.fromkeys((*FOLDING, DISCLOSE), ("REFOLDING", done, 300))
        until(lambda wanted=wanted: said() == wanted, f"{done} of 300 are read")  # type: ignore[misc]
        assert {one.state for one in reported() if one.stage == IDENTIFY} == {"LIVE"}, "it identifies meanwhile"
        assert not all_live(ground.settings, ground.site, since)
        found = workers_found(ground.site, reported(), wall_clock(), waiting=1)
        assert found.grade is Grade.WARNING
        assert found.says.startswith(f"partition 0: recovering, {done} of 300 records")
        assert ground.working.open_alerts() == {}
        (tmp_path / f"past {done}").touch()
    (tmp_path / "past 300").touch()
    until(lambda: all_live(ground.settings, ground.site, since), "it is live")
    assert said() == dict.fromkeys((*FOLDING, DISCLOSE), ("LIVE", 300, 300))
    assert len(ground.working.open_alerts()) == len(people)


def test_an_empty_partition_is_recovered_at_once_and_again_from_there(ground: Ground) -> None:
    fold = ground.fold()
    assert ground.recovered(fold) == []
    assert fold.folded == {PERSON: 0, FACILITY: 0}
    # Somebody stood by: nothing new there either.
    assert ground.recovered(fold) == []
    ground.write(ground.facts(reviews("ada")))
    ground.commit(PERSON, 3)
    assert raised(ground.recovered(fold)) == 1


def test_holes_that_aborted_transactions_leave_are_passed_over(ground: Ground) -> None:
    ground.write(ground.facts(reviews("never")), aborted=True)
    ground.write(ground.facts(reviews("ada")[:2]))
    ground.write(ground.facts(reviews("nobody")), aborted=True)
    ground.write(ground.facts(reviews("ada")[2:]))
    ground.write(ground.facts(reviews("no one")), aborted=True)
    *_, last = ground.offsets(PERSON)
    ground.commit(PERSON, last + 3)  # within what was aborted
    fold = ground.fold()
    assert raised(ground.recovered(fold)) == 1
    assert persons(fold) == 1
    assert fold.folded[PERSON] == last + 3


def test_holes_that_compaction_leaves_are_passed_over_by_all_who_read(ground: Ground, cleaned_soon: None) -> None:
    del cleaned_soon
    topic = topics.person_facts(ground.site.name)
    facts = ground.facts(reviews("ada", "bo", "cy"))
    ground.write(facts)
    ground.commit(PERSON, 2)
    early = ground.fold()
    ground.with_consumer(catch_up, early, Progress())
    assert early.folded[PERSON] == 2
    # The same again, all but Bo's classification and Cy's; and Cy's infraction is no more.
    again = [*facts[:4], *facts[5:7], Out(topic, 0, facts[8].key, None, None)]
    ground.write(again)
    until(lambda: ground.is_cleaned(topic), "what came twice is there once")
    assert ground.offsets(PERSON)[:2] == [4, 7], "the log begins with a hole, and goes on with one"
    ground.commit(PERSON, 3)  # where nothing is any more
    late = ground.fold()
    assert raised(ground.recovered(late)) == 0
    assert (late.folded[PERSON], persons(late)) == (3, 0)
    ground.commit(PERSON, ground.offsets(PERSON)[-1] + 1)
    fresh = ground.fold()
    from_here, from_scratch = ground.recovered(late), ground.recovered(fresh)
    assert raised(from_scratch) == 2
    # Who stood by before the log was compacted finds the same, and so does who began at a hole.
    assert {out.key for out in from_here} == {out.key for out in from_scratch}
    assert {out.key for out in ground.recovered(early)} == {out.key for out in from_scratch}
    assert [persons(fold) for fold in (late, fresh, early)] == [3, 3, 3], "Cy too, of whom nothing follows"


async def test_a_rebalance_in_the_middle_of_a_recovery_leaves_nothing_of_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.write(ground.facts(reviews("ada", "bo", "cy")))
    ground.commit(PERSON, 9)
    broken: list[BaseException] = []
    partitions = Partitions(ground.settings, ground.site, ground.schemas, ground.ids, broken.append)
    in_the_middle, go_on, count = threading.Event(), threading.Event(), Progress.count

    def halting(progress: Progress, records: int) -> None:
        in_the_middle.set()
        assert go_on.wait(60)
        count(progress, records)

    monkeypatch.setattr(Progress, "count", halting)
    await partitions.own(frozenset({0}), 1)
    assert await asyncio.to_thread(in_the_middle.wait, 60)
    first = partitions.running[0]
    assert not partitions.ready
    # It waits for nobody: the thread that reads is still there.
    await partitions.own(frozenset(), 2)
    assert (partitions.running, partitions.ready) == ({}, False)
    await partitions.own(frozenset({0}), 3)
    second = partitions.running[0]
    assert not partitions.ready
    go_on.set()
    async with asyncio.timeout(60):
        await second.live.wait()
    assert partitions.ready
    assert not first.live.is_set()
    assert (second.progress.done, second.progress.total) == (9, 9)
    until(lambda: len(ground.working.open_alerts()) == 3, "what was found is written")
    assert {a["revision"] for a in ground.working.records(topics.alerts_raised(ground.site.name))} == {1}
    await partitions.close()
    assert broken == []


async def comes_true(holds: Callable[[], object]) -> None:
    """Wait until something holds that nobody else wants to hear of."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # there is nothing to wait for
            await asyncio.sleep(0.02)


async def is_live(partitions: Partitions) -> None:
    """Wait until the partition is."""
    async with asyncio.timeout(60):
        await partitions.running[0].live.wait()


async def is_overtaken_as_it_writes(partitions: Partitions) -> None:
    """Let it have something to write: that a record is no event. Somebody else has opened the partition's writer."""
    running = partitions.running[0]
    acknowledged: list[object] = []

    async def acknowledge() -> None:
        acknowledged.append(None)

    inbound = topics.inbound(partitions.site.name, "county-jail", "BookingReported")
    running.loop.hand_over(IDENTIFY, Delivery(Batch(inbound, 0, [LoggedRecord(0, b"k", b"no event")]), acknowledge))
    await comes_true(lambda: running.overtaken)
    assert acknowledged == []


async def test_who_is_overtaken_lets_go_of_the_number_alone_and_begins_it_anew_when_it_is_given_it_again(
    ground: Ground,
) -> None:
    ground.write(ground.facts(reviews("ada")))
    ground.commit(PERSON, 3)
    broken: list[BaseException] = []
    here, there = (Partitions(ground.settings, ground.site, ground.schemas, ground.ids, broken.append) for _ in "ab")
    await here.own(frozenset({0}), 1)
    await is_live(here)
    # The group's word reaches the next owner before it reaches this one.
    await there.own(frozenset({0}), 2)
    await is_live(there)
    known = here.running[0].partition
    await is_overtaken_as_it_writes(here)
    assert not here.ready
    await there.own(frozenset(), 3)
    await here.own(frozenset({0}), 2)
    await is_live(here)
    assert here.running[0].partition is not known, "what it decided and could not write is forgotten"
    assert len(ground.working.open_alerts()) == 1
    await here.close()
    await there.close()
    assert broken == []


async def test_whom_a_former_owner_fences_late_asks_the_group_and_goes_on_with_the_number(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "TOLD_S", 0.01)
    ground.write(ground.facts(reviews("ada")))
    ground.commit(PERSON, 3)
    broken: list[BaseException] = []
    generations = iter(range(1, 10))

    async def shared_out() -> None:
        """The group gives this worker the number, again and again."""
        await here.own(frozenset({0}), next(generations))

    asked: list[asyncio.Task[None]] = []
    here = Partitions(
        ground.settings,
        ground.site,
        ground.schemas,
        ground.ids,
        broken.append,
        rejoin=lambda: asked.append(asyncio.create_task(shared_out())),
    )
    await shared_out()
    await is_live(here)
    known = here.running[0].partition
    # It had asked to open while the broker was slow, and lost the number before it was answered.
    former = PartitionWriter(ground.settings, ground.site, 0)
    await former.open()
    await is_overtaken_as_it_writes(here)
    await comes_true(lambda: asked)
    await asked[0]
    await is_live(here)
    assert here.running[0].partition is not known, "what it decided and could not write is forgotten"
    ground.write(ground.facts(reviews("bo")))
    here.running[0].loop.hand_over(PERSON, Delivery(facts_after(ground, 3), nothing))
    await comes_true(lambda: len(ground.working.open_alerts()) == 2)
    assert (len(asked), broken) == (1, [])
    await here.close()
    await former.close()


async def nothing() -> None:
    """Acknowledges to nobody."""


def facts_after(ground: Ground, offset: int) -> Batch:
    """The person facts from an offset on, as a batch."""
    topic = topics.person_facts(ground.site.name)
    return Batch(topic, 0, [record for record in ground.log(topic) if record.offset >= offset])


async def test_a_number_that_has_another_writer_and_of_which_the_group_says_nothing_ends_the_worker(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "TOLD_S", 0.01)
    monkeypatch.setattr(agents, "OVERTAKEN_S", 0.01)
    broken: list[BaseException] = []
    here = Partitions(ground.settings, ground.site, ground.schemas, ground.ids, broken.append)
    await here.own(frozenset({0}), 1)
    await is_live(here)
    elsewhere = PartitionWriter(ground.settings, ground.site, 0)
    await elsewhere.open()
    await is_overtaken_as_it_writes(here)
    await comes_true(lambda: broken)
    (error,) = broken
    assert isinstance(error, BaseExceptionGroup)
    assert error.split(Fenced)[1] is None
    await here.close()
    await elsewhere.close()


async def test_who_owned_a_number_stands_by_for_it_and_takes_it_back_with_what_happened_meanwhile(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "streams.fold")
    ground.write(ground.facts(reviews("ada", "bo", "cy")))
    ground.commit(PERSON, 9)
    broken: list[BaseException] = []
    here, there = (Partitions(ground.settings, ground.site, ground.schemas, ground.ids, broken.append) for _ in "ab")
    await here.own(frozenset({0}), 1)
    await is_live(here)
    known = here.running[0].partition
    await here.own(frozenset(), 2, Share(standbys=frozenset({0})))
    following = here.standbys.following[0]
    assert following.fold.partition is known
    await there.own(frozenset({0}), 2)
    await is_live(there)
    await there.own(frozenset(), 3)
    # What the owner between did not write itself: Dee's facts are for the next one to find.
    ground.write(ground.facts(reviews("dee")))
    ground.commit(PERSON, ground.offsets(PERSON)[-1] + 1)
    await comes_true(lambda: following.is_ready and following.fold.folded[PERSON] >= ground.committed(PERSON))
    await here.own(frozenset({0}), 3)
    await is_live(here)
    assert here.running[0].partition is known
    until(lambda: len(ground.working.open_alerts()) == 4, "Dee is reviewed, too")
    assert {a["revision"] for a in ground.working.records(topics.alerts_raised(ground.site.name))} == {1}
    await here.close()
    await there.close()
    assert broken == []
    said = [record.getMessage() for record in caplog.records if "is folded" in record.getMessage()]
    assert said[-1] == "partition 0 is folded: 0 records read", "all had been read before"


def test_who_goes_on_where_the_log_has_nothing_is_told_so(ground: Ground) -> None:
    ground.write(ground.facts(reviews("ada")))
    part = topics.person_facts(ground.site.name), 0
    reader = ground.consumer()
    with pytest.raises(KafkaException):
        list(batches_back(reader, {part: 1_000}))
    reader.close()


@pytest.fixture
def cleaned_soon(ground: Ground) -> Iterator[None]:
    """The person facts of the site are compacted in moments."""
    with compacted_in_moments(ground.settings, topics.person_facts(ground.site.name)):
        yield
