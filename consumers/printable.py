"""Text that agencies wrote, made safe to show: it must not steer the terminal or turn the reading direction."""

from __future__ import annotations

import unicodedata
from typing import Final

_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
"""Characters that change the direction of what follows (Unicode, UAX #9)."""


def printable(text: str) -> str:
    """The text in one line; a replacement character stands for whatever could steer the screen."""
    one_line = " ".join(text.split())
    return "".join(
        "\ufffd" if character in _TURNING or unicodedata.category(character) in {"Cc", "Cs"} else character
        for character in one_line
    )
