"""Evidence in words: how correlations say what they rest on, in pieces small enough to be granted one by one."""

from __future__ import annotations

from schemas.events import AffiliationStatus
from streams.correlations.situation import Evidence
from streams.pictures.street import Feud


def feud_evidence(feud: Feud) -> list[Evidence]:
    """What is known of a feud: that there was violence, where, and whether more is expected."""
    evidence = []
    for violence in feud.violence:
        source, event = violence.fact.provenance, violence.event
        evidence.append(Evidence(f"Violence between {feud.names[0]} and {feud.names[1]}", ("groups",), source))
        if event.place:
            evidence.append(Evidence(f"It happened at {event.place}", ("place",), source))
        if event.retaliation_expected:
            evidence.append(Evidence("Retaliation is expected", ("retaliation_expected",), source))
    return evidence


def standing_in_words(status: AffiliationStatus) -> str:
    """A member, or one who is only suspected to be."""
    return "suspected member" if status is AffiliationStatus.SUSPECT else "member"
