"""Who watches a worker goes on watching, whatever a look runs into."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas import topics
from streams import lookout
from streams.lookout import Lookout, StalledError
from tests.county import demo_site

SITE = demo_site(partitions=1)
PERSONS = topics.person_facts(SITE.name)
FACILITIES = topics.facility_facts(SITE.name)
LEADERLESS = KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))


class Broken(Lookout):
    """Gets an error where it asks the worker's event loop."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def _ends(self) -> Mapping[tuple[str, int], int]:
        return {}

    async def _see(self, ends: Mapping[tuple[str, int], int]) -> Any:
        del ends
        raise self._error


class Broker:
    """Says that each partition ends at 9, or the error that there is for its topic, or for all."""

    def __init__(self, errors: Mapping[str, Exception], of_all: Exception | None = None) -> None:
        self._errors = errors
        self._of_all = of_all

    def list_offsets(self, asked: Mapping[TopicPartition, Any], **_: Any) -> dict[TopicPartition, Future[Any]]:
        answers = {part: Future[Any]() for part in asked}
        for part, answer in answers.items():
            error = self._of_all or self._errors.get(part.topic)
            if error is None:
                answer.set_result(SimpleNamespace(offset=9))
            else:
                answer.set_exception(error)
        return answers


class StandsStill:
    """A worker's consumer that is at the beginning of all that it has, and to which no fetch is answered."""

    def assignment(self) -> set[Any]:
        return {(topic, 0) for topic in (PERSONS, FACILITIES)}

    async def positions(self, parts: set[Any]) -> dict[Any, int]:
        return dict.fromkeys(parts, 0)

    def last_poll(self, part: Any) -> int:
        del part
        return 0


class AtAWorker(Lookout):
    """Looks at a live worker that has one number, and whose consumer stands still."""

    def __init__(self, broker: Broker) -> None:
        self._admin: Any = broker
        self._app = SimpleNamespace(consumer=StandsStill())
        loop = SimpleNamespace(decided=0, unprocessed=lambda *_: 0, asks_the_registry=lambda *_: False)
        running = SimpleNamespace(is_live=lambda _: True, live=SimpleNamespace(is_set=lambda: True), loop=loop)
        self._partitions: Any = SimpleNamespace(site=SITE, running={0: running}, held=set())


@pytest.mark.parametrize("error", [RuntimeError("the consumer has not begun"), TimeoutError()])
async def test_a_worker_that_cannot_be_looked_at_counts_as_one_that_does_not_answer(error: Exception) -> None:
    look = await asyncio.to_thread(Broken(error)._look, asyncio.get_running_loop())
    assert (look.broker_answered, look.worker_answered) == (True, False)


@pytest.mark.parametrize("error", [LEADERLESS, ValueError("Jane Doe")])
async def test_a_partition_without_an_answer_hides_no_other(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    at_a_worker = AtAWorker(Broker({FACILITIES: error}))
    look = await asyncio.to_thread(at_a_worker._look, asyncio.get_running_loop())
    assert (look.broker_answered, look.worker_answered) == (True, True)
    assert [(one.topic, one.position, one.end) for one in look.readings] == [(PERSONS, 0, 9)]
    assert look.unanswered == {(FACILITIES, 0)}
    assert "Doe" not in caplog.text


async def test_where_no_partition_has_an_answer_the_broker_is_away() -> None:
    at_a_worker = AtAWorker(Broker({}, of_all=LEADERLESS))
    look = await asyncio.to_thread(at_a_worker._look, asyncio.get_running_loop())
    assert (look.broker_answered, look.readings) == (False, ())


async def test_whatever_is_wrong_with_a_look_there_is_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(AtAWorker):
        """Its first look fails; later a worker that stands still is seen."""

        looks = 0

        def _ends(self) -> Mapping[tuple[str, int], int] | None:
            self.looks += 1
            if self.looks == 1:
                raise BufferError("Jane Doe")
            return super()._ends()

    stalled: list[StalledError] = []
    fails = Fails(Broker({}))
    fails._on_stalled, fails._patience = stalled.append, 0.01
    monkeypatch.setattr(lookout, "LOOK_EVERY_S", 0.01)
    with caplog.at_level(logging.WARNING):
        await asyncio.wait_for(asyncio.to_thread(fails._watch, asyncio.get_running_loop()), 10)
    assert stalled
    assert "a look at the worker failed: BufferError" in caplog.text
    assert "Doe" not in caplog.text
