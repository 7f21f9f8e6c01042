"""Nobody told: which alerts of a site would reach nobody, and who would not learn that what it relies on is silent.
Pure.

A site's files may be right, and an alert have no recipient all the same: nobody is there for what touches a jail's
staff, or an author of tips has no desk. It would be raised, and withheld from everyone, without a word. So each alert
that can come is put before each recipient here, by the decision that a real one meets (`streams/disclose.py`). And who
gives tips may ask to be called first: somebody has to know whom to call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from schemas.agreements import Kind
from schemas.site import Recipient, Site
from streams.alerts import content
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.correlations.situation import Evidence, Line, Severity, Situation, joined
from streams.disclose import Disclose, decide
from streams.facts import Provenance
from streams.heard import UNHEARD

KINDS: Final[dict[str, Kind]] = {
    **{rule.name: rule.kind for rule in PERSON_CORRELATIONS},
    **{rule.name: rule.kind for rule in FACILITY_CORRELATIONS},
}
"""Of each correlation."""
STAYS: Final = frozenset({"BookingReported", "CustodyEnded", "NoLongerListed"})
DELIVERIES: Final = frozenset({"VisitScheduled", "MailReceived", "DepositReceived", "MovementScheduled"})
RESTS_ON: Final[dict[str, frozenset[str]]] = {
    "classification_review": STAYS
    | {"CustodyClassified", "DisciplinaryRecorded", "AffiliationValidated", "StreetViolenceReported"},
    "rivals_housed_together": STAYS
    | {"HousingAssigned", "AffiliationValidated", "AffiliationReported", "StreetViolenceReported"},
    "contraband_delivery_expected": STAYS | DELIVERIES,
    "tip_too_broad": STAYS | DELIVERIES,
    "feed_silent": frozenset(),
    "feed_frozen": frozenset(),
}
"""By correlation: what it is blind without, tips aside, whose silence is never told."""
TIP: Final = "ContrabandTipped"
COORDINATION: Final[Kind] = KINDS["feed_silent"]


class Untold(NamedTuple):
    """What nobody would be told of, or what one recipient would not."""

    says: str
    do: str

    @property
    def line(self) -> str:
        """Both in one line."""
        return f"{self.says}: {self.do}"


class Occasion(NamedTuple):
    """An alert that can come, by the information of one agency that it can't do without: one of these types of events
    is enough."""

    rule: str
    agency: str
    event_types: frozenset[str]
    facility: str | None = None
    staff: bool = False
    line: Line = Line.NONE


def untold(site: Site, now: int) -> list[Untold]:
    """All of it, alerts that reach nobody first. `now`, microseconds: agreements begin and end."""
    return [*_reaching_nobody(site, now), *_out_of_reach(site), *_blind(site, now)]


def _is_told(occasion: Occasion, recipient: Recipient, site: Site, now: int) -> bool:
    kind = KINDS[occasion.rule]
    if kind not in recipient.kinds:
        return False
    evidence = tuple(
        Evidence(
            "",
            (),
            Provenance(occasion.agency, event_type, "", now, ""),
            ground="it",
            alternative=event_type,
            line=occasion.line,
            staff=occasion.staff,
        )
        for event_type in sorted(occasion.event_types)
    )
    situation = Situation((), Severity.LOW, "", (), evidence, (), facility=occasion.facility)
    alert = {**content(situation), "rule": occasion.rule, "kind": kind, "state": "OPEN", "until": None}
    return isinstance(decide(alert, recipient, site, now), Disclose)


# -- alerts that reach nobody ------------------------------------------------------------------------------------------


def _reaching_nobody(site: Site, now: int) -> Iterator[Untold]:
    where: defaultdict[tuple[str, str, bool], list[str]] = defaultdict(list)
    for one in occasions(site):
        if not any(_is_told(one, recipient, site, now) for recipient in site.recipients):
            where[one.rule, one.agency, one.staff].extend([one.facility] if one.facility else ())
    for (rule, agency, staff), facilities in where.items():
        at = f" at {joined(facilities)}" if facilities else ""
        touching = ", where it touches staff" if staff else ""
        affairs = " and internal_affairs = true" if staff else ""
        scope = f", for {joined(facilities)} or for all facilities" if facilities else ""
        yield Untold(
            f"nobody would be told of {rule} of {agency}{at}{touching}",
            f"give a recipient of {agency} the kind {KINDS[rule]}{affairs}{scope}",
        )


def occasions(site: Site) -> Iterator[Occasion]:
    """The alerts that can come on a site, by what its agencies may publish."""
    published = {agency.id: frozenset(agency.publishes) for agency in site.agencies}
    jails = {facility.agency for facility in site.facilities}
    feuds = any("StreetViolenceReported" in types for types in published.values())
    authors = [agency for agency, types in published.items() if TIP in types]
    for facility in site.facilities:
        own, deliveries = published[facility.agency], published[facility.agency] & DELIVERIES
        needed = {
            "classification_review": own & {"CustodyClassified"},
            "rivals_housed_together": own & {"HousingAssigned"} if feuds else (),
            "contraband_delivery_expected": deliveries if authors else (),
            "feed_frozen": own & {"ListTaken"},
        }
        for rule, types in needed.items():
            if types:
                yield Occasion(rule, facility.agency, frozenset(types), facility.id)
        for author in authors if deliveries else ():
            yield Occasion("tip_too_broad", author, frozenset({TIP}), facility.id, line=Line.BELOW)
            if author in jails:
                # Its own desk may not know what it says of its own staff.
                yield Occasion("tip_too_broad", author, frozenset({TIP}), facility.id, staff=True, line=Line.BELOW)
        if deliveries and authors:
            yield Occasion("contraband_delivery_expected", facility.agency, deliveries, facility.id, staff=True)
    for agency, types in published.items():
        if types - UNHEARD:
            yield Occasion("feed_silent", agency, types - UNHEARD)


# -- authors of tips who can't be called -------------------------------------------------------------------------------


def _out_of_reach(site: Site) -> Iterator[Untold]:
    authors = [agency.id for agency in site.agencies if TIP in agency.publishes]
    if authors and site.deconfliction is None:
        yield Untold(
            f"a desk finds whoever gave a tip and asks to be called first only by a reference, where {joined(authors)} "
            "gave one: the site names no deconfliction service, and without a reference such a tip is refused",
            "give the site deconfliction, the service's name and number in words",
        )


# -- recipients that would be blind ------------------------------------------------------------------------------------


def _blind(site: Site, now: int) -> Iterator[Untold]:
    for recipient in site.recipients:
        silent = _silent_for(recipient, site, now)
        if not silent:
            continue
        what = joined(f"{', '.join(types)} of {agency}" for agency, types in silent.items())
        asking = recipient.model_copy(update={"kinds": (*recipient.kinds, COORDINATION)})
        still = joined(_silent_for(asking, site, now))
        steps = []
        if COORDINATION not in recipient.kinds:
            steps.append(f"give it the kind {COORDINATION}")
        if still:
            steps.append(f"let an agreement of kind {COORDINATION} grant their time to {recipient.agency}: {still}")
        yield Untold(
            f"{recipient.id} would not be told when what it relies on falls silent: {what}",
            "; ".join(steps),
        )


def _silent_for(recipient: Recipient, site: Site, now: int) -> dict[str, list[str]]:
    """By agency: what a recipient relies on, and would not learn that it has stopped."""
    unknown = {
        agency: [
            one
            for one in sorted(types)
            if not _is_told(Occasion("feed_silent", agency, frozenset({one})), recipient, site, now)
        ]
        for agency, types in relied_on(site, recipient, now).items()
    }
    return {agency: types for agency, types in unknown.items() if types}


def relied_on(site: Site, recipient: Recipient, now: int) -> dict[str, frozenset[str]]:
    """By agency: the types of events that what a recipient is told of rests on, as far as it may know of them; and what
    its own agency's tips are compared with."""
    found: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    own = site.agency_by_id[recipient.agency]
    rules = [rule for rule, kind in KINDS.items() if kind in recipient.kinds]
    for rule in rules:
        found[own.id] |= RESTS_ON[rule] & frozenset(own.publishes)
        for one in site.agreements:
            if one.recipient == own.id and KINDS[rule] in one.kinds and one.in_force(now):
                found[one.source] |= RESTS_ON[rule] & one.grants.keys()
    if "tip_too_broad" in rules and TIP in own.publishes:
        for facility in site.facilities:
            of = frozenset(site.agency_by_id[facility.agency].publishes)
            found[facility.agency] |= RESTS_ON["tip_too_broad"] & of if of & DELIVERIES else frozenset()
    return {agency: types for agency, types in found.items() if types}
