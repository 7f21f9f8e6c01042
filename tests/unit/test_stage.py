"""A stage of one partition: what a record leads to, what a recovery finds, and what of it is derived ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from schemas import topics
from schemas.codec import DecodeError, encode
from schemas.events import Event, Infraction
from schemas.site import Site
from streams import alerts
from streams.alerts import WITHDRAWN_DIGEST, Cause
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.correlations.situation import Correlation, FacilityCorrelation, PersonCorrelation, Situation
from streams.facts import TICK_KEY, FactKey, KeyKind, event_key, parse_key, partition_of, person_id
from streams.failures import Failures
from streams.heard import SLOT, Heard
from streams.identify import to_person
from streams.records import LoggedRecord, Out, header
from streams.stage import FacilityStage, PersonStage
from tests.county import DAY, JAIL, MAIN, POLICE, START, agency_of, demo_site, event, event_id
from tests.facility_facts import gone, placed, violence
from tests.in_memory_bus import InMemoryBus

SITE = demo_site(partitions=3)
PERSONS, FACILITIES, ALERTS = (of("demo") for of in (topics.person_facts, topics.facility_facts, topics.alerts_raised))
ADA = person_id(f"{JAIL}/LOCAL", "jms", "ada")
NOW = START + 5 * DAY


def logged(out: Out, offset: int = 0) -> LoggedRecord:
    """A record as it comes back from the log."""
    value = out.value
    if value is not None and not isinstance(value, bytes):
        assert out.name is not None
        value = encode(out.name, value, SCHEMA_IDS[out.name])
    return LoggedRecord(offset, out.key, value, out.headers)


def tick(day: float, offset: int = 0) -> LoggedRecord:
    return LoggedRecord(offset, TICK_KEY, encode("Tick", {"time": START + int(day * DAY)}, SCHEMA_IDS["Tick"]))


def values(outs: Iterable[Out], name: str) -> list[Mapping[str, Any]]:
    return [out.value for out in outs if out.name == name and isinstance(out.value, Mapping)]


def raised(outs: Iterable[Out]) -> list[tuple[str, int, str]]:
    return [(one["rule"], one["revision"], one["state"]) for one in values(outs, "AlertRaised")]


def placements(outs: Iterable[Out]) -> list[tuple[int, bool]]:
    return [(one["revision"], one["in_custody"]) for one in values(outs, "PersonInCustody")]


def tombstones(outs: list[Out]) -> list[tuple[str, int, bytes]]:
    return [(out.topic, out.partition, out.key) for out in outs if out.value is None]


def cause(stage: str, kind: str, partition: int, offset: int, what: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "stage": stage, "partition": partition, "offset": offset, "event_id": what}


@dataclass
class Facts:
    """The person facts of a site of which nobody has made anything yet, partition by partition."""

    site: Site = field(default_factory=lambda: SITE)
    bus: InMemoryBus = field(init=False)
    taken: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bus = InMemoryBus(self.site)

    def happen(self, *events: Event) -> Facts:
        for what in events:
            self.bus.publish(what, agency_of(what))
        assert self.bus.dead_letters == []
        return self

    def new(self, number: int) -> list[LoggedRecord]:
        """Those on one partition that were not taken yet."""
        log = self.bus.logs[PERSONS, number]
        found = log[self.taken.get(number, 0) :]
        self.taken[number] = len(log)
        return found


@dataclass
class Scene:
    """The person stage of whatever partition a person is on, and the facts that it is given."""

    person: str = ADA
    facts: Facts = field(default_factory=Facts)
    correlations: tuple[PersonCorrelation, ...] | None = None
    number: int = field(init=False)
    stage: PersonStage = field(init=False)

    def __post_init__(self) -> None:
        site = self.facts.site
        self.number = partition_of(self.person, site.partitions)
        more = () if self.correlations is None else (self.correlations,)
        self.stage = PersonStage(site, self.number, SCHEMAS, *more)

    def happens(self, *events: Event) -> list[Out]:
        """What these events lead to."""
        self.facts.happen(*events)
        return [out for record in self.facts.new(self.number) for out in self.stage.process(record)]

    def refolds(self, *events: Event) -> Scene:
        self.facts.happen(*events)
        for record in self.facts.new(self.number):
            self.stage.refold(record)
        return self

    def recalls(self, outs: list[Out]) -> None:
        for out in outs:
            self.stage.recall(out.topic, logged(out))


BOOKED = event("BookingReported", "ada", name="booked")
HOUSED = event("HousingAssigned", "ada", day=1, name="housed", unit="4-A")
CLASSIFIED = event("CustodyClassified", "ada", day=1, name="classified")
FINE = event("DisciplinaryRecorded", "ada", day=2, name="fine")
OTHER_FINE = event("DisciplinaryRecorded", "ada", day=2, name="fine", severity="MAJOR")
MEMBER = event("AffiliationValidated", "ada", day=0.5, name="member", group="Eastside")
FEUD = event("StreetViolenceReported", day=3, name="feud", groups=["Eastside", "Harbor"])
OTHER_FEUD = event("StreetViolenceReported", day=3, name="feud", groups=["Eastside", "Westend"])
FINED = [BOOKED, CLASSIFIED, FINE]
MEMBER_FINED = [BOOKED, MEMBER, CLASSIFIED, FINE]
REVIEW = "classification_review"


def withdrawal(what: Event) -> Event:
    return event("EventWithdrawn", agency=agency_of(what), target_event_id=what.head.event_id)


# -- persons: what a fact leads to -------------------------------------------------------------------------------------


def test_a_placement_and_an_alert_say_which_fact_led_to_them() -> None:
    scene = Scene()
    outs = scene.happens(*MEMBER_FINED)
    log = scene.facts.bus.logs[PERSONS, scene.number]
    (alert,), (custody,) = values(outs, "AlertRaised"), values(outs, "PersonInCustody")
    number, last = scene.number, log[-1].offset
    assert custody["cause"] == cause("person", "FACT", number, log[1].offset, MEMBER.head.event_id)
    assert alert["cause"] == cause("person", "FACT", number, last, FINE.head.event_id)
    assert [(out.topic, out.partition) for out in outs] == [
        (FACILITIES, partition_of(MAIN, 3)),
        (ALERTS, number),
    ]
    assert alert["at"] == 0, "no tick came yet"


def test_what_changes_nothing_leads_to_nothing() -> None:
    scene = Scene()
    scene.happens(*MEMBER_FINED)
    assert scene.happens(MEMBER, FINE) == []
    assert scene.stage.process(tick(0)) == []


def test_it_is_as_late_as_the_last_tick_says() -> None:
    scene = Scene()
    assert scene.stage.tick == 0
    assert scene.stage.process(tick(5)) == []
    assert scene.stage.tick == NOW
    (alert,) = values(scene.happens(*FINED), "AlertRaised")
    assert alert["at"] == NOW


def test_when_a_fact_reaches_its_purge_date_what_stood_on_it_goes_with_the_tick() -> None:
    fine = event("DisciplinaryRecorded", "ada", day=2, name="fine", purge_day=7)
    housed = event("HousingAssigned", "ada", day=1, name="housed", unit="4-A", purge_day=7)
    scene = Scene()
    before = scene.happens(BOOKED, MEMBER, CLASSIFIED, housed, fine)
    assert raised(before) == [(REVIEW, 1, "OPEN")]
    assert scene.stage.process(tick(6)) == []
    outs = scene.stage.process(tick(7, offset=77))
    assert raised(outs) == [(REVIEW, 2, "WITHDRAWN")]
    assert placements(outs) == [(3, True)]
    assert len(tombstones(outs)) == 2
    assert {(topic, number) for topic, number, _ in tombstones(outs)} == {(PERSONS, scene.number)}
    said = [*values(outs, "AlertRaised"), *values(outs, "PersonInCustody")]
    assert [one["cause"] for one in said] == [cause("person", "TICK", scene.number, 77)] * 2
    assert [one["at"] for one in values(outs, "AlertRaised")] == [START + 7 * DAY]
    assert scene.stage.process(tick(8)) == []


def test_of_several_purge_dates_each_is_kept() -> None:
    scene = Scene()
    fines = [event("DisciplinaryRecorded", "ada", day=2, name=f"f{day}", purge_day=day) for day in (7, 9)]
    scene.happens(BOOKED, CLASSIFIED, *fines)
    assert raised(scene.stage.process(tick(7))) == [(REVIEW, 3, "OPEN")]
    assert raised(scene.stage.process(tick(9))) == [(REVIEW, 4, "WITHDRAWN")]


def test_what_is_withdrawn_is_to_go_from_the_log_and_so_is_what_stood_on_it() -> None:
    scene = Scene()
    scene.happens(*FINED)
    outs = scene.happens(withdrawal(FINE))
    assert raised(outs) == [(REVIEW, 2, "WITHDRAWN")]
    ((_, _, key),) = tombstones(outs)
    assert tombstones(outs) == [(PERSONS, scene.number, key)]
    assert parse_key(key).event_key == event_key(JAIL, FINE.head.event_id)


def test_violence_concerns_the_members_of_its_groups() -> None:
    scene = Scene()
    assert raised(scene.happens(BOOKED, MEMBER, CLASSIFIED)) == []
    outs = scene.happens(FEUD)
    assert raised(outs) == [(REVIEW, 1, "OPEN")]
    (alert,) = values(outs, "AlertRaised")
    assert alert["cause"]["event_id"] == FEUD.head.event_id
    assert raised(scene.happens(withdrawal(FEUD))) == [(REVIEW, 2, "WITHDRAWN")]


def test_violence_asks_the_members_of_its_groups_nobody_else_and_none_that_was_purged() -> None:
    asked: list[str] = []
    site = demo_site(partitions=1)
    scene = Scene(facts=Facts(site), correlations=(counted(asked, by="StreetViolenceReported"),))
    another = event("AffiliationReported", "dot", group="South")
    scene.happens(MEMBER, CY_MEMBER, another, event("BookingReported", "eve"))
    scene.happens(FEUD)
    assert asked == sorted([ADA, person_id(f"{JAIL}/LOCAL", "jms", "cy")])
    purged = next(one for one in scene.facts.bus.logs[PERSONS, 0] if (one.key or b"").startswith(ADA.encode()))
    scene.stage.process(LoggedRecord(100, purged.key, None))
    asked.clear()
    scene.happens(event("StreetViolenceReported", day=4, name="again", groups=["Eastside", "Westend"]))
    assert asked == []


def test_what_triggers_no_rule_costs_no_evaluation() -> None:
    asked: list[str] = []
    scene = Scene(correlations=(counted(asked),))
    scene.happens(BOOKED)
    assert asked == []
    scene.happens(FINE)
    assert asked == [ADA]


def test_only_what_may_change_a_placement_is_compared_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, compared = Scene(), list[str]()
    scene.happens(BOOKED, CLASSIFIED)
    place = scene.stage._placements.place

    def compare(person: str, cause: Cause) -> list[Out]:
        compared.append(person)
        return place(person, cause)

    monkeypatch.setattr(scene.stage._placements, "place", compare)
    scene.happens(FINE)
    assert compared == []
    for what in (
        event("HousingAssigned", "ada", day=3, unit="4-B"),
        event("AffiliationValidated", "ada", day=4, group="Eastside"),
        event("CustodyEnded", "ada", day=5),
        withdrawal(FINE),
    ):
        scene.happens(what)
        assert compared == [ADA]
        compared.clear()


def counted(asked: list[Any], name: str = "counted", by: str = "DisciplinaryRecorded") -> Any:
    """A rule that finds nothing, triggered by one type of events alone, and writes down of whom it was asked."""

    def situations(picture: Any, focus: Any, now: int) -> set[Situation]:
        del picture, now
        asked.append(focus)
        return set()

    return Correlation(name, 1, "housing", frozenset({by, "PersonInCustody"}), situations, object)


# -- persons: one id, two contents -------------------------------------------------------------------------------------


def test_the_content_that_falls_becomes_a_dead_letter_of_its_agency() -> None:
    scene = Scene()
    scene.happens(BOOKED)
    outs = scene.happens(FINE, OTHER_FINE)
    (letter,) = (out for out in outs if out.topic == topics.dead_letters("demo", JAIL))
    (told,) = scene.stage.picture.told(ADA, Infraction)
    came = {
        one.value
        for one in scene.facts.bus.logs[PERSONS, scene.number]
        if FINE.head.event_id.encode() in (one.key or b"")
    }
    assert {letter.value, told.fact.raw} == came
    inbound = topics.inbound("demo", JAIL, "DisciplinaryRecorded")
    assert letter._replace(value=None) == Out(
        topics.dead_letters("demo", JAIL),
        0,
        f"{inbound}/{FINE.head.event_id}".encode(),
        None,
        None,
        (
            ("reason", b"CONFLICT"),
            ("detail", b"another event came with the same event_id and other content; that one stands"),
            ("topic", inbound.encode()),
        ),
    )


def test_another_content_that_comes_after_its_purge_date_goes_from_the_log_all_the_same() -> None:
    scene = Scene()
    scene.happens(BOOKED, FINE)
    scene.stage.process(tick(8))
    outs = scene.happens(event("DisciplinaryRecorded", "ada", day=2, name="fine", severity="MAJOR", purge_day=7))
    assert [out.topic for out in outs if header(out.headers, "reason")] == [topics.dead_letters("demo", JAIL)]
    assert len(tombstones(outs)) == 1
    stage = facility(violence(), tick(8))
    late = violence(purge_day=7)
    assert tombstones(stage.process(late)) == [(FACILITIES, NUMBER, late.key)]


def test_an_agency_that_the_site_knows_no_more_has_no_dead_letters() -> None:
    facts = Facts().happen(BOOKED, FINE, OTHER_FINE)
    number = partition_of(ADA, 3)
    site = SITE.model_copy(update={"agencies": SITE.agencies[1:], "facilities": (), "recipients": (), "agreements": ()})
    stage = PersonStage(site, number, SCHEMAS)
    outs = [out for record in facts.new(number) for out in stage.process(record)]
    assert [out for out in outs if header(out.headers, "reason")] == []


@pytest.mark.parametrize(("number", "letters"), [(0, 1), (1, 0), (2, 0)])
def test_what_everyone_is_told_is_set_aside_once_however_many_partitions_there_are(number: int, letters: int) -> None:
    facts = Facts().happen(FEUD, OTHER_FEUD)
    stage = PersonStage(SITE, number, SCHEMAS)
    outs = [out for record in facts.new(number) for out in stage.process(record)]
    assert [out.topic for out in outs] == [topics.dead_letters("demo", POLICE)] * letters
    other = FacilityStage(SITE, number, SCHEMAS)
    outs = [out for record in facts.bus.logs[FACILITIES, number] for out in other.process(record)]
    assert outs == []


# -- persons: joined ---------------------------------------------------------------------------------------------------

JOIN = event("HousingAssigned", "ada", day=3, name="join", sid="SID-1", unit="4-A")
OTHER_JOIN = event("HousingAssigned", "ada", day=3, name="other join", sid="SID-2", unit="4-B")
FIRST, SECOND = (person_id("SID", "NY", value) for value in ("SID-1", "SID-2"))


def moved(scene: Scene) -> list[Out]:
    """What is to be written for the person's facts to be where they belong."""
    return [
        out
        for here, there in scene.stage.picture.misplaced(ADA)
        for out in (to_person(there, scene.facts.site), Out(PERSONS, scene.number, here.key.encoded(), None, None))
    ]


def announced(to: str) -> list[Out]:
    return [Out(PERSONS, number, f"~joined/{ADA}".encode(), None, b"", (("to", to.encode()),)) for number in range(3)]


def announcements(outs: Iterable[Out]) -> list[Out]:
    return [out for out in outs if out.key.startswith(b"~joined/")]


def test_the_facts_of_who_is_joined_to_another_are_written_there_and_go_from_here() -> None:
    scene = Scene()
    scene.happens(BOOKED, MEMBER, FINE)
    outs = scene.happens(JOIN)
    assert len(moved(scene)) == 6
    assert [out for out in outs if out.topic == PERSONS] == moved(scene)
    assert {out.partition for out in moved(scene)[::2]} == {partition_of(FIRST, 3)}
    assert placements(outs) == [(2, False)], "and nobody of that name is in custody any more"


def test_nobody_is_told_to_whom_a_person_is_joined_as_long_as_it_was_never_said_otherwise() -> None:
    scene = Scene()
    assert announcements(scene.happens(BOOKED, JOIN)) == []


def test_every_partition_is_told_once_to_whom_a_person_is_joined_where_it_was_said_otherwise() -> None:
    scene = Scene()
    scene.happens(BOOKED, JOIN)
    first, second = sorted([(FIRST, JOIN), (SECOND, OTHER_JOIN)])
    outs = scene.happens(OTHER_JOIN)
    assert announcements(outs) == announced(first[0])
    assert outs[:3] == announced(first[0]), "before any fact moves"
    assert announcements(scene.happens(FINE)) == []
    assert announcements(scene.happens(withdrawal(first[1]))) == announced(second[0])
    assert announcements(scene.happens(withdrawal(second[1]))) == announced("")
    assert announcements(scene.happens(CLASSIFIED)) == []


def restarted(before: Scene, written: Iterable[Out] = ()) -> Scene:
    """Another worker, which has folded the facts from their beginning, and what was written on them since."""
    after = Scene(facts=before.facts)
    after.facts.taken.clear()
    after.refolds()
    for out in written:
        after.stage.refold(logged(out))
    return after


def test_what_was_announced_before_a_restart_is_not_announced_again() -> None:
    before = Scene()
    outs = announcements(before.happens(BOOKED, JOIN, OTHER_JOIN))
    assert announcements(restarted(before).stage.reconcile(0)) == outs
    assert announcements(restarted(before, outs).stage.reconcile(0)) == []


def test_who_is_purged_before_anything_is_derived_is_joined_to_nobody_any_more() -> None:
    before = Scene()
    outs = announcements(before.happens(BOOKED, JOIN, OTHER_JOIN))
    after = restarted(before, outs)
    keys = [record.key or b"" for record in before.facts.bus.logs[PERSONS, before.number]]
    of_her = [key for key in keys if key.startswith(ADA.encode())]
    for key in of_her:
        after.stage.refold(LoggedRecord(0, key, None))
    assert announcements(after.stage.reconcile(0)) == announced("")


def test_a_fact_of_who_is_joined_goes_on_as_it_would_once_folded_and_others_do_not() -> None:
    scene, nobody = Scene().refolds(JOIN, withdrawal(OTHER_FINE)), Scene()
    scene.facts.happen(FINE, CLASSIFIED)
    withdrawn, classified = scene.facts.new(scene.number)
    assert list(nobody.stage.take_in(ADA, [classified])) == []
    assert nobody.stage.picture.facts == 1
    outs = list(scene.stage.take_in(ADA, [withdrawn, classified]))
    assert scene.stage.picture.facts == 2, "the link, and what counts for nothing"
    scene.stage.refold(classified)
    assert outs == moved(scene)[::2] != []


def test_a_recovery_moves_what_was_not_moved() -> None:
    scene = Scene().refolds(BOOKED, FINE, JOIN)
    outs = list(scene.stage.reconcile(9))
    assert len(moved(scene)) == 4
    assert [out for out in outs if out.topic == PERSONS] == moved(scene)


def test_of_several_persons_the_facts_of_each_are_moved() -> None:
    others = [
        event("BookingReported", "cy", name="cy booked"),
        event("HousingAssigned", "cy", day=3, sid="SID-9", unit="4-A"),
    ]
    scene = alone().refolds(BOOKED, JOIN, *others)
    outs = list(scene.stage.reconcile(9))
    gone = {key for _, _, key in tombstones(outs)}
    assert {parse_key(key).person for key in gone} == {ADA, person_id(f"{JAIL}/LOCAL", "jms", "cy")}


def test_so_does_one_who_stood_by_and_looked_before() -> None:
    scene = Scene().refolds(BOOKED, FINE, JOIN)
    assert not scene.stage.derive_ahead(100)
    assert [out for out in scene.stage.reconcile(9) if out.topic == PERSONS] == moved(scene) != []


def test_and_tells_to_whom_a_person_is_joined_that_has_no_facts_to_move() -> None:
    scene = Scene().refolds(JOIN, OTHER_JOIN)
    assert not scene.stage.derive_ahead(100)
    assert moved(scene) == []
    assert announcements(scene.stage.reconcile(9)) == announced(min(FIRST, SECOND))


def test_of_whom_nothing_is_lacking_nobody_looks_again() -> None:
    scene = Scene().refolds(JOIN)
    assert not scene.stage.derive_ahead(100)
    assert scene.stage._ahead.unsettled == set()
    never_joined = Scene()
    never_joined.recalls(Scene().happens(BOOKED, MEMBER))
    never_joined.refolds(BOOKED, MEMBER).stage.derive_ahead(100)
    assert never_joined.stage._ahead.unsettled == set()


# -- persons: recovery -------------------------------------------------------------------------------------------------


def test_a_recovery_writes_what_is_not_recorded_and_says_so() -> None:
    scene = Scene().refolds(*MEMBER_FINED)
    scene.stage.refold(tick(5))
    outs = list(scene.stage.reconcile(12))
    assert (raised(outs), placements(outs)) == ([(REVIEW, 1, "OPEN")], [(1, True)])
    said = [*values(outs, "AlertRaised"), *values(outs, "PersonInCustody")]
    assert [one["cause"] for one in said] == [cause("person", "RECONCILED", scene.number, 11)] * 2
    assert values(outs, "AlertRaised")[0]["at"] == NOW
    assert list(scene.stage.reconcile(12)) == []


def test_what_is_recorded_is_not_written_again() -> None:
    before = Scene()
    outs = before.happens(*MEMBER_FINED)
    after = Scene()
    after.recalls(outs)
    after.refolds(*MEMBER_FINED)
    assert after.stage.last_cause() == before.facts.bus.logs[PERSONS, before.number][-1].offset
    assert list(after.stage.reconcile(3)) == []


@pytest.mark.parametrize("name", ["AlertRaised", "PersonInCustody"])
def test_the_last_cause_is_the_later_of_an_alerts_and_a_placements(name: str) -> None:
    assert Scene().stage.last_cause() == -1
    before = Scene()
    outs = before.happens(*MEMBER_FINED, HOUSED)
    after = Scene()
    after.recalls([out for out in outs if out.name == name])
    assert after.stage.last_cause() == max(one["cause"]["offset"] for one in values(outs, name))


def test_what_else_is_on_the_same_topics_is_passed_over() -> None:
    stage = Scene().stage
    for topic in (ALERTS, FACILITIES):
        stage.recall(topic, tick(1))
        stage.recall(topic, LoggedRecord(0, b"key", None))
        stage.recall(topic, LoggedRecord(0, None, b"value"))
    stage.recall(FACILITIES, violence())
    assert stage.last_cause() == -1
    assert list(stage.reconcile(0)) == []


def test_what_is_no_alert_among_the_alerts_is_refused() -> None:
    for stage in (Scene().stage, facility()):
        with pytest.raises(DecodeError, match="WRONG_TYPE"):
            stage.recall(ALERTS, tick(1)._replace(key=b"k"))


def test_what_was_recorded_and_holds_no_more_is_withdrawn() -> None:
    outs = Scene().happens(*MEMBER_FINED)
    after = Scene()
    after.recalls(outs)
    after.refolds(withdrawal(FINE), withdrawal(BOOKED), *MEMBER_FINED, event("CustodyEnded", "ada", day=4))
    found = list(after.stage.reconcile(9))
    assert (raised(found), placements(found)) == ([(REVIEW, 2, "WITHDRAWN")], [(2, False)])
    assert len(tombstones(found)) == 2, "what is withdrawn goes from the log"
    assert values(found, "AlertRaised")[0]["digest"] == WITHDRAWN_DIGEST


def test_on_recovery_timers_are_set_as_they_were() -> None:
    scene = Scene().refolds(BOOKED, CLASSIFIED, event("DisciplinaryRecorded", "ada", day=2, name="f", purge_day=7))
    list(scene.stage.reconcile(0))
    assert raised(scene.stage.process(tick(7))) == [(REVIEW, 2, "WITHDRAWN")]


# -- persons: standing by ----------------------------------------------------------------------------------------------

CY = event("BookingReported", "cy", name="cy booked")
CY_MEMBER = event("AffiliationValidated", "cy", day=0.5, name="cy member", group="Harbor")


def alone(**changes: Any) -> Scene:
    """On a site of one partition, so that everybody is on the same."""
    return Scene(facts=Facts(demo_site(partitions=1)), **changes)


def test_so_many_persons_are_derived_at_a_time_and_then_not_again() -> None:
    asked: list[str] = []
    scene = alone(correlations=(counted(asked),)).refolds(BOOKED, MEMBER, CY, CY_MEMBER)
    assert scene.stage.derive_ahead(1)
    assert len(asked) == 1
    assert not scene.stage.derive_ahead(1)
    assert len(set(asked)) == 2
    assert not scene.stage.derive_ahead(1)
    assert len(asked) == 2
    assert placements(scene.stage.reconcile(5)) == [(1, True)] * 2, "what was lacking then is written"
    assert len(asked) == 2
    scene.refolds(FINE)
    list(scene.stage.reconcile(6))
    assert asked[2:] == [ADA], "only of whom something was told since"


def test_who_was_live_before_it_stands_by_derives_everybody_once() -> None:
    asked: list[str] = []
    scene = alone(correlations=(counted(asked),))
    scene.happens(BOOKED, CY)
    assert asked == []
    assert not scene.stage.derive_ahead(9)
    assert len(asked) == len(set(asked)) == 2
    units: list[Any] = []
    stage = facility(rules=(counted(units),))
    for record in TWO:
        stage.process(record)
    units.clear()
    assert not stage.derive_ahead(9)
    assert units == [UNIT]


def test_without_anything_derived_ahead_everybody_is_derived_once() -> None:
    asked: list[str] = []
    scene = alone(correlations=(counted(asked),)).refolds(BOOKED, CY, FINE)
    list(scene.stage.reconcile(5))
    assert len(asked) == len(set(asked)) == 2
    list(scene.stage.reconcile(5))
    assert len(asked) == 2


def test_what_one_who_stands_by_derived_of_is_what_a_recovery_finds() -> None:
    cold, warm = alone().refolds(*FINED, MEMBER, FEUD), alone().refolds(*FINED, MEMBER, FEUD)
    assert any(not warm.stage.derive_ahead(1) for _ in range(9))
    assert list(warm.stage.reconcile(9)) == list(cold.stage.reconcile(9)) != []


def test_what_is_derived_ahead_is_weighed_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    outs = alone().happens(*FINED)
    scene = alone()
    scene.recalls(outs)
    scene.refolds(*FINED).stage.derive_ahead(9)
    monkeypatch.setattr(alerts, "content", lambda situation: pytest.fail(f"weighed again: {situation}"))
    assert list(scene.stage.reconcile(9)) == []


def test_violence_that_comes_after_it_makes_the_members_stale() -> None:
    scene = alone().refolds(BOOKED, CY, MEMBER, CLASSIFIED)
    assert not scene.stage.derive_ahead(9)
    scene.refolds(FEUD)
    assert scene.stage.derive_ahead(0)
    assert not scene.stage.derive_ahead(1)
    assert raised(scene.stage.reconcile(9)) == [(REVIEW, 1, "OPEN")]


def test_violence_that_comes_before_anybody_looked_counts_too() -> None:
    scene = alone().refolds(BOOKED, MEMBER, CLASSIFIED)
    scene.stage.derive_ahead(9)
    scene.refolds(event("StreetViolenceReported", day=3, name="elsewhere", groups=["A", "B"]), FEUD)
    assert raised(scene.stage.reconcile(9)) == [(REVIEW, 1, "OPEN")]


def test_a_tick_that_comes_after_it_makes_stale_whose_time_has_come() -> None:
    fine = event("DisciplinaryRecorded", "ada", day=2, name="fine", purge_day=7)
    before = alone()
    outs = before.happens(BOOKED, CLASSIFIED, fine)
    scene = alone()
    scene.recalls(outs)
    scene.refolds(BOOKED, CLASSIFIED, fine).stage.derive_ahead(9)
    scene.stage.refold(tick(6))
    assert list(scene.stage.reconcile(9)) == []
    scene.stage.refold(tick(7))
    assert raised(scene.stage.reconcile(9)) == [(REVIEW, 2, "WITHDRAWN")]


def test_what_its_owner_wrote_since_is_compared_again() -> None:
    first = alone()
    outs = first.happens(BOOKED, MEMBER)
    scene = alone()
    scene.recalls(outs)
    scene.refolds(BOOKED, MEMBER).stage.derive_ahead(9)
    scene.recalls(first.happens(HOUSED))
    assert placements(scene.stage.reconcile(9)) == [(3, True)], "the housing is on no log that it has read"


def test_what_another_partition_wrote_is_nothing_to_compare() -> None:
    scene = Scene().refolds(BOOKED)
    scene.stage.derive_ahead(9)
    other = placed(ADA, revision=4)
    scene.stage.recall(FACILITIES, other._replace(headers=(("placed", b"9;4;e;4;d;in;0;4-A"),)))
    assert scene.stage._ahead.stale == set()


# -- persons: what fails -----------------------------------------------------------------------------------------------

WAYS: Mapping[str, Callable[[Scene, Event], object]] = {
    "a fact": lambda scene, what: scene.happens(what),
    "standing by": lambda scene, what: scene.refolds(what).stage.derive_ahead(9),
    "a recovery": lambda scene, what: list(scene.refolds(what).stage.reconcile(9)),
}
"""How it comes that something is to follow of an event."""


@pytest.mark.parametrize("mended", WAYS)
@pytest.mark.parametrize("broken", WAYS)
@pytest.mark.parametrize(
    ("step", "asks"),
    [
        ("forward", lambda stage: (stage.picture, "may_have_moved")),
        ("place", lambda stage: (stage._placements, "_grounds")),
        ("schedule", lambda stage: (stage.picture, "until")),
    ],
)
def test_what_fails_when_it_comes_one_way_is_mended_by_whichever_comes_next(
    step: str, asks: Any, broken: str, mended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    scene.stage.failures = failures = Failures()
    scene.recalls(Scene().happens(BOOKED))
    with monkeypatch.context() as patched:
        of, name = asks(scene.stage)
        patched.setattr(of, name, lambda *_: 1 / 0)
        WAYS[broken](scene, BOOKED)
    assert [what for what, _ in failures.untold()] == [step]
    assert failures.concern(step, (ADA,))
    WAYS[mended](scene, HOUSED)
    assert not failures


@pytest.mark.parametrize("failures", [None, Failures()])
def test_a_fact_whose_schema_is_gone_is_refused_and_that_it_was_is_noted(failures: Failures | None) -> None:
    forgotten = {number: schema for number, schema in SCHEMAS.items() if schema.name != "AffiliationValidated"}
    facts = Facts().happen(MEMBER)
    stage = PersonStage(SITE, partition_of(ADA, 3), forgotten, failures=failures)
    for record in facts.new(partition_of(ADA, 3)):
        with pytest.raises(DecodeError, match="UNKNOWN_SCHEMA"):
            stage.refold(record)
    assert failures is None or [what for what, _ in failures.untold()] == ["reading a fact"]


# -- facilities --------------------------------------------------------------------------------------------------------

HOUSED_TOGETHER = "rivals_housed_together"
TWO = [placed("ada", revision=1), placed("bo", revision=2, groups=("Harbor",))]
RIVALS = [*TWO, violence()]
NUMBER = 2
UNIT = (MAIN, "4-A")


def facility(*records: LoggedRecord, rules: tuple[FacilityCorrelation, ...] | None = None) -> FacilityStage:
    """A stage that has refolded these."""
    more = () if rules is None else (rules,)
    stage = FacilityStage(SITE, NUMBER, SCHEMAS, *more)
    for record in records:
        stage.refold(record)
    return stage


def at(offset: int, record: LoggedRecord) -> LoggedRecord:
    return record._replace(offset=offset)


def everyones_withdrawal() -> LoggedRecord:
    return LoggedRecord(0, FactKey(KeyKind.WITHDRAWN, "", POLICE, event_id("it")).encoded(), b"it")


def test_an_alert_about_a_unit_says_which_fact_led_to_it() -> None:
    stage = facility(tick(1))
    assert [stage.process(record) for record in TWO] == [[], []]
    outs = stage.process(at(33, violence()))
    assert raised(outs) == [(HOUSED_TOGETHER, 1, "OPEN")]
    assert [(out.topic, out.partition) for out in outs] == [(ALERTS, NUMBER)]
    (alert,) = values(outs, "AlertRaised")
    assert (alert["cause"], alert["at"]) == (cause("facility", "FACT", NUMBER, 33, event_id("it")), START + DAY)
    outs = stage.process(gone("bo", revision=3))
    assert raised(outs) == [(HOUSED_TOGETHER, 2, "WITHDRAWN")]
    assert values(outs, "AlertRaised")[0]["cause"] == cause("facility", "FACT", NUMBER, 3, "e3")


def test_a_unit_is_looked_at_again_when_its_time_has_come() -> None:
    stage = facility()
    for record in RIVALS:
        stage.process(record)
    assert stage.process(tick(1)) == []
    assert stage.tick == START + DAY
    outs = stage.process(tick(100, offset=44))
    assert raised(outs) == [(HOUSED_TOGETHER, 2, "WITHDRAWN")]
    (alert,) = values(outs, "AlertRaised")
    assert (alert["cause"], alert["at"]) == (cause("facility", "TICK", NUMBER, 44), START + 100 * DAY)


def test_what_is_withdrawn_goes_from_the_log_of_the_facilities() -> None:
    stage = facility()
    for record in RIVALS:
        stage.process(record)
    outs = stage.process(everyones_withdrawal())
    assert tombstones(outs) == [(FACILITIES, NUMBER, violence().key)]
    assert raised(outs) == [(HOUSED_TOGETHER, 2, "WITHDRAWN")]
    dated = facility(violence(purge_day=7))
    assert tombstones(dated.process(tick(7))) == [(FACILITIES, NUMBER, violence(purge_day=7).key)]


def test_what_triggers_no_rule_of_units_costs_no_evaluation() -> None:
    asked: list[Any] = []
    stage = facility(rules=(counted(asked),))
    for record in RIVALS:
        stage.process(record)
    assert asked == [UNIT, UNIT]


def test_a_recovery_of_units_raises_what_is_not_recorded_and_withdraws_what_holds_no_more() -> None:
    stage = facility(*RIVALS, tick(5))
    assert (stage.tick, stage.last_cause()) == (NOW, -1)
    outs = list(stage.reconcile(12))
    assert raised(outs) == [(HOUSED_TOGETHER, 1, "OPEN")]
    (alert,) = values(outs, "AlertRaised")
    assert (alert["cause"], alert["at"]) == (cause("facility", "RECONCILED", NUMBER, 11), NOW)
    assert list(stage.reconcile(12)) == []
    same, less = facility(*RIVALS), facility(*TWO, everyones_withdrawal(), violence())
    for one in (same, less):
        one.recall(ALERTS, logged(outs[0]))
        one.recall(ALERTS, LoggedRecord(9, b"k", None))
        assert one.last_cause() == 11
    assert list(same.reconcile(12)) == []
    found = list(less.reconcile(12))
    assert raised(found) == [(HOUSED_TOGETHER, 2, "WITHDRAWN")]
    assert tombstones(found) == [(FACILITIES, NUMBER, violence().key)]


def test_so_many_units_are_derived_at_a_time_and_then_not_again() -> None:
    asked: list[Any] = []
    stage = facility(placed("ada"), placed("bo", "4-B"), rules=(counted(asked),))
    assert stage.derive_ahead(1)
    assert len(asked) == 1
    assert not stage.derive_ahead(1)
    assert sorted(asked) == [UNIT, (MAIN, "4-B")]
    assert not stage.derive_ahead(1)
    list(stage.reconcile(5))
    assert len(asked) == 2
    stage.refold(placed("cy"))
    list(stage.reconcile(5))
    assert asked[2:] == [UNIT]
    cold = facility(placed("ada"), placed("bo", "4-B"), rules=(counted(asked),))
    list(cold.reconcile(5))
    list(cold.reconcile(5))
    assert len(asked) == 5


def test_what_is_derived_ahead_of_units_is_weighed_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    outs = list(facility(*RIVALS).reconcile(3))
    stage = facility(*RIVALS)
    stage.recall(ALERTS, logged(outs[0]))
    stage.derive_ahead(9)
    monkeypatch.setattr(alerts, "content", lambda situation: pytest.fail(f"weighed again: {situation}"))
    assert list(stage.reconcile(3)) == []


def test_what_comes_after_it_makes_units_stale() -> None:
    stage = facility(*TWO)
    assert not stage.derive_ahead(9)
    stage.refold(violence())
    assert not stage.derive_ahead(9)
    outs = list(stage.reconcile(9))
    assert raised(outs) == [(HOUSED_TOGETHER, 1, "OPEN")]
    stage = facility(*RIVALS)
    stage.recall(ALERTS, logged(outs[0]))
    stage.derive_ahead(9)
    stage.refold(tick(1))
    assert stage._ahead.stale == set()
    stage.refold(tick(100))
    outs = list(stage.reconcile(9))
    assert raised(outs) == [(HOUSED_TOGETHER, 2, "WITHDRAWN")]
    assert values(outs, "AlertRaised")[0]["at"] == START + 100 * DAY


def test_of_a_tip_with_two_contents_the_one_that_falls_becomes_a_dead_letter_of_its_agency_once() -> None:
    tips = [event("ContrabandTipped", "ada", name="tip", substance=substance) for substance in ("fentanyl", "tobacco")]
    facts = Facts(demo_site(partitions=1)).happen(*tips)
    stage = FacilityStage(facts.bus.site, 0, SCHEMAS)
    (letter,) = [out for record in facts.bus.logs[FACILITIES, 0] for out in stage.process(record) if out.headers]
    inbound = topics.inbound("demo", POLICE, "ContrabandTipped")
    assert letter.topic == topics.dead_letters("demo", POLICE)
    assert letter.key == f"{inbound}/{tips[0].head.event_id}".encode()


def test_such_a_tip_that_comes_after_its_purge_date_goes_from_the_log_all_the_same() -> None:
    first, late = (event("ContrabandTipped", "ada", name="tip", substance=what, purge_day=7) for what in ("a", "b"))
    facts = Facts(demo_site(partitions=1)).happen(first, late)
    stage = FacilityStage(facts.bus.site, 0, SCHEMAS)
    before, after = (one for one in facts.bus.logs[FACILITIES, 0] if first.head.event_id.encode() in (one.key or b""))
    stage.process(before)
    stage.process(tick(8))
    outs = stage.process(after)
    assert [out.topic for out in outs if header(out.headers, "reason")] == [topics.dead_letters("demo", POLICE)]
    assert len(tombstones(outs)) == 1


FIRST_SLOT = START // SLOT
HOURLY = [LoggedRecord(0, Heard(JAIL, "HousingAssigned", FIRST_SLOT + 6 * hour, None).key, b"") for hour in range(500)]
"""Something of the jail came every hour for three weeks."""


def fallen_silent(stage: FacilityStage) -> list[tuple[str, int, str]]:
    """What is raised by ticks of every hour of the day after that."""
    hours = range(500, 524)
    return raised([out for hour in hours for out in stage.process(tick(hour / 24))])


def test_what_is_noted_of_what_nobody_is_to_send_goes_from_the_log() -> None:
    note = HOURLY[0]
    other = LoggedRecord(0, Heard(JAIL, "AffiliationReported", FIRST_SLOT, None).key, b"")
    assert tombstones(list(facility(note, other).reconcile(2))) == [(FACILITIES, NUMBER, other.key)]


def test_an_agency_that_says_nothing_is_found_silent_though_nothing_comes_that_would_say_so() -> None:
    live = facility()
    for hour, record in enumerate(HOURLY):
        assert live.process(tick(hour / 24)) + live.process(record) == []
    assert fallen_silent(live) == [("feed_silent", 1, "OPEN")]


@pytest.mark.parametrize("ahead", [True, False])
def test_so_is_one_that_said_something_before_a_recovery_and_nothing_since(ahead: bool) -> None:
    recovered = facility(*HOURLY, tick(499 / 24))
    if ahead:
        assert not recovered.derive_ahead(9)
    assert list(recovered.reconcile(500)) == []
    assert fallen_silent(recovered) == [("feed_silent", 1, "OPEN")]
