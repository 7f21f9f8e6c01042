"""What must hold of all that a site wrote, whatever happened: judged alike in the simulation and on the real broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.site import Site

Alert = Mapping[str, Any]
"""A decoded record of `alerts.raised`, of a recipient's topic, or of the audit."""


KEPT: Final = {
    "digest": "digest",
    "state": "state",
    "rule_version": "rule_version",
    "revision_at": "at",
    "revision_cause": "cause",
}
"""What a decision on disclosure keeps of the alert's record, by its field there."""


@dataclass(frozen=True, slots=True)
class Written:
    """Records that were committed together, or all there are; those of one partition in the order of its log."""

    raised: Sequence[Alert] = ()
    told: Sequence[Alert] = ()
    """Of all recipients."""
    audited: Sequence[Alert] = ()


@dataclass
class History:
    """Takes in what was written, in order, and says which promises it breaks."""

    site: Site
    _digests: dict[tuple[str, str, int], str] = field(default_factory=dict)
    _raised: dict[tuple[str, int], Alert] = field(default_factory=dict)
    _told: dict[tuple[str, str], bool] = field(default_factory=dict)

    def take(self, written: Written) -> Iterator[str]:
        """The promises that this breaks, in words."""
        for alert in written.raised:
            yield from self._once("", alert)
            self._raised.setdefault((alert["alert_id"], alert["revision"]), {of: alert[of] for of in KEPT.values()})
        for record in written.told:
            yield from self._once(record["recipient"], record)
            self._told[record["recipient"], record["alert_id"]] = record["state"] == "OPEN"
        yield from self._apart(written)
        for decision in written.audited:
            yield from self._kept(decision)

    def _kept(self, decision: Alert) -> Iterator[str]:
        """What a decision keeps of the alert's revision that the alert's own record has otherwise."""
        known_as, revision = decision["alert_id"], decision["revision"]
        said = self._raised.get((known_as, revision))
        others = [name for name, of in KEPT.items() if said is not None and decision[name] != said[of]]
        if others:
            yield f"the audit has another {', '.join(others)} of {known_as[:8]} in revision {revision} than its record"

    def _once(self, to: str, record: Alert) -> Iterator[str]:
        """No two records share alert and revision and say different things."""
        known_as, revision, digest = record["alert_id"], record["revision"], record["digest"]
        if self._digests.setdefault((to, known_as, revision), digest) != digest:
            whom = f" to {to}" if to else ""
            yield f"{known_as[:8]} says two things{whom} in revision {revision}"

    def _apart(self, written: Written) -> Iterator[str]:
        """Alerts, what was told of them, and its audit, of which one is there without the others."""
        decided = {(one["alert_id"], one["revision"], one["recipient"]) for one in written.audited}
        last = {alert["alert_id"]: alert for alert in written.raised}
        for recipient in self.site.recipients:
            for alert in written.raised:
                known_as, revision = alert["alert_id"], alert["revision"]
                if alert["kind"] not in recipient.kinds or alert["state"] != "OPEN":
                    continue
                if (known_as, revision, recipient.id) not in decided:
                    yield f"{known_as[:8]} is raised in revision {revision} without a decision on {recipient.id}"
            for known_as, alert in last.items():
                if alert["state"] != "OPEN" and self._told.get((recipient.id, known_as)):
                    yield f"{known_as[:8]} is withdrawn, and {recipient.id} is not told"
        decisions = Counter((one["recipient"], one["alert_id"], one["decision"]) for one in written.audited)
        disclosed = Counter(
            (one["recipient"], one["alert_id"], "DISCLOSED" if one["state"] == "OPEN" else "WITHDRAWN")
            for one in written.told
        )
        for (to, known_as, decision), times in disclosed.items():
            if decisions[to, known_as, decision] < times:
                yield f"{to} is told of {known_as[:8]} without an audit ({decision})"


def opened(records: Iterable[Alert]) -> dict[str, str]:
    """Of records in the order of the log: the digests of those that are open in the end, by alert id."""
    last = {record["alert_id"]: record for record in records}
    return {known_as: record["digest"] for known_as, record in last.items() if record["state"] == "OPEN"}


def difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """In what two sets of open alerts differ, in words."""
    lacking = sorted(known_as[:8] for known_as in expected.keys() - found.keys())
    too_many = sorted(known_as[:8] for known_as in found.keys() - expected.keys())
    others = sorted(k[:8] for k in found.keys() & expected.keys() if found[k] != expected[k])
    return f"lacking {lacking}, too many {too_many}, with other content {others}"
