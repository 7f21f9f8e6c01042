"""The desk: what its user does with an alert goes to the log, so that all of the recipient's desks agree."""

from __future__ import annotations

import os
import pwd
import uuid
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumers.alert_feed import CannotWatchError, kafka_log, now_us
from schemas import topics
from schemas.codec import encode
from schemas.registry_client import NotRegisteredError, RegistryAway, registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site

Done = Callable[[bool], None]
"""Told whether the bus took an action; called from `poll`."""
GIVE_UP_MS: Final = 10_000
"""Milliseconds after which an action that the bus did not take has failed: a late one would surprise."""
FLUSH_S: Final = 2.0


def desk_user() -> str:
    """Who sits at the desk: the operating system's user, whatever the environment calls itself."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run as a number without a name.
        return f"user {os.getuid()}"


class Desk:
    """Writes what one recipient's user does."""

    def __init__(self, settings: Settings, site: Site, recipient: str) -> None:
        """Raises CannotWatchError, SecretUnreadableError."""
        self._topic = topics.desk_actions(site.name, recipient)
        self._recipient = recipient
        try:
            ids = schema_ids(registry_client(settings), site, [self._topic])
        except (RegistryAway, NotRegisteredError) as error:
            raise CannotWatchError(str(error)) from error
        self._schema_id = ids[self._topic, "DeskActionTaken"]
        self._producer = Producer(
            {
                **settings.kafka(site.user(recipient)),
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.timeout.ms": GIVE_UP_MS,
                "logger": kafka_log,
            }
        )

    def acknowledge(self, alert_id: str, revision: int, done: Done) -> None:
        """Say that this revision was seen. `done` hears from `poll` whether the bus took it."""
        record = {
            "action_id": str(uuid.uuid4()),
            "alert_id": alert_id,
            "revision": revision,
            "recipient": self._recipient,
            "action": "ACKNOWLEDGE",
            "by": desk_user(),
            "at": now_us(),
        }

        def delivered(error: KafkaError | None, _: Message) -> None:
            done(error is None)

        value = encode("DeskActionTaken", record, self._schema_id)
        try:
            self._producer.produce(self._topic, value, alert_id.encode(), on_delivery=delivered)
        except (BufferError, KafkaException):
            done(False)

    def poll(self) -> None:
        """Hear what became of actions. Does not block."""
        self._producer.poll(0)

    def close(self) -> None:
        """Give what is on its way a moment to arrive. `done` does not hear of what the bus does not take by then."""
        self._producer.flush(FLUSH_S)
