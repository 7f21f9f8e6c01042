"""What a worker reports of its stages, while partitions come and go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiokafka
import pytest
from faust.types import TP

from schemas.codec import decode
from schemas.settings import Settings
from streams.agents import input_topics
from streams.app import StageReporter, in_hundreds
from streams.backtest import SCHEMA_IDS, SCHEMAS
from tests.county import SITE

_NOBODY: Any = {
    "embedded": False,
    "bootstrap": "127.0.0.1:9",
    "registry": "http://127.0.0.1:9",
    "security_protocol": "PLAINTEXT",
}
NOWHERE = Settings(home=Path("/nowhere"), **_NOBODY)


@pytest.mark.parametrize(
    ("exact", "told"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((1, 1, 1), (0, 0, 100)),
        ((99, 99, 99), (0, 0, 100)),
        ((100, 100, 100), (100, 100, 100)),
        ((1_234, 5_678, 9_012), (1_200, 5_600, 9_100)),
    ],
)
def test_a_report_is_in_hundreds_lest_it_tell_of_a_single_event(
    exact: tuple[int, int, int], told: tuple[int, int, int]
) -> None:
    names = ("lag", "done", "total")
    record = {"stage": "person", "at": 77, **dict(zip(names, exact, strict=True))}
    assert in_hundreds(record) == {"stage": "person", "at": 77, **dict(zip(names, told, strict=True))}


def test_it_is_written_so() -> None:
    said: list[bytes] = []
    reporter = StageReporter(NOWHERE, SITE, cast("Any", None), SCHEMA_IDS["StageReported"])
    reporter._producer = cast("Any", SimpleNamespace(produce=lambda _, value, **__: said.append(value)))
    exact = {"stage": "person", "partition": 1, "state": "REFOLDING", "tick": 5, "at": 6}
    reporter._say({**exact, "lag": 101, "done": 102, "total": 103})
    ((_, told),) = [decode(value, SCHEMAS) for value in said]
    assert told == {**exact, "lag": 100, "done": 100, "total": 200}


def test_of_a_partition_that_a_rebalance_took_just_now_no_lag_is_reported() -> None:
    async def lag() -> int:
        # The real consumer's answer, as it is where nothing is assigned.
        app: Any = SimpleNamespace(consumer=aiokafka.AIOKafkaConsumer())
        owned: Any = SimpleNamespace(running={})
        positions = {TP(topic, 0): 7 for topic in input_topics("identify", SITE)}
        return StageReporter(NOWHERE, SITE, owned, 1)._lag(app, positions, "identify", 0)

    assert asyncio.run(lag()) == 0
