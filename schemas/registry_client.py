"""The registry as readers and writers of records use it: schemas by id, ids by subject. It registers nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

# confluent-kafka talks through httpx or its successor, whichever it finds: only it knows whose errors come.
from confluent_kafka.schema_registry.common._httpx_compat import httpx
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.avro_files import whole_schema
from schemas.codec import FRAMED, DecodeError, WriterSchema, schema_id_of, writer_schema
from schemas.settings import Settings
from schemas.site import Site
from schemas.subjects import subjects

ASK_AGAIN_S: Final = 10.0
"""Seconds for which an id that the registry did not know is not asked for again: it may be registered meanwhile."""


class RegistryAway(Exception):  # noqa: N818  # a state of the world, not a mistake
    """The registry can't be asked now; the same question may be answered later."""


class NotRegisteredError(Exception):
    """A schema of ours is not in the registry; the message says which, and to provision."""


def registry_client(settings: Settings, user: str | None = None) -> SchemaRegistryClient:
    """A client of the registry that trusts this bus's CA, where there is one; as `user` where it is to be somebody.

    Raises SecretUnreadableError.
    """
    config: dict[str, str | int | float] = {"url": settings.registry_url, "timeout": 10, "max.retries": 1}
    if settings.registry_url.startswith("https") and settings.ca_path.exists():
        config["ssl.ca.location"] = str(settings.ca_path)
    who = user or settings.registry_user
    if who is not None:
        config["basic.auth.user.info"] = f"{who}:{settings.password(who)}"
    return SchemaRegistryClient(config)


NO_SUCH_SCHEMA: Final = 40403
"""What a registry with Confluent's API answers for an id that it does not know."""


class SchemaCache(Mapping[int, WriterSchema]):
    """Writers' schemas by id. Looking one up never blocks: `ensure` has fetched it, or it is not there."""

    def __init__(self, client: SchemaRegistryClient) -> None:
        self._client = client
        self._known: dict[int, WriterSchema] = {}
        self._unknown: dict[int, float] = {}
        """When the registry did not know an id, seconds; for as long as it is not asked for again."""

    def __getitem__(self, schema_id: int) -> WriterSchema:
        return self._known[schema_id]

    def get(self, schema_id: int, default: Any = None) -> Any:
        """The schema of that id. Of what a Mapping brings by itself, the one thing that is asked for every record."""
        return self._known.get(schema_id, default)

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def knows(self, values: Iterable[bytes]) -> bool:
        """Whether nothing has to be fetched to decode these framed values."""
        return not self._missing(values)

    def ensure(self, values: Iterable[bytes]) -> None:
        """Fetch what is missing to decode these framed values. Blocks. Raises RegistryAway.

        An id that the registry does not know stays missing: decoding will say so.
        """
        missing = self._missing(values)
        if missing:
            # Anybody can write any number of ids.
            now = time.monotonic()
            self._unknown = {known_as: at for known_as, at in self._unknown.items() if now - at < ASK_AGAIN_S}
        for schema_id in missing:
            try:
                found = self._client.get_schema(schema_id).schema_str
                self._known[schema_id] = writer_schema(found or "")
            except SchemaRegistryError as error:
                # By the registry's own code: a proxy in front of it says "not found" of anything.
                if error.error_code != NO_SUCH_SCHEMA:
                    raise RegistryAway(f"the registry answered {error.http_status_code}") from error
                self._unknown[schema_id] = time.monotonic()
            except DecodeError:
                # Something is registered there, but no Avro record.
                self._unknown[schema_id] = time.monotonic()
            except (httpx.HTTPError, OSError) as error:
                raise RegistryAway("the registry does not answer") from error

    def _missing(self, values: Iterable[bytes]) -> list[int]:
        missing = set()
        # Thousands of values have a handful of ids between them.
        for framing in {value[:FRAMED] for value in values}:
            try:
                schema_id = schema_id_of(framing)
            except DecodeError:
                continue
            asked = self._unknown.get(schema_id, -ASK_AGAIN_S)
            if schema_id not in self._known and time.monotonic() - asked >= ASK_AGAIN_S:
                missing.add(schema_id)
        return sorted(missing)


def schema_ids(client: SchemaRegistryClient, site: Site, topics: Iterable[str]) -> dict[tuple[str, str], int]:
    """(topic, short name of the record) to the id under which our schema is registered, for these topics.

    Writers frame their records with these ids. Raises RegistryAway, NotRegisteredError.
    """
    wanted = set(topics)
    ids: dict[tuple[str, str], int] = {}
    for subject in subjects(site):
        if subject.topic not in wanted:
            continue
        ids[subject.topic, subject.record] = schema_id(client, subject.name, whole_schema(subject.record))
    return ids


def schema_id(client: SchemaRegistryClient, subject: str, schema: str) -> int:
    """The id under which a schema is registered for a subject, in whichever of its versions.

    Raises RegistryAway, NotRegisteredError.
    """
    try:
        found = client.lookup_schema(subject, Schema(schema, "AVRO"))
    except SchemaRegistryError as error:
        if error.http_status_code == HTTPStatus.NOT_FOUND:
            raise NotRegisteredError(
                f"{subject} is not in the registry with our schema: run `sallyport provision`"
            ) from error
        raise RegistryAway(
            f"the registry answered {error.http_status_code}: is it up? See SALLYPORT_REGISTRY"
        ) from error
    except (httpx.HTTPError, OSError) as error:
        raise RegistryAway("the registry does not answer: is the bus up? See SALLYPORT_REGISTRY") from error
    return int(found.schema_id or 0)
