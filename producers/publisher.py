"""The Publisher: the only Kafka producer for agencies.

`publish` returns when the event is on disk; a thread sends it, in order, and forgets it when the broker has it. While
broker or registry is away events wait in the spool; over kill -9 nothing accepted is lost: the agency's next publisher
takes the spool over. What was sent but not yet forgotten is then sent again, with the same event id, which the bus
takes as the same event.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, Message, Producer

from producers.spool import Spool, Spooled, spool_directory
from schemas import topics
from schemas.codec import event_body, frame
from schemas.events import Event, EventWithdrawn, Handling, Head, IdKind, WithdrawalReason, type_name
from schemas.registry_client import NotRegisteredError, RegistryAway, registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site

MOST_BYTES: Final = 512 * 1024
"""Bytes of one event. The broker takes a megabyte; an event of half of one is a mistake."""
IN_FLIGHT: Final = 10_000
"""Events handed to Kafka's client and not yet acknowledged; the others wait on disk."""
CHUNK: Final = 1_000
"""Events read from disk at a time."""
AGAIN_S: Final = 1.0
"""Seconds between questions to a registry that is away."""


class PublishError(Exception):
    """The event can't be published, now or later; the message says what is wrong and what to do."""


class Publisher:
    """Publishes the events of one agency on one site.

    >>> with Publisher(settings, site, "county-jail") as publisher: publisher.publish(event)
    """

    def __init__(self, settings: Settings, site: Site, agency: str, *, spool: Path | None = None) -> None:
        """Takes over what dead publishers of this agency left. Raises PublishError, SecretUnreadableError."""
        if agency not in site.agency_by_id:
            raise PublishError(f"no agency {agency!r} on site {site.name}; there are {', '.join(site.agency_by_id)}")
        self._site = site
        self._agency = site.agency_by_id[agency]
        self._settings = settings
        self._producer = Producer(
            {
                **settings.kafka(site.user(agency)),
                "enable.idempotence": True,
                "acks": "all",
                # Never given up by time: what waits is on disk, and order is kept.
                "message.timeout.ms": 0,
                "linger.ms": 2,
                "queue.buffering.max.messages": IN_FLIGHT * 2,
                "log_level": 0,
                "error_cb": self._on_error,
            }
        )
        directory = spool or spool_directory(settings.home, site.name, agency)
        self._inherited = Spool.left_behind(directory)
        self._spool = Spool.create(directory)
        self._ids: dict[tuple[str, str], int] = {}
        self._refused: PublishError | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._acknowledged: list[int] = []
        self._pending = sum(len(spool) for spool in self._inherited)
        self.delivered = 0
        """Events that the broker has acknowledged, inherited ones included."""
        self._sender = threading.Thread(target=self._send_all, name=f"publisher-{agency}", daemon=True)
        self._sender.start()

    # -- taking events -------------------------------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        """Accept one event: it is on disk when this returns, and will be sent. Raises PublishError, SpoolFullError."""
        self.publish_many([event])

    def publish_many(self, events: Iterable[Event]) -> None:
        """Accept events, all or none, with one write to disk. Raises PublishError, SpoolFullError."""
        if self._refused is not None:
            raise self._refused
        spooled = [self._spooled(event) for event in events]
        if not spooled:
            return
        with self._changed:
            self._spool.add(spooled)
            self._pending += len(spooled)
            self._changed.notify_all()

    def withdraw(self, event_id: str, reason: WithdrawalReason, at: int, source_system: str) -> EventWithdrawn:
        """Take one of this agency's own events back; returns the withdrawal. `at` is in microseconds."""
        withdrawal = EventWithdrawn(
            head=Head(
                # Of what it withdraws: withdrawing twice is one withdrawal.
                event_id=str(uuid.uuid5(uuid.UUID(event_id), "withdrawn")),
                time=at,
                ori=self._agency.ori,
                source_system=source_system,
                persons=(),
                handling=Handling(),
            ),
            target_event_id=event_id,
            reason=reason,
        )
        self.publish(withdrawal)
        return withdrawal

    def _spooled(self, event: Event) -> Spooled:
        event_type = type_name(event)
        if event_type not in self._agency.event_types:
            raise PublishError(
                f"{self._agency.id} may not publish {event_type} on site {self._site.name}; "
                f"it may publish {', '.join(self._agency.event_types)}"
            )
        if event.head.ori != self._agency.ori:
            raise PublishError(f"head.ori: {event_type} must carry {self._agency.id}'s own ORI, {self._agency.ori}")
        body = event_body(event)
        if len(body) > MOST_BYTES:
            raise PublishError(f"{event_type} of {len(body)} bytes: an event has at most {MOST_BYTES}")
        return Spooled(
            event_type,
            topics.inbound(self._site.name, self._agency.id, event_type),
            _key(event),
            body,
            _cloud_events(event, self._agency.id),
        )

    # -- knowing how it stands -----------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Events on disk that the broker has not acknowledged."""
        return self._pending

    def flush(self, timeout_s: float = 30.0) -> int:
        """Wait until the broker has everything, or so many seconds; returns how many events still wait.

        Raises PublishError where the broker refuses for good.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pending == 0 or self._refused is not None, timeout_s)
            if self._refused is not None:
                raise self._refused
            return self._pending

    def close(self, timeout_s: float = 5.0) -> int:
        """Send what can be sent in so many seconds and end; returns how many events stay in the spool."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending == 0 or self._refused is not None, timeout_s)
            self._closing = True
            self._changed.notify_all()
        self._sender.join()
        for spool in (*self._inherited, self._spool):
            spool.close()
        return self._pending

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- sending -------------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        try:
            for spool in self._inherited:
                self._send(spool, until_empty=True)
            self._send(self._spool, until_empty=False)
        except PublishError as error:
            self._refuse(error)

    def _send(self, spool: Spool, *, until_empty: bool) -> None:
        sent = in_flight = 0
        while self._refused is None:
            rows = spool.after(sent, CHUNK) if in_flight < IN_FLIGHT else []
            for number, event in rows:
                self._produce(number, event)
                sent = number
            in_flight += len(rows)
            if in_flight:
                # Short: new events must not wait for the acknowledgement of old ones.
                self._producer.poll(0.002)
                in_flight -= self._forget(spool)
            if self._closing or (until_empty and not rows and not in_flight):
                return
            if not rows and not in_flight:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing or self._pending > 0, 1.0)

    def _produce(self, number: int, event: Spooled) -> None:
        self._producer.produce(
            event.topic,
            value=frame(self._schema_id(event), event.body),
            key=event.key,
            headers=list(event.headers),
            on_delivery=partial(self._on_delivery, number),
        )

    def _schema_id(self, event: Spooled) -> int:
        where = (event.topic, event.event_type)
        while where not in self._ids and not self._closing:
            try:
                self._ids |= schema_ids(registry_client(self._settings), self._site, [event.topic])
            except RegistryAway:
                time.sleep(AGAIN_S)
            except NotRegisteredError as error:
                raise PublishError(str(error)) from error
        if where not in self._ids:
            raise PublishError("closed while the registry was away: the events stay in the spool")
        return self._ids[where]

    def _on_delivery(self, number: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._acknowledged.append(number)
        elif error.code() != KafkaError._PURGE_QUEUE:
            self._refuse(PublishError(f"{message.topic()}: the broker refuses ({error.name()}): {_advice(error)}"))

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:
            user = self._site.user(self._agency.id)
            self._refuse(PublishError(f"the broker does not accept the password of {user}: {_advice(error)}"))

    def _refuse(self, error: PublishError) -> None:
        with self._changed:
            self._refused = self._refused or error
            self._changed.notify_all()

    def _forget(self, spool: Spool) -> int:
        numbers, self._acknowledged = self._acknowledged, []
        if numbers:
            spool.drop(numbers)
            with self._changed:
                self._pending -= len(numbers)
                self.delivered += len(numbers)
                self._changed.notify_all()
        return len(numbers)


def _advice(error: KafkaError) -> str:
    if error.code() == KafkaError._AUTHENTICATION:
        return "ask the bus's operator for its secrets file"
    return "the bus's operator must run `sallyport provision`"


def _key(event: Event) -> bytes:
    """The first person's own number, so that one person's events keep their order; else the event's id."""
    for person in event.head.persons:
        for number in person.ids:
            if number.kind is IdKind.LOCAL:
                return number.value.encode()
    return event.head.event_id.encode()


def _cloud_events(event: Event, agency: str) -> tuple[tuple[str, str], ...]:
    """CloudEvents 1.0 attributes, Kafka protocol binding, binary content mode."""
    happened = datetime.fromtimestamp(event.head.time / 1_000_000, UTC)
    return (
        ("ce_specversion", "1.0"),
        ("ce_id", event.head.event_id),
        ("ce_source", f"/sallyport/{agency}/{event.head.source_system}"),
        ("ce_type", f"sallyport.{type_name(event)}"),
        ("ce_time", happened.isoformat(timespec="microseconds").replace("+00:00", "Z")),
        ("content-type", "application/avro"),
    )
