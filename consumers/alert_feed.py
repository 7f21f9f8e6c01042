"""The feed: a thread that reads a recipient's topics with its own Kafka user, and says what it reads.

It assigns itself every partition from the beginning and commits nothing, so each desk sees everything, and closing one
leaves nothing behind. Reading again costs little: the topics are compacted, and a desk's own actions are few. So it
begins anew where the log goes back behind what was read, as a restored one does: whoever went on would be right in
nothing, and would not notice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumers.board import (
    SECOND,
    ActionSaid,
    AlertForgotten,
    AlertSaid,
    Blind,
    CaughtUp,
    LinkBack,
    LinkLost,
    LogReplaced,
    Readable,
    ReportSaid,
    Said,
    Unreadable,
)
from schemas import topics
from schemas.codec import DecodeError, decode
from schemas.registry_client import RegistryAway, SchemaCache, registry_client
from schemas.settings import Settings
from schemas.site import Site

Deliver = Callable[[Sequence[Said]], object]
"""Takes what was read; called on the feed's thread."""

CONNECT_S: Final = 10.0
SILENCE_S: Final = 3.0
"""Seconds without a record after which the feed asks whether the broker is still there: stages report every second."""
PROBE_S: Final = 2.0
RETRY_S: Final = 0.5
AT_ONCE: Final = 1000
_REFUSALS: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,  # librdkafka's own codes have an underscore and are public
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
}
# The screen belongs to the alerts: what the client would write to the terminal goes to logging, if anybody listens.
kafka_log = logging.getLogger(__name__)
kafka_log.addHandler(logging.NullHandler())


class CannotWatchError(Exception):
    """The desk can't start; the message is one line: what is wrong, and what to do."""


def now_us() -> int:
    """The desk's wall clock, microseconds."""
    return time.time_ns() // 1000


class AlertFeed:
    """Reads the alerts, desk actions and stage reports of one recipient."""

    def __init__(self, settings: Settings, site: Site, recipient: str) -> None:
        """Connect. Raises CannotWatchError, SecretUnreadableError."""
        kinds = site.recipient_by_id[recipient].kinds
        self._alerts = [topics.alerts_for(site.name, recipient, kind) for kind in kinds]
        self._actions = topics.desk_actions(site.name, recipient)
        self._reports = topics.stage_reports(site.name)
        self._records = {
            **dict.fromkeys(self._alerts, "AlertDisclosed"),
            self._actions: "DeskActionTaken",
            self._reports: "StageReported",
        }
        self._registry = registry_client(settings)
        self._schemas = SchemaCache(self._registry)
        self._refused: set[str] = set()
        self._unreadable: set[tuple[str, str]] = set()
        self._lost = False
        self._user_refused = False
        self._errors: list[KafkaError] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        user = site.user(recipient)
        self._consumer = Consumer(
            {
                **settings.kafka(user),
                "group.id": user,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                # Nothing is deleted that a desk has yet to read: an offset that is not there is one of another log.
                "auto.offset.reset": "error",
                # A full queue otherwise pauses fetching for a second.
                "fetch.queue.backoff.ms": 10,
                "reconnect.backoff.max.ms": 1000,
                "error_cb": self._errors.append,
                "logger": kafka_log,
            }
        )
        try:
            self._parts = self._partitions(settings, user)
        except CannotWatchError:
            self._consumer.close()
            raise
        self._at_end: set[tuple[str, int]] = set()
        self._caught_up = False

    def _partitions(self, settings: Settings, user: str) -> list[TopicPartition]:
        parts = []
        for topic in self._records:
            try:
                found = self._consumer.list_topics(topic, timeout=CONNECT_S).topics[topic]
            except KafkaException as error:
                # The reason why nothing answered is only told on the side, when the client is asked for events.
                self._consumer.poll(0)
                if any(e.code() in _REFUSALS for e in self._errors):
                    raise CannotWatchError(
                        f"the bus at {settings.bootstrap_servers} refuses the password of {user}: "
                        f"get the current one from the bus's operator ({settings.secrets_path / user})"
                    ) from error
                raise CannotWatchError(
                    f"no bus answers at {settings.bootstrap_servers}: start it with `sallyport up`, "
                    "or set SALLYPORT_BOOTSTRAP"
                ) from error
            if found.error is not None:
                raise CannotWatchError(
                    f"{user} can't read {topic} ({found.error.str()}): has the site been provisioned?"
                )
            parts += [TopicPartition(topic, number, OFFSET_BEGINNING) for number in found.partitions]
        return parts

    def start(self, deliver: Deliver) -> None:
        """Begin to read, on a thread of its own."""
        self._thread = threading.Thread(target=self._run, args=(deliver,), name="alert-feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and leave the broker."""
        self._stop.set()
        if self._thread is not None:
            # The registry may keep the thread waiting; nobody has to wait with it.
            self._thread.join(timeout=PROBE_S + 1)
        else:
            self._consumer.close()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self, deliver: Deliver) -> None:
        self._consumer.assign(self._parts)
        heard = time.monotonic()
        try:
            while not self._stop.is_set():
                first = self._consumer.poll(0.1)
                said: list[Said] = []
                if first is not None:
                    heard = time.monotonic()
                    said += self._read([first, *self._consumer.consume(AT_ONCE, 0)], deliver)
                    said += self._back()
                elif self._lost or self._errors or time.monotonic() - heard > SILENCE_S:
                    said += self._probe(heard)
                    heard = heard if self._lost else time.monotonic()
                if said:
                    deliver(said)
        finally:
            self._consumer.close()

    def _probe(self, heard: float) -> list[Said]:
        """Ask whether the broker is there."""
        # Once refused, a client that is not let in any more looks like a bus that does not answer.
        self._user_refused |= any(error.code() in _REFUSALS for error in self._errors)
        self._errors.clear()
        try:
            self._consumer.get_watermark_offsets(self._parts[0], timeout=PROBE_S)
        except KafkaException as error:
            self._lost = True
            self._user_refused |= error.args[0].code() in _REFUSALS
            self._stop.wait(RETRY_S)
            since = now_us() - int((time.monotonic() - heard) * SECOND)
            return [LinkLost(Blind.REFUSED if self._user_refused else Blind.UNREACHABLE, since)]
        self._user_refused = False
        return self._back()

    def _back(self) -> list[Said]:
        if not self._lost or self._refused:
            return []
        self._lost = False
        return [LinkBack()]

    def _read(self, messages: Sequence[Message], deliver: Deliver) -> list[Said]:
        said: list[Said] = []
        records: list[Message] = []
        for message in messages:
            error = message.error()
            topic = message.topic() or ""
            if error is None:
                records.append(message)
                self._refused.discard(topic)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._at_end.add((topic, message.partition() or 0))
                self._refused.discard(topic)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._read_anew(deliver)
                return []
            elif error.code() in _REFUSALS:
                self._refused.add(topic)
                self._lost = True
                said.append(LinkLost(Blind.REFUSED, now_us()))
        records = self._newest_reports(records)
        if self._until_decodable(records, deliver):
            for message in records:
                said += self._said(message)
        if not self._caught_up and len(self._at_end) == len(self._parts):
            self._caught_up = True
            said.append(CaughtUp())
        return said

    def _read_anew(self, deliver: Deliver) -> None:
        """Read all of it from the beginning: what comes after belongs to another log than what came before."""
        self._at_end.clear()
        self._unreadable.clear()
        self._caught_up = False
        # The registry was replaced with it: what was registered since may have other ids, and these be of others.
        self._registry.clear_caches()  # type: ignore[no-untyped-call]
        self._schemas = SchemaCache(self._registry)
        self._consumer.assign(self._parts)
        deliver([LogReplaced()])

    def _newest_reports(self, records: list[Message]) -> list[Message]:
        """The records without reports that a later one replaces: at the start there are many."""
        newest = {message.key(): message for message in records if message.topic() == self._reports}
        return [m for m in records if m.topic() != self._reports or newest[m.key()] is m]

    def _until_decodable(self, records: list[Message], deliver: Deliver) -> bool:
        """Get the schemas that the records need, however long the registry is away. False: the feed was stopped."""
        values = [value for message in records if (value := message.value()) is not None]
        while not self._schemas.knows(values):
            try:
                self._schemas.ensure(values)
            except RegistryAway:
                self._lost = True
                deliver([LinkLost(Blind.REGISTRY_AWAY, now_us())])
                if self._stop.wait(RETRY_S):
                    return False
        return True

    def _said(self, message: Message) -> list[Said]:
        topic, value = message.topic() or "", message.value()
        key = (message.key() or b"").decode(errors="replace")
        replaced: list[Said] = []
        if (topic, key) in self._unreadable:
            self._unreadable.discard((topic, key))
            replaced.append(Readable(topic, key))
        if value is None:
            return [*replaced, AlertForgotten(key)] if topic in self._alerts else replaced
        try:
            _, record = decode(value, self._schemas, self._records[topic])
        except DecodeError:
            self._unreadable.add((topic, key))
            return [Unreadable(topic, key)]
        return [*replaced, self._of(topic, record)]

    def _of(self, topic: str, record: dict[str, Any]) -> Said:
        if topic == self._actions:
            return ActionSaid(record)
        return ReportSaid(record) if topic == self._reports else AlertSaid(record)
