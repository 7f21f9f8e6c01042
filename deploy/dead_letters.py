"""Dead letters of an agency, or of the bus itself: what was set aside, why, and what became of it.

A letter stays where it lies for as long as it is kept; nobody can take it away. What was done about it is said on a
topic of its owner's, by the number of the letter: nothing leaves it unseen, and whoever looks sees the same. What came
on an agency's care topics lies on a topic of its own, which keeps it for a shorter time; it is read and settled with
the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer

from deploy.broker_says import in_a_line
from schemas import topics
from schemas.codec import DecodeError, decode, says_more
from schemas.events import EVENT_TYPES
from schemas.registry_client import RegistryAway, SchemaCache, registry_client
from schemas.settings import Settings
from schemas.site import Site
from schemas.topics import DeadLetterBox
from streams.fold import BrokerQuietError, plain_consumer, read_back
from streams.records import Headers, LoggedRecord, Record, header

SECONDS: Final = 15
"""For which the broker is waited for."""


class Became(StrEnum):
    """What was done about a letter."""

    PUBLISHED = "PUBLISHED"
    DISMISSED = "DISMISSED"


class DeadLetterError(Exception):
    """The letters can't be read, or settled; the message is one line for a person and shows no value."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a letter."""

    became: Became
    why: str
    at: int
    """Milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that was set aside."""

    number: str
    """What it is called, of all its owner's."""
    at: int
    """When it was set aside, milliseconds since 1970."""
    reason: str
    detail: str
    topic: str
    """Where it came on."""
    partition: int
    offset: int
    value: bytes
    settled: Settled | None = None


def number_of(box: DeadLetterBox, offset: int) -> str:
    """What a letter is called: its offset, since its topic has one partition; of one about care, `care-` before it."""
    return f"care-{offset}" if box.care else str(offset)


def letters(set_aside: Iterable[tuple[DeadLetterBox, Record]], done: Iterable[Record]) -> list[Letter]:
    """The letters, as they were set aside one after the other, each with what became of it: the last that was said."""
    became = dict(filter(None, (settled(record.key, record.headers, record.timestamp) for record in done)))
    found = ((number_of(box, record.offset), record) for box, record in set_aside)
    return sorted((_letter(number, record, became.get(number)) for number, record in found), key=lambda one: one.at)


def _letter(number: str, record: Record, settled: Settled | None) -> Letter:
    def said(name: str) -> str:
        return header(record.headers, name) or ""

    where = said("topic"), _number(said("partition")), _number(said("offset"))
    return Letter(number, record.timestamp, said("reason"), said("detail"), *where, record.value or b"", settled)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def settled(key: bytes | None, headers: Headers, at: int) -> tuple[str, Settled] | None:
    """Of which letter a record speaks, and what became of it; None where it is none of ours."""
    number, became = (key or b"").decode(errors="replace"), header(headers, "became")
    if became not in set(Became):
        return None
    return number, Settled(Became(became), header(headers, "why") or "", at)


def why_not_dismissed(chosen: Iterable[Letter]) -> str | None:
    """Why letters are not dismissed: the first of them that is settled already, and what became of it."""
    for one in chosen:
        if one.settled is not None:
            return f"dead letter {one.number} was {one.settled.became.lower()} already: nothing is dismissed"
    return None


def event_of(letter: Letter, schemas: SchemaCache | Mapping[int, Any]) -> dict[str, Any] | None:
    """The event as it can be published once it is mended; None where the bytes are none that can be read."""
    record = record_of(letter, schemas)
    return record if record is not None and record["type"] in EVENT_TYPES else None


def record_of(letter: Letter, schemas: SchemaCache | Mapping[int, Any]) -> dict[str, Any] | None:
    """The record, of whatever type of the contract; None where the bytes are none that can be read."""
    try:
        name, value = decode(letter.value, schemas)
    except DecodeError:
        return None
    return {"type": name, **value}


def of_a_newer_version(letter: Letter, schemas: SchemaCache | Mapping[int, Any]) -> bool:
    """Whether it says something that this version does not know: what this one published again would lack that."""
    try:
        return says_more(letter.value, schemas)
    except DecodeError:
        return False


class DeadLetters:
    """The letters of one owner, an agency or the bus itself, read and settled as that user."""

    def __init__(self, site: Site, owner: str, consumer: Consumer, producer: Producer, schemas: SchemaCache) -> None:
        self._boxes = {box.topic.name: box for box in topics.dead_letter_boxes(site, owner)}
        self._done = topics.settled_letters(site.name, owner)
        self._consumer = consumer
        self._producer = producer
        self.schemas = schemas
        """What is needed to read the letters that `read` gave."""

    def read(self) -> list[Letter]:
        """All that are kept, as they were set aside one after the other."""
        aside: list[tuple[DeadLetterBox, LoggedRecord]] = []
        done: list[LoggedRecord] = []
        for topic, record in read_back(self._consumer, [(topic, 0) for topic in (*self._boxes, self._done)]):
            if topic == self._done:
                done.append(record)
            else:
                aside.append((self._boxes[topic], record))
        found = letters(aside, done)
        self.schemas.ensure([letter.value for letter in found])
        return found

    def settle(self, settled: Sequence[Letter], became: Became, why: str) -> None:
        """Say what became of letters; it is on the log when this returns. Raises DeadLetterError."""
        failed: list[str] = []

        def told(error: Any, _: Any) -> None:
            if error is not None:
                failed.append(str(error.str()))

        for letter in settled:
            headers: list[tuple[str, str | bytes | None]] = [("became", became.value), ("why", why)]
            while True:
                try:
                    self._producer.produce(self._done, b"", letter.number, 0, headers=headers, on_delivery=told)
                    break
                except BufferError:
                    # Its queue is full: there is room as soon as the broker has taken some.
                    if not self._producer.poll(SECONDS):
                        raise _unwritten(failed) from None
        if self._producer.flush(SECONDS) or failed:
            raise _unwritten(failed)


def _unwritten(failed: Sequence[str]) -> DeadLetterError:
    return DeadLetterError(f"what became of the letters could not be written: {next(iter(failed), 'no answer')}")


@contextmanager
def dead_letters(settings: Settings, site: Site, owner: str) -> Iterator[DeadLetters]:
    """The letters of an agency, by its id, or of the bus (`topics.BUS`). Whatever goes wrong on the way becomes a
    DeadLetterError."""
    user = site.user(owner)
    quiet = logging.getLogger("sallyport.kafka")
    consumer = plain_consumer(settings, user, user)
    try:
        with registry_client(settings) as registry:
            producer = Producer({**settings.kafka(user), "acks": "all", "log_level": 0}, logger=quiet)
            yield DeadLetters(site, owner, consumer, producer, SchemaCache(registry))
    except KafkaException as error:
        raise DeadLetterError(
            f"the bus at {settings.bootstrap_servers} does not answer as asked ({in_a_line(error)}): "
            "is it up (`sallyport up`), and the site provisioned?"
        ) from error
    except (BrokerQuietError, RegistryAway) as error:
        raise DeadLetterError(f"the bus at {settings.bootstrap_servers} can't be read: {error}") from error
    finally:
        consumer.close()
