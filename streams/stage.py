"""The stages of the engine: facts in, records out. Pure: one record at a time, no clock, no network.

A stage of a partition is recovered from the logs alone: `recall` what it has recorded, `refold` its input silently up
to the position where it stopped, `reconcile`; then it is live and takes records with `process`. Evaluating record by
record, never batch by batch, makes the history the same however the input is cut.

Who stands by for a partition recalls and refolds as the records come, and derives in its idle time what they touched
(`derive_ahead`): `reconcile` then has only that left to do which was touched since. What is derived anew after a record
is the same as what `process` would evaluate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar, TypeVarTuple

from schemas import topics
from schemas.codec import DecodeError, WriterSchema, decode
from schemas.events import TIP_EVENTS
from schemas.site import Site
from streams.ahead import Ahead
from streams.alerts import AlertBook, Cause, CauseKind
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.correlations.situation import FacilityCorrelation, PersonCorrelation
from streams.custody import CUSTODY
from streams.facts import TICK_KEY, Conflict, FactKey, KeyKind
from streams.failures import RETRY, Failures
from streams.identify import on_to_person, to_person
from streams.pictures.facility import FacilityPicture, Focus
from streams.pictures.person import PURGED, PersonPicture
from streams.placements import PLACING, Placements
from streams.records import Out, Record

T = TypeVar("T")
A = TypeVarTuple("A")
PERSON: Final = "person"
FACILITY: Final = "facility"


def input_of(name: str, site: Site) -> str:
    """The topic that a folding stage reads."""
    return topics.person_facts(site.name) if name == PERSON else topics.facility_facts(site.name)


def to_be_sent(site: Site) -> frozenset[tuple[str, str]]:
    """What is expected to come, as agency and type of event: by the site's files as they are now."""
    return frozenset((agency.id, event_type) for agency in site.agencies for event_type in agency.publishes)


class PersonStage:
    """Person facts to alerts about persons, and to the compact records that facilities need.

    `failures`: where it is noted what could not be derived; None: what was raised goes to whoever asked.
    """

    def __init__(
        self,
        site: Site,
        partition: int,
        schemas: Mapping[int, WriterSchema],
        correlations: Sequence[PersonCorrelation] = PERSON_CORRELATIONS,
        failures: Failures | None = None,
    ) -> None:
        self._site = site
        self.failures = failures
        self._partition = partition
        self._schemas = schemas
        self._input = input_of(PERSON, site)
        self.picture = PersonPicture(schemas)
        self.book: AlertBook[PersonPicture, str] = AlertBook(site.name, PERSON, partition, correlations, failures)
        self._placements = Placements(site, partition, self.picture)
        self._announced: dict[str, str] = {}
        """By person: to whom it is joined, as was announced last; empty for nobody."""
        self._ahead: Ahead[str] = Ahead()
        self._stale_groups: set[str] = set()
        """Groups whose feuds changed: those affiliated with them are stale."""

    @property
    def tick(self) -> int:
        """The last tick, microseconds."""
        return self.picture.now

    def recall(self, topic: str, record: Record) -> None:
        """Take in a record of `alerts.raised` (its own partition) or of the facility facts (any partition)."""
        if record.value is None or record.key == TICK_KEY or record.key is None:
            return
        if topic == topics.alerts_raised(self._site.name):
            self.book.recall(decode(record.value, self._schemas, "AlertRaised")[1])
        elif record.key.startswith(CUSTODY):
            person = self._placements.recall(record)
            if person is not None:
                # What was derived was compared with another record.
                self._ahead.stale.add(person)

    def last_cause(self) -> int:
        """The later of the last alert's and the last placement's cause."""
        return max(self.book.last_cause, self._placements.last_cause)

    def refold(self, record: Record) -> None:
        """Fold one fact silently."""
        try:
            change = self.picture.fold(record)
        except DecodeError as error:
            if self.failures is not None:
                self.failures.note_unread(error)
            raise
        # Before anything is derived whoever is known is stale: beside them only who is not known any more may be.
        if self._ahead.begun or change.event_type == PURGED:
            self._ahead.stale |= change.persons
        if change.groups:
            self._stale_groups |= change.groups
        if change.ticked:
            self._ahead.stale.update(self.book.due(self.picture.now))

    def take_in(self, person: str, records: Iterable[Record]) -> Iterator[Out]:
        """Fold a person's facts silently; but what belongs to another, by all that is folded, goes on to that one
        without being folded here before. What joins a person, or ends that, is to be folded first."""
        joined = self.picture.goes_to(person)
        for record in records:
            if joined is not None and self.picture.would_stand(record):
                yield on_to_person(record, *joined, self._site)
            else:
                self.refold(record)

    def derive_ahead(self, most: int) -> int:
        """Derive up to so many of the persons that were touched since they were derived last: how many are left."""
        self._find_stale()
        some = self._ahead.some(most)
        for person in some:
            self._ahead.note(person, lacks=self._lacks(person))
            self._tried("schedule", person, self._schedule, person)
        self.book.derive(self.picture, some, self.picture.now)
        self.book.weigh(some)
        return len(self._ahead.stale)

    def reconcile(self, position: int) -> Iterator[Out]:
        """Raise, withdraw, place and forward what the records lack, one by one: it is done when all was asked for."""
        cause = Cause(CauseKind.RECONCILED, PERSON, self._partition, position - 1)
        self._find_stale()
        # All of one person before the next: what is derived of them is not kept for everybody.
        for person in sorted(self._ahead.stale | self._ahead.unsettled):
            yield from self._tried("place", person, self._placements.place, person, cause) or ()
            yield from self._tried("forward", person, self._forward, person) or ()
            self._tried("schedule", person, self._schedule, person)
            if person in self._ahead.stale:
                self.book.derive(self.picture, (person,), self.picture.now)
        self._ahead.settled()
        yield from self._tombstones()
        yield from self.book.settle(self.picture.now, position)

    def _find_stale(self) -> None:
        if not self._ahead.begun:
            self._ahead.begun = True
            self._ahead.stale.update(self.picture.persons())
        for group in self._stale_groups:
            self._ahead.stale.update(self.picture.persons_affiliated(group))
        self._stale_groups.clear()

    def process(self, record: Record) -> list[Out]:
        """Fold one fact: what follows from it, all on the log or none."""
        change = self.picture.fold(record)
        now = self.picture.now
        outs = self._tombstones()
        if change.ticked:
            cause = Cause(CauseKind.TICK, PERSON, self._partition, record.offset)
            due = self.book.due(now)
            outs += [out for person in due for out in self._follow(person, cause)]
            return outs + self.book.evaluate(self.picture, due, None, cause, now)
        if change.conflict is not None and change.conflict.falls.event_type not in TIP_EVENTS:
            # Of tips it is said where every one of them is folded, whether or not it names a person by a number.
            outs += _settled(change.conflict, self._partition, self._site)
        if not change.event_type:
            return outs
        cause = Cause(CauseKind.FACT, PERSON, self._partition, record.offset, change.event_id)
        touched = sorted(change.persons)
        places = change.stay or change.event_type in PLACING
        for person in touched:
            outs += self._follow(person, cause, places=places)
        if change.groups:
            members = (self.picture.persons_affiliated(group) for group in change.groups)
            touched = sorted(change.persons.union(*members))
        return outs + self.book.evaluate(self.picture, touched, change.happened, cause, now)

    def _tombstones(self) -> list[Out]:
        return [Out(self._input, self._partition, key, None, None) for key in self.picture.spent()]

    def _follow(self, person: str, cause: Cause, *, places: bool = True) -> list[Out]:
        """What follows from a person's facts, the alerts aside. `places`: whether the placement may be another."""
        outs = self._tried("forward", person, self._forward, person) or []
        if places:
            outs += self._tried("place", person, self._placements.place, person, cause) or ()
        self._tried("schedule", person, self._schedule, person)
        return outs

    def _tried(self, what: str, person: str, call: Callable[[*A], T], *args: *A) -> T | None:
        """What a call returns that changes nothing where it fails; None where it fails, which is noted: it is tried
        again."""
        try:
            found = call(*args)
        except Exception as error:
            if self.failures is None:
                raise
            self.failures.note(what, person, error)
            self.book.schedule(self.picture.now + RETRY, person, self.picture.now)
            return None
        if self.failures:
            self.failures.mended(what, person)
        return found

    def _schedule(self, person: str) -> None:
        until = self.picture.until(person)
        if until is not None:
            self.book.schedule(until, person, self.picture.now)

    def _forward(self, person: str) -> list[Out]:
        """Move misplaced facts: the new record and the tombstone of the old, in one transaction.

        Where it is contested to whom the person is joined, every partition is told first: facts that went another way
        may be on any, and come back.
        """
        if not self.picture.may_have_moved(person):
            return []
        moves = [
            out
            for here, there in self.picture.misplaced(person)
            for out in (
                to_person(there, self._site),
                Out(self._input, self._partition, here.record_key, None, None),
            )
        ]
        return self._announce(person) + moves

    def _lacks(self, person: str) -> bool:
        """Whether anything that follows from a person's facts, the alerts aside, is not on the log; or that can't be
        said."""
        placed = self._tried("place", person, self._placements.lacks, person) is False
        return not placed or self._tried("forward", person, self._is_to_be_forwarded, person) is not False

    def _is_to_be_forwarded(self, person: str) -> bool:
        """Whether facts of a person are still to be moved, or it is to be told to whom the person is joined."""
        if not self.picture.may_have_moved(person):
            return False
        return next(self.picture.misplaced(person), None) is not None or self._unannounced(person) is not None

    def _unannounced(self, person: str) -> str | None:
        """To whom a person is joined, where that is to be announced; empty for nobody."""
        joined = self.picture.joined_to(person)
        to = joined[0] if joined else ""
        before = self._announced.get(person, self.picture.announced.get(person))
        # Once announced, always: what made it contested may have been purged.
        return None if before == to or (before is None and not self.picture.is_contested(person)) else to

    def _announce(self, person: str) -> list[Out]:
        to = self._unannounced(person)
        if to is None:
            return []
        self._announced[person] = to
        key, headers = FactKey(KeyKind.JOINED, person).encoded(), (("to", to.encode()),)
        return [Out(self._input, number, key, None, b"", headers) for number in range(self._site.partitions)]


def _settled(conflict: Conflict, partition: int, site: Site) -> list[Out]:
    """One event id came with two contents: the one that does not stand becomes a dead letter of its agency.

    What everybody is told is conflicted in every partition; it is set aside once.
    """
    falls = conflict.falls
    if falls.agency not in site.agency_by_id:
        return []
    if not falls.person and partition != 0:
        return []
    reason = {
        "reason": "CONFLICT",
        "detail": "another event came with the same event_id and other content; that one stands",
        "topic": falls.sort.topic,
    }
    key = f"{falls.sort.topic}/{falls.event_id}".encode()
    headers = tuple((name, value.encode()) for name, value in reason.items())
    topic = topics.set_aside_on(site.name, falls.agency, falls.sort.event_type)
    return [Out(topic, 0, key, None, falls.raw, headers)]


class FacilityStage:
    """Facility facts to alerts about housing units, deliveries and tips, and about agencies that fall silent.

    `failures`: as of a `PersonStage`.
    """

    def __init__(
        self,
        site: Site,
        partition: int,
        schemas: Mapping[int, WriterSchema],
        correlations: Sequence[FacilityCorrelation] = FACILITY_CORRELATIONS,
        failures: Failures | None = None,
    ) -> None:
        self._site = site
        self._partition = partition
        self._schemas = schemas
        self.failures = failures
        self._input = input_of(FACILITY, site)
        self.picture = FacilityPicture(schemas, to_be_sent(site))
        self.book: AlertBook[FacilityPicture, Focus] = AlertBook(site.name, FACILITY, partition, correlations, failures)
        self._ahead: Ahead[Focus] = Ahead()

    @property
    def tick(self) -> int:
        """The last tick, microseconds."""
        return self.picture.now

    def recall(self, topic: str, record: Record) -> None:
        """Take in a record of `alerts.raised`, of its own partition."""
        del topic
        if record.value is not None:
            self.book.recall(decode(record.value, self._schemas, "AlertRaised")[1])

    def last_cause(self) -> int:
        """The last alert's cause."""
        return self.book.last_cause

    def refold(self, record: Record) -> None:
        """Fold one fact silently."""
        try:
            change = self.picture.fold(record)
        except DecodeError as error:
            if self.failures is not None:
                self.failures.note_unread(error)
            raise
        self._ahead.stale.update(change.focuses)
        if change.ticked:
            self._ahead.stale.update(self.book.due(self.picture.now))

    def derive_ahead(self, most: int) -> int:
        """Derive up to so many of the focuses that were touched since they were derived last: how many are left."""
        self._find_stale()
        some = self._ahead.some(most)
        self._derive(some)
        self.book.weigh(some)
        return len(self._ahead.stale)

    def reconcile(self, position: int) -> Iterator[Out]:
        """Raise and withdraw what the records lack, one by one: it is done when all was asked for."""
        self._find_stale()
        self._derive(self._ahead.stale)
        self._ahead.settled()
        yield from self._tombstones()
        yield from self.book.settle(self.picture.now, position)

    def _derive(self, focuses: Collection[Focus]) -> None:
        self.book.derive(self.picture, focuses, self.picture.now)
        self._look_again(focuses)

    def _look_again(self, focuses: Iterable[Focus]) -> None:
        """Look at feeds again when they may have fallen silent: nothing comes then that would say so."""
        for focus in focuses:
            time = self.picture.look_again(focus)
            if time is not None:
                self.book.schedule(time, focus, self.picture.now)

    def _find_stale(self) -> None:
        if not self._ahead.begun:
            self._ahead.begun = True
            self._ahead.stale.update(self.picture.focuses())

    def process(self, record: Record) -> list[Out]:
        """Fold one fact: what follows from it."""
        change = self.picture.fold(record)
        now = self.picture.now
        outs = self._tombstones()
        if change.ticked:
            cause = Cause(CauseKind.TICK, FACILITY, self._partition, record.offset)
            due = self.book.due(now)
            self._look_again(due)
            return outs + self.book.evaluate(self.picture, due, None, cause, now)
        if change.conflict is not None:
            outs += _settled(change.conflict, self._partition, self._site)
        cause = Cause(CauseKind.FACT, FACILITY, self._partition, record.offset, change.event_id)
        self._look_again(change.heard_of)
        return outs + self.book.evaluate(self.picture, change.focuses, (change.event_type,), cause, now)

    def _tombstones(self) -> list[Out]:
        return [Out(self._input, self._partition, key, None, None) for key in self.picture.spent()]
