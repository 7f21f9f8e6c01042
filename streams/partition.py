"""The stages of one partition number, together: what they decide goes into one transaction.

Partition n of every topic belongs to one owner, and only that owner writes partition n of `alerts.raised`. So who is
told of an alert is decided in the moment it is raised, from the record itself: an alert and its disclosures are on the
logs together or not at all, and nobody waits for the alert to come back from the broker. Pure, as the stages are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from schemas import topics
from schemas.codec import WriterSchema
from schemas.site import Site
from streams.alerts import alerts_in
from streams.disclose import DiscloseStage
from streams.facts import TICK_KEY, partition_of
from streams.failures import REASON, Failures
from streams.records import Out, Record
from streams.segments import OpenSegments
from streams.stage import FACILITY, PERSON, FacilityStage, PersonStage, input_of

FOLDING = (PERSON, FACILITY)
"""The stages that fold a topic of facts; disclose folds what these raise."""


@dataclass(frozen=True, slots=True)
class Partition:
    """Person, facility and disclose stage of one partition number."""

    site: Site
    number: int
    person: PersonStage
    facility: FacilityStage
    disclose: DiscloseStage
    segments: OpenSegments = field(init=False)

    def __post_init__(self) -> None:
        alerts = {topic for topic, _ in self.outputs()} - {topics.facility_facts(self.site.name)}
        object.__setattr__(self, "segments", OpenSegments(alerts))

    @classmethod
    def of(cls, site: Site, number: int, schemas: Mapping[int, WriterSchema]) -> Partition:
        """The stages with the shipped correlations, before anything was folded. What fails costs itself alone."""
        return cls(
            site,
            number,
            PersonStage(site, number, schemas, failures=Failures()),
            FacilityStage(site, number, schemas, failures=Failures()),
            DiscloseStage(site, number, schemas, Failures()),
        )

    def stage(self, name: str) -> PersonStage | FacilityStage:
        """The folding stage of that name."""
        return self.person if name == PERSON else self.facility

    # -- recovery ------------------------------------------------------------------------------------------------

    def outputs(self) -> list[tuple[str, int]]:
        """The partitions on which the stages' own records are, as topic and partition: all that `recall` needs."""
        name, partitions = self.site.name, self.site.partitions
        # A person's facility may be in any partition; only the partitions of known facilities hold any.
        placed = sorted({partition_of(facility.id, partitions) for facility in self.site.facilities})
        return [
            (topics.alerts_raised(name), self.number),
            *((topics.facility_facts(name), number) for number in placed),
            *(
                (topics.alerts_for(name, recipient.id, kind), self.number)
                for recipient in self.site.recipients
                for kind in recipient.kinds
            ),
        ]

    def recall(self, topic: str, record: Record) -> None:
        """Take in one record that these stages may have written. Raises DecodeError."""
        self.segments.recall(topic, self.number, record.key)
        if topic == topics.facility_facts(self.site.name):
            self.person.recall(topic, record)
        elif topic == topics.alerts_raised(self.site.name):
            for stage in (self.person, self.facility, self.disclose):
                stage.recall(topic, record)
        else:
            self.disclose.recall(topic, record)

    def last_cause(self, name: str) -> int:
        """Offset of the last record of a folding stage's input that led to anything; -1 for none."""
        return self.stage(name).last_cause()

    def refold(self, name: str, record: Record) -> None:
        """Fold one record of a folding stage's input silently."""
        self.stage(name).refold(record)

    def derive_ahead(self, most: int) -> int:
        """Derive a part of what a recovery would have to, before anybody asks for it: how many are left.

        `most`: persons, units and alerts each.
        """
        self.disclose.recall_tick(self.tick)
        return sum(stage.derive_ahead(most) for stage in (self.person, self.facility, self.disclose))

    def reconcile(self, positions: Mapping[str, int]) -> Iterator[Out]:
        """What is to be written so that what is recorded and told is what is derived at these positions.

        One by one, so that they may be more than memory holds; the stages are live when all was asked for. Each alert
        is beside who is told of it: they may be written in parts.
        """
        self.disclose.recall_tick(self.tick)
        for name in FOLDING:
            for out in self.stage(name).reconcile(positions[name]):
                yield from self._noted([out, *self._told([out])])
        for out in self.disclose.reconcile():
            yield from self._noted([out])
        yield from self._failed()

    # -- live ----------------------------------------------------------------------------------------------------

    @property
    def tick(self) -> int:
        """The last tick that both folding stages have seen, microseconds: all that was to be told by then is told."""
        return min(self.person.tick, self.facility.tick)

    def process(self, name: str, record: Record) -> list[Out]:
        """Fold one record of a folding stage's input: what follows from it, to the last recipient."""
        outs = self.stage(name).process(record)
        if outs:
            outs += self._told(outs)
        if record.key == TICK_KEY:
            outs += self.disclose.advance(self.tick)
            outs += self.segments.closing(self.tick)
        return self._noted(outs) + self._failed()

    def _noted(self, outs: list[Out]) -> list[Out]:
        """The same, noted as what is written."""
        if outs:
            self.segments.note(outs, self.tick)
        return outs

    def _failed(self) -> list[Out]:
        """Dead letters of the bus: what could not be derived, and was not told yet. They hold nothing of anybody."""
        return [
            _failure(self.site, self.number, source, what, how)
            for source, failures in (
                (input_of(PERSON, self.site), self.person.failures),
                (input_of(FACILITY, self.site), self.facility.failures),
                (topics.alerts_raised(self.site.name), self.disclose.failures),
            )
            if failures is not None
            for what, how in failures.untold()
        ]

    def _told(self, outs: Sequence[Out]) -> list[Out]:
        return [told for alert in alerts_in(outs) for told in self.disclose.tell(alert)]


def _failure(site: Site, number: int, source: str, what: str, how: str) -> Out:
    told = {
        "reason": REASON,
        "detail": f"{what} failed ({how}): what was said stands, and it is tried again",
        "topic": source,
        "partition": str(number),
    }
    headers = tuple((name, value.encode()) for name, value in told.items())
    return Out(topics.dead_letters(site.name, topics.BUS), 0, f"{source}/{number}/{what}".encode(), None, b"", headers)
