"""Explanation: what the logs tell of one alert, put together. Pure.

What raised, changed and withdrew it; what each of its records rests on, where that is on the logs, who was told of it
and under which agreement. Of a record that is gone the audit keeps an outline, which takes its place. What is not on
the logs any more is said to be missing, and why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from deploy.log_reader import Found, Said
from schemas.agreements import Agreement
from schemas.site import Recipient, Site
from streams.alerts import CONTENT, CauseKind
from streams.correlations.situation import Line
from streams.custody import CUSTODY, person_of
from streams.disclose import covered_of, handed_on, leaves_its_agency, may_know_of_staff
from streams.facts import KeyKind, parse_key
from streams.heard import NOTES, read_note
from streams.outline import Named, is_outline, outlines, whose, with_persons
from streams.records import header
from streams.replay import Lack, Place, shipped
from streams.stage import input_of


class What(StrEnum):
    """What a record on the facts topics is."""

    FACT = "FACT"
    SAME_AS = "SAME_AS"
    WITHDRAWAL = "WITHDRAWAL"
    PLACEMENT = "PLACEMENT"
    TOMBSTONE = "TOMBSTONE"
    NOTE = "NOTE"
    TICK = "TICK"
    OTHER = "OTHER"


class Shown(StrEnum):
    """How a piece of evidence was told to a recipient."""

    OWN_INFORMATION = "OWN_INFORMATION"
    AGREEMENT = "AGREEMENT"
    LEFT_OUT = "LEFT_OUT"


@dataclass(frozen=True, slots=True)
class Trace:
    """A record that an event left on the facts topics. Empty strings where a part does not apply."""

    what: What
    place: Place
    agency: str
    event_type: str
    event_id: str
    person: str
    inbound: str
    """The topic that the event came on; empty where the record does not say it."""
    everywhere: bool
    """It is on every partition, since it is about nobody, or of nobody knows whom."""
    origin: str = ""
    """The person from whom it was forwarded; empty where it was not."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a piece of evidence for one recipient, by the last decision to disclose that revision."""

    recipient: str
    how: Shown
    agreements: tuple[str, ...]
    fields: tuple[str, ...]
    """The fields that its text shows."""


@dataclass(frozen=True, slots=True)
class Ground:
    """One piece of evidence: where it came from, where that is now, and who was told.

    By an outline one event, and one person where it is about any: empty, or None, where that does not say more.
    """

    text: str
    agency: str
    event_type: str
    event_id: str
    event_time: int | None
    """Microseconds."""
    person: str | None
    via: str
    joined: bool
    marked: bool
    facts: tuple[Trace, ...]
    gone: Lack | None
    """Why its fact is not there any more; None where it is."""
    inbound: tuple[Place, ...]
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """What led to a revision."""

    kind: CauseKind
    stage: str
    place: Place
    """The record of the stage's input; the last one folded, for what was found on recovery."""
    event_id: str | None
    on_the_log: bool
    """Whether that record is still there."""
    traces: tuple[Trace, ...]
    """What the event left on the facts topics."""
    inbound: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision on disclosure."""

    place: Place
    revision: int
    recipient: str
    decision: str
    reason: str
    agreements: tuple[str, ...]
    shown: tuple[str, ...]
    withheld: tuple[str, ...]
    at: int
    """Microseconds."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One record of the alert, as far as it is left: what was decided about it is kept for ever."""

    revision: int
    record: Mapping[str, Any] | None
    """As on `alerts.raised`; None where compaction has taken it."""
    outline: Mapping[str, Any] | None
    """What the audit keeps of it, where it is gone; None where it keeps nothing."""
    place: Place | None
    origin: Origin | None
    before: str | None
    """State of the revision before; None where that is not known."""
    changed: tuple[str, ...]
    """Fields in which it differs from the revision before, where that one is there."""
    grounds: tuple[Ground, ...]
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the logs tell of one alert."""

    alert_id: str
    site: str
    rule: str
    rule_version: int
    """As recorded last."""
    shipped_version: int | None
    kind: str
    key: tuple[str, ...]
    state: str
    missing: tuple[int, ...]
    """Revisions whose records are not there any more."""
    revisions: tuple[Revision, ...]
    agreements: tuple[Agreement, ...]
    """Those that the decisions name, as the site's files have them."""
    agreements_gone: tuple[str, ...]
    """Those that they have no more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records of the facts topics an explanation is made of."""

    events: frozenset[Named]
    """The events that the alert's records rest on."""
    causes: frozenset[str]
    """Ids of the events that raised, changed or withdrew it."""
    places: frozenset[Place]
    """Where the stage was on its input when it wrote them."""
    persons: frozenset[str]

    @classmethod
    def of(cls, alerts: Sequence[Mapping[str, Any]], site: Site) -> Wanted:
        """What the records of one alert need, or their outlines."""
        evidence = [item for alert in alerts for item in alert["evidence"]]
        return cls(
            frozenset((item["agency"], item["event_id"]) for item in evidence),
            frozenset(alert["cause"]["event_id"] for alert in alerts if alert["cause"]["event_id"] is not None),
            frozenset(_cause_place(alert, site) for alert in alerts),
            frozenset(item["person_id"] for item in evidence if item["person_id"] is not None),
        )

    def has(self, found: Trace) -> bool:
        """Whether a record is one of them."""
        return (
            (found.agency, found.event_id) in self.events
            or found.event_id in self.causes
            or found.place in self.places
            or (found.what is What.PLACEMENT and found.person in self.persons)
        )


def outlines_of(alerts: Sequence[Said], decisions: Sequence[Said], site: Site) -> Mapping[int, Mapping[str, Any]]:
    """By revision: what the audit keeps of the records of one alert that are gone."""
    return outlines([one.value for one in decisions], [one.value for one in alerts], alerts[-1].value, site.name)


def with_their_persons(
    kept: Mapping[int, Mapping[str, Any]], facts: Iterable[Trace]
) -> Mapping[int, Mapping[str, Any]]:
    """The outlines with the persons of their events, by the facts of those, in the order of the log."""
    persons = whose(
        ((one.agency, one.event_id), one.person, one.origin, one.what is What.FACT)
        for one in facts
        if one.person and one.what in (What.FACT, What.TOMBSTONE)
    )
    return {revision: with_persons(outline, persons) for revision, outline in kept.items()}


def explanation_of(
    alerts: Sequence[Said],
    kept: Mapping[int, Mapping[str, Any]],
    decisions: Sequence[Said],
    facts: Sequence[Trace],
    inbound: Sequence[Found],
    purged: Collection[Named],
    site: Site,
) -> Explanation:
    """Put together what was found: `facts` on the facts topics, `inbound` on the agencies' own.

    `kept` are the outlines of records that are gone, by revision; `purged` are events whose purge date has come.
    """
    last = alerts[-1].value
    decided = [_decision(one) for one in decisions]
    known = {one.value["revision"]: one for one in alerts}
    numbers = sorted({*range(1, last["revision"] + 1), *(one.revision for one in decided)})
    named = sorted({agreement for one in decided for agreement in one.agreements})
    by_id = {agreement.id: agreement for agreement in site.agreements}
    rule = shipped(last["cause"]["stage"], last["rule"])
    logs = _Logs(known, kept, decided, facts, inbound, purged, site)
    return Explanation(
        last["alert_id"],
        site.name,
        last["rule"],
        last["rule_version"],
        rule.version if rule is not None else None,
        last["kind"],
        tuple(last["key"]),
        last["state"],
        tuple(number for number in numbers if number not in known),
        tuple(_revision(number, logs) for number in numbers),
        tuple(by_id[one] for one in named if one in by_id),
        tuple(one for one in named if one not in by_id),
    )


@dataclass(frozen=True, slots=True)
class _Logs:
    """What was found on the logs, and the site that they are of."""

    known: Mapping[int, Said]
    kept: Mapping[int, Mapping[str, Any]]
    decided: Sequence[Decision]
    facts: Sequence[Trace]
    inbound: Sequence[Found]
    purged: Collection[Named]
    site: Site

    def alert(self, revision: int) -> Mapping[str, Any] | None:
        """A record of the alert, or its outline."""
        said = self.known.get(revision)
        return said.value if said is not None else self.kept.get(revision)


def _revision(number: int, logs: _Logs) -> Revision:
    decisions = tuple(one for one in logs.decided if one.revision == number)
    said, alert, before = logs.known.get(number), logs.alert(number), logs.alert(number - 1)
    before_it = before["state"] if before is not None else None
    if alert is None:
        return Revision(number, None, None, None, None, before_it, (), (), decisions)
    return Revision(
        number,
        said.value if said is not None else None,
        None if said is not None else alert,
        said.place if said is not None else None,
        _origin(alert, logs),
        before_it,
        _changed(before, alert),
        tuple(
            _ground(item, told, alert, logs)
            for item, told in zip(alert["evidence"], _told(alert, decisions, logs.site), strict=True)
        ),
        decisions,
    )


def _changed(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[str, ...]:
    if before is None or is_outline(before) or is_outline(after):
        return ()
    return tuple(name for name in ("state", "rule_version", *CONTENT) if before[name] != after[name])


def _decision(said: Said) -> Decision:
    value = said.value
    return Decision(
        said.place,
        value["revision"],
        value["recipient"],
        value["decision"],
        value["reason"],
        tuple(value["agreements"]),
        tuple(value["fields_shown"]),
        tuple(value["fields_withheld"]),
        value["at"],
    )


def _ground(item: Mapping[str, Any], told: tuple[Told, ...], alert: Mapping[str, Any], logs: _Logs) -> Ground:
    place = _cause_place(alert, logs.site)
    of_it = [one for one in logs.facts if (one.agency, one.event_id) == (item["agency"], item["event_id"])]
    traces = (*_once(of_it, place), *_placed(item["person_id"], logs.facts, place))
    # Of an outline's events nothing is known but their ids.
    return Ground(
        item.get("text", ""),
        item["agency"],
        item["event_type"],
        item["event_id"],
        item.get("event_time"),
        item["person_id"],
        item.get("via", ""),
        item.get("joined", False),
        item.get("marked", False),
        traces,
        _gone(item, of_it, logs.purged),
        _came_on(item["event_id"], {item["topic"]}, logs.inbound),
        told,
    )


def _gone(item: Mapping[str, Any], of_it: Sequence[Trace], purged: Collection[Named]) -> Lack | None:
    """Why the fact of an event is not on the facts topics any more, by what it left there; None where it is."""
    left = {one.what for one in of_it}
    if left & {What.FACT, What.SAME_AS, What.NOTE}:
        return None
    if What.WITHDRAWAL in left:
        return Lack.WITHDRAWN
    if (item["agency"], item["event_id"]) in purged:
        return Lack.PURGED
    return Lack.TOMBSTONED if What.TOMBSTONE in left else Lack.GONE


def _cause_place(alert: Mapping[str, Any], site: Site) -> Place:
    cause = alert["cause"]
    return Place(input_of(cause["stage"], site), cause["partition"], cause["offset"])


def _once(traces: Iterable[Trace], cause: Place) -> Iterator[Trace]:
    """Of what is on every partition only the record that the stage read."""
    read = cause.topic, cause.partition
    return (one for one in traces if not one.everywhere or (one.place.topic, one.place.partition) == read)


def _placed(person: str | None, traces: Iterable[Trace], cause: Place) -> list[Trace]:
    """The record of a person in custody that a facility's alert stood on; where it was replaced, the next one."""
    placed = [one for one in traces if one.what is What.PLACEMENT and one.person == person]
    by_then = [one for one in placed if one.place.offset <= cause.offset]
    return by_then[-1:] or placed[:1]


def _told(alert: Mapping[str, Any], decisions: Sequence[Decision], site: Site) -> list[tuple[Told, ...]]:
    """By piece of evidence: what became of it for whom. Of an outline's nothing is known."""
    evidence = alert["evidence"]
    if is_outline(alert):
        return [() for _ in evidence]
    last = {one.recipient: one for one in decisions if one.decision == "DISCLOSED"}
    by_recipient = [_told_to(decision, alert, site) for decision in last.values()]
    return [tuple(told[number] for told in by_recipient) for number in range(len(evidence))]


def _told_to(decision: Decision, alert: Mapping[str, Any], site: Site) -> list[Told]:
    """By piece of evidence: what became of it for the recipient of a decision. As it was decided: what is not covered
    was left out with the rest of its alternative; what is covered, where a field of it was not granted."""
    then, evidence = _Then.of(decision, alert["facility"], site), alert["evidence"]
    covered = covered_of(evidence, then.covers)
    told = [item for item in covered if then.fields(item) <= set(decision.shown)]
    torn = [item for item in told if item["line"] == Line.ABOVE and not then.own(item)]
    said = [*(item for item in told if not _is_in(item, torn)), *handed_on(torn)]
    return [then.told(item, _is_in(item, said)) for item in evidence]


def _is_in(item: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> bool:
    """Whether it is that very piece: others may say the same."""
    return any(item is one for one in items)


@dataclass(frozen=True, slots=True)
class _Then:
    """What a recipient might know when it was decided, as far as the decision and the site's files say so.

    What they say no more is taken to be possible: whose agency a recipient is of that they do not have any more, and
    what an agreement granted.
    """

    decision: Decision
    recipient: Recipient | None
    by_id: Mapping[str, Agreement]
    facility: str | None
    site: Site

    @classmethod
    def of(cls, decision: Decision, facility: str | None, site: Site) -> _Then:
        """By the site's files as they are now."""
        by_id = {agreement.id: agreement for agreement in site.agreements}
        return cls(decision, site.recipient_by_id.get(decision.recipient), by_id, facility, site)

    def under(self, item: Mapping[str, Any]) -> tuple[str, ...]:
        """The agreements under which the recipient may have known of it."""
        return tuple(one for one in self.decision.agreements if self._may_grant(one, item))

    def _may_grant(self, agreement_id: str, item: Mapping[str, Any]) -> bool:
        agreement = self.by_id.get(agreement_id)
        if agreement is None:
            # Of one that the site's files have no more it can't be said whose information it granted.
            return True
        # It may have granted more than it does now: what was shown says so.
        shown = any(one.startswith(f"{item['agency']}/{item['event_type']}/") for one in self.decision.shown)
        return agreement.source == item["agency"] and (item["event_type"] in agreement.grants or shown)

    def own(self, item: Mapping[str, Any]) -> bool:
        """Whether it is the recipient's own agency's information."""
        agency: str = item["agency"]
        if self.recipient is not None:
            return agency == self.recipient.agency
        # Of others nothing is shown without an agreement.
        shown = any(one.startswith(f"{agency}/") for one in self.decision.shown)
        return shown and not self.under(item)

    def _may_know_of_staff(self, recipient: Recipient, agency: str) -> bool:
        return may_know_of_staff(recipient, agency, self.facility, self.site)

    def covers(self, item: Mapping[str, Any]) -> bool:
        """Whether the recipient might know that it exists."""
        if item["staff"] and self.recipient is not None and not self._may_know_of_staff(self.recipient, item["agency"]):
            return False
        return self.own(item) or (leaves_its_agency(item) and bool(self.under(item)))

    def fields(self, item: Mapping[str, Any]) -> set[str]:
        """The fields that its text shows, as a decision names them."""
        return {f"{item['agency']}/{item['event_type']}/{name}" for name in item["fields"]}

    def told(self, item: Mapping[str, Any], said: bool) -> Told:
        """What became of a piece of evidence, by whether it was said."""
        fields = tuple(item["fields"])
        if not said:
            return Told(self.decision.recipient, Shown.LEFT_OUT, (), fields)
        if self.own(item):
            return Told(self.decision.recipient, Shown.OWN_INFORMATION, (), fields)
        return Told(self.decision.recipient, Shown.AGREEMENT, self.under(item), fields)


def _origin(alert: Mapping[str, Any], logs: _Logs) -> Origin:
    cause, place = alert["cause"], _cause_place(alert, logs.site)
    at_it = [one for one in logs.facts if one.place == place]
    of_it = [one for one in logs.facts if one.event_id and one.event_id == cause["event_id"] and one.place != place]
    traces = tuple(_once([*at_it, *of_it], place))
    came_on = _came_on(cause["event_id"], {one.inbound for one in traces}, logs.inbound) if cause["event_id"] else ()
    kind = CauseKind(cause["kind"])
    return Origin(kind, cause["stage"], place, cause["event_id"], bool(at_it), traces, came_on)


def _came_on(event_id: str, on: set[str], inbound: Sequence[Found]) -> tuple[Place, ...]:
    wanted = event_id.encode()
    return tuple(one.place for one in inbound if one.place.topic in on and wanted in (one.record.value or b""))


def trace(found: Found) -> Trace:
    """What a record on the facts topics is, by its key and headers."""
    key, record, place = found.record.key or b"", found.record, found.place
    if key.startswith(CUSTODY):
        return Trace(What.PLACEMENT, place, "", "PersonInCustody", "", person_of(key), "", everywhere=False)
    try:
        if key.startswith(NOTES):
            note = read_note(found.record)
            return Trace(What.NOTE, place, note.agency, note.event_type, note.id, "", note.topic, everywhere=False)
        parsed = parse_key(key)
    except ValueError:
        return Trace(What.OTHER, place, "", "", "", "", "", everywhere=False)
    # What many facts share is in one header: type and inbound topic come first in it.
    event_type, inbound, *_ = (header(record.headers, "sort") or ";").split(";")
    kinds = {KeyKind.PERSON: What.FACT, KeyKind.EVERYONE: What.FACT, KeyKind.SAME_AS: What.SAME_AS}
    what = {**kinds, KeyKind.WITHDRAWN: What.WITHDRAWAL, KeyKind.TICK: What.TICK}.get(parsed.kind, What.OTHER)
    return Trace(
        What.TOMBSTONE if record.value is None else what,
        place,
        parsed.agency,
        event_type,
        parsed.event_id,
        parsed.person,
        inbound,
        everywhere=parsed.kind in (KeyKind.EVERYONE, KeyKind.WITHDRAWN),
        origin=parsed.origin,
    )
