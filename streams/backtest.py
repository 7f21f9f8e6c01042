"""Backtest: the stages over events in memory, without a broker. Pure: a rule author's first tool.

The same identify, pictures, correlations and alert book as the workers run, on one partition. Who is told of an alert
is not decided here: `sallyport shadow` says that, on a site's own log.

Two ways. As it would have gone (`AsItWent`): each event is processed when it comes, alerts are raised, changed and
withdrawn. What holds in the end (`InTheEnd`): everything is folded silently and evaluated once, which is an order of
magnitude faster; by the engine's law it is the same set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from schemas import topics
from schemas.avro_files import record_names, whole_schema
from schemas.codec import WriterSchema, encode, encode_parts, writer_schema
from schemas.events import Event, type_name
from schemas.site import Agency, Site
from streams.clock import tick
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.correlations.situation import FacilityCorrelation, PersonCorrelation
from streams.heard import Noted
from streams.identify import DeadLetter, Source, identified
from streams.records import LoggedRecord, Out
from streams.stage import FacilityStage, PersonStage

SCHEMA_IDS: Final[Mapping[str, int]] = {name: number for number, name in enumerate(record_names(), start=1)}
"""Ids that no registry gives: what is written here is read here."""
SCHEMAS: Final[Mapping[int, WriterSchema]] = {
    SCHEMA_IDS[name]: writer_schema(whole_schema(name)) for name in record_names()
}
Alert = Mapping[str, Any]
"""A record of `alerts.raised`."""


class Rules(NamedTuple):
    """What is looked for."""

    person: Sequence[PersonCorrelation] = PERSON_CORRELATIONS
    facility: Sequence[FacilityCorrelation] = FACILITY_CORRELATIONS


def on_one_partition(site: Site, clock: Literal["live", "history"] = "history") -> Site:
    """The site as a backtest sees it: one partition, and mostly a time that the events bring."""
    return site.model_copy(update={"partitions": 1, "clock": clock})


def facts_of(event: Event, agency: Agency, site: Site, came: int | None = None) -> tuple[Out, ...] | DeadLetter:
    """What an event puts on the logs of a site on one partition, or why it would be set aside.

    It comes when it happens, where `came` does not say when, microseconds: nothing is from the future.
    """
    kind = type_name(event)
    raw, body_at = encode_parts(event, SCHEMA_IDS[kind])
    source = Source(topics.inbound(site.name, agency.id, kind), agency, kind)
    came = event.head.time if came is None else came
    found = identified(event, body_at, raw, source, site, came, came)
    return found if isinstance(found, DeadLetter) else found.records


class _Logs:
    """The two logs of facts, each with what is not read yet, and the two stages that read them."""

    def __init__(self, site: Site, rules: Rules) -> None:
        self.person = PersonStage(site, 0, SCHEMAS, rules.person)
        self.facility = FacilityStage(site, 0, SCHEMAS, rules.facility)
        self._inputs = {topics.person_facts(site.name): 0, topics.facility_facts(site.name): 1}
        self._unread: tuple[deque[LoggedRecord], deque[LoggedRecord]] = deque(), deque()
        self._offsets = [0, 0]

    def write(self, outs: Iterable[Out]) -> list[Alert]:
        """Put records onto the logs; those that are alerts are given back."""
        alerts = []
        for out in outs:
            which, value = self._inputs.get(out.topic), out.value
            if out.name is not None and value is not None and not isinstance(value, bytes):
                if out.name == "AlertRaised":
                    alerts.append(value)
                value = encode(out.name, value, SCHEMA_IDS[out.name]) if which is not None else None
            if which is not None and (value is None or isinstance(value, bytes)):
                self._unread[which].append(LoggedRecord(self._offsets[which], out.key, value, out.headers))
                self._offsets[which] += 1
        return alerts

    def next(self) -> tuple[PersonStage | FacilityStage, LoggedRecord] | None:
        """The next record and who reads it, persons first; None where all is read."""
        of_persons, of_facilities = self._unread
        if of_persons:
            return self.person, of_persons.popleft()
        return (self.facility, of_facilities.popleft()) if of_facilities else None

    @property
    def positions(self) -> tuple[int, int]:
        """The first offset of each log that is not written."""
        return self._offsets[0], self._offsets[1]


class Backtest(ABC):
    """One of the two ways."""

    def __init__(self, site: Site, rules: Rules = Rules()) -> None:  # noqa: B008  # it is frozen
        self._site = site
        self._logs = _Logs(site, rules)
        self._noted = Noted()

    def tell(self, facts: Iterable[Out]) -> list[Alert]:
        """Take in what an event puts on the logs: the alerts that are raised, changed or withdrawn at once."""
        alerts = self._logs.write(out for out in facts if self._noted.is_news(out))
        while (unread := self._logs.next()) is not None:
            alerts += self._logs.write(self._take(*unread))
        return alerts

    @abstractmethod
    def _take(self, stage: PersonStage | FacilityStage, record: LoggedRecord) -> Sequence[Out]:
        """Let a stage read a record: what it wants written."""

    def advance(self, time: int) -> list[Alert]:
        """Let it be so late, microseconds."""
        return self.tell(tick(self._site, time))

    def end(self) -> list[Alert]:
        """What is left to be told when all has been taken in."""
        return []


class AsItWent(Backtest):
    """Each event is processed when it comes."""

    def _take(self, stage: PersonStage | FacilityStage, record: LoggedRecord) -> Sequence[Out]:
        return stage.process(record)


class InTheEnd(Backtest):
    """Everything is folded silently and evaluated once."""

    def _take(self, stage: PersonStage | FacilityStage, record: LoggedRecord) -> Sequence[Out]:
        stage.refold(record)
        return ()

    def end(self) -> list[Alert]:
        """The alerts that are open in the end."""
        person, facility = self._logs.person, self._logs.facility
        last: dict[str, Alert] = {}
        # What is forwarded or purged may change what is derived, and so on until nothing is left to be written.
        while outs := [*person.reconcile(self._logs.positions[0]), *facility.reconcile(self._logs.positions[1])]:
            last |= {alert["alert_id"]: alert for alert in self._logs.write(outs)}
            self.tell(())
        return [alert for _, alert in sorted(last.items()) if alert["state"] == "OPEN"]
