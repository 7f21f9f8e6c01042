"""Explanation: what the logs tell of one alert, put together. Pure.

What raised, changed and withdrew it; what each of its records rests on, where that is on the logs, who was told of it
and under which agreement. What is not on the logs any more is said to be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from deploy.log_reader import Found, Said
from schemas import topics
from schemas.agreements import Agreement
from schemas.site import Site
from streams.alerts import CauseKind
from streams.custody import CUSTODY, person_of
from streams.facts import KeyKind, parse_key
from streams.heard import NOTES, read_note
from streams.records import header
from streams.replay import Named, Place, shipped
from streams.stage import PERSON


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
    """One piece of evidence: where it came from, where that is now, and who was told."""

    text: str
    agency: str
    event_type: str
    event_id: str
    event_time: int
    """Microseconds."""
    person: str | None
    via: str
    joined: bool
    marked: bool
    facts: tuple[Trace, ...]
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
    place: Place | None
    origin: Origin | None
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


def input_topic(site: Site, stage: str) -> str:
    """The facts topic that a stage reads."""
    return topics.person_facts(site.name) if stage == PERSON else topics.facility_facts(site.name)


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
        """What the records of one alert need."""
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


def explanation_of(
    alerts: Sequence[Said], decisions: Sequence[Said], facts: Sequence[Trace], inbound: Sequence[Found], site: Site
) -> Explanation:
    """Put together what was found: `facts` on the facts topics, `inbound` on the agencies' own."""
    last = alerts[-1].value
    decided = [_decision(one) for one in decisions]
    known = {one.value["revision"]: one for one in alerts}
    numbers = sorted({*range(1, last["revision"] + 1), *(one.revision for one in decided)})
    named = sorted({agreement for one in decided for agreement in one.agreements})
    by_id = {agreement.id: agreement for agreement in site.agreements}
    rule = shipped(last["cause"]["stage"], last["rule"])
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
        tuple(_revision(number, known, decided, facts, inbound, site) for number in numbers),
        tuple(by_id[one] for one in named if one in by_id),
        tuple(one for one in named if one not in by_id),
    )


def _revision(
    number: int,
    known: Mapping[int, Said],
    decided: Sequence[Decision],
    facts: Sequence[Trace],
    inbound: Sequence[Found],
    site: Site,
) -> Revision:
    decisions = tuple(one for one in decided if one.revision == number)
    said = known.get(number)
    if said is None:
        return Revision(number, None, None, None, (), (), decisions)
    alert, before = said.value, known.get(number - 1)
    changed = _changed(before.value, alert) if before is not None else ()
    grounds = tuple(_ground(item, alert, decisions, facts, inbound, site) for item in alert["evidence"])
    return Revision(number, alert, said.place, _origin(alert, facts, inbound, site), changed, grounds, decisions)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    told = ("state", "rule_version", "severity", "confidence", "unit", "headline", "subjects", "evidence", "actions")
    return tuple(name for name in told if before[name] != after[name])


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


def _ground(
    item: Mapping[str, Any],
    alert: Mapping[str, Any],
    decisions: Sequence[Decision],
    facts: Sequence[Trace],
    inbound: Sequence[Found],
    site: Site,
) -> Ground:
    place = _cause_place(alert, site)
    of_it = [one for one in facts if (one.agency, one.event_id) == (item["agency"], item["event_id"])]
    traces = (*_once(of_it, place), *_placed(item["person_id"], facts, place))
    return Ground(
        item["text"],
        item["agency"],
        item["event_type"],
        item["event_id"],
        item["event_time"],
        item["person_id"],
        item["via"],
        item["joined"],
        item["marked"],
        traces,
        _came_on(item["event_id"], {item["topic"]}, inbound),
        tuple(_told(item, decisions, site)),
    )


def _cause_place(alert: Mapping[str, Any], site: Site) -> Place:
    cause = alert["cause"]
    return Place(input_topic(site, cause["stage"]), cause["partition"], cause["offset"])


def _once(traces: Iterable[Trace], cause: Place) -> Iterator[Trace]:
    """Of what is on every partition only the record that the stage read."""
    read = cause.topic, cause.partition
    return (one for one in traces if not one.everywhere or (one.place.topic, one.place.partition) == read)


def _placed(person: str | None, traces: Iterable[Trace], cause: Place) -> list[Trace]:
    """The record of a person in custody that a facility's alert stood on; where it was replaced, the next one."""
    placed = [one for one in traces if one.what is What.PLACEMENT and one.person == person]
    by_then = [one for one in placed if one.place.offset <= cause.offset]
    return by_then[-1:] or placed[:1]


def _told(item: Mapping[str, Any], decisions: Sequence[Decision], site: Site) -> Iterator[Told]:
    last = {one.recipient: one for one in decisions if one.decision == "DISCLOSED"}
    agencies = {recipient.id: recipient.agency for recipient in site.recipients}
    sources = {agreement.id: agreement.source for agreement in site.agreements}
    fields = tuple(f"{item['agency']}/{item['event_type']}/{name}" for name in item["fields"])
    for recipient, decision in last.items():
        if not set(fields) <= set(decision.shown):
            yield Told(recipient, Shown.LEFT_OUT, (), tuple(item["fields"]))
        elif agencies.get(recipient) == item["agency"]:
            yield Told(recipient, Shown.OWN_INFORMATION, (), tuple(item["fields"]))
        else:
            # Of an agreement that the site's files have no more it can't be said whose information it granted.
            under = tuple(one for one in decision.agreements if sources.get(one, item["agency"]) == item["agency"])
            yield Told(recipient, Shown.AGREEMENT, under, tuple(item["fields"]))


def _origin(alert: Mapping[str, Any], facts: Sequence[Trace], inbound: Sequence[Found], site: Site) -> Origin:
    cause, place = alert["cause"], _cause_place(alert, site)
    at_it = [one for one in facts if one.place == place]
    of_it = [one for one in facts if one.event_id and one.event_id == cause["event_id"] and one.place != place]
    traces = tuple(_once([*at_it, *of_it], place))
    came_on = _came_on(cause["event_id"], {one.inbound for one in traces}, inbound) if cause["event_id"] else ()
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
    )
