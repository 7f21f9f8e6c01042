"""On the real broker: a partition is recovered from its log as the log is, and taken over by who stood by for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas import topics
from schemas.codec import encode_event
from schemas.events import Event, type_name
from schemas.registry_client import SchemaCache, registry_client, schema_ids
from schemas.subjects import subjects
from streams.agents import sources
from streams.facts import TICK_KEY
from streams.fold import (
    Fold,
    Progress,
    catch_up,
    input_of,
    plain_consumer,
    read_back,
    recover,
)
from streams.identify import DeadLetter, identify
from streams.partition import Partition
from streams.records import LoggedRecord, Out
from streams.stage import FACILITY, PERSON
from tests.county import DAY, START, agency_of, demo_site, event
from tests.in_memory_bus import InMemoryBus, digests
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
        """What identify writes of these events."""
        by_type = {(s.agency.id, s.event_type): s for s in sources(self.site).values()}
        outs: list[Out] = []
        for what in events:
            source = by_type[agency_of(what), type_name(what)]
            value = encode_event(what, self.ids[source.topic, source.event_type])
            self.schemas.ensure([value])
            found = identify(LoggedRecord(0, None, value), source, self.site, self.schemas, START + 400 * DAY)
            assert not isinstance(found, DeadLetter), found
            outs += found.records
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

    def offsets(self, stage: str, number: int = 0) -> list[int]:
        """Offsets of the records that are on a stage's input."""
        return [m.offset() for m in self.working.read(input_of(stage, self.site)) if m.partition() == number]

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


@pytest.fixture
def ground(a_site: Callable[..., WorkingSite], request: pytest.FixtureRequest) -> Ground:
    return Ground(a_site(f"r{abs(hash(request.node.name)) % 100_000}", partitions=1, clock="history"))


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


def test_a_worker_that_begins_within_the_first_batch_commits_past_it(ground: Ground) -> None:
    events = reviews("ada", "bo", "cy")
    ground.write(ground.facts(events))
    ground.commit(PERSON, 4)
    ground.working.start_worker()
    until(lambda: len(ground.working.open_alerts()) == 3, "all are reviewed")
    until(lambda: ground.committed(PERSON) == 9, "the whole batch is committed")
    bus = InMemoryBus(demo_site(partitions=1, name=ground.site.name, clock="history"))
    for what in events:
        bus.publish(what, agency_of(what))
    bus.run()
    assert {a: alert["digest"] for a, alert in ground.working.open_alerts().items()} == digests(bus)


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


def test_holes_that_compaction_leaves_are_passed_over_by_all_who_read(ground: Ground) -> None:
    topic = topics.person_facts(ground.site.name)
    quickly = {"segment.ms": "50", "min.cleanable.dirty.ratio": "0.0001", "max.compaction.lag.ms": "1"}
    alter(ground, ResourceType.TOPIC, topic, quickly)
    alter(ground, ResourceType.BROKER, "1", {"log.cleaner.backoff.ms": "100"})
    facts = ground.facts(reviews("ada", "bo", "cy"))
    early = ground.fold()
    ground.write(facts)
    ground.commit(PERSON, 2)
    ground.with_consumer(catch_up, early, Progress())
    assert early.folded[PERSON] == 2
    ground.write([*facts[:4], Out(topic, 0, facts[8].key, None, None), *facts[5:7]])
    # Whatever is last is not cleaned.
    until(lambda: _rolled(ground, topic), "what came twice is there once")
    assert ground.offsets(PERSON)[0] == 4, "the log begins with a hole"
    ground.commit(PERSON, 3)  # where nothing is any more
    late = ground.fold()
    found = ground.recovered(late)
    assert late.folded[PERSON] == 4 or late.folded[PERSON] == 3
    assert raised(found) == 0
    everything = ground.offsets(PERSON)[-1] + 1
    ground.commit(PERSON, everything)
    ground.with_consumer(catch_up, early, Progress())
    again = ground.fold()
    assert raised(ground.recovered(again)) == 2, "Cy's infraction is gone"
    assert early.folded == again.folded
    # Who stood by before it was compacted knows the same.
    assert [(o.topic, o.key) for o in ground.recovered(early)] == [
        (o.topic, o.key) for o in ground.recovered(ground.fold())
    ]


def _rolled(ground: Ground, topic: str) -> bool:
    """Write something that makes the broker begin another segment, and see whether it has cleaned those before."""
    ground.write([Out(topic, 0, TICK_KEY, None, None)])
    keys = [m.key() for m in ground.working.read(topic) if m.key() != TICK_KEY]
    reader = ground.consumer()
    try:
        left = [record.key for _, record in read_back(reader, [(topic, 0)]) if record.key != TICK_KEY]
    finally:
        reader.close()
    ground.working._logs.clear()
    return len(left) == len(set(left)) < len(keys) or len(left) == len(set(left))


def alter(ground: Ground, what: ResourceType, name: str, values: dict[str, str]) -> None:
    entries = [ConfigEntry(n, v, incremental_operation=AlterConfigOpType.SET) for n, v in values.items()]
    admin = AdminClient(ground.settings.kafka("admin"))
    for asked in admin.incremental_alter_configs([ConfigResource(what, name, incremental_configs=entries)]).values():
        asked.result(60)
