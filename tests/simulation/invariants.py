"""What must hold, whatever happened: while it runs (`Watch`), and in the end (`broken_promises`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from schemas import topics
from schemas.codec import decode
from schemas.events import Event
from schemas.site import Site
from streams.agents import sources
from streams.facts import TICK_KEY
from streams.fold import input_of
from streams.identify import DeadLetter, identify
from streams.partition import FOLDING
from tests.in_memory_bus import SCHEMAS
from tests.simulation.broker import Entry, Part, SimulatedBroker, Transaction
from tests.simulation.county_history import Expected


class Watch:
    """Looks at every commit of offsets: nothing is committed before it is done."""

    def __init__(
        self, site: Site, broker: SimulatedBroker, history: list[Event], worker_of: Callable[[str], Any]
    ) -> None:
        self._site = site
        self._broker = broker
        self._history = history
        self._worker_of = worker_of
        self._sources = sources(site)
        self._folding = {input_of(stage, site): stage for stage in FOLDING}
        self._seen = 0
        self._written: set[tuple[str, int, bytes | None]] = set()
        self._passed: dict[Part, int] = {}
        self.broken: list[str] = []
        broker.group.on_commit = self._on_commit

    def _on_commit(self, member: str, offsets: Mapping[Part, int]) -> None:
        self._take_in()
        for part, offset in offsets.items():
            topic, number = part
            if topic in self._sources:
                log = self._broker.logs[topic, number]
                for entry in log.read(self._passed.get((topic, number), 0), 1_000_000, offset):
                    if not self._identified(topic, number, entry):
                        self.broken.append(
                            f"{member} commits {topic}-{number} to {offset}, and nothing of {entry.offset} is written"
                        )
                self._passed[topic, number] = max(offset, self._passed.get((topic, number), 0))
            elif topic in self._folding:
                running = self._worker_of(member).partitions.running.get(number)
                if running is not None and running.positions[self._folding[topic]] < offset:
                    self.broken.append(f"{member} commits {topic}-{number} to {offset}, and has not folded so far")

    def _take_in(self) -> None:
        for transaction in self._broker.committed[self._seen :]:
            for (topic, number), entry in transaction.written:
                self._written.add((topic, number, entry.key))
        self._seen = len(self._broker.committed)

    def _identified(self, topic: str, number: int, entry: Entry) -> bool:
        source = self._sources[topic]
        dead = (topics.dead_letters(self._site.name, source.agency.id), 0, f"{topic}/{number}/{entry.offset}".encode())
        found = identify(entry, source, self._site, SCHEMAS, 1 << 62)
        if isinstance(found, DeadLetter):
            return dead in self._written or found.reason == "EXPIRED"
        return dead in self._written or all((o.topic, o.partition, o.key) in self._written for o in found.records)

    def last_tick(self) -> int:
        """The last tick on the logs, microseconds."""
        log = self._broker.logs[topics.region_facts(self._site.name), 0]
        ticks = [entry for entry in log.read(0, 1_000_000, log.stable) if entry.key == TICK_KEY]
        return int(decode(ticks[-1].value or b"", SCHEMAS, "Tick")[1]["time"]) if ticks else 0


def _last_of_each(broker: SimulatedBroker, topic: str, partitions: int) -> dict[bytes, dict[str, Any]]:
    last: dict[bytes, bytes] = {}
    for number in range(partitions):
        log = broker.logs[topic, number]
        for entry in log.read(0, 1_000_000, log.stable):
            last[entry.key or b""] = entry.value or b""
    return {key: decode(value, SCHEMAS)[1] for key, value in last.items()}


def _open(records: Mapping[bytes, dict[str, Any]]) -> dict[str, str]:
    return {r["alert_id"]: r["digest"] for r in records.values() if r["state"] == "OPEN"}


def broken_promises(broker: SimulatedBroker, expected: Expected) -> list[str]:
    """The promises that were not kept, in words."""
    site = broker.site
    broken = []
    found = _open(_last_of_each(broker, topics.alerts_raised(site.name), site.partitions))
    if found != expected.alerts:
        broken.append(f"open alerts: {_difference(found, expected.alerts)}")
    for recipient in site.recipients:
        shown: dict[str, str] = {}
        for kind in recipient.kinds:
            shown |= _open(_last_of_each(broker, topics.alerts_for(site.name, recipient.id, kind), site.partitions))
        if shown != expected.shown[recipient.id]:
            broken.append(f"{recipient.id} is shown: {_difference(shown, expected.shown[recipient.id])}")
    return (
        broken + _History(site).of(broker.committed) + _overtaken(broker) + _set_aside(broker) + _back_in_time(broker)
    )


def _difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    lacking = sorted(known_as[:8] for known_as in expected.keys() - found.keys())
    too_many = sorted(known_as[:8] for known_as in found.keys() - expected.keys())
    others = sorted(k[:8] for k in found.keys() & expected.keys() if found[k] != expected[k])
    return f"lacking {lacking}, too many {too_many}, with other content {others}"


class _History:
    """All that was committed, transaction by transaction."""

    def __init__(self, site: Site) -> None:
        self._raised = topics.alerts_raised(site.name)
        self._audit = topics.disclosures(site.name)
        self._told_on = {
            topics.alerts_for(site.name, recipient.id, kind): recipient.id
            for recipient in site.recipients
            for kind in recipient.kinds
        }
        self._site = site
        self._digests: dict[tuple[str, str, int], str] = {}
        self._told: dict[tuple[str, str], bool] = {}
        self._broken: list[str] = []

    def of(self, transactions: list[Transaction]) -> list[str]:
        for transaction in transactions:
            self._take(transaction)
        return self._broken

    def _take(self, transaction: Transaction) -> None:
        written: dict[str, list[dict[str, Any]]] = {self._raised: [], self._audit: [], "told": []}
        for (topic, _), entry in transaction.written:
            where = "told" if topic in self._told_on else topic
            if where in written and entry.value is not None:
                written[where].append(decode(entry.value, SCHEMAS)[1])
        raised, told = written[self._raised], written["told"]
        for alert in raised:
            self._once("", alert)
        for record in told:
            self._once(record["recipient"], record)
            self._told[record["recipient"], record["alert_id"]] = record["state"] == "OPEN"
        audited = Counter((decided["alert_id"], decided["recipient"]) for decided in written[self._audit])
        self._broken += [f"transaction {transaction.number}: {what}" for what in self._apart(raised, told, audited)]

    def _apart(
        self,
        raised: Sequence[Mapping[str, Any]],
        told: Sequence[Mapping[str, Any]],
        audited: Mapping[tuple[str, str], int],
    ) -> Iterator[str]:
        """Alerts, what was told of them, and its audit, of which one is there without the others."""
        opened = Counter(alert["alert_id"] for alert in raised if alert["state"] == "OPEN")
        last = {alert["alert_id"]: alert for alert in raised}
        for known_as, alert in last.items():
            for recipient in self._site.recipients:
                if alert["kind"] not in recipient.kinds:
                    continue
                if audited.get((known_as, recipient.id), 0) < opened[known_as]:
                    yield f"{known_as[:8]} is raised without a decision on {recipient.id}"
                if alert["state"] != "OPEN" and self._told.get((recipient.id, known_as)):
                    yield f"{known_as[:8]} is withdrawn, and {recipient.id} is not told"
        for record in told:
            if not audited.get((record["alert_id"], record["recipient"])):
                yield f"{record['recipient']} is told without an audit"

    def _once(self, to: str, record: Mapping[str, Any]) -> None:
        known_as, revision, digest = record["alert_id"], record["revision"], record["digest"]
        if self._digests.setdefault((to, known_as, revision), digest) != digest:
            whom = f" to {to}" if to else ""
            self._broken.append(f"{known_as[:8]} says two things{whom} in revision {revision}")


def _overtaken(broker: SimulatedBroker) -> list[str]:
    """What a worker wrote on a partition's alerts after a later one had written there."""
    broken = []
    newest: dict[Part, int] = {}
    for transaction in broker.committed:
        for part in {part for part, _ in transaction.written if part[0] == topics.alerts_raised(broker.site.name)}:
            if transaction.opened < newest.get(part, 0):
                broken.append(f"transaction {transaction.number}: {transaction.writer} writes though it was overtaken")
            newest[part] = max(transaction.opened, newest.get(part, 0))
    return broken


def _set_aside(broker: SimulatedBroker) -> list[str]:
    """Good records that were set aside."""
    broken = []
    for transaction in broker.committed:
        for (topic, _), entry in transaction.written:
            if ".dead-letters." not in topic or entry.value == b"junk":
                continue
            reason = dict(entry.headers).get("reason", b"").decode()
            if reason in {"POISON", "UNKNOWN_SCHEMA", "BROKEN_AVRO", "NOT_FRAMED", "FUTURE"}:
                broken.append(f"transaction {transaction.number}: a good record is set aside ({reason})")
    return broken


def _back_in_time(broker: SimulatedBroker) -> list[str]:
    """Ticks that go back."""
    latest: dict[Part, int] = {}
    broken = []
    for transaction in broker.committed:
        for part, entry in transaction.written:
            if entry.key == TICK_KEY and entry.value is not None:
                time = int(decode(entry.value, SCHEMAS, "Tick")[1]["time"])
                if time < latest.get(part, 0):
                    broken.append(f"transaction {transaction.number}: time goes back on {part[0]}-{part[1]}")
                latest[part] = time
    return broken
