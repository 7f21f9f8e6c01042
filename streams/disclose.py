"""Disclose: who may see what of an alert. Pure, default deny; every decision comes with its reason.

An agency sees its own information. Of another's it sees what an agreement in force grants, field by field. The mere
existence of an alert tells that each agency behind it said something, so an alert is withheld unless every one of
them has an agreement with the recipient for this kind of alert and this type of event.

Sources of the lines that no agreement can move: health data to care recipients only (42 CFR Part 2; HIPAA, 45 CFR
164.512(k)(5)); criminal intelligence only where there is a need and a right to know (28 CFR 23.20(e)-(f)).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from schemas import topics
from schemas.agreements import Agreement
from schemas.codec import WriterSchema, decode, digest
from schemas.events import CARE_EVENTS
from schemas.site import Recipient, Site
from streams.alerts import WITHDRAWN_DIGEST, Cause, CauseKind
from streams.facts import TICK_KEY
from streams.records import Out, Record

DISCLOSE: Final = "disclose"
"""The stage's name."""


class Reason(StrEnum):
    """Why an alert is disclosed or withheld."""

    OWN_INFORMATION = "OWN_INFORMATION"
    AGREEMENT = "AGREEMENT"
    NO_AGREEMENT = "NO_AGREEMENT"
    OTHER_FACILITY = "OTHER_FACILITY"
    HEALTH = "HEALTH"
    NOTHING_HOLDS = "NOTHING_HOLDS"


@dataclass(frozen=True, slots=True)
class Disclose:
    """The recipient is told: what it sees, and what rests on which agreement."""

    reason: Reason
    view: dict[str, Any]
    """Fields of AlertDisclosed that hold content."""
    agreements: tuple[str, ...]
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
    kind: str
    in_force: tuple[Agreement, ...]

    def agreements(self, agency: str, event_type: str) -> tuple[Agreement, ...]:
        return tuple(a for a in self.in_force if a.source == agency and event_type in a.grants)

    def own(self, agency: str) -> bool:
        return agency == self.recipient.agency

    def covers(self, agency: str, event_type: str) -> bool:
        return self.own(agency) or bool(self.agreements(agency, event_type))

    def shows(self, agency: str, event_type: str, field: str) -> bool:
        return self.own(agency) or any(field in a.grants[event_type] for a in self.agreements(agency, event_type))


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
    grants = _Grants(site, recipient, alert["kind"], in_force)
    sources = sorted({(item["agency"], item["event_type"]) for item in evidence})
    lacking = [f"{agency}/{event_type}" for agency, event_type in sources if not grants.covers(agency, event_type)]
    if lacking:
        return Withhold(Reason.NO_AGREEMENT, tuple(lacking))
    return _view(alert, grants, sources)


def _view(alert: Mapping[str, Any], grants: _Grants, sources: Iterable[tuple[str, str]]) -> Disclose:
    shown: set[str] = set()
    withheld: set[str] = set()

    def may_show(agency: str, event_type: str, field: str) -> bool:
        allowed = grants.shows(agency, event_type, field)
        (shown if allowed else withheld).add(f"{agency}/{event_type}/{field}")
        return allowed

    why = []
    for item in alert["evidence"]:
        # A list, not a generator: every field is asked for, so that the audit names all that were left out.
        allowed = [may_show(item["agency"], item["event_type"], field) for field in item["fields"]]
        if all(allowed):
            timed = may_show(item["agency"], item["event_type"], "time")
            why.append(
                {
                    "text": item["text"],
                    "agency": item["agency"],
                    "event_time": item["event_time"] if timed else None,
                }
            )
    facility = grants.site.facility_by_id.get(alert["facility"] or "")
    jail = facility.agency if facility else grants.recipient.agency
    unit_shown = alert["unit"] is not None and may_show(jail, "HousingAssigned", "unit")
    view = {
        "rule": alert["rule"],
        "severity": alert["severity"],
        "confidence": alert["confidence"],
        "facility": alert["facility"] if may_show(jail, "BookingReported", "facility") else None,
        "unit": alert["unit"] if unit_shown else None,
        "headline": alert["headline"] if alert["unit"] is None or unit_shown else _without_unit(alert),
        "subjects": [
            shown_subject for subject in alert["subjects"] if (shown_subject := _subject(subject, may_show)) is not None
        ],
        "why": why,
        "left_out": len(alert["evidence"]) - len(why),
        "actions": list(alert["actions"]),
    }
    agreements = sorted({a.id for agency, event_type in sources for a in grants.agreements(agency, event_type)})
    reason = Reason.AGREEMENT if agreements else Reason.OWN_INFORMATION
    return Disclose(reason, view, tuple(agreements), tuple(sorted(shown)), tuple(sorted(withheld)))


def _without_unit(alert: Mapping[str, Any]) -> str:
    return str(alert["headline"]).replace(str(alert["unit"]), "a housing unit")


def _subject(subject: Mapping[str, Any], may_show: Any) -> dict[str, Any] | None:
    agency = subject["agency"]
    number = subject["booking_number"] if may_show(agency, "BookingReported", "booking_number") else None
    name = subject["name"] if may_show(agency, "BookingReported", "name") else None
    if number is None and name is None:
        return None
    return {
        "person_id": subject["person_id"],
        "booking_number": number,
        "name": name,
        "linked_by": subject["linked_by"],
    }


@dataclass(frozen=True, slots=True)
class _Told:
    """The last record that a recipient got of an alert."""

    revision: int
    digest: str
    is_open: bool


class DiscloseStage:
    """Alerts to what each recipient may see of them, and to the audit. Satisfies `stage.Stage`."""

    def __init__(self, site: Site, partition: int, schemas: Mapping[int, WriterSchema]) -> None:
        self._site = site
        self._partition = partition
        self._schemas = schemas
        self._alerts: dict[str, dict[str, Any]] = {}
        self._told: dict[tuple[str, str], _Told] = {}
        self._last_cause = -1
        self._now = 0
        self._boundaries = sorted(
            {time for a in site.agreements for time in (a.valid_from, a.valid_until) if time is not None}
        )

    @property
    def tick(self) -> int:
        """The last tick, microseconds."""
        return self._now

    def recall(self, topic: str, record: Record) -> None:
        """Take in a record of a recipient's topic or of the audit, of its own partition."""
        if record.value is None:
            return
        name, value = decode(record.value, self._schemas)
        self._last_cause = max(self._last_cause, value["cause"]["offset"])
        if name == "AlertDisclosed":
            self._told[value["recipient"], value["alert_id"]] = _Told(
                value["revision"], value["digest"], value["state"] == "OPEN"
            )
        del topic

    def last_cause(self) -> int:
        """The last disclosure's or decision's cause."""
        return self._last_cause

    def refold(self, record: Record) -> None:
        """Fold one alert, or a tick, silently."""
        self._fold(record)

    def _fold(self, record: Record) -> tuple[dict[str, Any] | None, bool]:
        """(The alert that is new or changed, whether agreements began or ended)."""
        if record.value is None:
            return None, False
        name, value = decode(record.value, self._schemas)
        if record.key == TICK_KEY:
            before, self._now = self._now, max(self._now, int(value["time"]))
            return None, any(before < time <= self._now for time in self._boundaries)
        if name != "AlertRaised":
            return None, False
        known = self._alerts.get(value["alert_id"])
        if known is not None and value["revision"] <= known["revision"]:
            return None, False
        self._alerts[value["alert_id"]] = value
        return value, False

    def reconcile(self, position: int) -> list[Out]:
        """Tell whoever lacks an alert, and withdraw what may not, or need not, be known any more."""
        cause = Cause(CauseKind.RECONCILED, DISCLOSE, self._partition, position - 1)
        outs = [out for known_as in sorted(self._alerts) for out in self._tell(self._alerts[known_as], cause, None)]
        for (recipient, known_as), told in sorted(self._told.items()):
            if told.is_open and known_as not in self._alerts:
                outs += self._withdraw(recipient, known_as, {}, cause)
        return outs

    def process(self, record: Record) -> list[Out]:
        """Fold one alert, or a tick: what its recipients are told, and the audit of each decision."""
        alert, agreements_changed = self._fold(record)
        if alert is not None:
            cause = Cause(CauseKind.FACT, DISCLOSE, self._partition, record.offset, alert["cause"]["event_id"])
            return self._tell(alert, cause, record.offset)
        if agreements_changed:
            cause = Cause(CauseKind.TICK, DISCLOSE, self._partition, record.offset)
            return [out for key in sorted(self._alerts) for out in self._tell(self._alerts[key], cause, None)]
        return []

    def _tell(self, alert: Mapping[str, Any], cause: Cause, offset: int | None) -> list[Out]:
        """Records for every recipient of this kind of alert. Without an offset (nothing new was said), only for
        those for whom something changed."""
        outs = []
        for recipient in self._site.recipients:
            told = self._told.get((recipient.id, alert["alert_id"]))
            if alert["kind"] not in recipient.kinds:
                # A recipient that gave up a kind has no topic for it any more to be told on.
                continue
            decision = decide(alert, recipient, self._site, self._now)
            if isinstance(decision, Disclose):
                records = self._disclosed(alert, recipient, decision, told, cause)
                if records or offset is not None:
                    outs += [*records, self._audit(alert, recipient.id, "DISCLOSED", decision, cause)]
            elif told is not None and told.is_open:
                outs += self._withdraw(recipient.id, alert["alert_id"], alert, cause)
            elif offset is not None and decision.reason is not Reason.NOTHING_HOLDS:
                outs.append(self._audit(alert, recipient.id, "WITHHELD", decision, cause))
        return outs

    def _disclosed(
        self,
        alert: Mapping[str, Any],
        recipient: Recipient,
        decision: Disclose,
        told: _Told | None,
        cause: Cause,
    ) -> list[Out]:
        view = {**decision.view, "agreements": list(decision.agreements)}
        now_digest = digest(view)
        if told is not None and told.is_open and told.digest == now_digest:
            return []
        revision = told.revision + 1 if told else 1
        self._told[recipient.id, alert["alert_id"]] = _Told(revision, now_digest, True)
        record = {
            **view,
            "alert_id": alert["alert_id"],
            "revision": revision,
            "state": "OPEN",
            "digest": now_digest,
            "recipient": recipient.id,
            "kind": alert["kind"],
            "until": alert["until"],
            "at": alert["at"],
            "cause": cause.record(),
            "group": alert["group"],
        }
        return [self._out(recipient.id, alert["kind"], alert["alert_id"], record)]

    def _withdraw(self, recipient: str, known_as: str, alert: Mapping[str, Any], cause: Cause) -> list[Out]:
        """The withdrawal, id only: it reaches everyone who was told, whatever an agreement says meanwhile."""
        told = self._told[recipient, known_as]
        self._told[recipient, known_as] = _Told(told.revision + 1, WITHDRAWN_DIGEST, False)
        kind = alert.get("kind")
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
            "at": alert.get("at", self._now),
            "cause": cause.record(),
            "group": alert.get("group"),
        }
        kinds = [kind] if kind else list(self._site.recipient_by_id[recipient].kinds)
        outs = [self._out(recipient, each, known_as, {**record, "kind": each}) for each in kinds]
        if alert:
            outs.append(self._audit(alert, recipient, "WITHDRAWN", Withhold(Reason.NOTHING_HOLDS), cause))
        return outs

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
        }
        topic = topics.disclosures(self._site.name)
        return Out(topic, self._partition, alert["alert_id"].encode(), "DisclosureDecided", record)
