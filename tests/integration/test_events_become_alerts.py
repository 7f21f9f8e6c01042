"""The whole way on the real bus: what agencies publish becomes alerts on the recipients' topics, and bad input does
not stop it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploy.topic_report import topic_report
from schemas import topics
from schemas.codec import encode_event, frame
from schemas.events import Event, type_name
from schemas.registry_client import registry_client, schema_ids
from tests.county import DAY, JAIL, MAIN, START, event, today
from tests.working_site import WorkingSite, until

pytestmark = pytest.mark.bus


RIVALS_IN_4B = [
    today("BookingReported", "ada", hours=9),
    today("BookingReported", "bo", hours=9),
    today("HousingAssigned", "ada", hours=8, unit="4-B"),
    today("HousingAssigned", "bo", hours=8, unit="4-B"),
    today("AffiliationValidated", "ada", hours=7, group="Eastside"),
    today("AffiliationValidated", "bo", hours=7, group="Harbor"),
]
FEUD = today("StreetViolenceReported", hours=1, groups=["Eastside", "Harbor"], retaliation_expected=True)


def test_a_feud_is_raised_to_the_shift_commander_and_over_when_they_are_apart(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("path")
    site.start_worker()
    # Before a new site's first tick no agreement is in force: what comes so early is told a moment later.
    site.until_settled(tick=1)
    site.publish([*RIVALS_IN_4B, FEUD])
    until(lambda: site.shown_to("county-jail-watch"), "the shift commander saw the alert")
    (alert,) = site.shown_to("county-jail-watch").values()
    assert (alert["rule"], alert["severity"], alert["unit"]) == ("rivals_housed_together", "CRITICAL", "4-B")
    assert {subject["booking_number"] for subject in alert["subjects"]} == {"B-ada", "B-bo"}
    assert "Violence between the groups Eastside and Harbor" in [why["text"] for why in alert["why"]]
    assert alert["agreements"] == ["city-pd-to-county-jail-housing"]

    site.publish([today("HousingAssigned", "bo", hours=0.1, unit="5-A")])
    until(lambda: not site.shown_to("county-jail-watch"), "the alert was withdrawn")

    decisions = site.records(topics.disclosures(site.site.name))
    told = [(d["recipient"], d["decision"]) for d in decisions if d["rule"] == "rivals_housed_together"]
    for recipient in ("county-jail-watch", "county-jail-classification"):
        first, *_, last = [what for who, what in told if who == recipient]
        assert (first, last) == ("DISCLOSED", "WITHDRAWN")


@pytest.fixture
def site_with_a_worker(a_site: Callable[..., WorkingSite]) -> WorkingSite:
    site = a_site("bad-input")
    site.start_worker()
    return site


def test_bad_input_is_set_aside_with_its_reason_and_the_stream_goes_on(site_with_a_worker: WorkingSite) -> None:
    site = site_with_a_worker
    inbound = [(spec.name, spec.name.split(".")[1]) for spec in topics.inbound_topics(site.site)]
    for topic, agency in inbound:
        site.write(agency, topic, b"\xff\x00 no event at all")
    housing = topics.inbound(site.site.name, JAIL, "HousingAssigned")
    ids = schema_ids(
        registry_client(site.settings), site.site, [spec.name for spec in topics.inbound_topics(site.site)]
    )

    def framed(what: Event) -> bytes:
        return encode_event(what, ids[topics.inbound(site.site.name, JAIL, type_name(what)), type_name(what)])

    good = framed(today("HousingAssigned", "ada", unit="4-B"))
    expected = {
        "unknown schema": ("UNKNOWN_SCHEMA", frame(999_999, good[5:])),
        "cut off": ("BROKEN_AVRO", good[:-9]),
        "another type of event": ("WRONG_TYPE", framed(today("BookingReported", "ada"))),
        "next year": ("FUTURE", framed(today("HousingAssigned", "ada", hours=-365 * 24, unit="4-B"))),
        "another's name": ("OTHER_AGENCY", framed(event("HousingAssigned", "ada", agency="city-pd", unit="4-B"))),
        "no such unit": ("UNKNOWN_UNIT", framed(today("HousingAssigned", "ada", unit="9-Z"))),
        "no such facility": (
            "UNKNOWN_FACILITY",
            framed(event("HousingAssigned", "ada", unit="4-B", facility=f"{MAIN}-annex")),
        ),
        "senseless": ("SENSELESS_VALUE", good.replace(b"NY099013C", b"ny099013c")),
    }
    for _, value in expected.values():
        site.write(JAIL, housing, value)
    site.publish([*RIVALS_IN_4B, FEUD])
    until(lambda: site.shown_to("county-jail-watch"), "the stream went on to the alert")

    reasons: dict[str, list[str]] = {}
    boxes = [box for agency in site.site.agency_by_id for box in topics.dead_letter_boxes(site.site, agency)]
    for box in boxes:
        for letter in site.read(box.topic.name, box.owner):
            headers = {name: value.decode() for name, value in letter.headers()}
            assert topics.set_aside_on(*topics.parse_inbound(headers["topic"])) == box.topic.name
            reasons.setdefault(headers["topic"], []).append(headers["reason"])
            assert letter.value(), "the bytes are kept as they came"
    assert {topic for topic, _ in inbound} == {topic for topic, found in reasons.items() if "NOT_FRAMED" in found}
    assert sorted(reasons[housing]) == sorted(["NOT_FRAMED", *(reason for reason, _ in expected.values())])
    counted = topic_report(site.settings, site.site).dead_letters
    assert [d.count for d in counted if (d.agency, d.reason) == (JAIL, "UNKNOWN_UNIT")] == [1]
    assert sum(d.count for d in counted) == len(inbound) + len(expected)
    logged = site.said(site.workers[0])
    assert not [secret for secret in ("B-ada", "Eastside", "5th and Main", "ny099013c") if secret in logged]


def test_what_a_stage_can_make_nothing_of_on_the_bus_s_own_topics_is_set_aside_too(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("clock-poison", clock="history")
    worker = site.start_worker()
    site.write("clock", topics.clock(site.site.name), b"\xff\x00 no tick at all")
    site.tick(START + DAY)
    site.until_settled(START + DAY)
    assert worker.poll() is None
    (letters,) = topic_report(site.settings, site.site).dead_letters
    assert (letters.agency, letters.reason, letters.count) == ("bus", "POISON", 1)


def test_another_agency_cannot_withdraw_what_is_not_its_own(a_site: Callable[..., WorkingSite]) -> None:
    site = a_site("withdrawals")
    site.start_worker()
    feud_id = FEUD.head.event_id
    site.publish([*RIVALS_IN_4B, FEUD])
    until(lambda: site.shown_to("county-jail-watch"), "the alert was raised")
    site.publish([today("EventWithdrawn", agency=JAIL, target_event_id=feud_id)])
    site.until_settled()
    assert site.shown_to("county-jail-watch")
    site.publish([today("EventWithdrawn", agency="city-pd", target_event_id=feud_id, name="by its owner")])
    until(lambda: not site.shown_to("county-jail-watch"), "its owner's withdrawal ended the alert")
