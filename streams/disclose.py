"""Disclose: who may see what of an alert. Pure, default deny; every decision comes with its reason.

An agency sees its own information. Of another's it sees what an agreement in force grants, field by field. The mere
existence of an alert tells that the agencies behind it said something. So a recipient is told only what stands on
information that it may have: each ground of the situation needs an alternative all of whose sources are covered, by an
agreement for this kind of alert and this type of event. What is not covered is left out as if it were not there, and
severity, confidence and persons follow from what is shown. What its publisher marked is the publisher's alone.

What has a tear-line reaches others than its author without agency, time and agreement, each thing said once however
many say it. What touches staff reaches internal affairs of whoever runs the facility and of its author, and an author
that runs none; nobody else, whatever an agreement says.

Sources of the lines that no agreement can move: health data to care recipients only (42 CFR Part 2; HIPAA, 45 CFR
164.512(k)(5)); criminal intelligence only where there is a need and a right to know (28 CFR 23.20(e)-(f)).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from schemas import topics
from schemas.agreements import Agreement
from schemas.codec import WriterSchema, decode, digest
from schemas.events import CARE_EVENTS
from schemas.site import Recipient, Site
from streams.ahead import Ahead
from streams.alerts import WITHDRAWN_DIGEST, Cause, CauseKind
from streams.correlations.situation import Caution, Confidence, Line, Severity, gravest, strictest, surest_of_all
from streams.failures import RETRY, Failures
from streams.outline import kept_of
from streams.records import Out, Record

DISCLOSE: Final = "disclose"
"""The stage's name."""
REFERENCE: Final = "deconfliction_reference"
"""Field of an event under which its author is found and not named."""
NO_OFFSET: Final = -1
"""Where a cause's offset is not told."""


class Reason(StrEnum):
    """Why an alert is disclosed or withheld."""

    OWN_INFORMATION = "OWN_INFORMATION"
    AGREEMENT = "AGREEMENT"
    NO_AGREEMENT = "NO_AGREEMENT"
    OTHER_FACILITY = "OTHER_FACILITY"
    HEALTH = "HEALTH"
    INTERNAL_AFFAIRS = "INTERNAL_AFFAIRS"
    NOTHING_HOLDS = "NOTHING_HOLDS"


@dataclass(frozen=True, slots=True)
class Disclose:
    """The recipient is told: what it sees, and what rests on which agreement."""

    reason: Reason
    view: dict[str, Any]
    """Fields of AlertDisclosed that hold content."""
    until: int | None
    """When it is looked at again, microseconds, where the recipient may know."""
    agreements: tuple[str, ...]
    """What it rests on."""
    named: tuple[str, ...]
    """Those of them that the recipient may know by it: the others would tell who an author is."""
    shown: tuple[str, ...]
    """Fields shown, each as agency/event type/field."""
    withheld: tuple[str, ...]
    """Fields left out."""


@dataclass(frozen=True, slots=True)
class Withhold:
    """The recipient is not told."""

    reason: Reason
    withheld: tuple[str, ...] = ()
    """For NO_AGREEMENT: what lacks one, each as agency/event type."""


@dataclass(frozen=True, slots=True)
class _Grants:
    """What one recipient may see, for one kind of alert, at one time."""

    site: Site
    recipient: Recipient
    in_force: tuple[Agreement, ...]
    facility: str | None
    """Where what is told of holds."""

    def agreements(self, agency: str, event_type: str) -> tuple[Agreement, ...]:
        return tuple(a for a in self.in_force if a.source == agency and event_type in a.grants)

    def own(self, agency: str) -> bool:
        return agency == self.recipient.agency

    def covers(self, item: Mapping[str, Any]) -> bool:
        """Whether the recipient may know that a piece of evidence exists."""
        if item["staff"] and not self.may_know_of_staff(item["agency"]):
            return False
        if self.own(item["agency"]):
            return True
        return leaves_its_agency(item) and bool(self.agreements(item["agency"], item["event_type"]))

    def may_know_of_staff(self, agency: str) -> bool:
        """Whether the recipient may know what an agency says of the facility's staff."""
        return may_know_of_staff(self.recipient, agency, self.facility, self.site)

    def torn(self, item: Mapping[str, Any]) -> bool:
        """Whether the recipient gets a piece of evidence without knowing whose it is."""
        return item["line"] == Line.ABOVE and not self.own(item["agency"])

    def shows(self, agency: str, event_type: str, field: str) -> bool:
        return self.own(agency) or any(field in a.grants[event_type] for a in self.agreements(agency, event_type))


def leaves_its_agency(item: Mapping[str, Any]) -> bool:
    """Whether an agreement can grant a piece of evidence to anybody."""
    return item["line"] != Line.BELOW and not item["marked"]


def may_know_of_staff(recipient: Recipient, agency: str, facility: str | None, site: Site) -> bool:
    """Whether a recipient may know what an agency says of a facility's staff: internal affairs of whoever runs the
    facility, and the author's own; all of the author's, where that one runs none."""
    if agency == recipient.agency and all(one.agency != agency for one in site.facilities):
        return True
    where = site.facility_by_id.get(facility or "")
    its_own = {agency, where.agency} if where is not None else {agency}
    return recipient.internal_affairs and recipient.agency in its_own


def decide(alert: Mapping[str, Any], recipient: Recipient, site: Site, now: int) -> Disclose | Withhold:
    """Whether and how one recipient is told of one alert, open on `alerts.raised`.

    `now` (microseconds) is the log's time: agreements begin and end.
    """
    if alert["state"] != "OPEN":
        return Withhold(Reason.NOTHING_HOLDS)
    if recipient.facilities and alert["facility"] is not None and alert["facility"] not in recipient.facilities:
        return Withhold(Reason.OTHER_FACILITY)
    evidence = alert["evidence"]
    if alert["kind"] != "care" and any(item["event_type"] in CARE_EVENTS for item in evidence):
        return Withhold(Reason.HEALTH)
    in_force = tuple(
        a for a in site.agreements if a.recipient == recipient.agency and alert["kind"] in a.kinds and a.in_force(now)
    )
    grants = _Grants(site, recipient, in_force, alert["facility"])
    covered = covered_of(evidence, grants.covers)
    if not covered or {item["ground"] for item in evidence if item["ground"]} - {item["ground"] for item in covered}:
        if any(item["staff"] and not grants.may_know_of_staff(item["agency"]) for item in evidence):
            return Withhold(Reason.INTERNAL_AFFAIRS)
        lacking = {f"{item['agency']}/{item['event_type']}" for item in evidence if not grants.covers(item)}
        return Withhold(Reason.NO_AGREEMENT, tuple(sorted(lacking)))
    return _view(alert, covered, grants)


def covered_of(
    evidence: Sequence[Mapping[str, Any]], covers: Callable[[Mapping[str, Any]], bool]
) -> list[Mapping[str, Any]]:
    """The evidence of whole alternatives: half of one carries nothing, and would tell of the other half.

    `covers`: whether the recipient may know that a piece exists.
    """
    lacking = {_alternative(item) for item in evidence if not covers(item)}
    return [item for item in evidence if _alternative(item) not in lacking or (item["ground"] == "" and covers(item))]


def _alternative(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["ground"], item["alternative"]


_MayShow = Callable[[str, str, str], bool]
"""Whether a field (agency, event type, name) may be shown; the audit keeps what was asked for."""


def _view(alert: Mapping[str, Any], covered: Sequence[Mapping[str, Any]], grants: _Grants) -> Disclose:
    shown: set[str] = set()
    withheld: set[str] = set()

    def may_show(agency: str, event_type: str, field: str) -> bool:
        allowed = grants.shows(agency, event_type, field)
        (shown if allowed else withheld).add(f"{agency}/{event_type}/{field}")
        return allowed

    where = _where(alert, grants.site, may_show)

    def may_tell(item: Mapping[str, Any]) -> bool:
        # Every field is asked for, so that the audit names all that were left out.
        allowed = [may_show(item["agency"], item["event_type"], field) for field in item["fields"]]
        return all(allowed)

    told = [item for item in covered if may_tell(item)]
    torn = [item for item in told if grants.torn(item)]
    open_told = [item for item in told if not grants.torn(item)]
    timed = [may_show(item["agency"], item["event_type"], "time") for item in open_told]
    spoken_of = {item["person_id"] for item in covered}
    persons = {
        subject["person_id"]: _subject(subject, told, may_show)
        for subject in alert["subjects"]
        if subject["person_id"] in spoken_of
    }
    view = {
        "rule": alert["rule"],
        "severity": gravest(Severity(alert["least_severity"]), map(_severity, told)).value,
        "confidence": _confidence(covered, told),
        **where,
        "subjects": [subject for subject in persons.values() if subject is not None],
        "why": [
            *(
                {
                    "text": f"{_who(persons, item)}{item['text']}",
                    "agency": item["agency"],
                    "event_time": item["event_time"] if time_shown else None,
                }
                for item, time_shown in zip(open_told, timed, strict=True)
            ),
            *({"text": text, "agency": "", "event_time": None} for text in _texts(handed_on(torn))),
        ],
        "left_out": sum(not grants.torn(item) for item in covered) - len(open_told),
        **_advised(alert, covered),
        "due": min((item["due"] for item in told if item["due"] is not None), default=None),
    }
    # It is the time of some evidence plus a window: who knows the one knows the other.
    until = alert["until"] if all(timed) and not torn and len(told) == len(alert["evidence"]) else None
    agreements = _agreements(covered, grants)
    reason = Reason.AGREEMENT if agreements else Reason.OWN_INFORMATION
    named = _agreements([item for item in covered if not grants.torn(item)], grants)
    return Disclose(reason, view, until, agreements, named, tuple(sorted(shown)), tuple(sorted(withheld)))


def handed_on(torn: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What is told above a tear-line. Of references by which an author is called it is only one, the oldest one's: two
    would be two authors."""
    references = [item for item in torn if REFERENCE in item["fields"]]
    first = min(references, key=lambda item: (item["event_time"], item["event_id"]), default=None)
    return [item for item in torn if item is first or REFERENCE not in item["fields"]]


def _texts(handed: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each thing once and in an order of their own, so that neither tells how many say so."""
    return sorted({item["text"] for item in handed})


def _agreements(covered: Iterable[Mapping[str, Any]], grants: _Grants) -> tuple[str, ...]:
    """The agreements under which pieces of evidence may be known, by id."""
    sources = {(item["agency"], item["event_type"]) for item in covered}
    return tuple(sorted({a.id for agency, event_type in sources for a in grants.agreements(agency, event_type)}))


def _advised(alert: Mapping[str, Any], covered: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What is asked of whoever is told of this evidence, and what can be done within that."""
    caution = strictest(Caution(item["caution"]) for item in covered if item["caution"])
    if caution is None:
        return {"caution": None, "actions": list(alert["actions"])}
    under = {one["caution"]: one for one in alert["cautions"]}[caution]
    return {"caution": {"kind": caution.value, "limit": under["limit"]}, "actions": list(under["actions"])}


def _severity(item: Mapping[str, Any]) -> Severity | None:
    return Severity(item["severity"]) if item["severity"] else None


def _confidence(covered: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]) -> str:
    """As sure as what is shown makes it; unknown where a ground's sureness is not shown at all."""

    def sure(items: Iterable[Mapping[str, Any]]) -> list[tuple[str, Confidence]]:
        return [(item["ground"], Confidence(item["confidence"])) for item in items if item["confidence"]]

    if {ground for ground, _ in sure(covered)} - {ground for ground, _ in sure(told)}:
        return "UNKNOWN"
    return (surest_of_all(sure(told)) or Confidence.HIGH).value


def _where(alert: Mapping[str, Any], site: Site, may_show: _MayShow) -> dict[str, Any]:
    """Facility and unit, as far as they may be shown, and the headline, which names the unit."""
    # A facility that the site knows no more is nobody's own: neither it nor its units are shown to anybody.
    facility, unit = site.facility_by_id.get(alert["facility"] or ""), alert["unit"]
    facility_shown = facility is not None and may_show(facility.agency, "BookingReported", "facility")
    unit_shown = facility is not None and unit is not None and may_show(facility.agency, "HousingAssigned", "unit")
    return {
        "facility": alert["facility"] if facility_shown else None,
        "unit": unit if unit_shown else None,
        "headline": alert["headline"] if unit is None or unit_shown else _without_unit(alert),
    }


def _without_unit(alert: Mapping[str, Any]) -> str:
    # As a word of its own only: a unit may be called "C", and that is in other words as well.
    return re.sub(rf"(?<!\w){re.escape(alert['unit'])}(?!\w)", "a housing unit", alert["headline"])


def _subject(
    subject: Mapping[str, Any], told: Sequence[Mapping[str, Any]], may_show: _MayShow
) -> dict[str, Any] | None:
    agency = subject["agency"]
    number = subject["booking_number"] if may_show(agency, "BookingReported", "booking_number") else None
    name = subject["name"] if may_show(agency, "BookingReported", "name") else None
    if number is None and name is None:
        return None
    about = [item for item in told if item["person_id"] == subject["person_id"]]
    ways = " and ".join(sorted({item["via"] for item in about if item["via"]}))
    joined = "; tied to this person's other numbers by fingerprint" if any(item["joined"] for item in about) else ""
    return {"booking_number": number, "name": name, "linked_by": f"{ways}{joined}" or None}


def _who(persons: Mapping[str, dict[str, Any] | None], item: Mapping[str, Any]) -> str:
    """Whom a piece of evidence is about, where the alert concerns several."""
    if len(persons) < 2 or item["person_id"] is None:  # noqa: PLR2004
        return ""
    who = persons.get(item["person_id"]) or {}
    number = who.get("booking_number")
    return f"{who.get('name') or (f'Booking {number}' if number else 'A person')}: "


@dataclass(frozen=True, slots=True)
class _Told:
    """The last record that a recipient got of an alert."""

    revision: int
    digest: str
    is_open: bool
    kind: str
    rule: str
    """Empty on a withdrawal that was recalled: it names none."""
    opened: int
    """`at` of the first record since it was last not open; of the first one known, where records do not say it."""
    not_before: int = 0
    """Microseconds: when, by the broker's clock, it was withdrawn on a live site because it might not be told any more,
    though it held. The tick that ended it is no later. 0: it was not, or that was not recalled but done."""


class DiscloseStage:
    """Alerts to what each recipient may see of them, and to the audit.

    It reads no topic while it is live: `tell` is given each alert in the moment it is raised, `advance` the time.
    `failures`: where it is noted what could not be decided; None: what was raised goes to whoever asked.
    """

    def __init__(
        self, site: Site, partition: int, schemas: Mapping[int, WriterSchema], failures: Failures | None = None
    ) -> None:
        self._site = site
        self.failures = failures
        self._partition = partition
        self._schemas = schemas
        self._alerts: dict[str, Mapping[str, Any]] = {}
        """The open ones; those of a stay that is over would otherwise be kept for ever."""
        self._told: dict[tuple[str, str], _Told] = {}
        self._now = 0
        self._undecided: dict[tuple[str, str], int] = {}
        """Alerts and recipients of whom it could not be decided whether they may know them: when it is tried again,
        microseconds."""
        self._deferred: dict[tuple[str, str], int] = {}
        """Alerts and recipients who may not be told before what ended that is read again, microseconds."""
        self._ahead: Ahead[str] = Ahead()
        """By alert. Stale is what was not compared with what was told, since one or the other was recalled."""
        self._boundaries = sorted(
            {time for a in site.agreements for time in (a.valid_from, a.valid_until) if time is not None}
        )

    @property
    def tick(self) -> int:
        """The time up to which everything is told, microseconds."""
        return self._now

    def recall(self, topic: str, record: Record) -> None:
        """Take in a record of `alerts.raised` or of a recipient's topic, of its own partition. Raises DecodeError."""
        del topic
        if record.value is None:
            return
        name, value = decode(record.value, self._schemas)
        if name == "AlertDisclosed":
            self._told[value["recipient"], value["alert_id"]] = _Told(
                value["revision"],
                value["digest"],
                value["state"] == "OPEN",
                value["kind"],
                value["rule"] or "",
                value["at"] if value["opened"] is None else value["opened"],
                self._not_before(value, record),
            )
            self._ahead.stale.add(value["alert_id"])
        elif name == "AlertRaised":
            self._alerts[value["alert_id"]] = value
            self._ahead.stale.add(value["alert_id"])

    def recall_tick(self, now: int) -> None:
        """Let it be `now` (microseconds), silently: `derive_ahead` or `reconcile` comes after."""
        before, self._now = self._now, now
        if self._crosses_a_boundary(before):
            self._ahead.stale.update(self._alerts)

    def derive_ahead(self, most: int) -> int:
        """Compare up to so many alerts with what was told of them, and tell nobody: how many are left."""
        for known_as in self._ahead.some(most):
            self._ahead.note(known_as, lacks=self._lacks(known_as))
        return len(self._ahead.stale)

    def _lacks(self, known_as: str) -> bool:
        """Whether anything of an alert is to be told. Nobody is, so nothing is noted as told."""
        alert = self._alerts.get(known_as)
        if alert is None:
            return False
        keys = [(recipient.id, known_as) for recipient in self._site.recipients]
        before = {key: self._told[key] for key in keys if key in self._told}
        lacks = bool(self._tell(alert, self._cause(CauseKind.RECONCILED), news=False))
        if lacks:
            for key in keys:
                self._told.pop(key, None)
            self._told |= before
        return lacks

    def reconcile(self) -> Iterator[Out]:
        """Tell whoever lacks an alert, and withdraw what may not, or need not, be known any more, one by one: it is
        done when all was asked for."""
        cause = self._cause(CauseKind.RECONCILED)
        for known_as in sorted((self._ahead.stale | self._ahead.unsettled) & self._alerts.keys()):
            yield from self._tell(self._alerts[known_as], cause, news=False)
        self._ahead.settled()
        for (recipient, known_as), told in sorted(self._told.items()):
            if told.is_open and known_as not in self._alerts:
                lost = {"alert_id": known_as, "revision": 0, "kind": told.kind, "rule": told.rule, "at": self._now}
                yield from self._withdraw(recipient, lost, Withhold(Reason.NOTHING_HOLDS), cause, news=False)
        self._alerts = {known_as: alert for known_as, alert in self._alerts.items() if alert["state"] == "OPEN"}

    def tell(self, alert: Mapping[str, Any]) -> list[Out]:
        """What the recipients of a record of `alerts.raised` are told, and the audit of each decision."""
        self._alerts[alert["alert_id"]] = alert
        kind = CauseKind(alert["cause"]["kind"])
        # That its time has passed would tell when its evidence happened, which may not be granted.
        told_kind = CauseKind.FACT if kind is CauseKind.TICK else kind
        outs = self._tell(alert, self._cause(told_kind, alert["cause"]["event_id"]), news=True)
        if alert["state"] != "OPEN":
            # Everyone who was told knows that it is over.
            del self._alerts[alert["alert_id"]]
        return outs

    def advance(self, now: int) -> list[Out]:
        """Let it be `now` (microseconds): what changes for recipients whose agreements began or ended by then."""
        before, self._now = self._now, max(self._now, now)
        cause = self._cause(CauseKind.TICK)
        if self._crosses_a_boundary(before):
            return [out for key in sorted(self._alerts) for out in self._tell(self._alerts[key], cause, news=False)]
        return [
            *self._asked_again(self._deferred, cause, news=False),
            *self._asked_again(self._undecided, cause, news=True),
        ]

    def _asked_again(self, waiting: dict[tuple[str, str], int], cause: Cause, *, news: bool) -> list[Out]:
        """What is told, by now, of alerts and recipients of whom it had to wait."""
        again = sorted(one for one, time in waiting.items() if time <= self._now)
        for one in again:
            del waiting[one]
        alerts, by_id = self._alerts, self._site.recipient_by_id
        open_again = [(alerts[key], by_id[name]) for key, name in again if key in alerts]
        return [out for alert, one in open_again for out in self._tell_one(alert, one, cause, news=news)]

    def _not_before(self, record: Mapping[str, Any], logged: Record) -> int:
        """Until when nobody may be told again of what a record withdrew."""
        ended = record["state"] != "OPEN" and record["cause"]["kind"] == CauseKind.TICK
        return logged.timestamp * 1000 if ended and self._site.clock == "live" else 0

    def _crosses_a_boundary(self, before: int) -> bool:
        """Whether an agreement began or ended since."""
        return any(before < time <= self._now for time in self._boundaries)

    def _cause(self, kind: CauseKind, event_id: str | None = None) -> Cause:
        # No offset: a recipient could count by it what others publish. The audit has the alert's own cause besides.
        return Cause(kind, DISCLOSE, self._partition, NO_OFFSET, event_id)

    def _tell(self, alert: Mapping[str, Any], cause: Cause, *, news: bool) -> list[Out]:
        """Records for every recipient of this kind of alert. Where the alert says nothing new, only for those for
        whom something changed."""
        # A recipient that gave up a kind has no topic for it any more to be told on.
        told = [recipient for recipient in self._site.recipients if alert["kind"] in recipient.kinds]
        return [out for recipient in told for out in self._tell_one(alert, recipient, cause, news=news)]

    def _tell_one(self, alert: Mapping[str, Any], recipient: Recipient, cause: Cause, *, news: bool) -> list[Out]:
        # The alert's group is what once happened to it; here something else happens.
        group = alert["group"] if news else None
        told = self._told.get((recipient.id, alert["alert_id"]))
        if told is not None and told.not_before > self._now:
            # By the time until which the log is read again it might still be told.
            self._deferred[alert["alert_id"], recipient.id] = told.not_before
            return []
        decision = self._decided(alert, recipient)
        if decision is None:
            return []
        if isinstance(decision, Disclose):
            records = self._disclosed(alert, recipient, decision, told, cause, group)
            said = [self._audit(alert, recipient.id, "DISCLOSED", decision, cause)] if records or news else []
            return [*records, *said]
        if told is not None and told.is_open:
            return self._withdraw(recipient.id, alert, decision, cause, news=news)
        if news and decision.reason is not Reason.NOTHING_HOLDS:
            return [self._audit(alert, recipient.id, "WITHHELD", decision, cause)]
        return []

    def _decided(self, alert: Mapping[str, Any], recipient: Recipient) -> Disclose | Withhold | None:
        """Whether a recipient may know an alert; None where that can't be said: nothing is told then, what was told
        stands, and it is tried again."""
        try:
            return decide(alert, recipient, self._site, self._now)
        except Exception as error:
            if self.failures is None:
                raise
            self.failures.say(f"{DISCLOSE} to {recipient.id}", error)
            self._undecided[alert["alert_id"], recipient.id] = self._now + RETRY
            return None

    def _disclosed(
        self,
        alert: Mapping[str, Any],
        recipient: Recipient,
        decision: Disclose,
        told: _Told | None,
        cause: Cause,
        group: str | None,
    ) -> list[Out]:
        view = {**decision.view, "agreements": list(decision.named)}
        now_digest = digest(view)
        if told is not None and told.is_open and told.digest == now_digest:
            return []
        revision = told.revision + 1 if told else 1
        # Since when it is open for others would tell of what this recipient may not know.
        opened = told.opened if told is not None and told.is_open else alert["at"]
        self._told[recipient.id, alert["alert_id"]] = _Told(
            revision, now_digest, True, alert["kind"], alert["rule"], opened
        )
        record = {
            **view,
            "alert_id": alert["alert_id"],
            "revision": revision,
            "state": "OPEN",
            "digest": now_digest,
            "recipient": recipient.id,
            "kind": alert["kind"],
            "until": decision.until,
            "opened": opened,
            "at": alert["at"],
            # Not which event: it may be another agency's.
            "cause": cause._replace(event_id=None).record(),
            "group": group,
        }
        return [self._out(recipient.id, alert["kind"], alert["alert_id"], record)]

    def _withdraw(
        self, recipient: str, alert: Mapping[str, Any], decision: Withhold, cause: Cause, *, news: bool
    ) -> list[Out]:
        """The withdrawal, id only: it reaches everyone who was told, whatever an agreement says meanwhile."""
        # It still holds and says nothing new: what ended is that it may be told, also where that is found on recovery.
        # Where it says something new, what may be told of it is over, and that others say it too may not be told.
        still_holds = not news and decision.reason is not Reason.NOTHING_HOLDS
        over_by = cause._replace(kind=CauseKind.TICK) if still_holds else cause
        known_as = alert["alert_id"]
        told = self._told[recipient, known_as]
        self._told[recipient, known_as] = replace(
            told, revision=told.revision + 1, digest=WITHDRAWN_DIGEST, is_open=False
        )
        record = {
            "alert_id": known_as,
            "revision": told.revision + 1,
            "state": "WITHDRAWN",
            "digest": WITHDRAWN_DIGEST,
            "recipient": recipient,
            "severity": "UNKNOWN",
            "confidence": "UNKNOWN",
            "subjects": [],
            "why": [],
            "left_out": 0,
            "actions": [],
            "agreements": [],
            "kind": told.kind,
            "at": alert["at"],
            "cause": over_by._replace(event_id=None).record(),
            "group": alert["group"] if news else None,
        }
        return [
            self._out(recipient, told.kind, known_as, record),
            self._audit(alert, recipient, "WITHDRAWN", decision, cause),
        ]

    def _out(self, recipient: str, kind: str, known_as: str, record: dict[str, Any]) -> Out:
        topic = topics.alerts_for(self._site.name, recipient, kind)
        return Out(topic, self._partition, known_as.encode(), "AlertDisclosed", record)

    def _audit(
        self,
        alert: Mapping[str, Any],
        recipient: str,
        decided: str,
        decision: Disclose | Withhold,
        cause: Cause,
    ) -> Out:
        record = {
            "alert_id": alert["alert_id"],
            "revision": alert["revision"],
            "recipient": recipient,
            "kind": alert["kind"],
            "rule": alert["rule"],
            "decision": decided,
            "reason": decision.reason.value,
            "agreements": list(decision.agreements) if isinstance(decision, Disclose) else [],
            "fields_shown": list(decision.shown) if isinstance(decision, Disclose) else [],
            "fields_withheld": list(decision.withheld),
            "at": self._now,
            "cause": cause.record(),
            # Of what is on no log nothing can be kept: its fields have their defaults.
            **(kept_of(alert) if alert["revision"] else {}),
        }
        topic = topics.disclosures(self._site.name)
        return Out(topic, self._partition, alert["alert_id"].encode(), "DisclosureDecided", record)
