"""Evidence in words: how correlations say what they rest on, in pieces small enough to be granted one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schemas.events import AffiliationStatus
from streams.correlations.situation import Evidence, Severity
from streams.pictures.street import Feud, Violence

FEUD = "feud"
"""The ground that a feud is. Each violent event is an alternative of it."""


def feud_evidence(feud: Feud, expected: Severity | None = None, since: int | None = None) -> list[Evidence]:
    """What is known of a feud: that there was violence, where, and whether more is expected.

    `expected` is how severe the situation is where it is. Violence up to `since` (microseconds) only supports.
    """
    return [
        item if since is None or violence.fact.time > since else replace(item, ground="", alternative="")
        for violence in feud.violence
        for item in _violence_evidence(feud, violence, expected)
    ]


def _violence_evidence(feud: Feud, violence: Violence, expected: Severity | None) -> Sequence[Evidence]:
    made = FEUD, feud.names, expected
    if made not in violence.memo:
        violence.memo[made] = tuple(_in_words(feud.names, violence, expected))
    found: Sequence[Evidence] = violence.memo[made]
    return found


def _in_words(names: tuple[str, str], violence: Violence, expected: Severity | None) -> list[Evidence]:
    body, source = violence.body, violence.fact.provenance
    said = [Evidence(f"Violence between the groups {names[0]} and {names[1]}", ("groups",), source)]
    if body.place:
        said.append(Evidence(f"It happened at {body.place}", ("place",), source))
    if body.retaliation_expected:
        said.append(Evidence("Retaliation is expected", ("retaliation_expected",), source, severity=expected))
    return [replace(item, ground=FEUD, alternative=source.event_id) for item in said]


def membership_in_words(status: AffiliationStatus, group: str | None) -> str:
    """That somebody is a member of a group, or only suspected to be; None for one that is not named."""
    member = "suspected member" if status is AffiliationStatus.SUSPECT else "member"
    return f"{member} of the group {group}" if group else f"{member} of a security threat group"
