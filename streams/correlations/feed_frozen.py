"""feed_frozen: a list of who is in custody says the same again and again, so that whoever relies on it is blind.

Detects: lists of a facility, taken one after the other, that say the same though by what usually changes from one to
the next (the median of four weeks) five entries or more should be other: of a large jail's list already the first
repetition. When a list says something else, for as long as none did and at most a day: that, and how much changed at
once.

Misses: lists of which fewer than five are known on which anything had changed; systems that say something new and
leave out the rest; a list that alternates between two contents.

The recipient should: ask the agency whether its system runs; until the list changes, take who is where as of the first
list that said it. When it changes, look again at what was decided meanwhile.
"""

from __future__ import annotations

from typing import Final

from streams.correlations.situation import Correlation, Evidence, FacilityCorrelation, Severity, Situation
from streams.facts import Provenance
from streams.heard import SLOT, note_id
from streams.pictures.facility import FacilityPicture
from streams.pictures.lists import ListKey

FROZEN: Final = (
    "Ask the agency whether its system still runs",
    "Until the list changes, take who is where as of when it changed last; telephone before anything rests on it",
)
CHANGED: Final = ("Look again at what was decided meanwhile",)


def situations(picture: FacilityPicture, where: ListKey, now: int) -> set[Situation]:
    """Whether a facility's list says the same too often, or did until a short while ago."""
    found = picture.lists.frozen(where, now)
    if found is None:
        return set()
    is_over = found.again is not None

    def said(text: str, slot: int) -> Evidence:
        known_by = note_id(where.agency, where.facility, slot)
        source = Provenance(where.agency, "ListTaken", known_by, slot * SLOT, found.topic)
        severity = None if is_over else Severity.HIGH
        return Evidence(text, (), source, ground="list", alternative="list", severity=severity)

    more = "once more" if found.repeats == 1 else f"{found.repeats} times more"
    evidence = [said(f"What the list says was taken {more}, and nothing had changed", found.since)]
    if found.again is None:
        evidence.append(said(f"Usually {found.usual:g} entries change from one list to the next", found.last))
    else:
        evidence.append(said(f"It says something else again: {found.changed} entries changed at once", found.again))
    return {
        Situation(
            key=tuple(where),
            least_severity=Severity.LOW,
            headline=f"The custody list of {where.agency} {'changes again' if is_over else 'stands still'}",
            subjects=(),
            evidence=tuple(evidence),
            actions=CHANGED if is_over else FROZEN,
            facility=where.facility,
        )
    }


CORRELATION: Final[FacilityCorrelation] = Correlation(
    name="feed_frozen",
    version=1,
    kind="coordination",
    triggers=frozenset({"ListTaken"}),
    situations=situations,
    about=ListKey,
)
