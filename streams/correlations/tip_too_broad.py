"""tip_too_broad: a tip means so many people at a facility that it alerts on none of them, and its author is told so.

Detects: a live tip on contraband that means, or may mean, deliveries to more than five persons at one facility: who has
a visitor of nearly the courier's name, with another first letter, is counted, though nobody is alerted by that. A tip
that names neither a recipient nor a courier, by a number or by a full name, or a name and nothing else, can alert on
nothing: it is refused when it comes, and its author finds it among the dead letters.

Misses: a tip that means few people, all of them wrongly.

The recipient should: say more, and withdraw this tip: whom it is for, who brings it, in which way, on which day. Until
then nobody at the facility is alerted by it.
"""

from __future__ import annotations

from typing import Final

from streams.correlations.situation import Correlation, Evidence, FacilityCorrelation, Line, Severity, Situation
from streams.pictures.facility import FacilityPicture
from streams.pictures.interceptions import MOST_RECIPIENTS, TipAt


def situations(picture: FacilityPicture, where: TipAt, now: int) -> set[Situation]:
    """Whether a tip means too many at a facility."""
    tip = picture.interceptions.tip(where)
    if tip is None or not tip.is_live(now) or not picture.interceptions.is_broad(where):
        return set()
    # For its author alone: not even that there is such a tip is for others.
    evidence = Evidence(
        f"More than {MOST_RECIPIENTS} persons in custody could be meant",
        ("recipient_name", "courier_name", "method", "expected_from", "expected_until"),
        tip.fact.provenance,
        ground="tip",
        alternative=where.event_id,
        line=Line.BELOW,
        staff=tip.body.touches_staff,
    )
    return {
        Situation(
            key=tuple(where),
            least_severity=Severity.MEDIUM,
            headline="A tip could mean so many people that nobody is alerted by it",
            subjects=(),
            evidence=(evidence,),
            actions=("Publish it again with what is missing: for whom, by whom, how, or when; and withdraw this one",),
            facility=where.facility,
            until=tip.fact.purge_by,
        )
    }


CORRELATION: Final[FacilityCorrelation] = Correlation(
    name="tip_too_broad",
    version=1,
    kind="investigation",
    triggers=frozenset({"PersonInCustody", "ContrabandTipped", "TipOutcome"}),
    situations=situations,
    about=TipAt,
)
