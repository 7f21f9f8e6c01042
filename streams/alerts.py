"""Alerts: what changed between the situations that hold and the alerts that are on record.

`AlertBook` is the memory of one stage of one partition: what was recorded (revision, digest, open or not), what fires
for which focus, and when a focus is to be looked at again. Everything in it is derived from two logs, the facts and
`alerts.raised`; nothing has to be saved.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar

from schemas import topics
from schemas.codec import digest
from streams.correlations.situation import Correlation, Evidence, Situation
from streams.failures import RETRY, Failures, Focus, names
from streams.records import Out

ALERT_NAMESPACE: Final = uuid.UUID("a1e27000-5a11-5e07-8a11-000000000001")
"""Namespace of alert ids (UUIDv5)."""
WITHDRAWN_DIGEST: Final = digest({"state": "WITHDRAWN"})
ALWAYS: Final = frozenset({"Joined", "Purged", "Replaced", "EventWithdrawn"})
"""Changes that concern every correlation: identities were joined, or something known counts no more."""

CONTENT: Final = (
    "severity",
    "least_severity",
    "confidence",
    "facility",
    "unit",
    "headline",
    "subjects",
    "evidence",
    "actions",
    "cautions",
)
"""Fields of an alert that hold content: it is raised again when one of them changes."""

P = TypeVar("P")
F = TypeVar("F", bound=Focus)


class CauseKind(StrEnum):
    """What led to a record."""

    FACT = "FACT"
    TICK = "TICK"
    RECONCILED = "RECONCILED"
    RULE_CHANGED = "RULE_CHANGED"


class Cause(NamedTuple):
    """What on a stage's input led to a record that the stage wrote."""

    kind: CauseKind
    stage: str
    partition: int
    offset: int
    event_id: str | None = None

    def record(self) -> dict[str, Any]:
        """As the contract's record."""
        return {
            "kind": self.kind.value,
            "stage": self.stage,
            "partition": self.partition,
            "offset": self.offset,
            "event_id": self.event_id,
        }


@dataclass(frozen=True, slots=True)
class Recorded:
    """The last record of one alert on `alerts.raised`."""

    revision: int
    digest: str
    is_open: bool
    rule: str
    rule_version: int
    key: tuple[str, ...]
    kind: str


def alert_id(rule: str, key: Iterable[str]) -> str:
    """UUIDv5 of rule and situation key: the same alert however often it comes and goes."""
    return str(uuid.uuid5(ALERT_NAMESPACE, "\x1f".join((rule, *key))))


def content(situation: Situation) -> dict[str, Any]:
    """What an alert says, as the fields of its record (`CONTENT`); without times of its own, revision and cause."""
    return {
        "severity": situation.severity.value,
        "least_severity": situation.least_severity.value,
        "confidence": situation.confidence.value,
        "facility": situation.facility,
        "unit": situation.unit,
        "headline": situation.headline,
        "subjects": [
            {
                "person_id": subject.person,
                "booking_number": subject.booking_number,
                "name": subject.name,
                "agency": subject.agency,
            }
            for subject in situation.subjects
        ],
        "evidence": [_evidence(item) for item in situation.evidence],
        "actions": list(situation.actions),
        "cautions": [
            {"caution": one.caution.value, "limit": one.limit, "actions": list(one.actions)}
            for one in situation.cautions
        ],
    }


def _evidence(item: Evidence) -> dict[str, Any]:
    return {
        "text": item.text,
        "fields": list(item.fields),
        **item.source.record(),
        "person_id": item.person,
        "ground": item.ground,
        "alternative": item.alternative,
        "severity": item.severity and item.severity.value,
        "confidence": item.confidence and item.confidence.value,
        "line": item.line.value,
        "staff": item.staff,
        "caution": item.caution and item.caution.value,
        "due": item.due,
    }


class AlertBook(Generic[P, F]):
    """The alerts of one stage of one partition. `failures`: where rules that fail are noted; None: what they raise goes
    to whoever asked."""

    def __init__(
        self,
        site: str,
        stage: str,
        partition: int,
        correlations: Sequence[Correlation[P, F]],
        failures: Failures | None = None,
    ) -> None:
        self._topic = topics.alerts_raised(site)
        self._stage = stage
        self._partition = partition
        self._correlations = tuple(correlations)
        self._failures = failures
        self._recorded: dict[str, Recorded] = {}
        self._firing: dict[tuple[str, F], dict[str, Situation]] = {}
        """By rule and focus: what holds there, by alert id."""
        self._timers: list[tuple[int, int, F]] = []
        self._scheduled: dict[F, tuple[int, ...]] = {}
        """By focus: the times of its timers, the next one last. It gets another only for an earlier time."""
        self._timer_number = 0
        self._weighed: dict[str, str] = {}
        """Of alerts that fire and were weighed ahead of a recovery: by id the digest of what they say."""
        self.last_cause = -1
        """Offset of the last cause that this stage recorded for this partition; -1 for none."""

    def _of(self, focus: F) -> Iterable[Correlation[P, F]]:
        """The correlations that are evaluated for such a focus."""
        return (correlation for correlation in self._correlations if isinstance(focus, correlation.about))

    # -- recovery --------------------------------------------------------------------------------------------------

    def recall(self, alert: Mapping[str, Any]) -> None:
        """Take in one record of `alerts.raised`, in the order of the log. Other stages' records are none of ours."""
        cause = alert["cause"]
        if cause["stage"] != self._stage or cause["partition"] != self._partition:
            return
        self.last_cause = max(self.last_cause, cause["offset"])
        self._recorded[alert["alert_id"]] = Recorded(
            alert["revision"],
            alert["digest"],
            alert["state"] == "OPEN",
            alert["rule"],
            alert["rule_version"],
            tuple(alert["key"]),
            alert["kind"],
        )

    def derive(self, picture: P, focuses: Iterable[F], now: int) -> None:
        """Derive anew what holds at these focuses. What differs from what is recorded is for `settle` to write."""
        for focus in focuses:
            for correlation in self._of(focus):
                where = correlation.name, focus
                found = self._situations(correlation, picture, focus, now)
                if found is not None and self._failures:
                    self._failures.mended(*where)
                holds = {alert_id(correlation.name, s.key): s for s in found or ()}
                for known_as in self._firing.pop(where, ()):
                    self._weighed.pop(known_as, None)
                if holds:
                    self._firing[where] = holds
                for situation in holds.values():
                    self._schedule(situation.until, focus, now)

    def weigh(self, focuses: Iterable[F]) -> None:
        """Reckon ahead what `settle` will ask of what holds at these focuses."""
        for focus in focuses:
            for correlation in self._of(focus):
                for known_as, situation in self._firing.get((correlation.name, focus), {}).items():
                    self._weighed[known_as] = digest(content(situation))

    def settle(self, now: int, position: int) -> Iterator[Out]:
        """Compare what is derived with what is recorded: raise the missing, withdraw what holds no more, one by one.

        `position` is the first offset that is not folded; the cause of what is found is the record before it.
        A mass change is grouped: every record of one rule's new version, or of one recovery, carries the same group.
        """
        correlations = {correlation.name: correlation for correlation in self._correlations}
        derived = {
            known_as: (correlations[rule], situation)
            for (rule, _), holds in self._firing.items()
            for known_as, situation in holds.items()
        }
        for known_as in sorted(derived):
            if self._is_recorded(known_as, self._weighed.get(known_as)):
                continue
            correlation, situation = derived[known_as]
            cause, group = self._recovery_cause(correlation.name, self._recorded.get(known_as), position, now)
            yield from self._raise(known_as, correlation, situation, cause, now, group)
        self._weighed.clear()
        for known_as, recorded in sorted(self._recorded.items()):
            if recorded.is_open and known_as not in derived and not self._is_unsaid(recorded):
                cause, group = self._recovery_cause(recorded.rule, recorded, position, now)
                yield self._withdraw(known_as, recorded, cause, now, group)

    def _recovery_cause(self, rule: str, recorded: Recorded | None, position: int, now: int) -> tuple[Cause, str]:
        version = next((c.version for c in self._correlations if c.name == rule), None)
        if recorded is not None and recorded.rule_version != version:
            group = f"{rule}: version {version}" if version is not None else f"{rule}: no longer in force"
            return Cause(CauseKind.RULE_CHANGED, self._stage, self._partition, position - 1), group
        # Not at which offset: a recipient could count by it what others publish.
        group = f"{rule}: found on recovery of {self._stage}-{self._partition} at {now}"
        return Cause(CauseKind.RECONCILED, self._stage, self._partition, position - 1), group

    # -- live ------------------------------------------------------------------------------------------------------

    def evaluate(
        self, picture: P, focuses: Iterable[F], happened: Collection[str] | None, cause: Cause, now: int
    ) -> list[Out]:
        """Evaluate the correlations that what happened triggers (None: all) on the focuses it touched."""
        triggered: Sequence[Correlation[P, F]] = self._correlations
        if happened is not None and ALWAYS.isdisjoint(happened):
            triggered = [c for c in triggered if not c.triggers.isdisjoint(happened)]
        return [
            out
            for focus in focuses
            for correlation in triggered
            if isinstance(focus, correlation.about)
            for out in self._diff(correlation, focus, self._situations(correlation, picture, focus, now), cause, now)
        ]

    def _diff(
        self, correlation: Correlation[P, F], focus: F, situations: set[Situation] | None, cause: Cause, now: int
    ) -> list[Out]:
        if situations is None:
            return []
        where = correlation.name, focus
        firing: Mapping[str, Situation | None] | None = self._firing.get(where)
        if self._failures and self._failures.mended(*where):
            firing = {**self._stood(correlation.name, focus), **(firing or {})}
        if not situations and not firing:
            return []
        derived = {alert_id(correlation.name, s.key): s for s in situations}
        firing = firing or {}
        if derived:
            self._firing[where] = derived
        else:
            self._firing.pop(where, None)
        outs = []
        for known_as, situation in sorted(derived.items()):
            self._schedule(situation.until, focus, now)
            if firing.get(known_as) != situation:
                outs += self._raise(known_as, correlation, situation, cause, now, None)
        for known_as in sorted(firing.keys() - derived.keys()):
            outs.append(self._withdraw(known_as, self._recorded[known_as], cause, now, None))
        return outs

    # -- rules that fail -------------------------------------------------------------------------------------------

    def _situations(self, correlation: Correlation[P, F], picture: P, focus: F, now: int) -> set[Situation] | None:
        """What holds there by a rule; None where it fails, which is noted: what was said stands, and it is tried
        again."""
        try:
            return correlation.situations(picture, focus, now)
        except Exception as error:
            if self._failures is None:
                raise
            self._failures.note(correlation.name, focus, error)
            self.schedule(now + RETRY, focus, now)
            return None

    def _is_unsaid(self, recorded: Recorded) -> bool:
        """Whether its rule fails where it would say whether it still holds."""
        return self._failures is not None and self._failures.concern(recorded.rule, recorded.key)

    def _stood(self, rule: str, focus: F) -> dict[str, None]:
        """The open alerts of a rule at a focus: a recovery may have left some open, while it failed there."""
        return {
            known_as: None
            for known_as, recorded in self._recorded.items()
            if recorded.is_open and recorded.rule == rule and names(recorded.key, focus)
        }

    # -- records ---------------------------------------------------------------------------------------------------

    def _is_recorded(self, known_as: str, said: str | None) -> bool:
        """Whether it is recorded as open, and with this digest of what it says."""
        recorded = self._recorded.get(known_as)
        return recorded is not None and recorded.is_open and recorded.digest == said

    def _raise(
        self,
        known_as: str,
        correlation: Correlation[P, F],
        situation: Situation,
        cause: Cause,
        now: int,
        group: str | None,
    ) -> list[Out]:
        said = content(situation)
        now_digest = digest(said)
        if self._is_recorded(known_as, now_digest):
            return []
        recorded = self._recorded.get(known_as)
        revision = recorded.revision + 1 if recorded else 1
        self._recorded[known_as] = Recorded(
            revision, now_digest, True, correlation.name, correlation.version, situation.key, correlation.kind
        )
        return [
            self._out(
                known_as,
                {
                    **self._frame(known_as, self._recorded[known_as], cause, now, group),
                    **said,
                    "until": situation.until,
                },
            )
        ]

    def _withdraw(self, known_as: str, recorded: Recorded, cause: Cause, now: int, group: str | None) -> Out:
        withdrawn = Recorded(
            recorded.revision + 1,
            WITHDRAWN_DIGEST,
            False,
            recorded.rule,
            recorded.rule_version,
            recorded.key,
            recorded.kind,
        )
        self._recorded[known_as] = withdrawn
        return self._out(
            known_as,
            {
                **self._frame(known_as, withdrawn, cause, now, group),
                "severity": "UNKNOWN",
                "least_severity": "UNKNOWN",
                "confidence": "UNKNOWN",
                "facility": None,
                "unit": None,
                "headline": "",
                "subjects": [],
                "evidence": [],
                "actions": [],
                "cautions": [],
                "until": None,
            },
        )

    def _frame(self, known_as: str, recorded: Recorded, cause: Cause, now: int, group: str | None) -> dict[str, Any]:
        return {
            "alert_id": known_as,
            "revision": recorded.revision,
            "state": "OPEN" if recorded.is_open else "WITHDRAWN",
            "digest": recorded.digest,
            "rule": recorded.rule,
            "rule_version": recorded.rule_version,
            "key": list(recorded.key),
            "kind": recorded.kind,
            "at": now,
            "cause": cause.record(),
            "group": group,
        }

    def _out(self, known_as: str, record: dict[str, Any]) -> Out:
        return Out(self._topic, self._partition, known_as.encode(), "AlertRaised", record)

    # -- time ------------------------------------------------------------------------------------------------------

    def _schedule(self, until: int | None, focus: F, now: int) -> None:
        if until is not None:
            self.schedule(until, focus, now)

    def schedule(self, until: int, focus: F, now: int) -> None:
        """Look at a focus again at `until` (microseconds), if that is still to come."""
        times = self._scheduled.get(focus, ())
        if until <= now or (times and times[-1] <= until):
            return
        self._scheduled[focus] = (*times, until)
        # The number keeps the heap from comparing focuses.
        self._timer_number += 1
        heapq.heappush(self._timers, (until, self._timer_number, focus))

    def due(self, now: int) -> list[F]:
        """The focuses whose time has come, each once, in an order that does not depend on how they were scheduled."""
        due = set()
        while self._timers and self._timers[0][0] <= now:
            _, _, focus = heapq.heappop(self._timers)
            later = self._scheduled[focus][:-1]
            if later:
                self._scheduled[focus] = later
            else:
                del self._scheduled[focus]
            due.add(focus)
        return sorted(due, key=repr)

    def open_alerts(self) -> dict[str, str]:
        """Open alerts: id to digest."""
        return {known_as: r.digest for known_as, r in self._recorded.items() if r.is_open}


def alerts_in(outs: Iterable[Out]) -> list[Mapping[str, Any]]:
    """The records of `alerts.raised` among what stages want written."""
    return [out.value for out in outs if out.name == "AlertRaised" and isinstance(out.value, Mapping)]
