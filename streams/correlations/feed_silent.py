"""feed_silent: what an agency usually sends has stopped coming, so that whoever relies on it is blind; or comes again.

Detects: a type of events of one agency that is quiet for twice as long as nearly all of its quiets of the four weeks
before, by how often it is usually heard at that hour of that weekday; or all that it sends, as one. It is silent until
it is heard again, or until the site no longer expects it. When it is heard again, for as long as it was silent and at
most a day: that it was, and of how many hours of the silence something came late. One situation an agency.

Misses: feeds that are not known for two weeks, or were heard in no more than ten slots of the last four; those that are
usually quiet for days, as long as that is usual; tips, health events, privileged contacts and withdrawals, which are
never noted; single records that are lacking while others of the type come. Hours are UTC: when clocks change, the day's
rhythm is an hour off.

The recipient should: ask the agency whether its system sends; until then, take what the bus says of it as of the time
when it was heard last. When it is heard again, look again at what was decided meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from streams.correlations.situation import Correlation, Evidence, FacilityCorrelation, Severity, Situation
from streams.facts import Provenance
from streams.heard import SLOT, note_id
from streams.pictures.facility import FEED_HEARD, FacilityPicture
from streams.pictures.feeds import FeedKey, Silence

WHEREABOUTS: Final = frozenset({"BookingReported", "HousingAssigned", "CustodyEnded", "NoLongerListed"})
"""Without these nobody knows who is where: alerts on housing are of the past."""
SILENT: Final = (
    "Ask the agency whether its system still sends",
    "Until it does, take what is shown of it as of when the last came; telephone before anything rests on it",
)
AGAIN: Final = ("Look again at what was decided meanwhile",)


def situations(picture: FacilityPicture, feed: FeedKey, now: int) -> set[Situation]:
    """What has stopped coming from an agency, or comes again."""
    silences = picture.feeds.silences(feed, now)
    if not silences:
        return set()
    silent = any(one.until is None for one in silences)
    return {
        Situation(
            key=tuple(feed),
            least_severity=Severity.LOW,
            # Whoever is told sees whose it is: nothing of it has a tear-line.
            headline=f"What usually comes from {feed.agency} {'has stopped' if silent else 'comes again'}",
            subjects=(),
            evidence=tuple(item for one in silences for item in _in_words(feed.agency, one)),
            actions=SILENT if silent else AGAIN,
        )
    }


def _in_words(agency: str, silence: Silence) -> Iterator[Evidence]:
    def said(text: str, slot: int, severity: Severity | None = None) -> Evidence:
        known_by = note_id(agency, silence.event_type, slot)
        source = Provenance(agency, silence.event_type, known_by, slot * SLOT, silence.topic)
        return Evidence(text, (), source, ground="feed", alternative=silence.event_type, severity=severity)

    if silence.until is None:
        grave = Severity.HIGH if silence.event_type in WHEREABOUTS else Severity.MEDIUM
        yield said(f"{silence.event_type}: the last came", silence.since, grave)
        return
    yield said(f"{silence.event_type}: nothing came after", silence.since)
    late = f"; of {len(silence.late)} of the {silence.hours} hours something came late" if silence.late else ""
    yield said(f"{silence.event_type}: it comes again{late}", silence.until)


CORRELATION: Final[FacilityCorrelation] = Correlation(
    name="feed_silent",
    version=1,
    kind="coordination",
    triggers=frozenset({FEED_HEARD}),
    situations=situations,
    about=FeedKey,
)
