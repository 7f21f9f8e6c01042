"""What a worker reports of its stages, while partitions come and go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiokafka
from faust.types import TP

from schemas.settings import Settings
from streams.agents import input_topics
from streams.app import StageReporter
from tests.county import SITE


def test_of_a_partition_that_a_rebalance_took_just_now_no_lag_is_reported() -> None:
    async def lag() -> int:
        # The real consumer's answer, as it is where nothing is assigned.
        app: Any = SimpleNamespace(consumer=aiokafka.AIOKafkaConsumer())
        owned: Any = SimpleNamespace(running={})
        nobody: Any = {
            "embedded": False,
            "bootstrap": "127.0.0.1:9",
            "registry": "http://127.0.0.1:9",
            "security_protocol": "PLAINTEXT",
        }
        settings = Settings(home=Path("/nowhere"), **nobody)
        positions = {TP(topic, 0): 7 for topic in input_topics("identify", SITE)}
        return StageReporter(settings, SITE, owned, 1)._lag(app, positions, "identify", 0)

    assert asyncio.run(lag()) == 0
