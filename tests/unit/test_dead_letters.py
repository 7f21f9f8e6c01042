"""Dead letters: what was set aside and why, and the last that was done about each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from deploy.dead_letters import (
    Became,
    DeadLetterError,
    DeadLetters,
    Letter,
    Settled,
    event_of,
    of_a_newer_version,
    record_of,
    why_not_dismissed,
)
from deploy.dead_letters import letters as letters_of
from schemas import topics
from schemas.codec import encode, encode_event
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.records import LoggedRecord, Record
from tests.county import JAIL, SITE, event
from tests.json_text import parse_text

GENERAL, CARE = sorted(topics.dead_letter_boxes(SITE, JAIL), key=lambda box: box.care)


def letters(set_aside: Sequence[Record], done: Sequence[Record]) -> list[Letter]:
    return letters_of([(GENERAL, record) for record in set_aside], done)


def letter(number: int, **said: str) -> LoggedRecord:
    headers = [(name, value.encode()) for name, value in said.items()]
    return LoggedRecord(number, b"where it was", b"as it came", headers, 1_000 + number)


def done(number: str, became: str, why: str = "", at: int = 7) -> LoggedRecord:
    return LoggedRecord(0, number.encode(), b"", [("became", became.encode()), ("why", why.encode())], at)


def test_a_letter_says_what_it_is_and_where_it_came() -> None:
    record = letter(4, reason="UNKNOWN_UNIT", detail="unit is not one", topic="t", partition="3", offset="9")
    assert letters([record], []) == [Letter("4", 1_004, "UNKNOWN_UNIT", "unit is not one", "t", 3, 9, b"as it came")]


def test_what_was_refused_of_care_is_among_the_rest_as_it_came_and_settled_by_a_number_of_its_own() -> None:
    set_aside = [(GENERAL, letter(4)), (GENERAL, letter(6)), (CARE, letter(4)), (CARE, letter(5))]
    found = letters_of(set_aside, [done("care-4", "PUBLISHED"), done("6", "DISMISSED")])
    assert [(one.number, one.settled and one.settled.became) for one in found] == [
        ("4", None),
        ("care-4", Became.PUBLISHED),
        ("care-5", None),
        ("6", Became.DISMISSED),
    ]


def test_a_letter_that_says_nothing_of_itself_is_one_too() -> None:
    (found,) = letters([LoggedRecord(1, None, None)], [])
    assert (found.reason, found.topic, found.partition, found.value, found.settled) == ("", "", -1, b"", None)


@pytest.mark.parametrize(
    ("said", "settled"),
    [
        ([], None),
        ([done("4", "PUBLISHED")], Settled(Became.PUBLISHED, "", 7)),
        ([done("4", "PUBLISHED"), done("4", "DISMISSED", "twice", 8)], Settled(Became.DISMISSED, "twice", 8)),
        ([done("5", "DISMISSED")], None),
        ([done("four", "DISMISSED")], None),
        ([done("4", "EATEN")], None),
        ([LoggedRecord(0, None, None)], None),
    ],
)
def test_the_last_that_was_said_of_a_letter_counts(said: list[LoggedRecord], settled: Settled | None) -> None:
    (found,) = letters([letter(4)], said)
    assert found.settled == settled


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ([], None),
        ([done("6", "PUBLISHED")], None),
        ([done("5", "PUBLISHED")], "dead letter 5 was published already: nothing is dismissed"),
        ([done("5", "DISMISSED"), done("4", "DISMISSED")], "dead letter 4 was dismissed already: nothing is dismissed"),
    ],
)
def test_what_is_settled_is_not_dismissed(said: list[LoggedRecord], refusal: str | None) -> None:
    assert why_not_dismissed(letters([letter(4), letter(5)], said)) == refusal


def of(value: bytes) -> Letter:
    (found,) = letters([LoggedRecord(0, None, value)], [])
    return found


def test_the_event_of_a_letter_can_be_published_again_as_the_same_event() -> None:
    housed = event("HousingAssigned", "ada", unit="9-Z", sid="S-1")
    written = event_of(of(encode_event(housed, SCHEMA_IDS["HousingAssigned"])), SCHEMAS)
    assert written is not None
    (parsed,) = parse_text(json.dumps(written), SITE.agency_by_id["county-jail"])
    assert parsed.event == housed


@pytest.mark.parametrize(
    "value",
    [b"", b"\x00\x00\x00\x03\xe8nothing", b"plain text", encode("Tick", {"time": 5}, SCHEMA_IDS["Tick"])],
)
def test_what_is_no_event_has_none(value: bytes) -> None:
    assert event_of(of(value), SCHEMAS) is None


def test_of_the_bus_a_record_of_any_type_is_shown() -> None:
    assert record_of(of(encode("Tick", {"time": 5}, SCHEMA_IDS["Tick"])), SCHEMAS) == {"type": "Tick", "time": 5}
    assert record_of(of(b"plain text"), SCHEMAS) is None


@pytest.mark.parametrize("value", [b"", b"plain text", encode("Tick", {"time": 5}, SCHEMA_IDS["Tick"])])
def test_what_is_no_event_or_says_what_we_know_is_of_no_newer_version(value: bytes) -> None:
    assert not of_a_newer_version(of(value), SCHEMAS)


# -- settling them ---------------------------------------------------------------------------------------------------


class Client:
    """Stands for Kafka's client: has room for so many records, and a broker that takes some of them, or none."""

    def __init__(self, room: int, takes: int) -> None:
        self._room = room
        self._takes = takes
        self._waiting: list[tuple[str, Any]] = []
        self.settled: list[str] = []

    def produce(self, topic: str, value: bytes, key: str, partition: int, headers: Any, on_delivery: Any) -> None:
        if len(self._waiting) == self._room:
            raise BufferError("Local: Queue full")
        assert (topic, value, partition, headers) == (SETTLED, b"", 0, [("became", "DISMISSED"), ("why", "tests")])
        self._waiting.append((key, on_delivery))

    def poll(self, timeout: float) -> int:
        assert timeout > 0
        taken, self._waiting = self._waiting[: self._takes], self._waiting[self._takes :]
        for number, told in taken:
            told(None, None)
            self.settled.append(number)
        return len(taken)

    def flush(self, timeout: float) -> int:
        while self.poll(timeout):
            pass
        return len(self._waiting)


NOBODY: Any = None
SETTLED = topics.settled_letters(SITE.name, JAIL)
MANY = [letter(number) for number in range(10)]


def test_more_letters_than_the_client_holds_are_settled_as_the_broker_takes_them() -> None:
    client: Any = Client(room=4, takes=3)
    DeadLetters(SITE, JAIL, NOBODY, client, NOBODY).settle(letters(MANY, []), Became.DISMISSED, "tests")
    assert client.settled == [str(number) for number in range(10)]


def test_a_broker_that_takes_none_of_them_is_not_waited_for_for_ever() -> None:
    client: Any = Client(room=4, takes=0)
    with pytest.raises(DeadLetterError, match="what became of the letters could not be written: no answer"):
        DeadLetters(SITE, JAIL, NOBODY, client, NOBODY).settle(letters(MANY, []), Became.DISMISSED, "tests")
