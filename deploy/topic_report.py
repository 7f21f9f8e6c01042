"""How a site's topics stand: records, lag, dead letters by reason, and what the stages say of themselves.

What is cheap is asked, not counted: on a topic that transactions write, offsets also number the markers that end each
transaction, so a count from offsets is an upper bound there, and says so. The one number that must be right is a
lag of 0, since operators wait for it: wherever offsets leave room for doubt, the partition is read from the committed
offset until a record comes or the end does.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from consumers.board import REPORTING
from deploy.acls import BUS
from deploy.broker_says import in_a_line
from deploy.dead_letters import number_of, settled
from schemas import codec, topics
from schemas.registry_client import RegistryAway, SchemaCache, registry_client
from schemas.settings import Settings
from schemas.site import Site
from schemas.topics import Cleanup, DeadLetterBox, TopicSpec
from streams.fold import logged
from streams.records import header

REQUEST_SECONDS: Final = 15
NO_COORDINATOR_YET: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
    }
)
"""What a broker says of groups when it has just started."""
AGAIN_S: Final = 0.2
"""Seconds after which it is asked again."""
Place = tuple[str, int]
"""A topic and one of its partitions."""


class ReportError(Exception):
    """The topics can't be read; the message is one line for a person."""


@dataclass(frozen=True, slots=True)
class TopicStands:
    """How one topic stands."""

    name: str
    partitions: int
    records: int
    """From first to last offset."""
    exact: bool
    """False: `records`, and a `lag` above 0, may count markers of transactions too, and are upper bounds."""
    lag: int | None
    """Records that the workers have not processed; None where they do not read by their group."""
    kept: str
    """How long records are kept, in words."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Records of one agency that were refused for one reason and not settled, as far as they are still kept."""

    agency: str
    reason: str
    count: int
    oldest: int
    """When the first of them was refused, microseconds since 1970."""
    care: bool = False
    """Whether they came on care topics: then they are kept for a shorter time."""

    @property
    def goes(self) -> int:
        """When the first of them is deleted, microseconds since 1970."""
        return self.oldest + topics.dead_letters_kept_ms(care=self.care) * 1000


@dataclass(frozen=True, slots=True)
class StageStands:
    """The last that one stage reported of one partition. Times are microseconds since 1970."""

    stage: str
    partition: int
    state: str
    tick: int
    lag: int
    done: int
    total: int
    at: int


@dataclass(frozen=True, slots=True)
class TopicReport:
    """How a site's topics stand."""

    site: str
    topics: tuple[TopicStands, ...]
    dead_letters: tuple[DeadLetters, ...]
    stages: tuple[StageStands, ...]
    newest: int = 0
    """When the broker took the last record that was read, by its clock, microseconds since 1970; 0 for none."""


def topic_report(settings: Settings, site: Site) -> TopicReport:
    """How a site's topics stand, seen as the site's own workers see them. Raises ReportError, in one line."""
    try:
        counted = _counted(settings, site)
        refused, reported, newest = _read(settings, site)
        return TopicReport(site.name, counted, refused, _stages(reported, settings), newest)
    except KafkaException as error:
        raise ReportError(
            f"the bus at {settings.bootstrap_servers} does not answer as asked ({in_a_line(error)}): "
            "is it up (`sallyport up`), and the site provisioned?"
        ) from error
    except (RegistryAway, codec.DecodeError) as error:
        raise ReportError(str(error)) from error


# --- records and lag ---


def _counted(settings: Settings, site: Site) -> tuple[TopicStands, ...]:
    user = settings.kafka(site.user(BUS))
    admin = AdminClient(user, logger=_quiet())
    specs = topics.all_topics(site)
    places = [(spec.name, partition) for spec in specs for partition in range(spec.partitions)]
    begins = _offsets(admin, places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    ends = _offsets(admin, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    committed = _committed(user, topics.consumer_group(site.name), places)
    read = {spec.name for spec in topics.inbound_topics(site)} | {topic for topic, _ in committed}
    # Retention may have overtaken a committed offset.
    positions = {place: max(begins[place], committed.get(place, begins[place])) for place in places if place[0] in read}
    behind = {place: ends[place] - position for place, position in positions.items() if position < ends[place]}
    for place in _at_their_end(user, {place: positions[place] for place in behind}):
        del behind[place]
    return tuple(
        TopicStands(
            spec.name,
            spec.partitions,
            sum(ends[spec.name, n] - begins[spec.name, n] for n in range(spec.partitions)),
            _has_no_markers(site, spec),
            sum(behind.get((spec.name, n), 0) for n in range(spec.partitions)) if spec.name in read else None,
            kept(spec),
        )
        for spec in specs
    )


def _has_no_markers(site: Site, spec: TopicSpec) -> bool:
    """Whether offsets count records: nobody writes it by transactions, and nothing is compacted away."""
    return not spec.name.startswith(tuple(f"{site.name}.{part}." for part in ("bus", "alerts", "audit")))


def kept(spec: TopicSpec) -> str:
    """How long a topic keeps its records, in words."""
    if spec.cleanup is Cleanup.COMPACT:
        return "latest of each key"
    days = spec.retention_ms // topics.DAY_MS
    return "for ever" if spec.retention_ms < 0 else f"{days} days"


def _offsets(admin: AdminClient, places: Iterable[Place], which: OffsetSpec) -> dict[Place, int]:
    asked = admin.list_offsets({TopicPartition(*place): which for place in places}, request_timeout=REQUEST_SECONDS)
    return {(place.topic, place.partition): future.result().offset for place, future in asked.items()}


def _committed(user: Mapping[str, Any], group: str, places: Iterable[Place]) -> dict[Place, int]:
    """Offsets that a group has committed; none where it has never run.

    Asked as its members do: of the admin client's own call it is an error that a broker which has just started still
    reads what its groups have committed, and to call it again crashed the process (confluent-kafka 2.16).
    """
    consumer, until = Consumer({**user, "group.id": group}, logger=_quiet()), time.monotonic() + REQUEST_SECONDS
    try:
        while True:
            try:
                found = consumer.committed([TopicPartition(*place) for place in places], timeout=REQUEST_SECONDS)
            except KafkaException as error:
                if error.args[0].code() not in NO_COORDINATOR_YET or time.monotonic() > until:
                    raise
                time.sleep(AGAIN_S)
            else:
                return {(place.topic, place.partition): place.offset for place in found if place.offset >= 0}
    finally:
        consumer.close()


def _at_their_end(user: Mapping[str, Any], positions: Mapping[Place, int]) -> set[Place]:
    """Those of the partitions where no record stands at or after the position, only markers of transactions."""
    done: set[Place] = set()
    if not positions:
        return done
    consumer = _reader(user, {"fetch.message.max.bytes": 16_384, "queued.min.messages": 1})
    try:
        consumer.assign([TopicPartition(*place, offset) for place, offset in positions.items()])
        open_places = set(positions)
        for message in _messages(consumer, open_places):
            place = (str(message.topic()), int(message.partition() or 0))
            if message.error() is None:
                consumer.incremental_unassign([TopicPartition(*place)])
                open_places.discard(place)
            else:
                done.add(place)
    finally:
        consumer.close()
    return done


# --- reading ---


def _quiet() -> logging.Logger:
    return logging.getLogger("sallyport.kafka")


def _reader(user: Mapping[str, Any], further: Mapping[str, Any]) -> Consumer:
    return Consumer(
        {
            **user,
            # The client wants a group's name, and that we may use it; partitions are assigned, nothing is committed.
            "group.id": f"{user['sasl.username']}-report" if "sasl.username" in user else "report",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
            **further,
        },
        logger=_quiet(),
    )


def _messages(consumer: Consumer, open_places: set[Place]) -> Iterator[Message]:
    """Messages of the assigned partitions, with the end of each as an error; ends when no place is open.

    Raises KafkaException where the broker is silent for too long, or refuses.
    """
    heard = time.monotonic()
    while open_places:
        messages = consumer.consume(500, timeout=0.1)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > REQUEST_SECONDS:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the broker is silent"))
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            place = (str(message.topic()), int(message.partition() or 0))
            if place in open_places:
                if error is not None:
                    open_places.discard(place)
                yield message


def _whole(user: Mapping[str, Any], places: Iterable[Place]) -> Iterator[Message]:
    """Every record of some partitions, from the first to the present end."""
    consumer = _reader(user, {})
    try:
        open_places = set(places)
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in open_places])
        yield from (message for message in _messages(consumer, open_places) if message.error() is None)
    finally:
        consumer.close()


def _read(settings: Settings, site: Site) -> tuple[tuple[DeadLetters, ...], list[bytes], int]:
    """Dead letters that nobody settled, counted; the last report of each stage, as bytes; when the last of all came."""
    owners = (*site.agency_by_id, topics.BUS)
    box_of = {box.topic.name: box for owner in owners for box in topics.dead_letter_boxes(site, owner)}
    settles = {topics.settled_letters(site.name, owner): owner for owner in owners}
    reports = topics.stage_reports(site.name)
    places = [
        (spec.name, partition)
        for spec in topics.all_topics(site)
        if spec.name in box_of or spec.name in settles or spec.name == reports
        for partition in range(spec.partitions)
    ]
    refused: dict[tuple[str, str], tuple[DeadLetterBox, str, int]] = {}
    done: set[tuple[str, str]] = set()
    latest: dict[object, object] = {}
    newest = 0
    for message in _whole(settings.kafka(site.user(BUS)), places):
        topic, record = str(message.topic()), logged(message)
        if message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME:
            newest = max(newest, record.timestamp * 1000)
        if topic == reports:
            latest[record.key] = record.value
        elif topic in settles:
            if (one := settled(record.key, record.headers, record.timestamp)) is not None:
                done.add((settles[topic], one[0]))
        else:
            box, reason = box_of[topic], header(record.headers, "reason") or "UNKNOWN"
            refused[box.owner, number_of(box, record.offset)] = box, reason, record.timestamp * 1000
    came: defaultdict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for letter, (box, reason, at) in refused.items():
        if letter not in done:
            came[box.owner, reason, box.care].append(at)
    return (
        tuple(
            DeadLetters(agency, reason, len(at), min(at), care) for (agency, reason, care), at in sorted(came.items())
        ),
        [value for value in latest.values() if isinstance(value, bytes)],
        newest,
    )


def all_live(settings: Settings, site: Site, since: int) -> bool:
    """Whether every stage of every partition has reported itself live since a time (microseconds)."""
    place = (topics.stage_reports(site.name), 0)
    try:
        reported = {m.key(): m.value() for m in _whole(settings.kafka(site.user(BUS)), [place])}
        stages = _stages([value for value in reported.values() if isinstance(value, bytes)], settings)
    except (KafkaException, RegistryAway, codec.DecodeError):
        return False
    live = {(one.stage, one.partition) for one in stages if one.state == "LIVE" and one.at >= since}
    return all((stage, number) in live for stage in REPORTING for number in range(site.partitions))


def _stages(reported: list[bytes], settings: Settings) -> tuple[StageStands, ...]:
    if not reported:
        return ()
    with registry_client(settings) as client:
        schemas = SchemaCache(client)
        schemas.ensure(reported)
    reports = [StageStands(**codec.decode(value, schemas, "StageReported")[1]) for value in reported]
    return tuple(sorted(reports, key=lambda report: (report.stage, report.partition)))
