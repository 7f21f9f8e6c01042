"""The Publisher without a bus: what it hands to Kafka's client, and how it ends."""

from __future__ import annotations

import io
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastavro
import pytest
from confluent_kafka.schema_registry import Schema
from confluent_kafka.schema_registry.error import SchemaRegistryError

from producers import publisher as publishing
from producers.publisher import ENDS_S, Publisher, PublishError
from producers.spool import Spool, Spooled
from schemas.avro_files import whole_schema
from schemas.codec import decode_event, event_body, frame, in_our_schema, writer_schema
from schemas.events import Event
from schemas.settings import Settings
from tests.county import JAIL, SITE, event
from tests.full_disk import no_file_beyond

OURS = whole_schema("HousingAssigned")


def changed(*, without: str = "", plus: Mapping[str, Any] | None = None) -> str:
    """Our schema as an earlier version had it, without a field, or as a later one will, with one more in its middle."""
    schema = json.loads(OURS)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != without]
    if plus is not None:
        schema["fields"].insert(3, plus)
    return json.dumps(schema)


EARLIER = changed(without="cell")
LATER = changed(plus={"name": "bed", "type": ["null", "string"], "default": None})


def housing(number: int = 0, **fields: Any) -> Event:
    return event("HousingAssigned", "ada", name=f"housing {number}", unit="4-B", **fields)


def body_of(what: Event, schema: str, **more: Any) -> bytes:
    """An event as a version with such a schema writes it."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, writer_schema(schema).parsed, {**what.model_dump(), **more})
    return buffer.getvalue()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Nobody listens on these ports."""
    return Settings(
        home=tmp_path, bootstrap="127.0.0.1:1", registry="http://127.0.0.1:1", security_protocol="PLAINTEXT"
    )


def left_behind(settings: Settings) -> list[Spooled]:
    """What waits, taken over and left again."""
    waiting = []
    for spool in Spool.left_behind(settings.home / "spool" / "demo" / JAIL):
        waiting += [event for _, event in spool.after(0, 1_000)]
        spool.close()
    return waiting


def accepted_in_an_outage(settings: Settings, what: Event, schema: str, **more: Any) -> bytes:
    """Leave a spool as a version with such a schema leaves it; returns the body of its event."""
    with Publisher(settings, SITE, JAIL) as publisher:
        publisher.publish(what)
        publisher.close(0)
    *earlier, spool = Spool.left_behind(settings.home / "spool" / "demo" / JAIL)
    ((number, ours),) = spool.after(0, 9)
    assert (ours.schema, ours.body) == (OURS, event_body(what)), "it says which schema that was"
    body = body_of(what, schema, **more)
    spool.add([replace(ours, body=body, schema=schema)])
    spool.drop([number])
    for one in (*earlier, spool):
        one.close()
    return body


class Registry:
    """Has some schemas of one subject, each under its id."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = ids
        self.asked = 0

    def lookup_schema(self, subject: str, schema: Schema) -> Any:
        assert subject == "demo.county-jail.housing-assigned.v1-value"
        self.asked += 1
        found = self._ids.get(schema.schema_str or "")
        if found is None:
            raise SchemaRegistryError(404, 40403, "Schema not found")
        return SimpleNamespace(schema_id=found)


class Client:
    """Stands for Kafka's client: takes what it is given, and has no room every second time."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self._full = False

    def produce(self, topic: str, value: bytes, **_: Any) -> None:
        self._full = not self._full
        if self._full:
            raise BufferError(topic)
        self.values.append(value)

    def poll(self, timeout: float) -> None:
        time.sleep(timeout)

    def purge(self) -> None:
        pass


SendsTo = Callable[[Registry], list[bytes]]


@pytest.fixture
def sends_to(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> SendsTo:
    """What the next publisher hands to Kafka's client, where the registry is such a one."""

    def sends(registry: Registry) -> list[bytes]:
        client = Client()
        monkeypatch.setattr(Publisher, "_make_producer", lambda _: client)
        monkeypatch.setattr(publishing, "registry_client", lambda _: registry)
        with Publisher(settings, SITE, JAIL) as publisher:
            until = time.monotonic() + 10
            while len(client.values) < publisher.pending and time.monotonic() < until:
                publisher.flush(0.02)
            publisher.close(0)
        return client.values

    return sends


# -- spools that outlive an upgrade ----------------------------------------------------------------------------------


def test_what_was_accepted_before_an_upgrade_goes_out_under_the_id_of_the_schema_it_was_written_with(
    settings: Settings, sends_to: SendsTo
) -> None:
    bodies = [accepted_in_an_outage(settings, housing(number), EARLIER) for number in (1, 2)]
    registry = Registry({EARLIER: 7, OURS: 8})
    values = sends_to(registry)
    assert values == [frame(7, body) for body in bodies]
    assert [decode_event(value, {7: writer_schema(EARLIER)}) for value in values] == [housing(1), housing(2)]
    assert registry.asked == 1, "once for a schema, not for each event"


def test_what_was_written_in_a_schema_that_the_registry_never_had_goes_out_in_ours(
    settings: Settings, sends_to: SendsTo
) -> None:
    for number in (1, 2):
        accepted_in_an_outage(settings, housing(number), EARLIER)
    registry = Registry({OURS: 8})
    assert sends_to(registry) == [frame(8, event_body(housing(number))) for number in (1, 2)]
    assert registry.asked == 2


def test_after_going_back_what_a_newer_version_accepted_goes_out_as_it_was_written(
    settings: Settings, sends_to: SendsTo
) -> None:
    body = accepted_in_an_outage(settings, housing(), LATER, bed="B")
    assert sends_to(Registry({LATER: 9, OURS: 8})) == [frame(9, body)]


@pytest.mark.parametrize(
    ("schema", "more", "ids", "why"),
    [
        (LATER, {"bed": "B"}, {OURS: 8}, "this version can't send what a newer one wrote"),
        (EARLIER, {}, {}, "is not in the registry with our schema: run `sallyport provision`"),
        (OURS, {}, {}, "is not in the registry with our schema: run `sallyport provision`"),
    ],
)
def test_what_can_not_be_sent_whole_stays_in_the_spool_and_says_what_to_do(
    settings: Settings, sends_to: SendsTo, schema: str, more: dict[str, Any], ids: dict[str, int], why: str
) -> None:
    accepted_in_an_outage(settings, housing(), schema, **more)
    with pytest.raises(PublishError, match=why):
        sends_to(Registry(ids))
    assert [one.schema for one in left_behind(settings)] == [schema]


@pytest.mark.parametrize(
    ("schema", "more", "whole"),
    [
        (OURS, {}, True),
        (EARLIER, {}, True),
        (LATER, {"bed": None}, False),
        (LATER, {"bed": "B"}, False),
        (
            changed(plus={"name": "beds", "type": {"type": "array", "items": "string"}, "default": []}),
            {"beds": []},
            False,
        ),
    ],
)
def test_an_event_is_written_anew_only_where_nothing_that_it_says_is_lost(
    schema: str, more: dict[str, Any], whole: bool
) -> None:
    anew = in_our_schema("HousingAssigned", body_of(housing(), schema, **more), schema)
    assert anew == (event_body(housing()) if whole else None)


def test_a_value_that_we_do_not_know_is_not_written_anew_as_unknown() -> None:
    later = whole_schema("ContrabandTipped").replace('"WORK_CREW"]', '"WORK_CREW","DRONE"]')
    tip = event("ContrabandTipped", "ada")
    written = body_of(tip, later, method="DRONE")
    assert in_our_schema("ContrabandTipped", written, later) is None
    assert in_our_schema("ContrabandTipped", body_of(tip, later), later) == event_body(tip)


def test_a_spool_of_a_version_that_named_no_schema_is_sent_as_this_versions(
    settings: Settings, sends_to: SendsTo
) -> None:
    directory = settings.home / "spool" / "demo" / JAIL
    directory.mkdir(parents=True)
    with closing(sqlite3.connect(directory / "00000001.spool", isolation_level=None)) as before:
        before.execute("PRAGMA journal_mode=WAL")
        before.execute(
            "CREATE TABLE IF NOT EXISTS spooled"
            " (seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT, topic TEXT, key BLOB, body BLOB, headers TEXT)"
        )
        before.execute(
            "INSERT INTO spooled (type, topic, key, body, headers) VALUES (?, ?, ?, ?, ?)",
            (
                "HousingAssigned",
                "demo.county-jail.housing-assigned.v1",
                b"ada",
                event_body(housing()),
                '[["ce_id", "1"]]',
            ),
        )
    assert [(one.schema, one.headers) for one in left_behind(settings)] == [(OURS, (("ce_id", "1"),))]
    assert sends_to(Registry({OURS: 8})) == [frame(8, event_body(housing()))]


# -- how it ends -----------------------------------------------------------------------------------------------------


def test_closing_twice_is_closing_once(settings: Settings) -> None:
    began = time.monotonic()
    with Publisher(settings, SITE, JAIL) as publisher:
        publisher.publish(housing())
        assert publisher.close(0) == 1
        assert publisher.close(60) == 1
    assert time.monotonic() - began < 4, "the second one, and leaving the block, would have waited"


def test_what_a_full_disk_could_not_forget_is_left_to_the_next_publisher(settings: Settings) -> None:
    with Publisher(settings, SITE, JAIL) as publisher:
        publisher.publish(housing())
        with no_file_beyond(1):
            publisher._on_delivery(publisher._spool, 1, None, SimpleNamespace())  # type: ignore[arg-type]
            assert publisher.close(0) == 0
    assert len(left_behind(settings)) == 1


def test_what_a_slow_disk_is_still_forgetting_at_the_end_is_forgotten_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_it, done = threading.Event(), threading.Event()

    def slow(_: Spool) -> None:
        at_it.set()
        done.wait(30)

    monkeypatch.setattr(Publisher, "_make_producer", lambda _: Client())
    monkeypatch.setattr(Spool, "_shrink", slow)
    publisher = Publisher(settings, SITE, JAIL)
    publisher.publish_many([housing(1), housing(2)])
    publisher._on_delivery(publisher._spool, 1, None, SimpleNamespace())  # type: ignore[arg-type]
    assert at_it.wait(10)
    threading.Timer(ENDS_S + 0.5, done.set).start()
    assert publisher.close(0) == 1
    assert [one.body for one in left_behind(settings)] == [event_body(housing(2))]


def test_what_was_forgotten_before_a_disk_failed_is_forgotten_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [sqlite3.DatabaseError("database disk image is malformed")]

    def fails_once(_: Spool) -> None:
        while failures:
            raise failures.pop()

    monkeypatch.setattr(Publisher, "_make_producer", lambda _: Client())
    monkeypatch.setattr(Spool, "_shrink", fails_once)
    publisher = Publisher(settings, SITE, JAIL)
    publisher.publish_many([housing(1), housing(2)])
    publisher._on_delivery(publisher._spool, 1, None, SimpleNamespace())  # type: ignore[arg-type]
    with pytest.raises(PublishError, match=r"sending ended \(DatabaseError\)"):
        publisher.flush(10)
    assert publisher.close(0) == 1
    assert [one.body for one in left_behind(settings)] == [event_body(housing(2))]


def test_a_closed_spool_forgets_nothing_and_hands_nothing_out(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([Spooled("HousingAssigned", "t", b"k", b"body", (), OURS)])
    spool.close()
    assert not spool.drop([1])
    assert spool.after(0, 9) == []


@pytest.fixture
def mute(settings: Settings) -> Iterator[Settings]:
    """A registry that takes connections and says nothing, until the test is over."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(5)
        yield settings.model_copy(update={"registry": f"http://127.0.0.1:{server.getsockname()[1]}"})


def test_a_registry_that_does_not_answer_is_not_waited_for(mute: Settings) -> None:
    with Publisher(mute, SITE, JAIL) as publisher:
        publisher.publish(housing())
        time.sleep(0.3)
        began = time.monotonic()
        assert publisher.close(0) == 1
        assert time.monotonic() - began < ENDS_S + 2


def test_what_a_registry_answers_after_the_end_sends_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, asked, answer = Client(), threading.Event(), threading.Event()

    class Slow(Registry):
        def lookup_schema(self, subject: str, schema: Schema) -> Any:
            asked.set()
            answer.wait(30)
            return super().lookup_schema(subject, schema)

    monkeypatch.setattr(Publisher, "_make_producer", lambda _: client)
    monkeypatch.setattr(publishing, "registry_client", lambda _: Slow({OURS: 8}))
    publisher = Publisher(settings, SITE, JAIL)
    publisher.publish(housing())
    assert asked.wait(10)
    assert publisher.close(0) == 1
    answer.set()
    for thread in publisher._threads:
        thread.join(10)
    assert client.values == []
    assert len(left_behind(settings)) == 1


def test_without_the_registry_s_password_it_says_which_file_it_misses_and_keeps_what_it_accepted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publisher, "_make_producer", lambda _: Client())
    as_somebody = settings.model_copy(update={"registry_user": "sallyport"})
    with Publisher(as_somebody, SITE, JAIL) as publisher:
        publisher.publish(housing())
        with pytest.raises(PublishError, match=r"waits in .*: no password for user 'sallyport': .*sallyport \("):
            publisher.flush(10)
        publisher.close(0)
    assert len(left_behind(settings)) == 1
