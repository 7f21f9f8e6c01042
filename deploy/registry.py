"""The schema registry as provisioning changes it: every schema registered, no breaking change let in.

Subjects are named in `schemas/subjects.py`. Each is FULL_TRANSITIVE: any version reads what any other wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

# The HTTP client that the registry's client uses, of the two it can: its errors come through.
from confluent_kafka.schema_registry.common._httpx_compat import httpx
from confluent_kafka.schema_registry.error import SchemaRegistryError

from deploy.kafka_config import ADMIN
from schemas.avro_files import whole_schema
from schemas.registry_client import registry_client
from schemas.settings import Settings
from schemas.subjects import Subject

COMPATIBILITY: Final = "FULL_TRANSITIVE"
PARALLEL: Final = 8
"""Requests to the registry at a time."""
PAGE: Final = 500
"""Subjects asked for at a time."""
T = TypeVar("T")
R = TypeVar("R")


class RegistryError(Exception):
    """The registry can't be reached or refused; the message is one line for a person."""


class BreakingChangeError(RegistryError):
    """A schema is not compatible with a version of its subject that is already registered."""


def writing_client(settings: Settings) -> SchemaRegistryClient:
    """A client that may register: on the embedded registry that is the user `admin` alone.

    Somebody else's registry is never told that password: it is the broker's as well. Raises SecretUnreadableError.
    """
    is_ours = settings.embedded and settings.registry is None
    return registry_client(settings, settings.registry_user or (ADMIN if is_ours else None))


@dataclass(frozen=True, slots=True)
class Registered:
    """How a subject stands in the registry."""

    exists: bool
    """It has some version."""
    schema_id: int | None
    """Id of our schema of it; None while it is not registered."""
    compatibility: str | None
    """Its own compatibility level; None where it has none of its own."""

    @property
    def is_right(self) -> bool:
        """Nothing is left to do."""
        return self.schema_id is not None and self.compatibility == COMPATIBILITY


def standing(client: SchemaRegistryClient, wanted: Iterable[Subject]) -> dict[Subject, Registered]:
    """How each subject stands. Raises RegistryError."""
    existing = _subjects(client)
    absent = Registered(exists=False, schema_id=None, compatibility=None)

    def look(subject: Subject) -> Registered:
        # Pages overlap where the registry gives them in no order: what they left out is asked for by its name.
        if subject.name not in existing and _or_none(lambda: client.get_versions(subject.name)) is None:
            return absent
        return Registered(
            True,
            _id_of(client, subject),
            _or_none(lambda: client.get_compatibility(subject.name)),
        )

    return _for_each(look, wanted)


def _subjects(client: SchemaRegistryClient) -> set[str]:
    """Every subject there is: page by page, since Apicurio gives the first thousand and says nothing of the rest."""
    found: set[str] = set()
    while True:
        page = set(_asking(partial(client.get_subjects, offset=len(found), limit=PAGE)))
        if page <= found:  # the end; or a registry that knows no pages and gave all of them again
            return found
        found |= page


def _id_of(client: SchemaRegistryClient, subject: Subject) -> int | None:
    found = _or_none(lambda: client.lookup_schema(subject.name, _schema(subject)))
    return None if found is None else found.schema_id


def register(client: SchemaRegistryClient, wanted: dict[Subject, Registered]) -> None:
    """Register the schemas that are missing and set the compatibility that is not set.

    Raises BreakingChangeError where the registry refuses a schema, RegistryError where it can't be asked.
    """

    def put(subject: Subject) -> None:
        now = wanted[subject]
        if now.exists and now.compatibility != COMPATIBILITY:
            # Before the new version, so that it is held to it.
            _asking(lambda: client.set_compatibility(subject.name, COMPATIBILITY))
        if now.schema_id is None:
            _asking(lambda: client.register_schema(subject.name, _schema(subject)))
        if not now.exists:
            _asking(lambda: client.set_compatibility(subject.name, COMPATIBILITY))

    _for_each(put, [subject for subject, now in wanted.items() if not now.is_right])


def refused(client: SchemaRegistryClient, wanted: dict[Subject, Registered]) -> list[Subject]:
    """The subjects whose new schema the registry would refuse as a breaking change. Raises RegistryError."""

    def is_compatible(subject: Subject) -> bool:
        return _asking(lambda: client.test_compatibility_all_versions(subject.name, _schema(subject)))

    new_versions = [subject for subject, now in wanted.items() if now.exists and now.schema_id is None]
    return [subject for subject, fits in _for_each(is_compatible, new_versions).items() if not fits]


def remove_subjects(client: SchemaRegistryClient, prefix: str) -> tuple[list[str], list[str]]:
    """Delete every subject whose name begins so, for good: (removed, those that the registry keeps).

    Raises RegistryError. A registry may not allow deletion (Apicurio's default); schemas hold no data of anybody.
    """
    doomed = sorted(name for name in _subjects(client) if name.startswith(prefix))

    def delete(name: str) -> bool:
        try:
            client.delete_subject(name)
            client.delete_subject(name, permanent=True)
        except SchemaRegistryError as error:
            return error.http_status_code == HTTPStatus.NOT_FOUND
        return True

    gone = _for_each(delete, doomed)
    return [name for name in doomed if gone[name]], [name for name in doomed if not gone[name]]


def _schema(subject: Subject) -> Schema:
    return Schema(whole_schema(subject.record), "AVRO")


def _for_each(act: Callable[[T], R], items: Iterable[T]) -> dict[T, R]:
    listed = list(items)
    with ThreadPoolExecutor(PARALLEL) as pool:
        return dict(zip(listed, pool.map(act, listed), strict=True))


def _or_none(ask: Callable[[], R]) -> R | None:
    """The answer, or None where the registry says that there is none."""
    try:
        return _asking(ask)
    except RegistryError as error:
        cause = error.__cause__
        if isinstance(cause, SchemaRegistryError) and cause.http_status_code == HTTPStatus.NOT_FOUND:
            return None
        raise


def _asking(ask: Callable[[], R]) -> R:
    try:
        return ask()
    except SchemaRegistryError as error:
        if error.http_status_code == HTTPStatus.CONFLICT:
            raise BreakingChangeError(f"the registry refuses a breaking change: {_line(error)}") from error
        raise RegistryError(f"the registry answers {error.http_status_code}: {_line(error)}") from error
    except (httpx.HTTPError, OSError) as error:
        raise RegistryError(f"the registry can't be reached: {_line(error)}") from error


def _line(error: Exception) -> str:
    text = error.error_message if isinstance(error, SchemaRegistryError) else str(error)
    return (str(text).splitlines() or [type(error).__name__])[0]
