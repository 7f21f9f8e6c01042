"""Histories and how they are told, drawn by Hypothesis: what fails shrinks to a story one can read.

All of it is drawn, what happens and what goes wrong meanwhile, as a list of steps; nothing is left to a seed. So the
steps shrink as the events do: to few events that come once and in their order, and as little besides as it takes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from hypothesis import strategies as st

from schemas import topics
from schemas.events import EVENT_TYPES, Event, type_name
from tests.county import DAY, START, agency_of, demo_site
from tests.county_events import LAST_DAY, SITUATIONS, any_event
from tests.in_memory_bus import InMemoryBus, processed

T = TypeVar("T")
PARTITIONS: Final = st.sampled_from(range(1, 9))
LAST_TICK: Final = START + (LAST_DAY + 1) * DAY
DAYS: Final = range(LAST_DAY + 2)
"""On which there may be a tick."""
LAST_DAYS: Final = (DAYS[-1], DAYS[-1] + 1, DAYS[-1] + 4)
"""On which it may end: at once, when what was said of silent agencies is over, or when visits come."""

_RIVALS, *_OTHERS = SITUATIONS


# -- what happens ------------------------------------------------------------------------------------------------------


@st.composite
def _more(draw: st.DrawFn, known: Sequence[Event]) -> Event:
    def pick(options: Sequence[T], /) -> T:
        return draw(st.sampled_from(options))

    return any_event(pick, known)


@st.composite
def _histories(draw: st.DrawFn) -> list[Event]:
    # Random events alone rarely make a situation.
    happens = draw(st.sets(st.sampled_from(_OTHERS), max_size=4))
    names = [name for name in SITUATIONS if name in happens or (name == _RIVALS and draw(st.booleans()))]
    known = [*{what.head.event_id: what for name in names for what in SITUATIONS[name]}.values()]
    left_out = draw(st.sets(st.integers(0, 30), max_size=2))
    more = draw(st.lists(_more(known), max_size=12))
    return [what for number, what in enumerate(known) if number not in left_out] + more


histories: Final = _histories()
"""Events of the county, in no order; some under one id with two contents, some withdrawn, some with a purge date."""


# -- how it is told ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comes:
    """An event comes."""

    event: Event
    arrives: int
    """When, microseconds: when it happened, or so late that its purge date has passed, or a day before it happened."""

    @property
    def is_refused(self) -> bool:
        """Whether it comes before it has happened: its agency's clock is wrong."""
        return self.arrives < self.event.head.time

    def __str__(self) -> str:
        when = " before it happens" if self.is_refused else " late" if self.arrives > self.event.head.time else ""
        return f"comes{when}: {in_words(self.event)}"


@dataclass(frozen=True, slots=True)
class Ticks:
    """Time goes on to a day, if it is not as late already."""

    day: int

    def __str__(self) -> str:
        return f"it is day {self.day}"


@dataclass(frozen=True, slots=True)
class Works:
    """Stages work on what waits for them: so many turns, each on so many records."""

    turns: int
    records: int
    other: int
    """Whose turn is next: so many further on, of those for whom something waits; 0 for always the first."""
    commits: bool
    dies: bool
    """Who had the last turn is killed, and recovers."""

    def __str__(self) -> str:
        whose = f", every {self.other}. of those who have any" if self.other else ""
        kept = "" if self.commits else ", and commit nothing"
        dies = "; the last of them is killed" if self.dies else ""
        return f"the stages have {self.turns} turns of {self.records} records{whose}{kept}{dies}"


@dataclass(frozen=True, slots=True)
class Follows:
    """Somebody stands by for a partition, follows it by so many records of each log, and derives a part."""

    partition: int
    records: int
    derive: int

    def __str__(self) -> str:
        return f"who stands by for partition {self.partition} follows {self.records} records, and derives {self.derive}"


@dataclass(frozen=True, slots=True)
class Compacted:
    """The logs are compacted, mostly when everything is worked on."""

    worked: bool = True

    def __str__(self) -> str:
        return f"{'all is worked on, and ' if self.worked else ''}the logs are compacted"


Step: TypeAlias = Comes | Ticks | Works | Follows | Compacted


@dataclass(frozen=True, slots=True)
class Telling:
    """A history as it is told: its events, and what goes on and goes wrong between them."""

    partitions: int
    steps: tuple[Step, ...]

    @property
    def history(self) -> list[Event]:
        """The events that are taken, each once."""
        taken = [step.event for step in self.steps if isinstance(step, Comes) and not step.is_refused]
        return [*{id(what): what for what in taken}.values()]

    @property
    def last_tick(self) -> int:
        """How late it is in the end, microseconds."""
        return START + max(step.day for step in self.steps if isinstance(step, Ticks)) * DAY

    def unfold(self, *, to_the_end: bool = True) -> InMemoryBus:
        """Let it happen, and where it goes to the end, let all be worked on that is left."""
        bus = InMemoryBus(demo_site(self.partitions))
        for step in self.steps:
            _happens(bus, step)
        if to_the_end:
            bus.run()
        return bus

    def __str__(self) -> str:
        lines = "".join(f"\n  {number + 1}. {step}" for number, step in enumerate(self.steps))
        return f"on {self.partitions} partitions:{lines}\n"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002
        """So Hypothesis prints what failed: as a story."""
        printer.text(str(self))


def in_words(what: Event) -> str:
    """An event in a line."""
    ids = [number.value for person in what.head.persons for number in person.ids]
    fields = what.model_dump(mode="json", exclude={"head"}, exclude_none=True)
    purge_by = what.head.handling.purge_by
    purged = "" if purge_by is None else f", purged on day {(purge_by - START) / DAY:g}"
    return (
        f"{type_name(what)} {what.head.event_id[:8]} of day {(what.head.time - START) / DAY:g}"
        f"{' of ' + ', '.join(ids) if ids else ''}{purged} {fields}"
    )


def _happens(bus: InMemoryBus, step: Step) -> None:
    match step:
        case Comes():
            bus.publish(step.event, agency_of(step.event), wall_now=step.arrives)
        case Ticks():
            bus.tick(START + step.day * DAY)
        case Works():
            _work(bus, step)
        case Follows():
            bus.follow(step.partition, step.records, step.derive)
        case Compacted():
            if step.worked:
                bus.run()
            name = bus.site.name
            for topic in (topics.person_facts(name), topics.facility_facts(name), topics.alerts_raised(name)):
                # A tombstone stays for longer than anybody may be behind.
                bus.compact(topic, tombstones=not step.worked)


def _work(bus: InMemoryBus, works: Works) -> None:
    last = 0
    for turn in range(works.turns):
        waiting = bus.pending()
        if not waiting:
            break
        where = waiting[turn * works.other % len(waiting)]
        bus.step(where, works.records, commit=works.commits)
        last = where[1]
    if works.dies:
        bus.restart(last)


def _a_step(kind: str, partitions: int) -> st.SearchStrategy[Step]:
    match kind:
        case "ticks":
            return st.builds(Ticks, st.sampled_from(DAYS))
        case "follows":
            return st.builds(Follows, st.integers(0, partitions - 1), st.sampled_from([20, 5, 1]), st.integers(0, 3))
        case "compacted":
            return st.builds(Compacted, st.sampled_from([True, True, False]))
    turns, dies = st.sampled_from([40, 40, 13, 5, 2, 1]), st.just(kind == "dies")
    return st.builds(Works, turns, st.integers(1, 7), st.integers(0, 4), st.booleans().map(lambda no: not no), dies)


_STEPS: Final = (*["works"] * 3, *["dies"] * 3, *["a day passes"] * 3, "ticks", "follows")


_HOW: Final = st.sampled_from([*["at once"] * 24, *["late"] * 6, "early"])


@st.composite
def _tellings(draw: st.DrawFn, partitions: st.SearchStrategy[int], *, compacted: bool) -> Telling:
    history = draw(histories)
    count = draw(partitions)
    again = draw(st.lists(st.sampled_from(history), max_size=8)) if history else []
    as_it_happens = sorted([*history, *again], key=lambda what: what.head.time)
    steps: list[Step] = []
    for what in draw(st.just(as_it_happens) | st.permutations(as_it_happens)):
        time = what.head.time
        steps.append(Comes(what, {"at once": time, "late": LAST_TICK, "early": time - DAY}[draw(_HOW)]))
        kind = draw(st.sampled_from([*[None] * 6, *_STEPS, *(["compacted"] if compacted else [])]))
        if kind == "a day passes":
            steps.append(Ticks((time - START) // DAY + 1))
        elif kind is not None:
            steps.append(draw(_a_step(kind, count)))
    steps.append(Ticks(draw(st.sampled_from(LAST_DAYS))))
    steps += draw(
        st.lists(st.sampled_from(["works", "dies", "follows"]).flatmap(partial(_a_step, partitions=count)), max_size=4)
    )
    return Telling(count, tuple(steps))


def tellings(partitions: st.SearchStrategy[int] = PARTITIONS, *, compacted: bool = False) -> st.SearchStrategy[Telling]:
    """Histories told in any order, some of it twice, in batches cut anywhere, with ticks, crashes and restarts between.

    With `compacted`, the facts' logs and that of the alerts may be compacted meanwhile.
    """
    return _tellings(partitions, compacted=compacted)


def of_every_kind() -> Telling:
    """One telling that has an event of every kind: among random ones now and then one never comes."""
    pick, history = random.Random(1).choice, list[Event]()
    while {type_name(what) for what in history} != EVENT_TYPES.keys():
        history.append(any_event(pick, history))
    as_it_happens = sorted(history, key=lambda what: what.head.time)
    return Telling(2, (*(Comes(what, what.head.time) for what in as_it_happens), Ticks(LAST_DAYS[-1])))


def from_scratch(history: Sequence[Event], last_tick: int = LAST_TICK) -> InMemoryBus:
    """The open alerts when every event is there before anything is evaluated, once, on one partition.

    They are evaluated again by stages that have never seen anything but the whole log.
    """
    bus = processed(demo_site(1), history, last_tick)
    for number, running in bus.running.items():
        for stage in running.committed:
            running.committed[stage] = max((r.offset + 1 for r in bus.input_of(stage, number)), default=0)
    bus.restart_all()
    bus.run()
    return bus
