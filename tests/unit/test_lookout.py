"""Who watches a worker goes on watching, whatever a look runs into."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from streams.lookout import Lookout


class Broken(Lookout):
    """Gets an error where it asks the worker's event loop."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def _ends(self) -> Mapping[tuple[str, int], int]:
        return {}

    async def _see(self, ends: Mapping[tuple[str, int], int]) -> Any:
        del ends
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError("the consumer has not begun"), TimeoutError()])
async def test_a_worker_that_cannot_be_looked_at_counts_as_one_that_does_not_answer(error: Exception) -> None:
    look = await asyncio.to_thread(Broken(error)._look, asyncio.get_running_loop())
    assert (look.broker_answered, look.worker_answered) == (True, False)
