"""The Publisher: the only Kafka producer for agencies.

`publish` returns when the event is on disk. One thread sends from there, in order; another takes the broker's
acknowledgements and forgets what it has. While broker or registry is away events wait in the spool; over kill -9
nothing accepted is lost: the agency's next publisher takes the spool over. What was sent but not yet forgotten is then
sent again, with the same event id, which the bus takes as the same event.
"""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient

from producers.spool import Spool, SpoolDamagedError, Spooled, SpoolFullError, spool_directory
from schemas import topics
from schemas.avro_files import whole_schema
from schemas.codec import event_body, frame, in_our_schema
from schemas.events import EVENT_TYPES, Event, EventWithdrawn, Handling, Head, IdKind, WithdrawalReason, type_name
from schemas.registry_client import NotRegisteredError, RegistryAway, registry_client, schema_id
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site
from schemas.subjects import value_subject

MOST_BYTES: Final = 512 * 1024
"""Bytes of one event. The broker takes a megabyte; an event of half of one is a mistake."""
IN_FLIGHT: Final = 10_000
"""Events handed to Kafka's client and not yet acknowledged; the others wait on disk."""
CHUNK: Final = 1_000
"""Events read from disk at a time."""
AGAIN_S: Final = 1.0
"""Seconds between questions to a registry that is away."""
LISTEN_S: Final = 0.1
"""Seconds after which the thread that takes acknowledgements looks whether it is to end."""
ENDS_S: Final = 1.0
"""Seconds that a thread of a closed publisher is waited for."""
ROOM_S: Final = 0.05
"""Seconds to wait for room in Kafka's client."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PublishError(Exception):
    """The event can't be published, now or later; the message says what is wrong and what to do."""


class Publisher:
    """Publishes the events of one agency on one site. Safe for several threads.

    >>> with Publisher(settings, site, "county-jail") as publisher: publisher.publish(event)
    """

    def __init__(self, settings: Settings, site: Site, agency: str, *, spool: Path | None = None) -> None:
        """Takes over what dead publishers of this agency left.

        Raises PublishError, SpoolFullError, SecretUnreadableError, OSError.
        """
        if agency not in site.agency_by_id:
            raise PublishError(f"no agency {agency!r} on site {site.name}; there are {', '.join(site.agency_by_id)}")
        self._site = site
        self._agency = site.agency_by_id[agency]
        self._settings = settings
        self._changed = threading.Condition()
        self._refused: PublishError | None = None
        self._closing = self._closed = False
        self._ways: dict[tuple[str, str], tuple[int, str]] = {}
        """By topic and schema that an event was written with: the id under which it goes out, and in which schema."""
        self._acknowledged: list[tuple[Spool, int]] = []
        self._to_forget: dict[Spool, list[int]] = {}
        self._forgetting = threading.Lock()
        """Held by the one thread that forgets: who closes may find the other one at it, on a slow disk."""
        self._producer = self._make_producer()
        self._directory = spool or spool_directory(settings.home, site.name, agency)
        self._inherited, self._spool = _spools(self._directory)
        self._pending = sum(len(spool) for spool in self._inherited)
        self._unsent = self._in_flight = 0
        self.delivered = 0
        """Events that the broker has acknowledged, inherited ones included."""
        self._threads = [
            threading.Thread(target=self._guarded, args=(does,), name=f"publisher-{agency}-{what}", daemon=True)
            for what, does in (("sends", self._send_all), ("listens", self._listen))
        ]
        for thread in self._threads:
            thread.start()

    def _make_producer(self) -> Producer:
        config = {
            **self._settings.kafka(self._site.user(self._agency.id)),
            "enable.idempotence": True,
            "acks": "all",
            # Never given up by time: what waits is on disk, and order is kept.
            "message.timeout.ms": 0,
            "linger.ms": 2,
            "queue.buffering.max.messages": IN_FLIGHT * 2,
            "reconnect.backoff.max.ms": 2_000,
            "log_level": 0,
            "error_cb": self._on_error,
        }
        try:
            return Producer(config)
        except KafkaException as error:
            raise PublishError(
                f"the settings make no Kafka client ({error.args[0].str()}): see {self._settings.ca_path}"
            ) from error

    # -- taking events -------------------------------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        """Accept one event: it is on disk when this returns, and will be sent. Raises PublishError, SpoolFullError."""
        self.publish_many([event])

    def publish_many(self, events: Iterable[Event]) -> None:
        """Accept events, all or none, with one write to disk. Raises PublishError, SpoolFullError."""
        spooled = [self._spooled(event) for event in events]
        if self._refused is not None:
            raise self._refused
        if self._closing:
            raise PublishError("this publisher is closed")
        if not spooled:
            return
        with self._changed:
            # Before it can be acknowledged: who waits for all must not see too few.
            self._pending += len(spooled)
        try:
            self._spool.add(spooled)
        except SpoolFullError:
            with self._changed:
                self._pending -= len(spooled)
                self._changed.notify_all()
            raise
        with self._changed:
            self._unsent += len(spooled)
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
        too_large = why_too_large(body)
        if too_large is not None:
            raise PublishError(f"{event_type} {too_large}")
        return Spooled(
            event_type,
            topics.inbound(self._site.name, self._agency.id, event_type),
            _key(event),
            body,
            _cloud_events(event, self._agency.id, time.time_ns() // 1000),
            whole_schema(event_type),
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
        """Send what can be sent in so many seconds and end; returns how many events stay in the spool.

        Closing twice is closing once.
        """
        if self._closed:
            return self._pending
        with self._changed:
            self._changed.wait_for(lambda: self._pending == 0 or self._refused is not None, timeout_s)
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            # Who asks a registry that does not answer can't be called back. It sends nothing once it has its answer.
            thread.join(ENDS_S)
        self._forget()
        # What the client still holds stays on disk; else it would go on sending after the spool is given up.
        self._producer.purge()
        for spool in (*self._inherited, self._spool):
            spool.close()
        self._closed = True
        return self._pending

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Who is interrupted or failed does not wait for a bus that is away.
        self.close(5.0 if kind is None else 0.0)

    # -- sending -------------------------------------------------------------------------------------------------

    def _guarded(self, does: Callable[[], None]) -> None:
        """A thread that dies must not leave its publisher waiting for ever."""
        try:
            does()
        except PublishError as error:
            self._refuse(error)
        except KafkaException as error:
            self._gave_up(error.args[0])
        except SecretUnreadableError as error:
            self._refuse(PublishError(f"what was accepted waits in {self._directory}: {error}"))
        except Exception as error:
            why = f"sending ended ({type(error).__name__}); what was accepted waits in {self._directory}"
            self._refuse(PublishError(why))

    def _send_all(self) -> None:
        for spool in self._inherited:
            sent = 0
            while self._has_room() and (rows := spool.after(sent, CHUNK)):
                sent = self._produce_all(spool, rows)
        sent = 0
        while self._has_room() and self._has_unsent():
            rows = self._spool.after(sent, CHUNK)
            sent = self._produce_all(self._spool, rows)
            with self._changed:
                self._unsent -= len(rows)

    def _ends(self) -> bool:
        return self._closing or self._refused is not None

    def _has_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._ends() or self._in_flight < IN_FLIGHT)
            return not self._ends()

    def _has_unsent(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._ends() or self._unsent > 0)
            return not self._ends()

    def _produce_all(self, spool: Spool, rows: list[tuple[int, Spooled]]) -> int:
        """Hand events to Kafka's client; returns the number of the last."""
        with self._changed:
            self._in_flight += len(rows)
        for number, event in rows:
            value = self._framed(event)
            while value is not None and not self._ends() and not self._produced(spool, number, event, value):
                with self._changed:
                    self._changed.wait_for(self._ends, ROOM_S)
            if self._ends():
                break
        return rows[-1][0]

    def _produced(self, spool: Spool, number: int, event: Spooled, value: bytes) -> bool:
        """Hand one event to Kafka's client; false where it has no room."""
        try:
            self._producer.produce(
                event.topic,
                value=value,
                key=event.key,
                headers=list(event.headers),
                on_delivery=partial(self._on_delivery, spool, number),
            )
        except BufferError:
            return False
        except KafkaException:
            # The client is finished, and says no more than that here: who listens is told why.
            with self._changed:
                if self._changed.wait_for(self._ends, AGAIN_S):
                    return False
            raise
        return True

    def _framed(self, event: Spooled) -> bytes | None:
        """The event as it goes onto the wire; None where this publisher ends before the registry has answered."""
        where = (event.topic, event.schema)
        while where not in self._ways:
            try:
                self._ways[where] = _way_out(registry_client(self._settings), event)
            except RegistryAway:
                with self._changed:
                    if self._changed.wait_for(self._ends, AGAIN_S):
                        return None
            except NotRegisteredError as error:
                raise PublishError(str(error)) from error
        schema_id, schema = self._ways[where]
        if schema == event.schema:
            return frame(schema_id, event.body)
        body = in_our_schema(event.event_type, event.body, event.schema)
        if body is None:
            why = f"{event.topic}: this version can't send what a newer one wrote: run `sallyport provision` of that"
            raise PublishError(f"{why}; what was accepted waits in {self._directory}")
        return frame(schema_id, body)

    # -- what the broker says ------------------------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._closing:
            self._producer.poll(LISTEN_S)
            self._forget()

    def _on_delivery(self, spool: Spool, number: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._acknowledged.append((spool, number))
        elif error.fatal():
            self._gave_up(error)
        else:
            why = f"{message.topic()}: the broker refuses ({error.name()}): {_advice(error)}"
            self._refuse(PublishError(f"{why}; what was accepted waits in {self._directory}"))

    def _on_error(self, error: KafkaError) -> None:
        user = self._site.user(self._agency.id)
        if error.code() == KafkaError._AUTHENTICATION:
            self._refuse(PublishError(f"the broker does not accept the password of {user}: {_advice(error)}"))
        elif error.code() == KafkaError._SSL and "certificate" in error.str():
            self._refuse(PublishError(f"the broker's certificate is not vouched for by {self._settings.ca_path}"))

    def _gave_up(self, error: KafkaError) -> None:
        """Kafka's client is finished: nothing more is sent with it."""
        if error.code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
            # Who may write to no topic at all is refused before any is named.
            why = f"the broker refuses {self._site.user(self._agency.id)} ({error.name()}): {_advice(error)}"
            self._refuse(PublishError(f"{why}; what was accepted waits in {self._directory}"))
        else:
            self._refuse(PublishError(f"Kafka's client gave up ({error.name()}): publish again; nothing is lost"))

    def _refuse(self, error: PublishError) -> None:
        with self._changed:
            self._refused = self._refused or error
            self._changed.notify_all()

    def _forget(self) -> None:
        with self._forgetting:
            acknowledged, self._acknowledged = self._acknowledged, []
            if acknowledged:
                with self._changed:
                    self._pending -= len(acknowledged)
                    self._in_flight -= len(acknowledged)
                    self.delivered += len(acknowledged)
                    self._changed.notify_all()
            for spool, number in acknowledged:
                self._to_forget.setdefault(spool, []).append(number)
            # Where the disk is too full to delete, it is tried again: until then they would only be sent twice.
            self._to_forget = {spool: numbers for spool, numbers in self._to_forget.items() if not spool.drop(numbers)}


def why_too_large(body: bytes) -> str | None:
    """Why an encoded event is too large to be published, in words; None where it is not."""
    if len(body) <= MOST_BYTES:
        return None
    return f"is of {len(body):,} bytes: an event has at most {MOST_BYTES:,}; leave something out, or send it in parts"


def _way_out(client: SchemaRegistryClient, event: Spooled) -> tuple[int, str]:
    """The id under which an event goes out, and in which schema. Raises RegistryAway, NotRegisteredError.

    In the one it was written with: what may have been sent before is sent again with the same bytes. Only where the
    registry does not have that one, it can't have been sent; then in ours.
    """
    subject = value_subject(event.topic)
    try:
        return schema_id(client, subject, event.schema), event.schema
    except NotRegisteredError:
        ours = whole_schema(event.event_type) if event.event_type in EVENT_TYPES else event.schema
        if ours == event.schema:
            raise
    return schema_id(client, subject, ours), ours


def _spools(directory: Path) -> tuple[list[Spool], Spool]:
    """What dead publishers left, and a spool of our own after it."""
    try:
        inherited = Spool.left_behind(directory)
        try:
            return inherited, Spool.create(directory)
        except BaseException:
            for spool in inherited:
                spool.close()
            raise
    except SpoolDamagedError as error:
        raise PublishError(str(error)) from error


def _advice(error: KafkaError) -> str:
    match error.code():
        case KafkaError._AUTHENTICATION:
            return "ask the bus's operator for its secrets file"
        case (
            KafkaError.TOPIC_AUTHORIZATION_FAILED
            | KafkaError.CLUSTER_AUTHORIZATION_FAILED
            | KafkaError.UNKNOWN_TOPIC_OR_PART
            | KafkaError._UNKNOWN_TOPIC
            | KafkaError._UNKNOWN_PARTITION
        ):
            return "the bus's operator must run `sallyport provision`"
        case _:
            return "ask the bus's operator why"


def _key(event: Event) -> bytes:
    """The first person's own number, so that one person's events keep their order; else the event's id."""
    for person in event.head.persons:
        for number in person.ids:
            if number.kind is IdKind.LOCAL:
                return number.value.encode()
    return event.head.event_id.encode()


def _cloud_events(event: Event, agency: str, accepted: int) -> tuple[tuple[str, str], ...]:
    """CloudEvents 1.0 attributes, Kafka protocol binding, binary content mode.

    With the extensions for recorded time (`accepted`, microseconds) and for distributed tracing: the trace has the
    event's id, and the span is the publishing.
    """
    return (
        ("ce_specversion", "1.0"),
        ("ce_id", event.head.event_id),
        ("ce_source", f"/sallyport/{agency}/{event.head.source_system}"),
        ("ce_type", f"sallyport.{type_name(event)}"),
        ("ce_time", _rfc3339(event.head.time)),
        ("ce_recordedtime", _rfc3339(accepted)),
        ("ce_traceparent", f"00-{uuid.UUID(event.head.event_id).hex}-{secrets.token_hex(8)}-01"),
        ("content-type", "application/avro"),
    )


def _rfc3339(microseconds: int) -> str:
    at = EPOCH + timedelta(microseconds=microseconds)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
