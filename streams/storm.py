"""Storm control: what one change does to many alerts at once carries one group, which a desk shows as one notice.

A feud begins and hundreds of reviews are due; two identities are joined; an agreement ends. Each alert stands for
itself, as it would alone: a group is part of no digest, and nothing is held back. Pure.

What a recipient is told is counted by what that recipient is told: a group on its only alert would say that there are
more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from streams.records import Out

MANY: Final = 20
"""Alerts of one rule, changed by one record, beyond which they are grouped."""
_GROUPED: Final = ("AlertRaised", "AlertDisclosed")


def grouped(outs: Sequence[Out], now: int) -> list[Out]:
    """The same records, those with a group where one change led to many of their kind that have none yet.

    `now`: the log's time, microseconds. What one moment did on several partitions has one name: all that is in it is on
    the records besides.
    """
    if len(outs) <= MANY:
        return list(outs)
    rules: dict[str, str] = {v["alert_id"]: v["rule"] for v in map(_value, outs) if v.get("rule")}
    several = Counter(crowd for out in outs if (crowd := _crowd(out, rules)) is not None)
    if not several or max(several.values()) <= MANY:
        return list(outs)
    return [
        out._replace(value={**_value(out), "group": f"{crowd[1]}: at once, {now}"})
        if (crowd := _crowd(out, rules)) is not None and several[crowd] > MANY
        else out
        for out in outs
    ]


def _crowd(out: Out, rules: Mapping[str, str]) -> tuple[str | None, str] | None:
    """Whose record it is (None: the bus's own), and of which rule; None for one in no crowd, or with a group."""
    value = _value(out)
    if out.name not in _GROUPED or value["group"] is not None or value["alert_id"] not in rules:
        return None
    # A withdrawal names no rule: the audit beside it does.
    return value.get("recipient"), rules[value["alert_id"]]


def _value(out: Out) -> Mapping[str, Any]:
    return out.value if isinstance(out.value, Mapping) else {}
