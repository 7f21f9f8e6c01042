"""Backtest: the stages over events in memory, without a broker. Pure: a rule author's first tool.

The same identify, pictures, correlations and alert book as the workers run. Who is told of an alert is not decided
here: `sallyport shadow` says that, on a site's own log.

Two ways. As it would have gone (`AsItWent`): each event is processed when it comes, alerts are raised, changed and
withdrawn. What holds in the end (`InTheEnd`): everything is folded silently and evaluated once, which is an order of
magnitude faster; by the engine's law it is the same set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from schemas import topics
from schemas.avro_files import record_names, whole_schema
from schemas.codec import WriterSchema, encode, encode_parts, writer_schema
from schemas.events import ONLY_HEARD, Event, type_name
from schemas.site import Agency, Site
from streams.alerts import alerts_in
from streams.clock import tick
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.correlations.situation import FacilityCorrelation, PersonCorrelation
from streams.facts import is_of_one_person
from streams.heard import Noted
from streams.identify import DeadLetter, Source, identified
from streams.records import LoggedRecord, Out
from streams.stage import FacilityStage, PersonStage

SCHEMA_IDS: Final[Mapping[str, int]] = {name: number for number, name in enumerate(record_names(), start=1)}
"""Ids that no registry gives: what is written here is read here."""
SCHEMAS: Final[Mapping[int, WriterSchema]] = {
    SCHEMA_IDS[name]: writer_schema(whole_schema(name)) for name in record_names()
}
MOST_PARTS: Final = 8
"""Partitions into which what is evaluated once, in the end, is parted at most. Tips and street violence each part has:
more parts would do little but fold these."""
Alert = Mapping[str, Any]
"""A record of `alerts.raised`."""


class Rules(NamedTuple):
    """What is looked for."""

    person: Sequence[PersonCorrelation] = PERSON_CORRELATIONS
    facility: Sequence[FacilityCorrelation] = FACILITY_CORRELATIONS


def on_one_partition(site: Site, clock: Literal["live", "history"] = "history") -> Site:
    """The site as a backtest sees it: one partition, and mostly a time that the events bring."""
    return site.model_copy(update={"partitions": 1, "clock": clock})


def in_parts(site: Site, parts: int) -> Site:
    """The site as a backtest sees it that so many share: a part each is a partition."""
    return site.model_copy(update={"partitions": parts, "clock": "history"})


class Published(NamedTuple):
    """An event as it would be on its inbound topic."""

    event: Event
    agency: Agency
    raw: bytes
    """As framed Avro; empty for what is only heard: nothing of it is kept that would have to be encoded."""
    body_at: int


def published(event: Event, agency: Agency) -> Published:
    """What an agency would publish."""
    kind = type_name(event)
    return Published(event, agency, *((b"", 0) if kind in ONLY_HEARD else encode_parts(event, SCHEMA_IDS[kind])))


def facts_of(what: Published, site: Site, came: int | None = None) -> tuple[Out, ...] | DeadLetter:
    """What an event puts on the logs of a site, or why it would be set aside.

    It comes when it happens, where `came` does not say when, microseconds: nothing is from the future.
    """
    event, agency, raw, body_at = what
    kind = type_name(event)
    source = Source(topics.inbound(site.name, agency.id, kind), agency, kind)
    came = event.head.time if came is None else came
    found = identified(event, body_at, raw, source, site, came, came)
    return found if isinstance(found, DeadLetter) else found.records


class _Log:
    """A partition of a log of facts, and the stage that reads it."""

    def __init__(self, stage: PersonStage | FacilityStage) -> None:
        self.stage = stage
        self.end = 0
        """The first offset that is not written."""

    def append(self, out: Out) -> LoggedRecord:
        """Write a record: as it is read."""
        value: Any = out.value
        if out.name is not None:
            value = encode(out.name, value, SCHEMA_IDS[out.name])
        self.end += 1
        return LoggedRecord(self.end - 1, out.key, value, out.headers)


class Backtest(ABC):
    """One of the two ways, on some partitions of a site, or all."""

    def __init__(self, site: Site, rules: Rules = Rules(), numbers: Iterable[int] | None = None) -> None:  # noqa: B008
        self._site = site
        self._logs: dict[tuple[str, int], _Log] = {}
        """By topic and partition."""
        for number in range(site.partitions) if numbers is None else numbers:
            person = PersonStage(site, number, SCHEMAS, rules.person)
            facility = FacilityStage(site, number, SCHEMAS, rules.facility)
            self._logs[topics.person_facts(site.name), number] = _Log(person)
            self._logs[topics.facility_facts(site.name), number] = _Log(facility)
        self._noted = Noted()

    @abstractmethod
    def tell(self, facts: Iterable[Out]) -> list[Alert]:
        """Take in what an event puts on the logs: the alerts that are raised, changed or withdrawn at once."""

    def advance(self, time: int) -> list[Alert]:
        """Let it be so late, microseconds."""
        return self.tell(tick(self._site, time))

    def end(self) -> list[Alert]:
        """What is left to be told when all has been taken in."""
        return []


class AsItWent(Backtest):
    """Each event is processed when it comes, on one partition."""

    def __init__(self, site: Site, rules: Rules = Rules()) -> None:  # noqa: B008  # it is frozen
        if site.partitions != 1:
            raise ValueError("as it went is told on one partition")
        super().__init__(site, rules)
        self._unread: dict[str, deque[LoggedRecord]] = {topic: deque() for topic, _ in self._logs}

    def tell(self, facts: Iterable[Out]) -> list[Alert]:
        """Take in what an event puts on the logs: the alerts that are raised, changed or withdrawn at once."""
        alerts = self._write(out for out in facts if self._noted.is_news(out))
        while (unread := self._next()) is not None:
            log, record = unread
            alerts += self._write(log.stage.process(record))
        return alerts

    def _write(self, outs: Iterable[Out]) -> list[Alert]:
        """Put records onto the logs; those that are alerts are given back."""
        written = [*outs]
        for out in written:
            log = self._logs.get((out.topic, out.partition))
            if log is not None:
                self._unread[out.topic].append(log.append(out))
        return alerts_in(written)

    def _next(self) -> tuple[_Log, LoggedRecord] | None:
        """The next record and who reads it, persons first; None where all is read."""
        return next(
            ((log, unread.popleft()) for (topic, _), log in self._logs.items() if (unread := self._unread[topic])), None
        )


class InTheEnd(Backtest):
    """Everything is folded silently and evaluated once. Who is the same as whom comes first: so most facts are given on
    to the person whose they are without having been folded for another.

    Those who have the other partitions, if there are any, get what is for these, and do as this one does.
    """

    def __init__(self, site: Site, rules: Rules = Rules(), numbers: Iterable[int] | None = None) -> None:  # noqa: B008
        super().__init__(site, rules, numbers)
        self._held: defaultdict[tuple[PersonStage, bytes], list[LoggedRecord]] = defaultdict(list)
        """By who folds them, and person: the facts that are not folded yet."""

    def tell(self, facts: Iterable[Out]) -> list[Alert]:
        """Take in what is put on the logs of its partitions. Nothing follows before the end."""
        for out in facts:
            log = self._logs.get((out.topic, out.partition))
            if log is None or not self._noted.is_news(out):
                continue
            record = log.append(out)
            if isinstance(log.stage, PersonStage) and record.value is not None and is_of_one_person(out.key):
                self._held[log.stage, out.key.partition(b"/")[0]].append(record)
            else:
                log.stage.refold(record)
        return []

    def settle(self) -> list[Out]:
        """What is to be written so that what is recorded is what is derived, on whatever partition: a round of it. What
        is forwarded or purged may change what is derived, and so on: the last round finds nothing."""
        # As the cause no record is named: which came last says nothing.
        return [*self._fold(), *[out for log in self._logs.values() for out in log.stage.reconcile(0)]]

    def _fold(self) -> Iterator[Out]:
        """Fold what is held, or give it on: all of one person before the next, since it is asked of each to whom that
        one is joined."""
        while self._held:
            (stage, person), records = self._held.popitem()
            yield from stage.take_in(person.decode(), records)

    def end(self) -> list[Alert]:
        """The alerts that are open in the end, where all partitions are its own."""
        return open_in_the_end(self._rounds())

    def _rounds(self) -> Iterator[list[Alert]]:
        while outs := self.settle():
            yield alerts_in(outs)
            self.tell(outs)


def open_in_the_end(rounds: Iterable[Iterable[Alert]]) -> list[Alert]:
    """The alerts that are open after all rounds: the same in however many parts they were found."""
    last = {alert["alert_id"]: alert for alerts in rounds for alert in alerts}
    return [_of_no_part(alert) for _, alert in sorted(last.items()) if alert["state"] == "OPEN"]


def _of_no_part(alert: Alert) -> Alert:
    """As if there were one part: the cause is of one, and so is the group of what one recovery finds."""
    return {**alert, "cause": {**alert["cause"], "partition": 0}, "group": None}
