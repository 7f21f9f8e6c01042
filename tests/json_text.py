"""Events that a test wrote, as a file holds them."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from producers.event_json import Parsed, parse
from schemas.site import Agency


def parse_text(text: str, agency: Agency, event_type: str | None = None) -> Iterator[Parsed]:
    """Each event of a text, or what is wrong with it."""
    return parse(BytesIO(text.encode()), agency, event_type)
