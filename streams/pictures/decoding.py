"""Facts as what they say: raw until touched, and decoded once where they are touched again and again.

Folding one event asks several times for the same person's facts: where is he, since when, of which group. Decoding is
most of what that costs. So only the body is decoded: the head is most of the bytes, and what is needed of it is in the
fact already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

from schemas.codec import WriterSchema, decode_body, decode_event
from schemas.events import Body
from streams.facts import Fact
from streams.numbers import NumberSeries, series_in

KEPT: Final = 4_096
"""Bodies that a picture keeps decoded, some 1 KB each: of the facts that it was asked about last."""


B_ = TypeVar("B_", bound=Body)


class Told(NamedTuple, Generic[B_]):
    """A fact with what it says."""

    fact: Fact
    body: B_


def series_decoder(schemas: Mapping[int, WriterSchema]) -> Callable[[Fact], frozenset[NumberSeries]]:
    """What tells of which series of numbers one is verified of whom a fact is about. It raises DecodeError."""
    return lru_cache(KEPT)(lambda fact: series_in(decode_event(fact.raw, schemas)))


def decoder(schemas: Mapping[int, WriterSchema]) -> Callable[[Fact], Body]:
    """What tells the bodies of facts. `schemas` are the writers' schemas by id. It raises DecodeError."""
    return lru_cache(KEPT)(lambda fact: decode_body(fact.raw, fact.body_at, schemas))
