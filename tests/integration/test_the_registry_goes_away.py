"""A registry that does not answer is told from one that does not know: the first is waited for, the second is not."""

from __future__ import annotations

import pytest

from schemas.codec import frame
from schemas.registry_client import RegistryAway, SchemaCache, registry_client
from schemas.settings import Settings

pytestmark = pytest.mark.bus


def test_a_registry_that_does_not_answer_is_away(bus: Settings) -> None:
    nobody = bus.model_copy(update={"registry": f"https://127.0.0.1:{bus.controller_port}/apis/ccompat/v7"})
    with pytest.raises(RegistryAway):
        SchemaCache(registry_client(nobody)).ensure([frame(1, b"")])


def test_an_id_that_it_does_not_know_is_not_asked_for_again_at_once(bus: Settings) -> None:
    cache = SchemaCache(registry_client(bus))
    value = frame(999_999, b"")
    assert not cache.knows([value])
    cache.ensure([value])
    assert cache.knows([value])
    assert 999_999 not in cache
