"""Facts as events: raw until touched, and decoded once where they are touched again and again.

Folding one event asks several times for the same person's facts: where is he, since when, of which group. Decoding is
most of what that costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Final

from schemas.codec import WriterSchema, decode_event
from schemas.events import Event
from streams.facts import Fact

KEPT: Final = 1_024
"""Events that a picture keeps decoded, some 2 KB each: the facts of the persons it was asked about last."""


def decoder(schemas: Mapping[int, WriterSchema]) -> Callable[[Fact], Event]:
    """What makes events of facts. `schemas` are the writers' schemas by id. It raises DecodeError."""
    decoded = lru_cache(KEPT)(partial(decode_event, schemas=schemas))
    return lambda fact: decoded(fact.raw)
