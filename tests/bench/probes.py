"""Events whose alerts a desk waits for: reports of violence and moves, each of which changes one alert by one record.

A *report* is of violence in one of some feuds between groups whose members the jail has in one unit: identify tells
the facility, which raises (two transactions). A *move* brings a member to an enemy's unit, or takes him away: identify
tells his person's partition, that tells the facility, and that raises or withdraws (three transactions, the longest way
there is).
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from consumers.alert_feed import AlertFeed
from consumers.board import AlertSaid, Said
from producers.publisher import Publisher
from schemas.events import Event
from schemas.settings import Settings
from schemas.site import Site
from tests.county import DAY, JAIL, POLICE, START, agency_of, event, event_id

RECIPIENT: Final = "county-jail-watch"
FEUDS: Final = 20
"""Of each kind. An alert shows all the reports that bear it out: with one feud it would grow to hundreds of them."""
ELSEWHERE: Final = "INTAKE"
"""The unit to which a move takes somebody away."""
SET_UP_S: Final = 60.0


class Way(StrEnum):
    """Which way a probe goes."""

    REPORT = "report"
    MOVE = "move"


@dataclass(slots=True)
class Probe:
    """One event that changes one alert. Times are nanoseconds since 1970; 0 for not yet."""

    way: Way
    feud: int
    event_id: str = ""
    due: int = 0
    accepted: int = 0
    heard: int = 0

    @property
    def took_ms(self) -> float:
        """From the moment it was to be published to the moment the desk had its alert."""
        return (self.heard - self.due) / 1e6


def now(kind: str, person: str | None = None, **fields: object) -> Event:
    """An event of this moment."""
    day = (time.time_ns() // 1000 - START) / DAY
    return event(kind, person, day=day, **fields)  # type: ignore[arg-type]


def violence(way: Way, feud: int, name: str) -> Event:
    """A report of violence between the two sides of a feud."""
    return now("StreetViolenceReported", groups=[f"{way} east {feud}", f"{way} west {feud}"], name=name)


def both_in(unit: str, way: Way, feud: int) -> list[Event]:
    """A member of each side of a feud in custody, both in one unit."""
    events = []
    for side in ("east", "west"):
        person = f"{way}-{side}-{feud}"
        events += [
            now("BookingReported", person),
            now("HousingAssigned", person, unit=unit),
            now("AffiliationValidated", person, group=f"{way} {side} {feud}"),
        ]
    return events


@dataclass
class Desk:
    """The shift commander's desk: the feed of `sallyport watch`, and when it had each record of each alert."""

    settings: Settings
    site: Site
    heard: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By alert: when each of its records came, nanoseconds since 1970."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._feed = AlertFeed(self.settings, self.site, RECIPIENT)
        self._feed.start(self._deliver)

    def _deliver(self, said: Sequence[Said]) -> None:
        at = time.time_ns()
        alerts = [one.record["alert_id"] for one in said if isinstance(one, AlertSaid)]
        if alerts:
            with self._changed:
                for known_as in alerts:
                    self.heard[known_as].append(at)
                self._changed.notify_all()

    def until(self, holds: Callable[[Mapping[str, list[int]]], bool], timeout_s: float) -> bool:
        """Wait until what was heard is enough; false where it does not come in time."""
        with self._changed:
            return self._changed.wait_for(lambda: holds(self.heard), timeout_s)

    def until_quiet(self, holds: Callable[[Mapping[str, list[int]]], bool], seconds: float) -> None:
        """Wait until what was heard is enough, or nothing was heard for so long."""
        with self._changed:
            while not holds(self.heard) and self._changed.wait(seconds):
                pass

    def quiet(self, seconds: float) -> None:
        """Wait until nothing was heard for so long."""
        while True:
            with self._changed:
                if not self._changed.wait(seconds):
                    return

    def close(self) -> None:
        self._feed.stop()


class Probes:
    """Publishes probes, and knows when the desk had the alert of each.

    `units`: where the members of their feuds are housed, in turn.
    """

    def __init__(self, settings: Settings, site: Site, units: Sequence[str]) -> None:
        self._units = units
        self._publishers = {name: Publisher(settings, site, name) for name in (JAIL, POLICE)}
        self._desk = Desk(settings, site)
        self._alert_of: dict[tuple[Way, int], str] = {}
        self._sent: defaultdict[tuple[Way, int], list[Probe]] = defaultdict(list)
        self._known: dict[str, int] = {}
        """By alert: records of it that are of no probe."""
        self._is_elsewhere = [False] * FEUDS

    def close(self) -> None:
        for publisher in self._publishers.values():
            publisher.close(0)
        self._desk.close()

    def set_up(self, ways: Sequence[Way] = tuple(Way)) -> None:
        """Make the feuds, each with its alert."""
        feuds = [(way, feud) for way in ways for feud in range(FEUDS)]
        self._publishers[JAIL].publish_many(
            [one for way, feud in feuds for one in both_in(self._unit(way, feud), way, feud)]
        )
        for way, feud in feuds:
            before = set(self._desk.heard)
            self._publish(violence(way, feud, f"first {way} {feud} {time.time_ns()}"))
            if not self._desk.until(lambda heard: len(heard) > len(before), SET_UP_S):  # noqa: B023
                raise RuntimeError(f"no alert came of the feud {way} {feud}")
            (known_as,) = set(self._desk.heard) - before
            self._alert_of[way, feud] = known_as
        self._desk.quiet(2)
        self._known = {known_as: len(heard) for known_as, heard in self._desk.heard.items()}

    def _unit(self, way: Way, feud: int) -> str:
        return self._units[([*Way].index(way) * FEUDS + feud) % len(self._units)]

    def _publish(self, what: Event) -> None:
        self._publishers[agency_of(what)].publish(what)

    def send(self, probe: Probe) -> None:
        """Publish a probe now. Where it has no time at which it was due, that is now."""
        name = f"{probe.way} {probe.feud} {time.time_ns()}"
        if probe.way is Way.REPORT:
            what = violence(probe.way, probe.feud, name)
        else:
            elsewhere = self._is_elsewhere[probe.feud] = not self._is_elsewhere[probe.feud]
            unit = ELSEWHERE if elsewhere else self._unit(probe.way, probe.feud)
            what = now("HousingAssigned", f"{probe.way}-east-{probe.feud}", unit=unit, name=name)
        probe.event_id = event_id(name)
        self._sent[probe.way, probe.feud].append(probe)
        probe.due = probe.due or time.time_ns()
        self._publish(what)
        probe.accepted = time.time_ns()

    def until_heard(self, timeout_s: float) -> int:
        """Wait until the desk has the alerts of all that was sent, or hears nothing for so long; note when it had each.

        Gives the number of those of which that can't be said: where much waits, two probes of one alert are decided
        together, and one record, or none, comes of both.
        """
        wanted = {
            self._alert_of[feud]: len(sent) + self._known[self._alert_of[feud]] for feud, sent in self._sent.items()
        }
        self._desk.until_quiet(
            lambda heard: all(len(heard[known_as]) >= count for known_as, count in wanted.items()), timeout_s
        )
        merged = 0
        for feud, sent in self._sent.items():
            known_as = self._alert_of[feud]
            heard = self._desk.heard[known_as][self._known[known_as] :]
            self._known[known_as] += len(heard)
            # Each changes its alert by one record, and those of one alert come in their order; else which is whose?
            if len(heard) != len(sent):
                merged += len(sent)
                continue
            for probe, at in zip(sent, heard, strict=True):
                probe.heard = at
        self._sent.clear()
        return merged


def in_turn(count: int, reports: float) -> list[Probe]:
    """So many probes, this share of them reports, each kind over its feuds in turn."""
    probes = []
    of: dict[Way, int] = dict.fromkeys(Way, 0)
    for number in range(count):
        way = Way.REPORT if int((number + 1) * reports) > int(number * reports) else Way.MOVE
        probes.append(Probe(way, of[way] % FEUDS))
        of[way] += 1
    return probes
