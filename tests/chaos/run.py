"""The executor: events flow through a real bus while a plan goes wrong; then nothing does any more, and it is judged.

One thread does it all, so that what happens first in the plan happens first: publish some, strike what is due, end what
has lasted long enough, wait while the workers are too far behind.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import psutil  # type: ignore[import-untyped]
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from deploy.supervisor import Supervised, Supervisor
from producers.publisher import Publisher
from schemas import topics
from schemas.codec import FRAMED, decode, encode, event_body
from schemas.events import Event
from schemas.registry_client import SchemaCache, registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site
from streams.agents import input_topics
from streams.facts import TICK_KEY
from tests.bench.ground import KEEP_EVERYTHING, set_on_topic
from tests.chaos.county_flow import LAST_TICK, Bad, Item, Tick, county_flow, good, inbound_topic
from tests.chaos.mortal_bus import MortalBus, Part, mortal_bus
from tests.chaos.plan import Fault, Kind, plan
from tests.county import agency_of
from tests.kept_promises import KEPT, Alert, History, Written, difference, opened
from tests.simulation.county_history import from_scratch
from tests.working_site import WorkingSite, environment, until

WORKERS: Final = 2
CHUNK: Final = 100
"""Events published between two looks at the plan."""
AHEAD: Final = 25
"""Publishing may be ahead of the workers by one in so many of all events: there is always work to break off."""
PATIENCE_S: Final = 600.0
"""Seconds in which what is left must be done when nothing goes wrong any more."""
QUIET_S: Final = 2.5
"""Seconds without a new record after which what was reported as done is done: two reports of the stages, and more."""
SMALL_SEGMENTS: Final = {"segment.bytes": str(1 << 20), "segment.ms": "10000"}
"""For the facts: compaction goes on while they flow."""
EXPECTED_EXITS: Final = frozenset({"Fenced", "BrokenWriterError"})
"""Why a worker may give up: its supervisor starts it again."""
STALLED: Final = "StalledError"
"""Why it may give up no more often than something stopped that it waits for."""
STOPS_A_WORKER: Final = frozenset(
    {
        Kind.WORKER_PAUSED,
        Kind.BROKER_KILLED,
        Kind.BROKER_STOPPED,
        Kind.REGISTRY_KILLED,
        Kind.REGISTRY_STOPPED,
    }
)
"""What goes wrong that can leave a worker standing where it was, though it is over long before that counts."""
POLICE_HOUSING: Final = """
id = "county-jail-to-city-pd-housing"
title = "Housing, for a while"
authority = "None: of a test"
source = "county-jail"
recipient = "city-pd"
kinds = ["housing"]
valid_from = {begins}
valid_until = {ends}

[grants]
BookingReported = ["facility", "booking_number"]
HousingAssigned = ["unit"]
CustodyClassified = ["level", "time"]
AffiliationValidated = ["persons", "group"]
"""
POLICE_DESK: Final = """
[[recipients]]
id = "city-pd-housing"
name = "A desk that may see something for a while"
agency = "city-pd"
kinds = ["housing"]
"""


@dataclass
class Found:
    """What a run led to."""

    broken: list[str]
    """Promises that were not kept, in words."""
    figures: dict[str, Any]
    """What happened, counted."""


@dataclass
class _Trouble:
    """A fault that lasts: how it ends, and when that is over."""

    ends_at: float
    end: Callable[[], object]
    over: Callable[[], bool] = lambda: True
    ended: bool = False


def run(settings: Settings, scratch: Path, seed: int, events: int, say: Callable[[str], None]) -> Found:
    """Let so many events flow while the seed's plan goes wrong, on a bus of its own, and judge what came of it."""
    with mortal_bus(settings) as bus:
        site = WorkingSite.make(settings, scratch, "chaos", partitions=4, clock="history", change=_police_desk)
        _set_up_topics(site)
        with patch.dict(os.environ, environment(site.settings)), ExitStack() as stack:
            stack.callback(site.end)
            chaos = Chaos(bus, site, say)
            stack.callback(chaos.stop)
            chaos.run(county_flow(seed, events), plan(seed, events), events)
            chaos.settle()
            return judged(site, seed, events, chaos.figures)


def _police_desk(directory: Path) -> None:
    """One more who is told: nothing first, then something, by an agreement that begins and ends meanwhile."""
    with (directory / "site.toml").open("a") as site:
        site.write(POLICE_DESK)
    begins, ends = ("2026-08-12T00:00:00Z", "2026-09-11T00:00:00Z")
    (directory / "agreements" / "police-housing.toml").write_text(POLICE_HOUSING.format(begins=begins, ends=ends))


def _set_up_topics(site: WorkingSite) -> None:
    for topic in (topics.person_facts(site.site.name), topics.facility_facts(site.site.name)):
        set_on_topic(site.settings, topic, SMALL_SEGMENTS)
    for topic in (topics.alerts_raised(site.site.name), *_told_on(site.site)):
        set_on_topic(site.settings, topic, KEEP_EVERYTHING)


def _told_on(site: Site) -> list[str]:
    return [
        topics.alerts_for(site.name, recipient.id, kind) for recipient in site.recipients for kind in recipient.kinds
    ]


class Chaos:
    """Workers, publishers, and what goes wrong with them."""

    def __init__(self, bus: MortalBus, site: WorkingSite, say: Callable[[str], None]) -> None:
        self._bus = bus
        self._site = site
        self._say = say
        self._names = count()
        self._began = time.monotonic()
        self._troubles: list[_Trouble] = []
        self._published = self._identified = 0
        self.figures: dict[str, Any] = {"faults": Counter[str]()}
        self._publishers = {agency.id: Publisher(site.settings, site.site, agency.id) for agency in site.site.agencies}
        self._ids = schema_ids(
            registry_client(site.settings), site.site, [t.name for t in topics.all_topics(site.site)]
        )
        self._raw: dict[str, Producer] = {}
        self._asks = Consumer(
            {
                **site.settings.kafka(site.site.user("bus")),
                "group.id": topics.consumer_group(site.site.name),
                "log_level": 0,
            }
        )
        self._inbound = [
            TopicPartition(topic, number)
            for topic in input_topics("identify", site.site)
            for number in range(site.site.partitions)
        ]
        self._supervisor = Supervisor([self._worker() for _ in range(WORKERS)])
        self._supervisor.start()

    def _worker(self) -> Supervised:
        name = f"worker-{next(self._names)}"
        command = [sys.executable, "-P", "-m", "deploy", "worker"]
        return Supervised(name, command, self._site.directory / f"{name}.log")

    def stop(self) -> None:
        """End everything."""
        for trouble in self._troubles:
            trouble.end()
        self._supervisor.stop()
        for publisher in self._publishers.values():
            publisher.close(0)
        self._asks.close()

    # -- the flow ------------------------------------------------------------------------------------------------

    def run(self, flow: Iterable[Item], faults: Sequence[Fault], events: int) -> None:
        """Publish all of it, and strike what is due."""
        waiting = list(faults)
        items = iter(flow)
        ahead = max(CHUNK, events // AHEAD)
        self._publish(list(islice(items, CHUNK)))
        # What goes wrong before anybody has begun to work breaks nothing off.
        self._wait_for(1)
        while chunk := list(islice(items, CHUNK)):
            self._publish(chunk)
            self._tend()
            while waiting and waiting[0].after <= self._published:
                at_once = [fault for fault in waiting if fault.after == waiting[0].after]
                del waiting[: len(at_once)]
                # What went wrong before is over first: else a broker would be killed that does not run.
                self._until_all_is_well()
                for fault in at_once:
                    self._say(f"{self._now()} {fault}")
                    self._strike(fault)
                    self.figures["faults"][fault.kind.value] += 1
            self._wait_for(self._published - ahead)
            if self._published // 10_000 > (self._published - len(chunk)) // 10_000:
                self._say(f"{self._now()} {self._published:,} of {events:,} events published")

    def _publish(self, items: Sequence[Item]) -> None:
        by_agency: dict[str, list[Event]] = {}
        for item in items:
            if isinstance(item, Tick):
                self._tick(item.time)
                continue
            self._published += 1
            said = item.said if isinstance(item, Bad) else item
            if said is not None:
                by_agency.setdefault(agency_of(said), []).append(said)
            elif isinstance(item, Bad):
                name = self._site.site.name
                ids = {record: number for (_, record), number in self._ids.items()}
                self._write(item.agency, topics.inbound(name, item.agency, item.event_type), item.record(ids), b"bad")
        for agency, events in by_agency.items():
            self._publishers[agency].publish_many(events)

    def _tick(self, at: int) -> None:
        topic = topics.clock(self._site.site.name)
        self._write("clock", topic, encode("Tick", {"time": at}, self._ids[topic, "Tick"]), TICK_KEY)

    def _write(self, user: str, topic: str, value: bytes, key: bytes) -> None:
        """Put bytes on partition 0 of a topic; they wait while the broker is away."""
        if user not in self._raw:
            config = {"enable.idempotence": True, "message.timeout.ms": 0, "log_level": 0}
            self._raw[user] = Producer({**self._site.settings.kafka(self._site.site.user(user)), **config})
        self._raw[user].produce(topic, value, key, 0)
        self._raw[user].poll(0)

    def _wait_for(self, identified: int) -> None:
        """Wait until the workers have taken so many records."""
        deadline = time.monotonic() + PATIENCE_S
        while self._identified < identified:
            if time.monotonic() > deadline:
                left = self._published - self._identified
                said = self._last_words()
                raise AssertionError(f"in {PATIENCE_S:.0f} s the workers took none of {left:,} records; {said}")
            self._tend()
            before, self._identified = self._identified, self._count_identified()
            if self._identified > before:
                deadline = time.monotonic() + PATIENCE_S
            if self._identified < identified:
                time.sleep(0.1)

    def _last_words(self) -> str:
        """The last line of each worker's log: by then these go with the rest."""
        said = _worker_logs(self._site.directory)
        return "; ".join(f"{name}: {(text.splitlines() or ['nothing'])[-1]}" for name, text in said)

    def _count_identified(self) -> int:
        """How many records the workers have taken; as many as before where the broker does not tell."""
        try:
            committed = self._asks.committed(self._inbound, timeout=2)
        except KafkaException:
            return self._identified
        return sum(max(0, part.offset) for part in committed)

    def _now(self) -> str:
        return f"{time.monotonic() - self._began:6.1f} s"

    # -- what goes wrong -----------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        lasting: dict[Kind, Callable[[Fault], _Trouble]] = {
            Kind.WORKER_PAUSED: self._pause_worker,
            Kind.WORKER_ADDED: self._add_worker,
            Kind.BROKER_KILLED: lambda f: self._kill(self._bus.broker, f),
            Kind.BROKER_STOPPED: lambda f: self._stop(self._bus.broker, f),
            Kind.REGISTRY_KILLED: lambda f: self._kill(self._bus.registry, f),
            Kind.REGISTRY_STOPPED: lambda f: self._stop(self._bus.registry, f),
        }
        if fault.kind is Kind.WORKER_KILLED:
            self._victim(fault).kill()
        else:
            self._troubles.append(lasting[fault.kind](fault))

    def _victim(self, fault: Fault) -> psutil.Process:
        """A worker that runs."""
        until(self._running, "a worker runs", PATIENCE_S)
        running = self._running()
        return running[fault.victim % len(running)]

    def _running(self) -> list[psutil.Process]:
        found = []
        for supervised in [*self._supervisor.processes]:
            if supervised.process is not None and supervised.process.poll() is None:
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(supervised.process.pid)
                    if process.status() != psutil.STATUS_STOPPED:
                        found.append(process)
        return found

    def _pause_worker(self, fault: Fault) -> _Trouble:
        victim = self._victim(fault)
        victim.suspend()

        def wake() -> None:
            with suppress(psutil.NoSuchProcess):
                victim.resume()

        return self._lasts(fault, wake)

    def _add_worker(self, fault: Fault) -> _Trouble:
        added = self._worker()
        self._supervisor.processes.append(added)

        def leave() -> None:
            self._supervisor.processes.remove(added)
            if added.process is not None:
                with suppress(ProcessLookupError):
                    added.process.send_signal(signal.SIGCONT)
                    added.process.terminate()

        return self._lasts(fault, leave, lambda: added.process is None or added.process.poll() is not None)

    def _kill(self, part: Part, fault: Fault) -> _Trouble:
        part.kill()
        return self._lasts(fault, part.start, part.answers)

    def _stop(self, part: Part, fault: Fault) -> _Trouble:
        part.stop()
        return self._lasts(fault, part.go_on, part.answers)

    def _lasts(self, fault: Fault, end: Callable[[], object], over: Callable[[], bool] = lambda: True) -> _Trouble:
        return _Trouble(time.monotonic() + fault.seconds, end, over)

    def _tend(self) -> None:
        """End what has lasted long enough, and forget what is over."""
        for trouble in self._troubles:
            if not trouble.ended and time.monotonic() >= trouble.ends_at:
                trouble.end()
                trouble.ended = True
        self._troubles = [trouble for trouble in self._troubles if not (trouble.ended and trouble.over())]

    def _until_all_is_well(self) -> None:
        def all_is_well() -> bool:
            self._tend()
            return not self._troubles

        until(all_is_well, "what went wrong is over", PATIENCE_S)

    # -- the end -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Nothing goes wrong any more: wait until everything is done, the last tick too; then end the workers."""
        self._until_all_is_well()
        self.figures["flowed_s"] = round(time.monotonic() - self._began, 1)
        self._say(f"{self._now()} nothing goes wrong any more")
        for publisher in self._publishers.values():
            publisher.flush(PATIENCE_S)
        for producer in self._raw.values():
            producer.flush(PATIENCE_S)
        self.figures["spooled"] = sum(publisher.pending for publisher in self._publishers.values())

        def all_is_identified() -> bool:
            self._identified = self._count_identified()
            return self._identified >= self._published

        until(all_is_identified, "every record is identified", PATIENCE_S)
        self._tick(LAST_TICK)
        self._raw["clock"].flush(PATIENCE_S)
        until(self._is_quiet, "nobody has anything to do any more", PATIENCE_S)
        self.figures["seconds"] = round(time.monotonic() - self._began, 1)
        # Whoever is told to end ends, also while the broker hangs: without being killed by the supervisor.
        self._bus.broker.stop()
        self._supervisor.stop()
        self._bus.broker.go_on()
        self.figures["ended with"] = [one.process.returncode for one in self._supervisor.processes if one.process]
        self.figures["exits"] = Counter(exits(self._site.directory))

    def _is_quiet(self) -> bool:
        """Everything is reported as done, and nothing comes any more: one stage's output is another's input."""
        self._site.until_settled(LAST_TICK, PATIENCE_S)
        before = self._ends()
        time.sleep(QUIET_S)
        return self._ends() == before

    def _ends(self) -> list[int]:
        name = self._site.site.name
        written = (topics.person_facts(name), topics.facility_facts(name), topics.alerts_raised(name))
        return [self._site.end_of(topic) for topic in written]


def exits(directory: Path) -> Iterator[str]:
    """Why workers gave up, each by the name of its error, as their logs say."""
    for _, text in _worker_logs(directory):
        yield from re.findall(r"the worker exits \(\d\): (\w+)", text)


def _worker_logs(directory: Path) -> Iterator[tuple[str, str]]:
    """What each worker said, by its name; one that was killed may have ended in the middle of a character."""
    for log in sorted(directory.glob("worker-*.log")):
        yield log.stem, log.read_text(errors="replace")


def unexplained(gave_up: Mapping[str, int], faults: Mapping[str, int]) -> Iterator[str]:
    """Workers that gave up for no reason known: by the name of the error, and by what went wrong, how often each."""
    for why in sorted(gave_up.keys() - EXPECTED_EXITS - {STALLED}):
        yield f"a worker gave up by {why}"
    stalled, stopped = gave_up.get(STALLED, 0), sum(faults.get(kind.value, 0) for kind in STOPS_A_WORKER)
    if stalled > stopped:
        yield f"workers stood still {stalled} times, and {stopped} times something stopped that they wait for"


# -- judging -----------------------------------------------------------------------------------------------------------


def judged(site: WorkingSite, seed: int, events: int, figures: dict[str, Any]) -> Found:
    """Whether every promise was kept."""
    name, expected = site.site.name, from_scratch(good(seed, events), site.site, LAST_TICK)
    reads = _Reads(site)
    raised = reads.fields_of(topics.alerts_raised(name))
    told = [record for topic in _told_on(site.site) for record in reads.fields_of(topic)]
    audited = reads.fields_of(topics.disclosures(name))
    broken = []
    if opened(raised) != expected.alerts:
        broken.append(f"open alerts: {difference(opened(raised), expected.alerts)}")
    for recipient in site.site.recipients:
        shown = opened(record for record in told if record["recipient"] == recipient.id)
        if shown != expected.shown[recipient.id]:
            broken.append(f"{recipient.id} is shown: {difference(shown, expected.shown[recipient.id])}")
    broken += History(site.site).take(Written(raised, told, audited))
    broken += [*lost(site, county_flow(seed, events)), *_set_aside(site, county_flow(seed, events))]
    broken += unexplained(figures["exits"], figures["faults"])
    broken += [f"a worker that was told to end ended with {code}" for code in figures["ended with"] if code]
    figures |= {
        "open alerts": len(expected.alerts),
        "alert records": len(raised),
        "told records": len(told),
        "decisions": dict(Counter(one["decision"] for one in audited)),
    }
    return Found(broken, figures)


NEEDED: Final = ("alert_id", "revision", "kind", "recipient", "decision", *KEPT, *KEPT.values())
"""Of an alert's record, or one of the audit, what is judged."""


class _Reads:
    """What is judged of a topic's records; all of them would be large."""

    def __init__(self, site: WorkingSite) -> None:
        self._site = site
        self._schemas = SchemaCache(registry_client(site.settings))

    def fields_of(self, topic: str) -> list[Alert]:
        """Some fields of each record, in the order of the log."""
        found: list[Alert] = []
        for message in self._site.read(topic):
            value = message.value()
            if value is None:
                continue
            self._schemas.ensure([value])
            record = decode(value, self._schemas)[1]
            found.append({field: record[field] for field in NEEDED if field in record})
        return found


def lost(site: WorkingSite, flow: Iterable[Item]) -> Iterator[str]:
    """Events that a publisher accepted, and that are not on their topic with all they say."""
    accepted: dict[str, set[bytes]] = {}
    for item in flow:
        said = item.said if isinstance(item, Bad) else None if isinstance(item, Tick) else item
        if said is not None:
            accepted.setdefault(inbound_topic(site.site.name, said), set()).add(event_body(said))
    for topic, bodies in accepted.items():
        missing = len(bodies - {(message.value() or b"")[FRAMED:] for message in site.read(topic)})
        if missing:
            yield f"{missing} events are not on {topic}, and were accepted"


def _set_aside(site: WorkingSite, flow: Iterable[Item]) -> Iterator[str]:
    """Bad records of which there is no dead letter, and good ones of which there is one."""
    expected = Counter(item.reason for item in flow if isinstance(item, Bad))
    letters: dict[bytes, str] = {}
    for agency in site.site.agencies:
        for box in topics.dead_letter_boxes(site.site, agency.id):
            for message in site.read(box.topic.name):
                letters[message.key()] = dict(message.headers())["reason"].decode()
    found = Counter(reason for reason in letters.values() if reason != "CONFLICT")
    if found != expected:
        yield f"dead letters by reason: {dict(found)}, and there should be {dict(expected)}"
    of_the_bus = site.read(topics.dead_letters(site.site.name, topics.BUS))
    if of_the_bus:
        yield f"{len(of_the_bus)} of the bus's own records were set aside"
