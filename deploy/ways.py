"""The ways of events: what the logs show of each, from its publishing to an alert that can be read. Pure.

Whoever follows the logs sees of each event when its agency handed it over, when its record came, when each stage wrote
what it led to, who was told, and when the alert could be read. Times are those of the records, by the broker's clock,
but for three: when it was handed over is by its agency's clock, when its stage took it up by the worker's, and when the
alert could be read by that of whoever follows. No step ends before it begins, whatever clocks say.

Nothing is told of tips, nor of health: one could tell that there is one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from schemas import topics
from schemas.events import CARE_EVENTS, TIP_EVENTS
from schemas.site import Site
from streams.alerts import CauseKind
from streams.custody import CUSTODY, read_placed
from streams.disclose import DISCLOSE
from streams.facts import KeyKind, parse_key
from streams.identify import IDENTIFY
from streams.records import LoggedRecord, header
from streams.stage import FACILITY, PERSON

NEVER: Final = TIP_EVENTS | CARE_EVENTS
"""Types of events that nothing is told of, nor of what rests on them."""
NEVER_KINDS: Final = frozenset({"contraband", "investigation", "care"})
"""Kinds of alerts that rest on such, or may: of a withdrawal its evidence is not known."""
REMEMBERED: Final = 100_000
"""Events whose records are remembered, until an alert follows or they are forgotten."""
UNMATCHED: Final = 1_000
"""Records of alerts whose decisions are remembered although they were not seen yet: they may never be."""
DECIDED_WITHIN: Final = 2_000_000
"""Microseconds for which the decisions on a record of an alert are waited for: they were written together, and come
from other topics."""

PUBLISH: Final = "publish"
COMMIT: Final = "commit"
WAITING: Final = "waiting"
DECIDING: Final = "deciding"
"""Steps that are no stages'."""


class Passed(NamedTuple):
    """A record on the way of an event."""

    topic: str
    partition: int
    offset: int
    at: int
    """When it was written, microseconds; the logs have milliseconds."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A record of an inbound topic or of the facts, as it is."""

    topic: str
    partition: int
    record: LoggedRecord


@dataclass(frozen=True, slots=True)
class AlertRead:
    """A record of `alerts.raised`."""

    alert: Mapping[str, Any]
    passed: Passed
    taken: int | None
    """When its stage took up what led to it, microseconds; None where the record does not say it."""
    is_news: bool = True
    """Whether it was written since one follows."""


@dataclass(frozen=True, slots=True)
class DecisionRead:
    """A decision on disclosure."""

    decision: Mapping[str, Any]
    passed: Passed


@dataclass(slots=True)
class Way:
    """The records on the way of one event; the first of each, None for what was not seen."""

    came: Passed | None = None
    accepted: int | None = None
    """When its publisher took it, microseconds; None where the record does not say it."""
    traceparent: str = ""
    """The span that it was published in, as the record has it (W3C Trace Context); empty where it has none."""
    of_person: Passed | None = None
    """Its fact about a person."""
    of_all: Passed | None = None
    """Its fact about no one person."""
    placed: Passed | None = None
    """The record of a person in custody that it led to."""
    is_told: bool = False
    """Whether there was a trace of it already."""


class Step(NamedTuple):
    """What became of it next."""

    name: str
    began: int
    ended: int
    """Microseconds."""
    wrote: Passed
    parts: tuple[Step, ...] = ()
    """What it was made up of, where that is known."""


class Decided(NamedTuple):
    """What was decided for one recipient."""

    recipient: str
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The way of one event to one record of an alert."""

    event_id: str
    traceparent: str
    steps: tuple[Step, ...]
    alert_id: str
    revision: int
    rule: str
    came: Passed | None
    """None where its record came before anybody looked."""
    is_first: bool
    """Whether it is the first of its event: others have the same publishing."""
    decisions: tuple[Decided, ...] = ()

    @property
    def began(self) -> int:
        """When it was handed over, or as early as was seen; microseconds."""
        return self.steps[0].began

    @property
    def ended(self) -> int:
        """When the alert could be read, microseconds."""
        return self.steps[-1].ended


@dataclass(slots=True)
class _Waiting:
    """A trace whose decisions are waited for."""

    trace: Trace
    asked: frozenset[str]
    """Recipients of the alert's kind: of a news each of them has a decision."""
    decisions: list[tuple[Decided, Passed]]
    since: int


@dataclass
class Ways:
    """The ways of the events that were seen last."""

    site: Site
    most: int = REMEMBERED
    _ways: OrderedDict[str, Way] = field(default_factory=OrderedDict)
    _waiting: OrderedDict[tuple[str, int], _Waiting] = field(default_factory=OrderedDict)
    _early: OrderedDict[tuple[str, int], list[tuple[Decided, Passed]]] = field(default_factory=OrderedDict)
    """Decisions on records of alerts that were not seen yet."""

    # -- what is seen --------------------------------------------------------------------------------------------

    def see(self, one: Noted | AlertRead | DecisionRead, now: int) -> None:
        """Take in a record that could be read at a time (microseconds). What says nothing of an event is passed by."""
        match one:
            case Noted(topic, partition, record):
                with suppress(ValueError):
                    self._note(Passed(topic, partition, record.offset, record.timestamp * 1000), record)
            case AlertRead():
                self._raised(one, now)
            case DecisionRead():
                self._decided(one)

    def _note(self, passed: Passed, record: LoggedRecord) -> None:
        key, name = record.key or b"", self.site.name
        if passed.topic not in (topics.person_facts(name), topics.facility_facts(name)):
            event_id = header(record.headers, "ce_id")
            if event_id is not None:
                way = self._way(event_id)
                if way.came is None:
                    way.came, way.accepted = passed, _time(header(record.headers, "ce_recordedtime"))
                    way.traceparent = header(record.headers, "ce_traceparent") or ""
        elif key.startswith(CUSTODY):
            if record.value is not None and (event_id := read_placed(record)[2].event_id):
                way = self._way(event_id)
                way.placed = way.placed or passed
        elif record.value is not None:
            parsed = parse_key(key)
            if parsed.kind is KeyKind.PERSON:
                way = self._way(parsed.event_id)
                way.of_person = way.of_person or passed
            elif parsed.kind is KeyKind.EVERYONE and passed.topic == topics.facility_facts(name):
                way = self._way(parsed.event_id)
                way.of_all = way.of_all or passed

    def _way(self, event_id: str) -> Way:
        way = self._ways.setdefault(event_id, Way())
        if len(self._ways) > self.most:
            self._ways.popitem(last=False)
        return way

    def _raised(self, one: AlertRead, now: int) -> None:
        where = one.alert["alert_id"], one.alert["revision"]
        early = self._early.pop(where, [])
        trace = self._trace(one, now)
        if trace is not None:
            asked = frozenset(to.id for to in self.site.recipients if one.alert["kind"] in to.kinds)
            self._waiting[where] = _Waiting(trace, asked, early, now)

    def _decided(self, one: DecisionRead) -> None:
        where = one.decision["alert_id"], one.decision["revision"]
        said = Decided(one.decision["recipient"], one.decision["decision"], one.decision["reason"]), one.passed
        if (waiting := self._waiting.get(where)) is not None:
            waiting.decisions.append(said)
        else:
            self._early.setdefault(where, []).append(said)
            if len(self._early) > UNMATCHED:
                self._early.popitem(last=False)

    # -- what is told --------------------------------------------------------------------------------------------

    def traces(self, now: int) -> Iterator[Trace]:
        """The ways to the records of alerts on which all was decided, or which were waited for long enough."""
        for where, one in [*self._waiting.items()]:
            decided = {decision.recipient for decision, _ in one.decisions}
            if one.asked <= decided or now - one.since >= DECIDED_WITHIN:
                del self._waiting[where]
                yield _with_decisions(one.trace, one.decisions)

    def _trace(self, one: AlertRead, read: int) -> Trace | None:
        """The way to a record of an alert; None where no event led to it whose way was seen, or nothing is to be
        told."""
        alert, raised, cause = one.alert, one.passed, one.alert["cause"]
        event_id = cause["event_id"]
        way = self._ways.get(event_id) if event_id is not None else None
        if way is None or not one.is_news or CauseKind(cause["kind"]) is not CauseKind.FACT or is_never_told(alert):
            return None
        if cause["stage"] != FACILITY:
            before = [(IDENTIFY, way.of_person or way.of_all)]
        elif way.placed is None:
            before = [(IDENTIFY, way.of_all or way.of_person)]
        else:
            before = [(IDENTIFY, way.of_person), (PERSON, way.placed)]
        written = [*((name, passed) for name, passed in before if passed is not None), (cause["stage"], raised)]
        steps: list[Step] = []
        at = way.came.at if way.came is not None else written[0][1].at
        if way.came is not None and way.accepted is not None:
            steps.append(Step(PUBLISH, min(way.accepted, at), at, way.came))
        for name, passed in written:
            steps.append(Step(name, at, max(at, passed.at), passed))
            at = steps[-1].ended
        if one.taken is not None:
            steps[-1] = _parted(steps[-1], one.taken)
        steps.append(Step(COMMIT, at, max(at, read), raised))
        is_first, way.is_told = not way.is_told, True
        return Trace(
            event_id,
            way.traceparent,
            tuple(steps),
            alert["alert_id"],
            alert["revision"],
            alert["rule"],
            way.came,
            is_first,
        )


def is_never_told(alert: Mapping[str, Any]) -> bool:
    """Whether an alert rests on a tip or on health, or may."""
    return alert["kind"] in NEVER_KINDS or any(item["event_type"] in NEVER for item in alert["evidence"])


def _parted(step: Step, taken: int) -> Step:
    """A stage's step, parted where the stage took up what led to its record."""
    middle = min(max(step.began, taken), step.ended)
    parts = Step(WAITING, step.began, middle, step.wrote), Step(DECIDING, middle, step.ended, step.wrote)
    return step._replace(parts=parts)


def _with_decisions(trace: Trace, decisions: Sequence[tuple[Decided, Passed]]) -> Trace:
    """A trace with the step of disclosing, which ends with the last decision on the log, before the commit."""
    if not decisions:
        return trace
    *steps, commit = trace.steps
    last = max((passed for _, passed in decisions), key=lambda passed: passed.at)
    told = min(max(commit.began, last.at), commit.ended)
    steps += [Step(DISCLOSE, commit.began, told, last), commit._replace(began=told)]
    return replace(trace, steps=tuple(steps), decisions=tuple(sorted(decision for decision, _ in decisions)))


def _time(rfc3339: str | None) -> int | None:
    """Microseconds since 1970; None for what is no time of a known zone, since others' clients write it as well."""
    try:
        at = datetime.fromisoformat(rfc3339 or "")
    except ValueError:
        return None
    return round(at.timestamp() * 1e6) if at.tzinfo is not None else None
