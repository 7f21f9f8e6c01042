"""Placements: of which persons in its custody a facility is told what, and when it is told again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from schemas import topics
from schemas.events import AffiliationStatus, DeliveryMethod, Event
from schemas.site import Site
from streams.alerts import Cause, CauseKind
from streams.backtest import SCHEMAS
from streams.custody import Placed, custody_key, read_placed
from streams.facts import Fact, Joining, Rarity, event_key, partition_of, person_id, sort_of
from streams.numbers import NumberSeries
from streams.pictures.deliveries import Delivery
from streams.pictures.person import Affiliation, PersonPicture
from streams.pictures.stays import Stay
from streams.placements import GONE, Grounds, Placements
from streams.records import LoggedRecord, Out
from tests.county import DAY, JAIL, MAIN, POLICE, START, agency_of, demo_site, event, event_id
from tests.in_memory_bus import InMemoryBus

ANNEX = "county-jail-annex"
CAUSE = Cause(CauseKind.FACT, "person", 0, 7, "e7")
NUMBER = 0


def two_facilities() -> Site:
    site = demo_site(partitions=1)
    return site.model_copy(
        update={"facilities": (*site.facilities, site.facilities[0].model_copy(update={"id": ANNEX}))}
    )


@dataclass
class Scene:
    """One person's facts, and the placements that follow from them."""

    bus: InMemoryBus = field(default_factory=lambda: InMemoryBus(two_facilities()))
    picture: PersonPicture = field(default_factory=lambda: PersonPicture(SCHEMAS))
    placements: Placements = field(init=False)
    person: str = ""

    def __post_init__(self) -> None:
        self.placements = Placements(self.bus.site, NUMBER, self.picture)

    def happens(self, *events: Event) -> Scene:
        log = self.bus.logs[topics.person_facts("demo"), 0]
        known = len(log)
        for what in events:
            self.bus.publish(what, agency_of(what))
        for record in log[known:]:
            for person in self.picture.fold(record).persons:
                self.person = person
        return self

    def place(self, cause: Cause = CAUSE) -> list[Out]:
        return self.placements.place(self.person, cause)


BOOKED = event("BookingReported", "ada", name="booked").model_copy(update={"name": "Adams, Ada"})
HOUSED = event("HousingAssigned", "ada", day=1, name="housed", unit="4-A")
MEMBER = event("AffiliationValidated", "ada", day=2, name="member", group="Eastside")
SUSPECT = event("AffiliationValidated", "ada", day=3, name="suspect", group="Harbor", status="SUSPECT")
ENDED = event("CustodyEnded", "ada", day=4, name="ended")
MOVED = event("BookingReported", "ada", day=5, name="moved", facility=ANNEX, booking_number="A-1")


def withdrawn(what: Event) -> Event:
    return event("EventWithdrawn", agency=JAIL, day=9, target_event_id=what.head.event_id)


def source(what: Event, via: str = "county-jail number") -> dict[str, Any]:
    return {
        "agency": agency_of(what),
        "event_type": type(what).__name__,
        "event_id": what.head.event_id,
        "event_time": what.head.time,
        "topic": topics.inbound("demo", agency_of(what), type(what).__name__),
        "via": via,
        "joined": False,
        "marked": False,
    }


def said(out: Out) -> dict[str, Any]:
    assert isinstance(out.value, dict)
    return out.value


def head(out: Out) -> Placed:
    return read_placed(LoggedRecord(0, out.key, b"", out.headers))[2]


def written(out: Out, offset: int = 0) -> LoggedRecord:
    """A record as it comes back from the log; of its value nothing is asked."""
    return LoggedRecord(offset, out.key, b"", out.headers)


# -- what is said ------------------------------------------------------------------------------------------------------


def test_who_is_in_custody_is_told_with_name_unit_and_affiliations_and_where_each_is_known_from() -> None:
    scene = Scene().happens(BOOKED, HOUSED, MEMBER, SUSPECT)
    (out,) = scene.place()
    digest = said(out)["digest"]
    assert out._replace(headers=()) == Out(
        topics.facility_facts("demo"),
        partition_of(MAIN, 1),
        custody_key(MAIN, scene.person),
        "PersonInCustody",
        {
            "person_id": scene.person,
            "facility": MAIN,
            "revision": 1,
            "digest": digest,
            "in_custody": True,
            "booking_number": "B-ada",
            "name": "Adams, Ada",
            "unit": "4-A",
            "housing": [source(HOUSED)],
            "affiliations": [
                {"group": "Eastside", "status": "MEMBER", **source(MEMBER)},
                {"group": "Harbor", "status": "SUSPECT", **source(SUSPECT)},
            ],
            "deliveries": [],
            "tips": [],
            "verified": [],
            "cause": CAUSE.record(),
        },
    )
    assert head(out) == Placed(NUMBER, 7, 1, digest, True, 2, "e7", "4-A")


def test_of_whom_no_booking_and_no_unit_is_known_neither_is_said() -> None:
    scene = Scene().happens(event("CustodyClassified", "ada", day=1), MEMBER)
    (out,) = scene.place(Cause(CauseKind.TICK, "person", 0, 3))
    record = said(out)
    assert (record["name"], record["unit"], record["housing"]) == (None, None, [])
    assert len(record["affiliations"]) == 1
    assert head(out) == Placed(NUMBER, 3, 1, record["digest"], True, 1, "", "")


def test_of_who_has_no_standing_and_expects_nothing_nothing_is_said() -> None:
    scene = Scene().happens(BOOKED, HOUSED)
    assert not scene.placements.lacks(scene.person)
    assert scene.place() == []


def test_whose_standing_is_no_more_it_is_said_that_nothing_of_them_matters_and_not_where_they_go() -> None:
    scene = Scene().happens(BOOKED, HOUSED, MEMBER)
    scene.place()
    scene.happens(withdrawn(MEMBER))
    (out,) = scene.place()
    assert (said(out)["in_custody"], said(out)["unit"], said(out)["booking_number"]) == (False, None, None)
    assert (said(out)["revision"], said(out)["digest"]) == (2, GONE)
    assert scene.happens(event("HousingAssigned", "ada", day=3, unit="4-B")).place() == []
    (again,) = scene.happens(SUSPECT).place()
    assert (said(again)["in_custody"], said(again)["unit"], said(again)["revision"]) == (True, "4-B", 3)


def test_who_has_no_standing_and_expects_a_visit_is_told_of_until_it_is_over() -> None:
    visit = event("VisitScheduled", "ada", day=2, name="visit", starts=3, ends=3.1)
    scene = Scene().happens(BOOKED, HOUSED, visit)
    (out,) = scene.place()
    record = said(out)
    assert (record["name"], record["unit"], record["housing"], record["affiliations"]) == ("Adams, Ada", "4-A", [], [])
    assert [one["event_id"] for one in record["deliveries"]] == [visit.head.event_id]
    scene.picture.now = START + 30 * DAY
    (over,) = scene.place()
    assert (said(over)["in_custody"], said(over)["deliveries"], said(over)["revision"]) == (False, [], 2)
    assert (head(out).deliveries, head(over).deliveries) == (1, 0)


def test_of_who_expects_something_it_is_said_which_tips_name_them_by_a_number() -> None:
    tip = event("ContrabandTipped", "ada", day=2, name="tip", sid="S1")
    numbered = event("BookingReported", "ada", sid="S1"), event("AffiliationValidated", "ada", sid="S1", group="Harbor")
    scene = Scene().happens(tip, *numbered)
    assert said(scene.place()[0])["tips"] == [], "nothing is to come that they could mean"
    (out,) = scene.happens(event("VisitScheduled", "ada", sid="S1", day=3, starts=5, ends=5.1)).place()
    assert said(out)["tips"] == [{"agency": POLICE, "event_id": tip.head.event_id}]


PERSON = person_id("UCN", "US", "U1")


def verified_of(*events: Event) -> list[tuple[str, str]]:
    """Of which series a number is said to be verified of whoever has the federal number U1."""
    scene = Scene().happens(*events)
    scene.person = PERSON
    (out,) = scene.place()
    return [(one["kind"], one["issuer"]) for one in said(out)["verified"]]


def test_of_who_expects_something_it_is_said_of_which_series_a_fingerprint_verifies_a_number() -> None:
    booked = event("BookingReported", "ada", ucn="U1")
    visit = event("VisitScheduled", "ada", ucn="U1", day=2, starts=5, ends=5.1)
    printed = event("HousingAssigned", "ada", sid="S1", ucn="U1", day=3, unit="4-A")
    assert verified_of(booked, visit) == [("UCN", "US")]
    assert verified_of(booked, visit, printed) == verified_of(printed, visit, booked) == [("SID", "NY"), ("UCN", "US")]
    assert verified_of(booked, visit, printed, withdrawn(printed)) == [("UCN", "US")]
    back = event("CustodyClassified", "ada", sid="S1", ucn="U1", day=3)
    assert verified_of(booked, visit, back) == [("SID", "NY"), ("UCN", "US")], (
        "prints are back when they are classified"
    )


def test_no_number_is_looked_for_where_nothing_is_to_come_nor_by_tips_nor_where_it_places_nobody() -> None:
    booked = event("BookingReported", "ada", ucn="U1")
    visit = event("VisitScheduled", "ada", ucn="U1", day=2, starts=5, ends=5.1)
    assert verified_of(booked, event("AffiliationValidated", "ada", ucn="U1", group="Harbor")) == []
    assert verified_of(booked, visit, event("ContrabandTipped", sid="S1", ucn="U1", day=2)) == [("UCN", "US")]
    assert verified_of(booked, visit, event("DisciplinaryRecorded", "ada", sid="S1", ucn="U1", day=2)) == [
        ("UCN", "US")
    ]


def test_of_whose_numbers_none_is_verified_nothing_is_said_of_any() -> None:
    visit = event("VisitScheduled", "ada", day=2, starts=5, ends=5.1)
    (out,) = Scene().happens(event("BookingReported", "ada", sid="S1", verified="STATED"), visit).place()
    assert said(out)["verified"] == []


def test_a_number_that_is_verified_later_is_told_then() -> None:
    visit = event("VisitScheduled", "ada", ucn="U1", day=2, starts=5, ends=5.1)
    scene = Scene().happens(event("BookingReported", "ada", ucn="U1"), visit)
    scene.person = PERSON
    scene.place()
    # Of what is to come it changes nothing.
    scene.happens(event("VisitCancelled", "ada", ucn="U1", day=2, visit_number="V-9"))
    assert not scene.placements.lacks(PERSON)
    scene.happens(event("VisitCancelled", "ada", sid="S1", ucn="U1", day=2, visit_number="V-8"))
    assert scene.placements.lacks(PERSON)


def test_who_expects_something_where_they_were_before_expects_nothing_where_they_are() -> None:
    visit = event("VisitScheduled", "ada", day=2, name="visit", starts=9, ends=9.1)
    (out,) = Scene().happens(BOOKED, MEMBER, visit, MOVED).place()
    assert (said(out)["facility"], said(out)["deliveries"]) == (ANNEX, [])


def test_who_moves_and_has_no_standing_any_more_is_only_said_to_matter_no_more_where_they_were() -> None:
    scene = Scene().happens(BOOKED, MEMBER)
    scene.place()
    (out,) = scene.happens(withdrawn(MEMBER), MOVED).place()
    assert (said(out)["facility"], said(out)["in_custody"]) == (MAIN, False)


def test_what_was_written_of_everybody_before_this_was_so_is_taken_back() -> None:
    scene = Scene().happens(BOOKED, HOUSED)
    everybody = Placed(NUMBER, 1, 4, "d", True, 0, "", "4-A")
    scene.placements.recall(LoggedRecord(0, custody_key(MAIN, scene.person), b"", everybody.headers()))
    assert scene.placements.lacks(scene.person)
    (out,) = scene.place()
    assert (said(out)["in_custody"], said(out)["revision"]) == (False, 5)
    assert scene.place() == []


def test_a_facility_is_told_on_its_own_partition() -> None:
    bus = InMemoryBus(demo_site(partitions=5))
    bus.publish(BOOKED, JAIL)
    bus.publish(MEMBER, JAIL)
    (log,) = (log for (topic, _), log in bus.logs.items() if topic == topics.person_facts("demo") and log)
    picture = PersonPicture(SCHEMAS)
    (person,) = {person for record in log for person in picture.fold(record).persons}
    (out,) = Placements(bus.site, 3, picture).place(person, CAUSE)
    assert (out.partition, head(out).partition) == (partition_of(MAIN, 5), 3)


# -- when it is said again ---------------------------------------------------------------------------------------------


def test_what_was_said_is_said_again_only_when_it_rests_on_other_facts() -> None:
    scene = Scene().happens(BOOKED, MEMBER)
    assert scene.placements.lacks(scene.person)
    (first,) = scene.place()
    scene.happens(event("DisciplinaryRecorded", "ada", day=1))
    assert not scene.placements.lacks(scene.person)
    assert scene.place() == []
    scene.happens(HOUSED)
    assert scene.placements.lacks(scene.person)
    (second,) = scene.place()
    assert (said(first)["revision"], said(second)["revision"]) == (1, 2)
    assert said(first)["digest"] != said(second)["digest"]


def test_who_left_is_said_to_be_there_no_more_once() -> None:
    scene = Scene().happens(BOOKED, HOUSED, MEMBER)
    scene.place()
    scene.happens(ENDED)
    assert scene.placements.lacks(scene.person)
    (out,) = scene.place()
    assert said(out) == {
        "person_id": scene.person,
        "facility": MAIN,
        "revision": 2,
        "digest": GONE,
        "in_custody": False,
        "booking_number": None,
        "name": None,
        "unit": None,
        "housing": [],
        "affiliations": [],
        "deliveries": [],
        "tips": [],
        "verified": [],
        "cause": CAUSE.record(),
    }
    assert out.name == "PersonInCustody"
    assert head(out) == Placed(NUMBER, 7, 2, "gone", False, 0, "e7", "")
    assert not scene.placements.lacks(scene.person)
    assert scene.place() == []


def test_of_whom_nothing_was_said_nothing_is_said_when_not_in_custody() -> None:
    scene = Scene().happens(MEMBER.model_copy(update={"booking_number": ""}))
    assert not scene.placements.lacks(scene.person)
    assert scene.place() == []


def test_who_moves_to_another_facility_enters_there_and_has_left_the_first() -> None:
    scene = Scene().happens(BOOKED, HOUSED, MEMBER)
    scene.place()
    scene.happens(MOVED)
    enters, leaves = scene.place()
    assert (said(enters)["facility"], said(enters)["in_custody"], said(enters)["revision"]) == (ANNEX, True, 1)
    assert said(enters)["booking_number"] == "A-1"
    assert said(enters)["unit"] is None, "the unit was that of the other stay"
    assert (said(leaves)["facility"], said(leaves)["in_custody"], said(leaves)["revision"]) == (MAIN, False, 2)
    assert scene.place() == []


def test_who_comes_back_enters_again_and_nothing_more_is_said_of_where_it_was_before() -> None:
    scene = Scene().happens(BOOKED, MEMBER)
    scene.place()
    scene.happens(MOVED)
    scene.place()
    scene.happens(event("BookingReported", "ada", day=6, booking_number="B-9"))
    enters, leaves = scene.place()
    assert (said(enters)["facility"], said(enters)["revision"], said(enters)["booking_number"]) == (MAIN, 3, "B-9")
    assert (said(leaves)["facility"], said(leaves)["revision"]) == (ANNEX, 2)
    scene.happens(event("HousingAssigned", "ada", day=7, booking_number="B-9", unit="4-B"))
    (again,) = scene.place()
    assert (said(again)["facility"], said(again)["unit"]) == (MAIN, "4-B")


def test_who_is_recorded_as_in_several_facilities_has_left_them_all_in_order_of_their_names() -> None:
    scene = Scene().happens(BOOKED, ENDED)
    for facility in (MAIN, ANNEX, "prison"):
        placed = Placed(NUMBER, 1, 4, "d", facility != "prison", 0, "", "")
        scene.placements.recall(LoggedRecord(0, custody_key(facility, scene.person), b"", placed.headers()))
    assert [said(out)["facility"] for out in scene.place()] == [ANNEX, MAIN]


# -- what is recorded --------------------------------------------------------------------------------------------------


def test_what_was_recorded_before_a_restart_is_not_said_again() -> None:
    scene = Scene().happens(BOOKED, MEMBER)
    (out,) = scene.place()
    after = Scene().happens(BOOKED, MEMBER)
    assert after.placements.last_cause == -1
    assert after.placements.recall(written(out)) == after.person
    assert after.placements.last_cause == 7
    assert not after.placements.lacks(after.person)
    assert after.place() == []


def test_what_another_partition_recorded_is_none_of_this_ones_placements() -> None:
    scene = Scene().happens(BOOKED, MEMBER)
    other = Placed(NUMBER + 1, 99, 4, "d", True, 0, "", "")
    assert scene.placements.recall(LoggedRecord(0, custody_key(ANNEX, scene.person), b"", other.headers())) is None
    assert scene.placements.last_cause == -1
    (out,) = scene.place()
    assert (said(out)["facility"], said(out)["revision"]) == (MAIN, 1)


def test_the_last_cause_is_the_latest_of_all_that_are_recorded() -> None:
    placements = Scene().placements
    for offset in (0, 5, 3):
        placed = Placed(NUMBER, offset, 1, "d", True, 0, "", "")
        placements.recall(LoggedRecord(0, custody_key(MAIN, f"p{offset}"), b"", placed.headers()))
        assert placements.last_cause == max(offset, placements.last_cause)
    assert placements.last_cause == 5


def test_what_was_recorded_of_a_person_at_each_facility_is_remembered() -> None:
    scene = Scene().happens(BOOKED, MEMBER)
    for facility, revision in ((MAIN, 4), (ANNEX, 8)):
        placed = Placed(NUMBER, 1, revision, "d", True, 0, "", "")
        scene.placements.recall(LoggedRecord(0, custody_key(facility, scene.person), b"", placed.headers()))
    told = [(said(out)["facility"], said(out)["revision"], said(out)["in_custody"]) for out in scene.place()]
    assert told == [(MAIN, 5, True), (ANNEX, 9, False)]


def test_an_offset_of_nothing_recorded_is_before_all_offsets() -> None:
    placements = Scene().placements
    placed = Placed(NUMBER, 0, 1, "d", True, 0, "", "")
    placements.recall(LoggedRecord(0, custody_key(MAIN, "p"), b"", placed.headers()))
    assert placements.last_cause == 0


# -- the digest --------------------------------------------------------------------------------------------------------


def fact(raw: bytes = b"raw", name: str = "it", joined: bool = False, agency: str = JAIL) -> Fact:
    rare = Rarity(joined_by=(Joining("q", JAIL, event_id("by"), None),) if joined else ())
    return Fact("p", event_key(agency, event_id(name)), "subject", sort_of("X", "t", False, ""), 1, 0, raw, rare)


def grounds(
    stay: tuple[str, str] = (MAIN, "B-1"),
    booked: Fact | None = None,
    housed: Fact | None = None,
    affiliations: tuple[Fact, ...] = (),
    deliveries: tuple[Delivery, ...] = (),
    tips: tuple[Fact, ...] = (),
    verified: tuple[NumberSeries, ...] = (),
) -> Grounds:
    standings = tuple(Affiliation("Eastside", AffiliationStatus.MEMBER, one) for one in affiliations)
    return Grounds(Stay(stay, booked, 1), housed, standings, deliveries, tips, verified)


MAIL = Delivery(DeliveryMethod.MAIL, "M-1", "Cole, Dana", None, 1, 2, fact().provenance)


def test_the_digest_of_the_same_facts_is_the_same_for_ever() -> None:
    """Another one writes every placement again: give FORM another number when it is meant to change."""
    known = grounds(booked=fact(), housed=fact(b"housed"), affiliations=(fact(joined=True), fact(b"")))
    assert grounds().digest() == "cdf6bd897f33998cf42884386ff78427"
    assert known.digest() == "e0c9185945bb22eb41c571b1505e21e8"
    assert grounds(deliveries=(MAIL,), tips=(fact(), fact(b""))).digest() == "2d76f4a46e31bec543bab3ba299ac650"


def test_other_facts_have_another_digest() -> None:
    several = [
        grounds(),
        grounds((ANNEX, "B-1")),
        grounds((MAIN, "B-2")),
        grounds(booked=fact()),
        grounds(booked=fact(joined=True)),
        grounds(booked=fact(b"other")),
        grounds(booked=fact(name="other")),
        grounds(housed=fact()),
        grounds(affiliations=(fact(),)),
        grounds(affiliations=(fact(), fact())),
        grounds(deliveries=(MAIL,)),
        grounds(deliveries=(MAIL._replace(party=None),)),
        grounds(deliveries=(MAIL, MAIL)),
        grounds(affiliations=(fact(),), deliveries=(MAIL,)),
        grounds(deliveries=(MAIL,), tips=(fact(),)),
        grounds(deliveries=(MAIL,), tips=(fact(b"other"),)),
        grounds(deliveries=(MAIL,), tips=(fact(), fact())),
        grounds(deliveries=(MAIL,), verified=(NumberSeries("SID", "NY"),)),
        grounds(deliveries=(MAIL,), verified=(NumberSeries("SID", "NJ"),)),
        grounds(deliveries=(MAIL,), tips=(fact(),), verified=(NumberSeries("SID", "NY"),)),
    ]
    assert len({one.digest() for one in several}) == len(several)
