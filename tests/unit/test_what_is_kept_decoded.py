"""Facts are decoded where they are touched: the body alone, and kept as long as few others are asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.backtest import SCHEMAS
from streams.pictures import decoding
from streams.pictures.decoding import decoder
from tests.county import event
from tests.identified import fact_of

FACTS = [fact_of(event("BookingReported", person)) for person in ("ada", "bo", "cy")]


def test_a_head_is_not_read_where_it_is_known_where_the_body_begins() -> None:
    fact = FACTS[0]
    frame = 5  # the magic byte and the schema's id
    damaged = replace(fact, raw=fact.raw[:frame] + b"\xff" * (fact.body_at - frame) + fact.raw[fact.body_at :])
    assert decoder(SCHEMAS)(damaged) == decoder(SCHEMAS)(fact)


def test_as_many_bodies_are_kept_as_were_asked_for_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "KEPT", 2)
    body = decoder(SCHEMAS)
    first, second, _ = (body(fact) for fact in FACTS)
    assert body(FACTS[1]) is second
    assert body(FACTS[0]) == first
    assert body(FACTS[0]) is not first
