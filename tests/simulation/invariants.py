"""What must hold, whatever happened: while it runs (`Watch`), and in the end (`broken_promises`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from schemas import topics
from schemas.codec import decode
from schemas.events import Event
from schemas.site import Site
from streams.agents import sources
from streams.backtest import SCHEMAS
from streams.facts import TICK_KEY
from streams.identify import DeadLetter, identify
from streams.partition import FOLDING
from streams.stage import input_of
from tests.kept_promises import History, Written, difference, opened
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
        box = topics.set_aside_on(self._site.name, source.agency.id, source.event_type)
        dead = (box, 0, f"{topic}/{number}/{entry.offset}".encode())
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
    return {key: decode(value, SCHEMAS)[1] for key, value in last.items() if value}


def alerts(broker: SimulatedBroker) -> Counter[tuple[str, str]]:
    """How many alerts were recorded, by rule and state."""
    raised = topics.alerts_raised(broker.site.name)
    records = (
        decode(entry.value, SCHEMAS)[1]
        for transaction in broker.committed
        for (topic, _), entry in transaction.written
        if topic == raised and entry.value is not None
    )
    return Counter((record["rule"], record["state"]) for record in records)


def broken_promises(broker: SimulatedBroker, expected: Expected) -> list[str]:
    """The promises that were not kept, in words."""
    site = broker.site
    broken = []
    found = opened(_last_of_each(broker, topics.alerts_raised(site.name), site.partitions).values())
    if found != expected.alerts:
        broken.append(f"open alerts: {difference(found, expected.alerts)}")
    for recipient in site.recipients:
        shown: dict[str, str] = {}
        for kind in recipient.kinds:
            topic = topics.alerts_for(site.name, recipient.id, kind)
            shown |= opened(_last_of_each(broker, topic, site.partitions).values())
        if shown != expected.shown[recipient.id]:
            broken.append(f"{recipient.id} is shown: {difference(shown, expected.shown[recipient.id])}")
    broken += _history(site, broker.committed)
    return broken + _overtaken(broker) + _set_aside(broker) + _back_in_time(broker)


def _history(site: Site, transactions: Iterable[Transaction]) -> Iterator[str]:
    """What is broken of the promises about all that was written, transaction by transaction."""
    raised, audit = topics.alerts_raised(site.name), topics.disclosures(site.name)
    told_on = {topics.alerts_for(site.name, recipient.id, k) for recipient in site.recipients for k in recipient.kinds}
    history = History(site)
    for transaction in transactions:
        written: dict[str, list[dict[str, Any]]] = {raised: [], audit: [], "told": []}
        for (topic, _), entry in transaction.written:
            where = "told" if topic in told_on else topic
            if where in written and entry.value is not None:
                written[where].append(decode(entry.value, SCHEMAS)[1])
        for broken in history.take(Written(written[raised], written["told"], written[audit])):
            yield f"transaction {transaction.number}: {broken}"


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
