"""One simulated history: a county, workers, and what goes wrong; everything drawn from one seed.

`simulate(seed)` runs it and returns what was found. First things happen: events are published, workers join, die, are
stopped and woken, the broker and the registry go away. Then nothing goes wrong any more, everything is drained, and
`invariants.py` says whether the promise was kept.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import random
import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from schemas import topics
from schemas.avro_files import whole_schema
from schemas.codec import encode
from schemas.settings import Settings
from schemas.site import Site
from schemas.subjects import subjects
from streams import partition_loop, standby
from streams.agents import STAGES, input_topics
from streams.backtest import SCHEMA_IDS
from tests.county import DAY, START
from tests.county_events import LAST_DAY, little_suffices
from tests.simulation.broker import TOMBSTONES_S, Log, SimulatedBroker
from tests.simulation.county_history import (
    AGREEMENTS,
    LAST_TICKS,
    Published,
    Time,
    county_site,
    from_scratch,
    published,
    random_history,
)
from tests.simulation.invariants import Watch, alerts, broken_promises
from tests.simulation.seeded_loop import Process, SeededLoop, WentNowhereError
from tests.simulation.worker import SimulatedWorker

SETTINGS: Final = Settings(home=Path("/nowhere"), security_protocol="PLAINTEXT", standby_memory=1)
TROUBLE_S: Final = 14.0
"""Virtual seconds in which things go wrong."""
PATIENCE_S: Final = 400.0
"""Virtual seconds after which what is not drained is stuck."""
SCHEMAS_BY_ID: Final = {number: whole_schema(name) for name, number in SCHEMA_IDS.items()}
FAULTS: Final = (
    *["kill"] * 4,
    *["pause"] * 4,
    *["another worker"] * 2,
    "terminate",
    *["broker away"] * 2,
    "registry away",
)


@dataclass
class Outcome:
    """What a seed led to."""

    seed: int
    broken: list[str]
    """Promises that were not kept, in words; empty where all were."""
    told: list[tuple[float, str, str, tuple[Any, ...]]]
    steps: int
    virtual_s: float
    kinds: dict[str, int] = field(default_factory=dict)
    """What went wrong, by name."""
    alerts: dict[tuple[str, str], int] = field(default_factory=dict)
    """The alerts that were recorded, by rule and state."""

    def story(self) -> str:
        """What happened, line by line, in virtual time."""
        return "\n".join(f"{at:8.3f} {who:>9} {what.format(*args)}" for at, who, what, args in self.told)

    def how_to_replay(self) -> str:
        """The command that lets it happen again, and tells the story."""
        return f"seed {self.seed} broke the promise. Replay: make simulate-faults SEEDS=1 FROM={self.seed}"

    def trace(self) -> str:
        """A digest of everything that happened: equal for equal runs."""
        return hashlib.sha256(f"{self.story()}\n{self.steps}".encode()).hexdigest()


class SimulatedRegistry:
    """The registry as one process asks it; in a thread."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def get_schema(self, schema_id: int) -> Any:
        """A registered schema. Raises OSError while the registry is away."""
        loop = self._process.loop
        loop.block(self._world.broker.latency())
        if not self._world.registry_up:
            raise OSError("the registry is away")
        return _Registered(SCHEMAS_BY_ID[schema_id])


@dataclass(frozen=True, slots=True)
class _Registered:
    schema_str: str


class World:
    """Everything of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        plan = random.Random(f"{seed}/plan")
        self.plan = plan
        self.told: list[tuple[float, str, str, tuple[Any, ...]]] = []
        self.kinds: dict[str, int] = {}
        time: Time = plan.choice(("live", "history", "history"))
        self.site: Site = county_site(plan.randint(1, 3), time, plan.choice(AGREEMENTS))
        self.history = random_history(plan, time)
        self.loop = SeededLoop(random.Random(f"{seed}/schedule"), shuffle=plan.random() < 0.2)
        self.pace = plan.choice([1.0, 0.25, 0.25])
        self.trouble_s = TROUBLE_S * (1 if self.pace == 1 else 0.6)
        self.broker = SimulatedBroker(self.site, self.loop, random.Random(f"{seed}/broker"), self.note, self.pace)
        self.broker.few = plan.random() < 0.4
        self.inputs = [topic for stage in STAGES for topic in input_topics(stage, self.site)]
        self.registry_up = True
        self.schema_ids = _schema_ids(self.site)
        self.broker.group.standbys = plan.choice([0, 1, 1, 2])
        self.workers: list[SimulatedWorker] = []
        self.most_workers = plan.choice([1, 2, 2, 3])
        self.trouble = True
        self.slow = plan.choice([0.0, 0.0, 0.01, 0.05])
        self.day_per_s = plan.choice([0.02, 0.2, 0.5])
        # Small rooms, so that few records fill them.
        self.rooms: dict[str, Any] = {
            "MOST_OF_A_TOPIC": plan.choice([1, 1_000, partition_loop.MOST_OF_A_TOPIC]),
            "MOST_RECORDS": plan.choice([3, partition_loop.MOST_RECORDS]),
            "MOST_OUTS": plan.choice([1, partition_loop.MOST_OUTS]),
        }
        at_a_time, turn = plan.choice([1, 3, standby.AT_A_TIME]), plan.choice([2, standby.TURN])
        self.standby: dict[str, Any] = {
            "AT_A_TIME": at_a_time,
            "TURN": turn,
            # Deriving takes no time here: each lot is a go, and where turns are short each go is a turn.
            "GO_S": 0.0,
            "DERIVING_S": 0.0 if turn < standby.TURN else standby.DERIVING_S,
            "TOO_FAR": 2 if turn < standby.TURN else standby.TOO_FAR,
            "DERIVED_AT_A_TIME": plan.choice([1, standby.DERIVED_AT_A_TIME]),
            "FOLLOW_EVERY_S": plan.choice([0.1, standby.FOLLOW_EVERY_S]),
            # Half of the time for which a tombstone is kept, as shipped.
            "TRUSTED_S": TOMBSTONES_S / 2,
            "LOOK_FOR_THE_END_S": plan.choice([0.0, 5.0]),
        }
        self.frozen: int | None = None
        self.moments = [plan.random() * self.trouble_s for _ in range(plan.choice([1, 2, 4, 30]))]
        """When something is published: now and then, or much at once."""
        self.watch = Watch(self.site, self.broker, self.history, self._worker_of)

    def note(self, who: str, what: str, *args: Any) -> None:
        """A line of the story."""
        self.told.append((self.loop.time(), who, what, args))

    # -- time ----------------------------------------------------------------------------------------------------

    def wall_clock(self, skew: int) -> Callable[[], int]:
        """A wall clock that is off by `skew` microseconds. A day passes in a few seconds."""

        def now() -> int:
            true = self.frozen if self.frozen is not None else self._true_time()
            return true + skew

        return now

    def _true_time(self) -> int:
        return START + int((LAST_DAY + 1 + self.loop.time() * self.day_per_s) * DAY)

    # -- workers -------------------------------------------------------------------------------------------------

    def start_worker(self) -> None:
        """Start another worker process."""
        skew = self.plan.choice([0, self.plan.randint(-DAY // 2, DAY // 2)])
        worker = SimulatedWorker(
            f"worker-{len(self.workers)}",
            self.broker,
            SETTINGS.model_copy(update={"standbys": self.broker.group.standbys}),
            lambda process: SimulatedRegistry(self, process),
            self.schema_ids,
            self.wall_clock(skew),
            self._on_exit,
        )
        worker.process.slow = self.slow
        self.workers.append(worker)
        worker.start()

    def _on_exit(self, _: SimulatedWorker) -> None:
        self.kinds["exits"] = self.kinds.get("exits", 0) + 1
        delay = 0.2 + self.plan.random()
        self.loop.call_later(delay, self._supervise, context=self.loop.world.context)

    def _supervise(self) -> None:
        if len(self.alive) < self.most_workers:
            self.start_worker()

    @property
    def alive(self) -> list[SimulatedWorker]:
        """The workers that live."""
        return [worker for worker in self.workers if worker.process.alive]

    def _worker_of(self, member: str) -> SimulatedWorker:
        return next(worker for worker in self.workers if worker.name == member.partition("/")[0])

    # -- the script ----------------------------------------------------------------------------------------------

    async def run(self) -> list[str]:
        """Let it all happen; what was broken in the end."""
        for _ in range(self.plan.choice([1, self.most_workers, self.most_workers])):
            self.start_worker()
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._publish())
            parts.create_task(self._go_wrong())
            parts.create_task(self._compact())
        self._heal()
        settled = await self._until_drained()
        broken = self.watch.broken + [f"nobody caught it: {what}" for what in self.loop.unexpected]
        if not settled:
            return [*broken, f"after {PATIENCE_S:.0f} quiet seconds it is not drained: {'; '.join(self._left())}"]
        return broken + broken_promises(self.broker, from_scratch(self.history, self.site, self._last_tick()))

    async def _publish(self) -> None:
        plan, site = self.plan, self.site
        pauses = [plan.choice(self.moments) for _ in self.history]
        ticks = sorted(plan.random() * self.trouble_s for _ in range(3)) if site.clock == "history" else []
        steps: list[tuple[float, Callable[[], None]]] = []
        for at, what in zip(sorted(pauses), self.history, strict=True):
            record = published(what, site, plan.randrange(site.partitions))
            steps.append((at, partial(self._publish_one, record)))
        last = plan.choice(LAST_TICKS)
        days = sorted(plan.randint(0, last) for _ in ticks)
        steps += [(at, partial(self._tick, day)) for at, day in zip(ticks, days, strict=True)]
        if plan.random() < 0.15:
            inbound = topics.inbound(site.name, "county-jail", "HousingAssigned")
            steps.append((plan.random() * self.trouble_s, lambda: self._say(inbound, 0, b"junk", "junk")))
        if plan.random() < 0.1:
            facts = plan.choice([topics.person_facts(site.name), topics.facility_facts(site.name)])
            steps.append((plan.random() * self.trouble_s, lambda: self._say(facts, 0, b"junk", "junk", b"no/such/key")))
        for at, step in sorted(steps, key=lambda step: step[0]):
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            step()
        if site.clock == "history":
            await asyncio.sleep(max(0.0, self.trouble_s - self.loop.time()))
            self._tick(last)

    def _publish_one(self, record: Published) -> None:
        self._say(record.topic, record.partition, record.value, record.says, at=record.at)

    def _say(
        self, topic: str, partition: int, value: bytes, says: str, key: bytes | None = None, at: int | None = None
    ) -> None:
        self.note("agency", "publishes on {}-{}: {}", topic, partition, says)
        self.broker.append((topic, partition), key, value, at)

    def _tick(self, day: int) -> None:
        value = encode("Tick", {"time": START + day * DAY}, SCHEMA_IDS["Tick"])
        self._say(topics.clock(self.site.name), 0, value, f"it is day {day}")

    async def _go_wrong(self) -> None:
        plan = self.plan
        faults = sorted((self._moment_of_trouble(), plan.choice(FAULTS)) for _ in range(plan.randint(0, 8)))
        for at, fault in faults:
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            self.kinds[fault] = self.kinds.get(fault, 0) + 1
            victims = self.alive
            match fault:
                case "another worker":
                    if len(victims) < 3:
                        self.most_workers = max(self.most_workers, len(victims) + 1)
                        self.start_worker()
                case "broker away":
                    self.broker.go_away()
                    length = 0.2 + plan.random() ** 2 * 9
                    self._later(length, self.broker.come_back)
                case "registry away":
                    self.registry_up = False
                    self._later(0.5 + plan.random() * 4, self._registry_comes_back)
                case _ if victims:
                    self._strike(plan.choice(victims), fault)

    def _moment_of_trouble(self) -> float:
        """Mostly soon after something was published, when there is work that can be broken off."""
        if self.plan.random() < 0.3:
            return self.plan.random() * self.trouble_s
        return min(self.plan.choice(self.moments) + self.plan.random() * 2 * self.pace, self.trouble_s)

    def _strike(self, victim: SimulatedWorker, fault: str) -> None:
        if fault == "terminate":
            if not victim.process.stopped:
                victim.terminate()
            return

        def kill() -> None:
            victim.kill("is killed")

        def pause() -> None:
            if victim.process.stopped or not self.trouble:
                return
            length = self.plan.choice([0.5, 6.0, 9.0, 14.0]) * (0.5 + self.plan.random()) * self.pace
            self.note(victim.name, "is stopped for {:.1f} s", length)
            victim.process.stop()
            self._later(length, lambda: self._wake(victim))
            if self.plan.random() < 0.5:
                # Who took over is gone when it wakes: it gets back what others had meanwhile.
                self._later(length * (0.8 + 0.3 * self.plan.random()), lambda: self._kill_the_others(victim))

        process = victim.process
        process.on_fuse = kill if fault == "kill" else pause
        if self.plan.random() < 0.5:
            # At any of its next steps: that is, at any await, and at any call that blocks.
            process.fuse = 1 + int(self.plan.random() ** 3 * 300)
        else:
            process.critical = self.plan.randint(1, 3)

        def now_at_last() -> None:
            if (process.fuse or process.critical) and self.trouble:
                process.fuse, process.critical = 1, 0

        self._later((1 + 3 * self.plan.random()) * self.pace, now_at_last)

    def _kill_the_others(self, victim: SimulatedWorker) -> None:
        for worker in self.alive:
            if worker is not victim and self.trouble:
                worker.kill("is killed")

    def _wake(self, worker: SimulatedWorker) -> None:
        if worker.process.alive and worker.process.stopped:
            self.note(worker.name, "is woken")
            worker.process.wake()

    def _registry_comes_back(self) -> None:
        self.registry_up = True

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self.loop.call_later(seconds, call, context=self.loop.world.context)

    async def _compact(self) -> None:
        plan = self.plan
        parts = [part for part in self.broker.logs if part[0] in self.broker.compacted]
        for at in sorted(plan.random() * self.trouble_s for _ in range(plan.randint(0, 4))):
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            for part in parts:
                if plan.random() < 0.5:
                    self.broker.compact(part)

    def _heal(self) -> None:
        self.note("world", "nothing goes wrong any more")
        self.trouble = False
        if not self.broker.up:
            self.broker.come_back()
        self.registry_up = True
        for worker in self.alive:
            worker.process.fuse = worker.process.critical = 0
            self._wake(worker)
        if not self.alive:
            self.start_worker()

    # -- the end -------------------------------------------------------------------------------------------------

    async def _until_drained(self) -> bool:
        # The clock's owner has its time, too: agreements and windows end by ticks.
        if self.site.clock == "live":
            await asyncio.sleep(2.0)
            self.frozen = self._true_time()
            self.note("world", "the wall clocks stand still")
        until = self.loop.time() + PATIENCE_S
        quiet = 0
        while quiet < 2:
            if self.loop.time() > until:
                return False
            await asyncio.sleep(0.7)
            quiet = 0 if self._left() else quiet + 1
        return True

    def _left(self) -> list[str]:
        """What is still to be done."""
        left = []
        group = self.broker.group
        owners: dict[int, list[str]] = {}
        for worker in self.alive:
            for number, running in worker.partitions.running.items():
                if running.live.is_set():
                    owners.setdefault(number, []).append(worker.name)
        left += [
            f"partition {number} is live on {owners.get(number, 'no worker')}"
            for number in range(self.site.partitions)
            if len(owners.get(number, ())) != 1
        ]
        if group.rebalancing:
            left.append("a rebalance is under way")
        for topic in self.inputs:
            for number in range(self.site.partitions):
                log: Log = self.broker.logs[topic, number]
                if log.open or group.offsets.get((topic, number), 0) <= log.last_readable():
                    left.append(f"{topic}-{number} is committed to {group.offsets.get((topic, number))}"
                                    f" of {log.last_readable() + 1}")  # fmt: skip
        return left

    def _last_tick(self) -> int:
        return self.watch.last_tick()


def _schema_ids(site: Site) -> dict[tuple[str, str], int]:
    return {(s.topic, s.record): SCHEMA_IDS[s.record] for s in _subjects(site)}


_SUBJECTS: dict[str, Any] = {}


def _subjects(site: Site) -> Any:
    if site.name not in _SUBJECTS:
        _SUBJECTS[site.name] = list(subjects(site))
    return _SUBJECTS[site.name]


def outcomes(seeds: Iterable[int]) -> Generator[Outcome, None, None]:
    """Run one seed after the other, quietly and without pauses of the garbage collector."""
    logging.disable(logging.CRITICAL)
    # Uncollected: where thousands of tests are known, to go through all of them takes longer than a run.
    gc.freeze()
    gc.disable()
    # What a killed process leaves is taken apart by the garbage collector, which finds tasks that never began or ended.
    unraisable, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            for number, seed in enumerate(seeds, start=1):
                yield simulate(seed)
                if number % 20 == 0:
                    gc.collect()
            gc.collect()
    finally:
        sys.unraisablehook = unraisable
        gc.enable()
        gc.unfreeze()
        logging.disable(logging.NOTSET)


def simulate(seed: int) -> Outcome:
    """Run one seed."""
    world = World(seed)
    loop = world.loop
    try:
        rooms, standby_rooms = patch.multiple(partition_loop, **world.rooms), patch.multiple(standby, **world.standby)
        with rooms, standby_rooms, little_suffices():
            broken = loop.run_until_complete(loop.world.spawn(world.run(), "world"))
    except WentNowhereError as error:
        broken = [str(error)]
    finally:
        for worker in world.workers:
            worker.process.kill()
        loop.close()
    return Outcome(seed, broken, world.told, loop.steps, loop.time(), world.kinds, alerts(world.broker))
