"""What a desk is told of an alert: a record of its topics with nothing in particular in it."""

from __future__ import annotations

from typing import Any

from consumers.board import AlertSaid


def disclosed(**said: Any) -> AlertSaid:
    """An open alert of rivals, as a record says it; what it has to say besides, or otherwise, is `said`."""
    return AlertSaid(
        {
            "revision": 1,
            "state": "OPEN",
            "kind": "housing",
            "rule": "rivals_housed_together",
            "confidence": "HIGH",
            "facility": None,
            "unit": None,
            "headline": "",
            "subjects": [],
            "why": [],
            "left_out": 0,
            "actions": [],
            "caution": None,
            "agreements": [],
            "due": None,
            "until": None,
            "opened": None,
            "cause": {"kind": "FACT"},
            "group": None,
            **said,
        }
    )
