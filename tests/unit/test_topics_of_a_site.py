"""The topics of a site: what they are called, how they are cut, and how long what is on them is kept."""

from __future__ import annotations

import pytest

from schemas import topics
from schemas.events import EVENT_TYPES
from schemas.topics import DAY_MS, Cleanup
from tests.county import SITE, demo_site

FOR_EVER = -1
EVENTS = (Cleanup.DELETE, 4, 30 * DAY_MS)
LATEST = (Cleanup.COMPACT, 4, DAY_MS)
DESK = ("DeskActionTaken", Cleanup.DELETE, 1, FOR_EVER)
SET_ASIDE = (None, Cleanup.DELETE, 1, 30 * DAY_MS)

ALL = {
    "county-jail.affiliation-validated.v1": ("AffiliationValidated", *EVENTS),
    "county-jail.booking-reported.v1": ("BookingReported", *EVENTS),
    "county-jail.care-observed.v1": ("CareObserved", Cleanup.DELETE, 4, 7 * DAY_MS),
    "county-jail.custody-classified.v1": ("CustodyClassified", *EVENTS),
    "county-jail.custody-ended.v1": ("CustodyEnded", *EVENTS),
    "county-jail.disciplinary-recorded.v1": ("DisciplinaryRecorded", *EVENTS),
    "county-jail.event-withdrawn.v1": ("EventWithdrawn", *EVENTS),
    "county-jail.housing-assigned.v1": ("HousingAssigned", *EVENTS),
    "county-jail.no-longer-listed.v1": ("NoLongerListed", *EVENTS),
    "city-pd.affiliation-reported.v1": ("AffiliationReported", *EVENTS),
    "city-pd.event-withdrawn.v1": ("EventWithdrawn", *EVENTS),
    "city-pd.street-violence-reported.v1": ("StreetViolenceReported", *EVENTS),
    "county-jail.visit-scheduled.v1": ("VisitScheduled", *EVENTS),
    "county-jail.visit-cancelled.v1": ("VisitCancelled", *EVENTS),
    "county-jail.visit-completed.v1": ("VisitCompleted", *EVENTS),
    "county-jail.mail-received.v1": ("MailReceived", *EVENTS),
    "county-jail.deposit-received.v1": ("DepositReceived", *EVENTS),
    "county-jail.movement-scheduled.v1": ("MovementScheduled", *EVENTS),
    "county-jail.contraband-seized.v1": ("ContrabandSeized", *EVENTS),
    "county-jail.list-taken.v1": ("ListTaken", *EVENTS),
    "county-jail.call-completed.v1": ("CallCompleted", *EVENTS),
    "county-court.hearing-scheduled.v1": ("HearingScheduled", *EVENTS),
    "county-court.hearing-cancelled.v1": ("HearingCancelled", *EVENTS),
    "county-court.event-withdrawn.v1": ("EventWithdrawn", *EVENTS),
    "city-pd.contraband-tipped.v1": ("ContrabandTipped", *EVENTS),
    "city-pd.tip-outcome.v1": ("TipOutcome", *EVENTS),
    "bus.dead-letters.county-jail.v1": SET_ASIDE,
    "bus.dead-letters.county-jail.care.v1": (None, Cleanup.DELETE, 1, 7 * DAY_MS),
    "bus.dead-letters.city-pd.v1": SET_ASIDE,
    "bus.dead-letters.county-court.v1": SET_ASIDE,
    "bus.dead-letters.bus.v1": SET_ASIDE,
    "county-jail.dead-letters-settled.v1": (None, Cleanup.DELETE, 1, 60 * DAY_MS),
    "city-pd.dead-letters-settled.v1": (None, Cleanup.DELETE, 1, 60 * DAY_MS),
    "county-court.dead-letters-settled.v1": (None, Cleanup.DELETE, 1, 60 * DAY_MS),
    "bus.dead-letters-settled.v1": (None, Cleanup.DELETE, 1, 60 * DAY_MS),
    "bus.person.facts.v1": (None, *LATEST),
    "bus.facility.facts.v1": (None, *LATEST),
    "bus.region.facts.v1": (None, Cleanup.COMPACT, 1, DAY_MS),
    "bus.clock.v1": ("Tick", Cleanup.DELETE, 4, 7 * DAY_MS),
    "bus.stage-reports.v1": ("StageReported", Cleanup.COMPACT, 1, DAY_MS),
    "alerts.raised.v1": ("AlertRaised", *LATEST),
    "audit.disclosures.v1": ("DisclosureDecided", Cleanup.DELETE, 4, FOR_EVER),
    "alerts.county-jail-watch.housing.v1": ("AlertDisclosed", *LATEST),
    "alerts.county-jail-watch.contraband.v1": ("AlertDisclosed", *LATEST),
    "desk.actions.county-jail-watch.v1": DESK,
    "alerts.county-jail-classification.housing.v1": ("AlertDisclosed", *LATEST),
    "alerts.county-jail-classification.coordination.v1": ("AlertDisclosed", *LATEST),
    "desk.actions.county-jail-classification.v1": DESK,
    "alerts.county-jail-affairs.contraband.v1": ("AlertDisclosed", *LATEST),
    "alerts.county-jail-affairs.coordination.v1": ("AlertDisclosed", *LATEST),
    "desk.actions.county-jail-affairs.v1": DESK,
    "alerts.city-pd-intel.investigation.v1": ("AlertDisclosed", *LATEST),
    "alerts.city-pd-intel.contraband.v1": ("AlertDisclosed", *LATEST),
    "alerts.city-pd-intel.coordination.v1": ("AlertDisclosed", *LATEST),
    "alerts.county-jail-watch.coordination.v1": ("AlertDisclosed", *LATEST),
    "desk.actions.city-pd-intel.v1": DESK,
}


def test_these_are_all_topics_of_the_demo_site() -> None:
    found = {
        spec.name: (spec.record, spec.cleanup, spec.partitions, spec.retention_ms) for spec in topics.all_topics(SITE)
    }
    assert found == {f"demo.{name}": what for name, what in ALL.items()}


@pytest.mark.parametrize(
    ("owner", "boxes"),
    [
        (
            "county-jail",
            {"demo.bus.dead-letters.county-jail.v1": False, "demo.bus.dead-letters.county-jail.care.v1": True},
        ),
        ("city-pd", {"demo.bus.dead-letters.city-pd.v1": False}),
        ("county-court", {"demo.bus.dead-letters.county-court.v1": False}),
        (topics.BUS, {"demo.bus.dead-letters.bus.v1": False}),
    ],
)
def test_dead_letters_are_found_by_whose_they_are(owner: str, boxes: dict[str, bool]) -> None:
    found = topics.dead_letter_boxes(SITE, owner)
    assert {box.topic.name: box.care for box in found} == boxes
    assert {box.owner for box in found} == {owner}


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_what_is_refused_is_kept_as_long_as_its_inbound_topic_keeps_it(event_type: str) -> None:
    agency = SITE.agencies[0].model_copy(update={"publishes": (event_type,)})
    site = demo_site(agencies=(agency,), facilities=(), recipients=(), agreements=())
    kept = {spec.name: spec.retention_ms for spec in topics.all_topics(site)}
    inbound = topics.inbound(site.name, agency.id, event_type)
    assert kept[topics.set_aside_on(site.name, agency.id, event_type)] == kept[inbound]


def test_what_a_prefix_right_names_is_one_agencys_own_and_nothing_that_begins_alike() -> None:
    assert topics.agency_prefix("demo", "city-pd") == "demo.city-pd."
    assert topics.consumer_group("demo") == "demo.bus"


@pytest.mark.parametrize("spec", topics.inbound_topics(SITE), ids=lambda spec: spec.name)
def test_an_inbound_topic_tells_site_agency_and_event(spec: topics.TopicSpec) -> None:
    site, agency, event_type = topics.parse_inbound(spec.name)
    assert (site, event_type) == ("demo", spec.record)
    assert topics.inbound(site, agency, event_type) == spec.name


@pytest.mark.parametrize(
    "topic",
    [
        "demo.bus.person.facts.v1",
        "demo.bus.clock.v1",
        "demo.city-pd.gossip-reported.v1",
        "demo.city-pd.street-violence-reported.v2",
        "demo.city-pd.street-violence-reported",
        "",
    ],
)
def test_any_other_topic_is_refused_as_inbound(topic: str) -> None:
    with pytest.raises(ValueError, match=f"^{topic} is no inbound topic$"):
        topics.parse_inbound(topic)


@pytest.mark.parametrize(("name", "written"), [("Tick", "tick"), ("BookingReported", "booking-reported")])
def test_a_type_of_event_is_written_in_lower_case_with_hyphens_between_its_words(name: str, written: str) -> None:
    assert topics.kebab(name) == written
