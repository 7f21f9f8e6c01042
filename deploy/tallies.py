"""Tallies: what becomes of alerts, what is decided on their disclosure, and how long it takes, for Prometheus.

Counted is what is seen of the logs since one follows; which alerts are open is known from the beginning. Labels are the
rules, kinds, severities, agencies and recipients that the code and the site's files name; all else is `other`, so their
number is bounded. Nothing is counted of what rests on tips or on health, or may: one could tell that there is one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from deploy.ways import COMMIT, DECIDING, NEVER_KINDS, PUBLISH, WAITING, AlertRead, DecisionRead, Trace, is_never_told
from schemas.site import Site
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS, feed_frozen, feed_silent
from streams.correlations.situation import Severity
from streams.disclose import DISCLOSE, Reason
from streams.identify import IDENTIFY
from streams.stage import FACILITY, PERSON

OTHER: Final = "other"
RULES: Final[Mapping[str, str]] = {
    name: kind
    for name, kind in (
        *((rule.name, rule.kind) for rule in PERSON_CORRELATIONS),
        *((rule.name, rule.kind) for rule in FACILITY_CORRELATIONS),
    )
    if kind not in NEVER_KINDS
}
"""The rules whose alerts are told of, with their kinds."""
SEVERITIES: Final = tuple(severity.value for severity in Severity)
RAISED, CHANGED, WITHDRAWN = "raised", "changed", "withdrawn"
DECISIONS: Final = (
    ("DISCLOSED", Reason.OWN_INFORMATION.value),
    ("DISCLOSED", Reason.AGREEMENT.value),
    ("WITHHELD", Reason.NO_AGREEMENT.value),
    ("WITHHELD", Reason.OTHER_FACILITY.value),
    ("WITHDRAWN", Reason.NOTHING_HOLDS.value),
    ("WITHDRAWN", Reason.NO_AGREEMENT.value),
    ("WITHDRAWN", Reason.OTHER_FACILITY.value),
)
"""What is decided on alerts that are told of."""
STEPS: Final = (PUBLISH, IDENTIFY, PERSON, FACILITY, WAITING, DECIDING, DISCLOSE, COMMIT)
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
"""Seconds: from one stage's step to half an hour for which an agency was cut off."""
FEEDS: Final = (feed_silent.CORRELATION.name, feed_frozen.CORRELATION.name)
MATCHED: Final = 1_000
"""Records of alerts whose decisions may come before or after them: they are written together."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The last record of an alert."""

    revision: int
    rule: str
    kind: str
    severity: str
    failing: frozenset[str]
    """The agency whose feed fails, where it says so."""
    is_told: bool
    """Whether it is counted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is open."""

    alerts: Mapping[tuple[str, str, str], int]
    """By rule, kind and severity: how many alerts are open."""
    feeds: Mapping[tuple[str, str], bool]
    """By agency and rule: whether what it usually sends has stopped, or stands still."""


class Tallies:
    """What was counted of a site. Safe for one who counts and others who look."""

    def __init__(self, site: Site, registry: CollectorRegistry) -> None:
        self._site = site
        self._turn = threading.Lock()
        self._open: dict[str, _Known] = {}
        self._over: OrderedDict[str, _Known] = OrderedDict()
        """Those that were withdrawn last."""
        self._early: OrderedDict[tuple[str, int], list[Mapping[str, Any]]] = OrderedDict()
        """Decisions on records that were not seen yet."""
        self._is_known = False
        self._changes = Counter(
            "sallyport_alert_changes",
            "Alerts raised, changed and withdrawn since the command began; severity is that before a withdrawal.",
            ["site", "rule", "kind", "severity", "change"],
            registry=registry,
        )
        self._decisions = Counter(
            "sallyport_disclosure_decisions",
            "Decisions on disclosing an alert to a recipient since the command began, with their reason.",
            ["site", "recipient", "kind", "decision", "reason"],
            registry=registry,
        )
        self._latency = Histogram(
            "sallyport_publish_to_alert_seconds",
            "From an agency's handing an event over, or its coming, until an alert could be read that it led to.",
            ["site", "rule"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._steps = Histogram(
            "sallyport_step_seconds",
            "How long each step took of the way from an event to an alert.",
            ["site", "step"],
            buckets=BUCKETS,
            registry=registry,
        )
        # What is first seen with a number in it seems never to have grown.
        for rule, kind in RULES.items():
            self._latency.labels(site.name, rule)
            for severity, change in product(SEVERITIES, (RAISED, CHANGED, WITHDRAWN)):
                self._changes.labels(site.name, rule, kind, severity, change)
        for recipient in site.recipients:
            for kind, (decision, reason) in product(recipient.kinds, DECISIONS):
                if kind not in NEVER_KINDS:
                    self._decisions.labels(site.name, recipient.id, kind, decision, reason)
        for step in STEPS:
            self._steps.labels(site.name, step)

    # -- counting ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Which alerts are open is to be told from the beginning."""
        with self._turn:
            self._open.clear()
            self._over.clear()
            self._early.clear()
            self._is_known = False

    def caught_up(self) -> None:
        """All that was there was told: which alerts are open is known."""
        self._is_known = True

    def alert(self, one: AlertRead) -> None:
        """Take in a record of an alert, in the order of the log."""
        with self._turn:
            alert = one.alert
            known_as = alert["alert_id"]
            before = self._open.pop(known_as, None)
            now = _known(alert, before, self._site)
            if alert["state"] == "OPEN":
                self._open[known_as] = now
            else:
                self._over[known_as] = now
                _bound(self._over)
            if one.is_news and now.is_told:
                self._count(now, before, is_open=alert["state"] == "OPEN")
            for decision in self._early.pop((known_as, now.revision), ()):
                self._decided(decision, now)

    def _count(self, now: _Known, before: _Known | None, *, is_open: bool) -> None:
        was_open = before is not None and before.is_told
        if is_open or was_open:
            change = (CHANGED if was_open else RAISED) if is_open else WITHDRAWN
            self._changes.labels(self._site.name, now.rule, now.kind, now.severity, change).inc()

    def decision(self, one: DecisionRead) -> None:
        """Take in a decision on disclosure; it is counted once its alert's record is seen."""
        with self._turn:
            decision = one.decision
            known_as, revision = decision["alert_id"], decision["revision"]
            alert = self._open.get(known_as) or self._over.get(known_as)
            if alert is not None and alert.revision >= revision:
                self._decided(decision, alert)
            else:
                self._early.setdefault((known_as, revision), []).append(decision)
                _bound(self._early)

    def _decided(self, decision: Mapping[str, Any], alert: _Known) -> None:
        if not alert.is_told:
            return
        recipient = self._site.recipient_by_id.get(decision["recipient"])
        made = decision["decision"], decision["reason"]
        labels = made if made in DECISIONS else (OTHER, OTHER)
        who = recipient.id if recipient is not None else OTHER
        self._decisions.labels(self._site.name, who, alert.kind, *labels).inc()

    def trace(self, one: Trace) -> None:
        """Take in how long an event took to become an alert."""
        rule = one.rule if one.rule in RULES else OTHER
        self._latency.labels(self._site.name, rule).observe((one.ended - one.began) / 1e6)
        for step in (part for whole in one.steps for part in (whole, *whole.parts)):
            # What all alerts of one event have in common is counted once.
            if step.name != PUBLISH or one.is_first:
                self._steps.labels(self._site.name, step.name).observe((step.ended - step.began) / 1e6)

    # -- telling -------------------------------------------------------------------------------------------------

    def standing(self) -> Standing | None:
        """What is open now; None where that is not known."""
        if not self._is_known:
            return None
        with self._turn:
            told = [one for one in self._open.values() if one.is_told]
        alerts = {(rule, kind, severity): 0 for (rule, kind), severity in product(RULES.items(), SEVERITIES)}
        feeds = dict.fromkeys(product(self._site.agency_by_id, FEEDS), False)
        for one in told:
            where = one.rule, one.kind, one.severity
            alerts[where] = alerts.get(where, 0) + 1
            feeds |= {(agency, one.rule): True for agency in one.failing}
        return Standing(alerts, feeds)


def _known(alert: Mapping[str, Any], before: _Known | None, site: Site) -> _Known:
    """What is to be known of an alert's record; what a withdrawal leaves out is as it was before."""
    if alert["state"] != "OPEN":
        nobody = _Known(0, OTHER, OTHER, OTHER, frozenset(), is_told=False)
        return replace(before or nobody, revision=alert["revision"])
    rule, severity = alert["rule"], alert["severity"]
    kind = RULES.get(rule)
    # A feed that comes again stays open for a while, as the least severe.
    fails = rule in FEEDS and severity != Severity.LOW
    return _Known(
        alert["revision"],
        rule if kind is not None else OTHER,
        kind or OTHER,
        severity if severity in SEVERITIES else OTHER,
        frozenset(item["agency"] for item in alert["evidence"] if fails and item["agency"] in site.agency_by_id),
        not is_never_told(alert),
    )


def _bound(remembered: OrderedDict[Any, Any]) -> None:
    if len(remembered) > MATCHED:
        remembered.popitem(last=False)
