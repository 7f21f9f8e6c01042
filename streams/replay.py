"""Replay: one record of `alerts.raised`, or its outline, evaluated again from the facts. Pure.

The stage that wrote the record had folded its partition up to the record's cause. Whoever folds the same facts, at the
recorded time, with the recorded version of the rule, must derive the same. What a replay finds is said in one of three
words: IDENTICAL, DIFFERENT, or CANNOT with what is lacking.

The facts are compacted, so what the stage had read may be gone. DIFFERENT is said only where the log itself shows that
nothing is: Kafka's cleaner works from the beginning up to one point, and up to there leaves the last record of each
key. Where two records of one key are left, the later one lies beyond that point, and so does all that follows it. A
cause there has everything before it that still counted then.

Before that point a fact may be found later than it first came (it was written again), or elsewhere (identities were
joined). It is counted where the record names it, then where it had happened by the recorded time. Where that derives
what is recorded, it is IDENTICAL from these facts, which are named. Where not, it CANNOT be replayed.

What an agency was expected to send when a silence was told is on no log: the site's files say what it is to send now.
So of feeds both are tried, that and all that was heard. Where neither derives what is recorded, it CANNOT be replayed.

Of a record that is gone the audit keeps an outline (`streams/outline.py`). What is derived is then compared by its
digest alone, which is that of all it says.
`docs/decisions/0012-a-replay-says-what-it-cannot-tell.md` says why.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

from schemas.avro_files import whole_schema
from schemas.codec import DecodeError, WriterSchema, digest, encode, writer_schema
from schemas.site import Site
from streams.alerts import CONTENT, WITHDRAWN_DIGEST, CauseKind, alert_id, content
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.correlations.situation import FacilityCorrelation, PersonCorrelation, Situation
from streams.custody import CUSTODY, person_of
from streams.facts import SUBJECT, TICK_KEY, Fact, KeyKind, parse_key, partition_of, read_fact
from streams.heard import NOTES, parse_note
from streams.outline import Named, is_outline, whose, with_persons
from streams.pictures.facility import FacilityPicture, Focus
from streams.pictures.feeds import FeedKey
from streams.pictures.person import PersonPicture
from streams.records import LoggedRecord, Record
from streams.stage import PERSON, PersonStage, input_of, to_be_sent

OWN_SCHEMA: Final = 0
"""Schema id of records that a replay makes for itself: no registry gives it."""
NOTHING_EXPIRED: Final = 0
"""A time at which no window has passed and no purge date been reached."""
Correlation: TypeAlias = PersonCorrelation | FacilityCorrelation
Picture: TypeAlias = PersonPicture | FacilityPicture
Expected: TypeAlias = Container[tuple[str, str]]


class Verdict(StrEnum):
    """What a replay found."""

    IDENTICAL = "IDENTICAL"
    DIFFERENT = "DIFFERENT"
    CANNOT = "CANNOT"


class Basis(StrEnum):
    """From what it was found."""

    WHOLE = "WHOLE"
    """The log up to the cause, from which nothing that counted is gone."""
    AS_LEFT = "AS_LEFT"
    """The log up to the cause, as compaction left it."""
    LATER_COPIES = "LATER_COPIES"
    """As AS_LEFT, with facts that are found later, or elsewhere, than when they first came."""
    NOTHING = "NOTHING"
    """Nothing was evaluated."""


class Lack(StrEnum):
    """Why a record can't be replayed, or what had to be found elsewhere for it."""

    OTHER_VERSION = "OTHER_VERSION"
    RULE_GONE = "RULE_GONE"
    RECORD_GONE = "RECORD_GONE"
    WITHDRAWN = "WITHDRAWN"
    PURGED = "PURGED"
    TOMBSTONED = "TOMBSTONED"
    GONE = "GONE"
    WRITTEN_LATER = "WRITTEN_LATER"
    MOVED = "MOVED"
    REPLACED = "REPLACED"
    COMPACTED = "COMPACTED"
    SITE_CHANGED = "SITE_CHANGED"


REMOVED: Final = frozenset({Lack.GONE, Lack.TOMBSTONED})
"""What is said of a fact that is not there, where nothing there says why."""
SOFTWARE: Final = frozenset({Lack.OTHER_VERSION, Lack.RULE_GONE})
"""What another version of the software would not lack."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Lacking:
    """One thing that is not where the stage had read it. Empty strings where a part does not apply."""

    why: Lack
    agency: str = ""
    event_type: str = ""
    event_id: str = ""
    person: str = ""
    place: Place | None = None
    """Where what tells of it is: the later record, the withdrawal, the tombstone."""
    recorded_version: int | None = None
    shipped_version: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of which the replay derives something else than is recorded."""

    field: str
    recorded: Any
    derived: Any


@dataclass(frozen=True, slots=True)
class Replay:
    """What the replay of one record found."""

    verdict: Verdict
    basis: Basis
    differences: tuple[Difference, ...] = ()
    lacking: tuple[Lacking, ...] = ()
    """For CANNOT: the reasons. For IDENTICAL from later copies: what was counted from them."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A record of the person facts that is not on the partition that the stage read."""

    place: Place
    record: Record


@dataclass(frozen=True, slots=True)
class _Later:
    """A fact that the stage may have read, found later or elsewhere."""

    record: Record
    fact: Fact
    lacking: Lacking

    @property
    def named(self) -> Named:
        """The event."""
        return self.fact.agency, self.fact.event_id


@dataclass(slots=True)
class _Folded:
    """A picture of all that is left up to the cause."""

    picture: Picture
    expected: Expected | None
    """What agencies are to send, of which feeds are kept in it; None: whatever was heard."""
    held_before: bool = False
    """Whether an alert that was withdrawn held until the cause was folded."""


@dataclass(slots=True)
class _Left:
    """What is left on the stage's partition and bears on the alert, up to its cause and after it."""

    before: dict[bytes, Record] = field(default_factory=dict)
    """The last record of each key up to the cause."""
    after: dict[bytes, Record] = field(default_factory=dict)
    """The first record of each key after it."""
    cause: Record | None = None
    whole: bool = False
    """Nothing that counted at the cause can have been cleaned away."""


# -- the question ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Names:
    """Whom and what an alert names."""

    persons: frozenset[str]
    """Ids, among them of every person on whose facts it stands."""
    events: frozenset[Named]
    """The events that it rests on."""

    @classmethod
    def of(cls, alert: Mapping[str, Any]) -> Names:
        """What a record of `alerts.raised` names, or its outline; a withdrawal little more than its key."""
        persons = (
            *alert["key"],
            *(subject["person_id"] for subject in alert["subjects"]),
            *(item["person_id"] for item in alert["evidence"] if item["person_id"] is not None),
        )
        return cls(frozenset(persons), frozenset((item["agency"], item["event_id"]) for item in alert["evidence"]))

    def borne_on_by(self, record: Record) -> bool:
        """Whether a record of the person facts is about one of them, or was before identities were joined."""
        try:
            key = parse_key(record.key or b"")
        except ValueError:
            return False
        if key.kind not in (KeyKind.PERSON, KeyKind.SAME_AS):
            return False
        return (
            key.person in self.persons
            or (key.agency, key.event_id) in self.events
            or not self.persons.isdisjoint(_way(record))
        )


def with_those_whose_facts_they_are(
    outline: Mapping[str, Any], records: Iterable[Record]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The outline with the persons of its events, by the records of the person facts: whose the facts are now, and
    whose they were at first. What joined persons in between may have come before the alert, or after it.

    An alert rests on an event as on one of its subject: others in it are none of its persons."""
    events = Names.of(outline).events
    left: list[tuple[Named, str, str, bool]] = []
    first: list[tuple[Named, str, str, bool]] = []
    for record in records:
        try:
            key = parse_key(record.key or b"")
            named = key.agency, key.event_id
            if key.role != SUBJECT or named not in events:
                continue
            left.append((named, key.person, key.origin, record.value is not None))
            if record.value is not None:
                first.append((named, read_fact(record).origin, "", True))
        except ValueError:
            continue
    now = whose(left)
    return with_persons(outline, now), with_persons(outline, now | whose(first))


def shipped(stage: str, rule: str) -> Correlation | None:
    """The rule of that name as this software has it; None where it has none."""
    rules: Sequence[Correlation] = PERSON_CORRELATIONS if stage == PERSON else FACILITY_CORRELATIONS
    return next((one for one in rules if one.name == rule), None)


# -- the answer ------------------------------------------------------------------------------------------------------


def replay(
    alert: Mapping[str, Any],
    facts: Iterable[Record],
    elsewhere: Sequence[Elsewhere],
    site: Site,
    schemas: Mapping[int, WriterSchema],
) -> Replay:
    """Evaluate one record of `alerts.raised` again, or what its outline tells of it, and compare.

    `facts` is the partition of the stage's input, in the order of the log; it is read once, to its end.
    `elsewhere` are records of the person facts that bear on what the alert names (`Names`), on other partitions than
    that: they matter only where the log was compacted since, and may be left out at first.
    """
    rule = shipped(alert["cause"]["stage"], alert["rule"])
    if rule is None or rule.version != alert["rule_version"]:
        why, version = (Lack.RULE_GONE, None) if rule is None else (Lack.OTHER_VERSION, rule.version)
        lacking = Lacking(why, recorded_version=alert["rule_version"], shipped_version=version)
        return Replay(Verdict.CANNOT, Basis.NOTHING, lacking=(lacking,))
    return _Replaying(alert, rule, Names.of(alert), site, schemas).run(facts, elsewhere)


def with_purge_dates(found: Replay, purge_dates: Mapping[Named, int], now: int) -> Replay:
    """The replay with events whose facts are gone named as purged, where their purge date (microseconds) has come by
    `now`."""
    purged = {named for named, purge_by in purge_dates.items() if purge_by <= now}
    lacking = tuple(
        replace(one, why=Lack.PURGED) if one.why in REMOVED and (one.agency, one.event_id) in purged else one
        for one in found.lacking
    )
    return replace(found, lacking=lacking)


@dataclass(frozen=True)
class _Replaying:
    """One replay: the record, and the rule that it is held against."""

    alert: Mapping[str, Any]
    rule: Correlation
    names: Names
    site: Site
    schemas: Mapping[int, WriterSchema]

    def run(self, facts: Iterable[Record], elsewhere: Sequence[Elsewhere]) -> Replay:
        """Fold what is left up to the cause, evaluate, and where that is not what is recorded look further."""
        pictures = [_Folded(self._picture(expected), expected) for expected in self._expectations()]
        left = _Left()
        keys, folded = set[bytes](), 0
        for record in facts:
            key = record.key or b""
            if record.offset <= self._cause and not left.whole:
                left.whole = key in keys
                keys.add(key)
            folded += record.offset <= self._cause
            if key == TICK_KEY:
                continue
            if record.offset == self._cause:
                left.cause = record
                for one in pictures:
                    one.held_before = not self._is_open and self._derived(one.picture, self.alert["at"]) is not None
            if record.offset <= self._cause:
                for one in pictures:
                    _fold(one.picture, record)
            self._keep(left, key, record)
        # Offsets without a gap are as good a sign; where transactions write there are none.
        left.whole = left.whole or folded == self._cause + 1
        judged = self._opened if self._is_open else self._withdrawn
        found = [judged(one, left, elsewhere) for one in pictures]
        return next((one for one in found if one.verdict is Verdict.IDENTICAL), found[0])

    def _keep(self, left: _Left, key: bytes, record: Record) -> None:
        """Remember a record that bears on the alert."""
        before = record.offset <= self._cause
        if not self._matters(key, record, before):
            return
        if before:
            left.before[key] = record
        elif key not in left.after or (left.after[key].value is None and record.value is not None):
            left.after[key] = record

    def _matters(self, key: bytes, record: Record, before: bool) -> bool:
        if _is_custody(key):
            # Whoever had a record by then counted, whether or not the alert names them.
            return before or person_of(key) in self.names.persons
        if key.startswith(NOTES):
            return before
        try:
            kind = parse_key(key).kind
        except ValueError:
            return False
        return kind not in (KeyKind.PERSON, KeyKind.SAME_AS) or self.names.borne_on_by(record)

    @property
    def _of_person(self) -> bool:
        return bool(self.alert["cause"]["stage"] == PERSON)

    @property
    def _cause(self) -> int:
        return int(self.alert["cause"]["offset"])

    @property
    def _is_open(self) -> bool:
        return bool(self.alert["state"] == "OPEN")

    @property
    def _input(self) -> tuple[str, int]:
        cause = self.alert["cause"]
        return input_of(cause["stage"], self.site), int(cause["partition"])

    @property
    def _of_feeds(self) -> bool:
        return self.rule.about is FeedKey

    # -- deriving --------------------------------------------------------------------------------------------------

    def _expectations(self) -> tuple[Expected | None, ...]:
        """What agencies may have been expected to send when the alert was evaluated. The site's files say only what
        they are to send now: an operator may have taken a type out since, or just before."""
        return (to_be_sent(self.site), None) if self._of_feeds else (None,)

    def _picture(self, expected: Expected | None, schemas: Mapping[int, WriterSchema] | None = None) -> Picture:
        known = self.schemas if schemas is None else schemas
        return PersonPicture(known) if self._of_person else FacilityPicture(known, expected)

    def _derived(self, picture: Picture, now: int) -> Situation | None:
        """The alert's situation as the rule finds it in a picture; a situation's key names its focus."""
        picture.now = now
        known_as = self.alert["alert_id"]
        for focus in self._focuses(picture):
            for one in self.rule.situations(picture, focus, now):  # type: ignore[arg-type]
                if alert_id(self.rule.name, one.key) == known_as:
                    return one
        return None

    def _focuses(self, picture: Picture) -> list[str] | list[Focus]:
        """What the alert's key names of that which the rule is about."""
        key = set(self.alert["key"])
        if isinstance(picture, PersonPicture):
            return [one for one in picture.persons() if one in key]
        return [one for one in picture.focuses() if key.issuperset(one) and isinstance(one, self.rule.about)]

    def _differences(self, derived: Situation | None) -> tuple[Difference, ...]:
        if derived is None:
            return (Difference("state", "OPEN", "WITHDRAWN"),)
        said = content(derived)
        # Of what an outline does not know, only the digest can be compared.
        known = {} if is_outline(self.alert) else {**said, "until": derived.until}
        now = {**known, "digest": digest(said)}
        return tuple(
            Difference(name, self.alert[name], value) for name, value in now.items() if self.alert[name] != value
        )

    def _otherwise(self, differences: tuple[Difference, ...]) -> Replay:
        """Something else follows from a whole log. Of feeds it may follow from what was expected of the agency then,
        which is on no log; but no file of the site makes a record say other than its digest does."""
        if self._of_feeds and self._fits_its_digest():
            return Replay(Verdict.CANNOT, Basis.WHOLE, lacking=(Lacking(Lack.SITE_CHANGED, self.alert["key"][0]),))
        return Replay(Verdict.DIFFERENT, Basis.WHOLE, differences)

    def _fits_its_digest(self) -> bool:
        if is_outline(self.alert) or not self._is_open:
            return True
        return bool(digest({name: self.alert[name] for name in CONTENT}) == self.alert["digest"])

    # -- an alert that was raised or changed -----------------------------------------------------------------------

    def _opened(self, folded: _Folded, left: _Left, elsewhere: Sequence[Elsewhere]) -> Replay:
        differences = self._differences(self._derived(folded.picture, self.alert["at"]))
        if not differences:
            return Replay(Verdict.IDENTICAL, Basis.WHOLE if left.whole else Basis.AS_LEFT)
        if left.whole:
            return self._otherwise(differences)
        later = list(self._later(left, elsewhere))
        for added, counted in self._readings(left, later, elsewhere):
            picture = self._picture(folded.expected, {**self.schemas, OWN_SCHEMA: _own_schema()})
            for record in (*sorted(left.before.values(), key=lambda record: record.offset), *added):
                _fold(picture, record)
            if not self._differences(self._derived(picture, self.alert["at"])):
                return Replay(Verdict.IDENTICAL, Basis.LATER_COPIES, lacking=counted)
        return Replay(Verdict.CANNOT, Basis.LATER_COPIES, lacking=self._lacking(left, later, elsewhere))

    def _readings(
        self, left: _Left, later: Sequence[_Later], elsewhere: Sequence[Elsewhere]
    ) -> Iterator[tuple[list[Record], tuple[Lacking, ...]]]:
        """What may be added to what is left, the most cautious first: (the records, what is counted by them)."""
        named = [one for one in later if one.named in self.names.events]
        by_then = [one for one in later if one in named or one.fact.time <= self.alert["at"]]
        for facts in (named, by_then):
            if self._of_person:
                yield _records(facts), _counted(facts)
                continue
            everyones = [one for one in facts if one.fact.key.kind is KeyKind.EVERYONE]
            for placements in (self._placed_later(left), self._placed_again(left, elsewhere)):
                records = [*_records(everyones), *(record for record, _ in placements)]
                yield records, (*_counted(everyones), *(one for _, one in placements))

    def _later(self, left: _Left, elsewhere: Sequence[Elsewhere]) -> Iterator[_Later]:
        """Facts about persons of the alert, or about nobody, that are found later or elsewhere than the stage did."""
        topic, partition = self._input
        here = [Elsewhere(Place(topic, partition, record.offset), record) for record in left.after.values()]
        # A facility's alert stands on persons' records, not on their facts.
        away = elsewhere if self._of_person else ()
        for found, is_here in (*((one, True) for one in here), *((one, False) for one in away)):
            for fact in _facts_at(found.record, self.names.persons):
                as_it_is = fact.record_key == found.record.key
                # What is here as it is, up to the cause, was folded; a tombstone there says that it had gone by then.
                if fact.record_key in left.before or (as_it_is and not is_here):
                    continue
                why = Lack.WRITTEN_LATER if as_it_is else Lack.MOVED
                yield _Later(_record_of(fact, found.record), fact, _lacking_of(why, fact, found.place))

    # -- placements, which a facility's alert stands on ------------------------------------------------------------

    def _persons_replaced(self, left: _Left) -> list[str]:
        """Persons of the alert whose record, as the facility had it at the cause, is not left."""
        placed = {person_of(key) for key in left.before if _is_custody(key)}
        people = {item["person_id"] for item in self.alert["evidence"] if item["person_id"] is not None}
        return sorted(people - placed)

    def _placed_later(self, left: _Left) -> list[tuple[Record, Lacking]]:
        """The next record of each such person that is left."""
        topic, partition = self._input
        replaced = self._persons_replaced(left)
        return [
            (record, Lacking(Lack.REPLACED, person=person, place=Place(topic, partition, record.offset)))
            for key, record in left.after.items()
            if _is_custody(key) and (person := person_of(key)) in replaced
        ]

    def _placed_again(self, left: _Left, elsewhere: Sequence[Elsewhere]) -> list[tuple[Record, Lacking]]:
        """The record of each such person as the person stage makes it of the facts that had happened by then."""
        placed: list[tuple[Record, Lacking]] = []
        withdrawals = [record for key, record in left.before.items() if _is_withdrawal(key)]
        for person in self._persons_replaced(left):
            stage = PersonStage(self.site, partition_of(person, self.site.partitions), self.schemas)
            for record in withdrawals:
                stage.refold(record)
            for found in elsewhere:
                for fact in _facts_at(found.record, frozenset({person})):
                    if fact.time <= self.alert["at"] or (fact.agency, fact.event_id) in self.names.events:
                        stage.refold(_record_of(fact, found.record))
            stage.picture.now = self.alert["at"]
            for out in stage.reconcile(0):
                if out.name == "PersonInCustody" and isinstance(out.value, Mapping):
                    value = encode(out.name, out.value, OWN_SCHEMA)
                    lacking = Lacking(Lack.REPLACED, person=person)
                    placed.append((LoggedRecord(0, out.key, value, out.headers), lacking))
        return placed

    # -- an alert that was withdrawn -------------------------------------------------------------------------------

    def _withdrawn(self, folded: _Folded, left: _Left, elsewhere: Sequence[Elsewhere]) -> Replay:
        """What was withdrawn must not be derived. That is easily so where the facts are gone, and shows nothing then:
        on a compacted log what ended it must be there, and without it the rule must still derive it."""
        del elsewhere
        picture, held_before = folded.picture, folded.held_before
        if self.alert["digest"] != WITHDRAWN_DIGEST:
            wrong = Difference("digest", self.alert["digest"], WITHDRAWN_DIGEST)
            return Replay(Verdict.DIFFERENT, Basis.WHOLE, (wrong,))
        if CauseKind(self.alert["cause"]["kind"]) is CauseKind.TICK:
            # Before the recorded time is asked for: in a picture time does not go back.
            held_before = self._derived(picture, NOTHING_EXPIRED) is not None
        derived = self._derived(picture, self.alert["at"])
        if left.whole:
            if derived is None:
                return Replay(Verdict.IDENTICAL, Basis.WHOLE)
            return self._otherwise((Difference("state", "WITHDRAWN", "OPEN"),))
        if derived is None and held_before:
            return Replay(Verdict.IDENTICAL, Basis.AS_LEFT)
        ended = list(self._what_ended_it(left)) if left.cause is None else []
        if derived is not None and ended:
            for record, _ in ended:
                _fold(picture, record)
            if self._derived(picture, self.alert["at"]) is None:
                return Replay(Verdict.IDENTICAL, Basis.LATER_COPIES, lacking=tuple(one for _, one in ended))
        return Replay(Verdict.CANNOT, Basis.AS_LEFT, lacking=(*(one for _, one in ended), self._compacted()))

    def _what_ended_it(self, left: _Left) -> Iterator[tuple[Record, Lacking]]:
        """Later records of the event that was the cause; nothing where it was none."""
        topic, partition = self._input
        for key, record in left.after.items():
            named = _event_of(key)
            if named is not None and named[1] == self.alert["cause"]["event_id"]:
                place = Place(topic, partition, record.offset)
                yield record, Lacking(Lack.WRITTEN_LATER, named[0], "", named[1], place=place)

    # -- what is lacking -------------------------------------------------------------------------------------------

    def _compacted(self) -> Lacking:
        return Lacking(Lack.COMPACTED, place=Place(*self._input, self._cause))

    def _lacking(self, left: _Left, later: Sequence[_Later], elsewhere: Sequence[Elsewhere]) -> tuple[Lacking, ...]:
        """The reasons why a record can't be replayed: what it names and is not there, then what may have been."""
        seen: dict[tuple[str, str, str], Lacking] = {}
        for item in self.alert["evidence"]:
            fate = self._fate(item, left, later, elsewhere)
            if fate is not None:
                seen.setdefault((fate.why, fate.agency, fate.event_id), fate)
        if not self._of_person:
            after = {person_of(key): record for key, record in left.after.items() if _is_custody(key)}
            for person in self._persons_replaced(left):
                next_one = after.get(person)
                place = Place(*self._input, next_one.offset) if next_one is not None else None
                seen[Lack.REPLACED, "", person] = Lacking(Lack.REPLACED, person=person, place=place)
        for one in later:
            if one.fact.key.kind is KeyKind.PERSON and one.fact.time <= self.alert["at"]:
                seen.setdefault((one.lacking.why, one.lacking.agency, one.lacking.event_id), one.lacking)
        return (*seen.values(), self._compacted())

    def _fate(
        self, item: Mapping[str, Any], left: _Left, later: Sequence[_Later], elsewhere: Sequence[Elsewhere]
    ) -> Lacking | None:
        """What became of an event that the record stands on; None where it is where the stage had read it."""
        named = item["agency"], item["event_id"]
        lacking = Lacking(Lack.GONE, item["agency"], item["event_type"], item["event_id"], item["person_id"] or "")
        if not self._of_person and item["person_id"] not in (None, *self._persons_replaced(left)):
            return None
        here = [(key, record) for key, record in left.before.items() if _tells_of(key, named)]
        if any(record.value is not None and _is_read(key, self.names.persons) for key, record in here):
            return None
        for one in later:
            if one.named == named:
                return one.lacking
        here += [(key, record) for key, record in left.after.items() if _tells_of(key, named)]
        topic, partition = self._input
        places = [
            *((key, record, Place(topic, partition, record.offset)) for key, record in here),
            *((found.record.key or b"", found.record, found.place) for found in elsewhere),
        ]
        of_it = [one for one in places if _tells_of(one[0], named)]
        for key, record, place in of_it:
            if record.value is not None and not _is_withdrawal(key):
                # A facility's alert stands on persons' records: their facts are elsewhere, as it should be.
                return replace(lacking, why=Lack.MOVED, place=place) if self._of_person else None
        for key, _, place in of_it:
            if _is_withdrawal(key):
                return replace(lacking, why=Lack.WITHDRAWN, place=place)
        for _, _, place in of_it:
            return replace(lacking, why=Lack.TOMBSTONED, place=place)
        return lacking


# -- records ---------------------------------------------------------------------------------------------------------


def _own_schema() -> WriterSchema:
    return writer_schema(whole_schema("PersonInCustody"))


def _fold(picture: Picture, record: Record) -> None:
    """Fold a record; what nothing can be made of is passed over, as it was when it first came."""
    try:
        picture.fold(record)
    except (DecodeError, ValueError):
        return


def _is_custody(key: bytes) -> bool:
    return key.startswith(CUSTODY)


def _is_withdrawal(key: bytes) -> bool:
    return key.startswith(b"~withdrawn/")


def _is_read(key: bytes, persons: frozenset[str]) -> bool:
    """Whether the fact or note of a key is one that a picture of these persons has."""
    if key.startswith(NOTES):
        return True
    parsed = parse_key(key)
    return parsed.kind is KeyKind.EVERYONE or parsed.person in persons


def _tells_of(key: bytes, named: Named) -> bool:
    """Whether a key is of what an alert may rest on of an event, or of its withdrawal; of others than its subject, or
    of whom it joins, it is not."""
    if _event_of(key) != named:
        return False
    return key.startswith(NOTES) or parse_key(key).role in ("", SUBJECT)


def _event_of(key: bytes) -> Named | None:
    """The event or note that a key names; empty where it is of none, None where no stage writes such a key."""
    try:
        if key.startswith(NOTES):
            note = parse_note(key)
            return note.agency, note.id
        parsed = parse_key(key)
    except ValueError:
        return None
    return parsed.agency, parsed.event_id


def _way(record: Record) -> frozenset[str]:
    """The persons to whom a fact belonged before it came to where it is; nobody where it was never forwarded."""
    if record.value is None or not any(name == "joined-by" for name, _ in record.headers):
        return frozenset()
    try:
        fact = read_fact(record)
    except ValueError:
        return frozenset()
    return frozenset({fact.origin, *(joining.of for joining in fact.rarity.joined_by)})


def _facts_at(record: Record, persons: frozenset[str]) -> Iterator[Fact]:
    """The fact of a record as it is, or was, at each of these persons; as it is where it is about nobody."""
    try:
        key = parse_key(record.key or b"")
        if record.value is None or key.kind not in (KeyKind.PERSON, KeyKind.EVERYONE):
            return
        fact = read_fact(record)
    except ValueError:
        return
    if key.kind is KeyKind.EVERYONE or key.person in persons:
        yield fact
    for number, joining in enumerate(fact.rarity.joined_by):
        if joining.of in persons:
            yield fact.moved_to(joining.of, fact.rarity.joined_by[:number])


def _record_of(fact: Fact, found: Record) -> Record:
    return LoggedRecord(found.offset, fact.record_key, fact.raw, fact.headers())


def _lacking_of(why: Lack, fact: Fact, place: Place) -> Lacking:
    return Lacking(why, fact.agency, fact.event_type, fact.event_id, fact.person, place)


def _records(later: Iterable[_Later]) -> list[Record]:
    return [one.record for one in later]


def _counted(later: Iterable[_Later]) -> tuple[Lacking, ...]:
    return tuple(one.lacking for one in later)
