"""Who may see what of an alert: default deny, field by field, and every decision with its reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.agreements import Agreement
from schemas.site import Recipient, Site
from streams.disclose import Disclose, Reason, Withhold, decide
from tests.county import DAY, START, agency_of, demo_site, event
from tests.in_memory_bus import InMemoryBus

NOW = START + 3 * DAY
SITE = demo_site()
WATCH = SITE.recipient_by_id["county-jail-watch"]
INTEL = SITE.recipient_by_id["city-pd-intel"].model_copy(update={"kinds": ("housing",)})


def evidence(agency: str, event_type: str, text: str, *fields: str, **changes: Any) -> dict[str, Any]:
    return {
        "text": text,
        "fields": list(fields),
        "agency": agency,
        "event_type": event_type,
        "event_id": "e",
        "event_time": START,
        "topic": f"demo.{agency}.x.v1",
        "person_id": None,
        "via": "",
        "joined": False,
        "marked": False,
        "ground": "feud",
        "alternative": "first",
        "severity": None,
        "confidence": None,
        "line": "NONE",
        "staff": False,
        "caution": None,
        "due": None,
        **changes,
    }


STREET = evidence("city-pd", "StreetViolenceReported", "Violence between A and B", "groups")
PLACE = evidence("city-pd", "StreetViolenceReported", "It happened at 5th and Main", "place")
EXPECTED = evidence(
    "city-pd", "StreetViolenceReported", "Retaliation is expected", "retaliation_expected", severity="CRITICAL"
)
GRADING = evidence("city-pd", "AffiliationReported", "From a source of reliability B", "reliability", ground="member")
HOUSED = evidence(
    "county-jail", "HousingAssigned", "housed in 4-B", "unit", ground="side", person_id="p", via="county-jail number"
)
HEALTH = evidence("county-jail", "CareObserved", "Under observation", "observation")


def alert(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "alert_id": "a",
        "revision": 1,
        "state": "OPEN",
        "rule": "rivals_housed_together",
        "kind": "housing",
        "severity": "HIGH",
        "least_severity": "HIGH",
        "confidence": "HIGH",
        "facility": "county-jail-main",
        "unit": "4-B",
        "headline": "Members of feuding groups are housed together in 4-B",
        "subjects": [
            {
                "person_id": "p",
                "booking_number": "B-1",
                "name": "Adams, Ada",
                "agency": "county-jail",
            }
        ],
        "evidence": list(items),
        "actions": ["Keep the two sides apart"],
        "cautions": [],
        "until": None,
        "at": NOW,
        "group": None,
        **changes,
    }


def agreement(source: str, recipient: str, **changes: Any) -> Agreement:
    shape = {
        "id": f"{source}-to-{recipient}",
        "title": "t",
        "authority": "a",
        "source": source,
        "recipient": recipient,
        "kinds": ("housing",),
        "grants": {"StreetViolenceReported": ("groups", "time")},
        "valid_from": START,
        **changes,
    }
    return Agreement.model_validate(shape)


def with_agreements(*agreements: Agreement) -> Site:
    return SITE.model_copy(update={"agreements": agreements})


@pytest.mark.parametrize(
    ("what", "recipient", "site", "expected"),
    [
        pytest.param(alert(HOUSED), WATCH, with_agreements(), Reason.OWN_INFORMATION, id="its own information"),
        pytest.param(alert(STREET), WATCH, with_agreements(), Reason.NO_AGREEMENT, id="no agreement at all"),
        pytest.param(
            alert(STREET), WATCH, with_agreements(agreement("city-pd", "county-jail")), Reason.AGREEMENT, id="granted"
        ),
        pytest.param(
            alert(STREET),
            WATCH,
            with_agreements(agreement("city-pd", "county-jail", kinds=("release",))),
            Reason.NO_AGREEMENT,
            id="an agreement for another kind",
        ),
        pytest.param(
            alert(STREET),
            WATCH,
            with_agreements(agreement("county-jail", "city-pd")),
            Reason.NO_AGREEMENT,
            id="an agreement the other way round",
        ),
        pytest.param(
            alert(STREET),
            WATCH,
            with_agreements(agreement("city-pd", "county-jail", valid_from=NOW + 1)),
            Reason.NO_AGREEMENT,
            id="not in force yet",
        ),
        pytest.param(
            alert(STREET),
            WATCH,
            with_agreements(agreement("city-pd", "county-jail", valid_until=NOW)),
            Reason.NO_AGREEMENT,
            id="ended this moment",
        ),
        pytest.param(
            alert(STREET),
            WATCH,
            with_agreements(agreement("city-pd", "county-jail", valid_until=NOW + 1)),
            Reason.AGREEMENT,
            id="in its last moment",
        ),
        pytest.param(
            alert(STREET, GRADING),
            WATCH,
            with_agreements(agreement("city-pd", "county-jail")),
            Reason.NO_AGREEMENT,
            id="one of its sources is not covered: that it exists would tell",
        ),
        pytest.param(
            alert(HOUSED, facility="elsewhere"), WATCH, with_agreements(), Reason.OTHER_FACILITY, id="another facility"
        ),
        pytest.param(alert(HOUSED, HEALTH), WATCH, with_agreements(), Reason.HEALTH, id="health, whoever asks"),
        pytest.param(alert(HOUSED), INTEL, with_agreements(), Reason.NO_AGREEMENT, id="the jail's, to the police"),
        pytest.param(
            alert(HOUSED, state="WITHDRAWN"), WATCH, with_agreements(), Reason.NOTHING_HOLDS, id="nothing holds"
        ),
    ],
)
def test_a_decision_has_its_reason(what: Any, recipient: Recipient, site: Site, expected: Reason) -> None:
    assert decide(what, recipient, site, NOW).reason is expected


def test_fields_that_are_not_granted_are_left_out_and_counted() -> None:
    site = with_agreements(agreement("city-pd", "county-jail"))
    decision = decide(alert(STREET, PLACE, HOUSED), WATCH, site, NOW)
    assert isinstance(decision, Disclose)
    assert [why["text"] for why in decision.view["why"]] == [STREET["text"], HOUSED["text"]]
    assert decision.view["left_out"] == 1
    assert decision.withheld == ("city-pd/StreetViolenceReported/place",)
    assert decision.agreements == ("city-pd-to-county-jail",)


def test_a_time_that_is_not_granted_is_left_out() -> None:
    site = with_agreements(agreement("city-pd", "county-jail", grants={"StreetViolenceReported": ("groups",)}))
    decision = decide(alert(STREET), WATCH, site, NOW)
    assert isinstance(decision, Disclose)
    assert decision.view["why"] == [{"text": STREET["text"], "agency": "city-pd", "event_time": None}]


def test_the_police_see_neither_unit_nor_person_without_a_grant() -> None:
    grants = {"HousingAssigned": ("time",)}
    decision = decide(alert(HOUSED), INTEL, with_agreements(agreement("county-jail", "city-pd", grants=grants)), NOW)
    assert isinstance(decision, Disclose)
    assert decision.view["unit"] is None
    assert "4-B" not in decision.view["headline"]
    assert decision.view["subjects"] == []
    assert decision.view["why"] == []


def view(what: dict[str, Any], *grants: Agreement, recipient: Recipient = WATCH) -> dict[str, Any]:
    decision = decide(what, recipient, with_agreements(*grants), NOW)
    assert isinstance(decision, Disclose), decision
    return {**decision.view, "until": decision.until}


STREET_GRANT = agreement("city-pd", "county-jail")
SECOND = [
    evidence("sheriff", "StreetViolenceReported", "Violence between A and B", "groups", alternative="second"),
    evidence("city-pd", "AffiliationReported", "named in a report", "group", alternative="second", person_id="p"),
    evidence("city-pd", "StreetViolenceReported", "A sealed report", "groups", alternative="second", marked=True),
]


@pytest.mark.parametrize("more", SECOND, ids=["another agency", "another type of event", "marked by its publisher"])
def test_what_a_recipient_may_not_know_of_leaves_no_trace_in_what_it_is_told(more: dict[str, Any]) -> None:
    graver = {**more, "severity": "CRITICAL"}
    known = view(alert(STREET, HOUSED), STREET_GRANT)
    assert view(alert(STREET, HOUSED, graver, severity="CRITICAL"), STREET_GRANT) == known
    assert view(alert(STREET, HOUSED, {**graver, "ground": "", "alternative": ""}), STREET_GRANT) == known


def test_half_of_what_carries_a_ground_is_not_shown_without_the_other_half() -> None:
    half = evidence("city-pd", "StreetViolenceReported", "A second affray", "groups", alternative="second")
    assert view(alert(STREET, half, SECOND[1]), STREET_GRANT) == view(alert(STREET), STREET_GRANT)


def test_marked_information_is_its_publishers_alone() -> None:
    marked = {**STREET, "marked": True}
    assert decide(alert(marked), WATCH, with_agreements(STREET_GRANT), NOW).reason is Reason.NO_AGREEMENT
    assert decide(alert(marked), INTEL, with_agreements(), NOW).reason is Reason.OWN_INFORMATION


@pytest.mark.parametrize(("granted", "severity"), [((), "HIGH"), (("retaliation_expected",), "CRITICAL")])
def test_severity_is_what_the_evidence_shown_makes_it(granted: tuple[str, ...], severity: str) -> None:
    grant = agreement("city-pd", "county-jail", grants={"StreetViolenceReported": ("groups", *granted)})
    assert view(alert(STREET, EXPECTED, severity="CRITICAL"), grant)["severity"] == severity


def test_confidence_is_not_told_where_what_it_rests_on_is_not_shown() -> None:
    grants = {"StreetViolenceReported": ("groups",), "AffiliationReported": ("group",)}
    grant = agreement("city-pd", "county-jail", grants=grants)
    member = evidence("city-pd", "AffiliationReported", "suspect", "status", ground="m", confidence="MODERATE")
    shown = {**member, "fields": ["group"]}
    assert view(alert(STREET, member, confidence="MODERATE"), grant)["confidence"] == "UNKNOWN"
    assert view(alert(STREET, shown, confidence="MODERATE"), grant)["confidence"] == "MODERATE"


def test_when_it_ends_by_itself_is_not_told_where_a_time_is_not_granted() -> None:
    timeless = agreement("city-pd", "county-jail", grants={"StreetViolenceReported": ("groups",)})
    assert view(alert(STREET, until=NOW + DAY), STREET_GRANT)["until"] == NOW + DAY
    assert view(alert(STREET, until=NOW + DAY), timeless)["until"] is None


def two_persons(*items: dict[str, Any]) -> dict[str, Any]:
    one = alert()["subjects"][0]
    return alert(*items, subjects=[one, {**one, "person_id": "q", "booking_number": "B-2", "name": "Bell, Bo"}])


def test_a_persons_name_stands_in_the_evidence_only_where_the_name_is_granted() -> None:
    what = two_persons(HOUSED, {**HOUSED, "person_id": "q", "ground": "other side"})
    assert [why["text"] for why in view(what)["why"]] == ["Adams, Ada: housed in 4-B", "Bell, Bo: housed in 4-B"]
    for fields, who in ((("booking_number",), "Booking B-1"), (("time",), "A person")):
        grants = {"HousingAssigned": ("unit",), "BookingReported": fields}
        shown = view(what, agreement("county-jail", "city-pd", grants=grants), recipient=INTEL)
        assert shown["why"][0]["text"] == f"{who}: housed in 4-B"
        assert "Ada" not in str(shown)


def test_how_a_person_was_known_is_told_of_what_is_shown_and_of_nothing_else() -> None:
    report = evidence(
        "city-pd", "AffiliationReported", "named", "reliability",
        ground="", alternative="", person_id="p", via="city-pd number", joined=True,
    )  # fmt: skip
    (subject,) = view(
        alert(HOUSED, report), agreement("city-pd", "county-jail", grants={"AffiliationReported": ("time",)})
    )["subjects"]
    assert subject["linked_by"] == "county-jail number"
    (subject,) = view(
        alert(HOUSED, report), agreement("city-pd", "county-jail", grants={"AffiliationReported": ("reliability",)})
    )["subjects"]
    ways = "city-pd number and county-jail number"
    assert subject["linked_by"] == f"{ways}; tied to this person's other numbers by fingerprint"


FIELDS = ("groups", "place", "time", "retaliation_expected")
some_fields = st.frozensets(st.sampled_from(FIELDS), min_size=1)


@given(some_fields, some_fields, st.booleans())
def test_nothing_is_shown_that_no_agreement_grants_and_more_grants_never_show_less(
    granted: frozenset[str], more: frozenset[str], in_force: bool
) -> None:
    def shown(fields: frozenset[str]) -> list[str]:
        until = None if in_force else NOW
        grants = {"StreetViolenceReported": tuple(sorted(fields))}
        site = with_agreements(agreement("city-pd", "county-jail", grants=grants, valid_until=until))
        decision = decide(alert(STREET, PLACE), WATCH, site, NOW)
        if isinstance(decision, Withhold):
            return []
        for field in decision.shown:
            agency, _, name = field.split("/")
            assert agency == "county-jail" or name in fields
        return [why["text"] for why in decision.view["why"]]

    few, many = shown(granted), shown(granted | more)
    assert set(few) <= set(many)
    assert (STREET["text"] in few) == (in_force and "groups" in granted)


RIVALS = [
    event("BookingReported", "ada", day=0),
    event("BookingReported", "bo", day=0),
    event("HousingAssigned", "ada", day=1, unit="4-B"),
    event("HousingAssigned", "bo", day=1, unit="4-B"),
    event("AffiliationValidated", "ada", day=1, group="Eastside"),
    event("AffiliationValidated", "bo", day=1, group="Harbor"),
    event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"]),
]


def told(site: Site) -> InMemoryBus:
    bus = InMemoryBus(site)
    bus.tick(NOW)
    for what in RIVALS:
        bus.publish(what, agency_of(what))
    bus.run()
    return bus


def test_an_agreement_that_ends_takes_the_alert_back_and_the_withdrawal_shows_nothing_but_its_id() -> None:
    granted = next(one for one in demo_site().agreements if "housing" in one.kinds)
    ending = granted.model_copy(update={"valid_until": NOW + DAY})
    bus = told(demo_site(partitions=1, agreements=(ending,)))
    assert len(bus.shown_to(WATCH.id)) == 1
    bus.tick(NOW + DAY)
    bus.run()
    assert bus.shown_to(WATCH.id) == {}
    assert len(bus.open_alerts()) == 1, "the situation itself still holds"
    last = bus.history(topics.alerts_for("demo", WATCH.id, "housing"))[-1]
    assert (last["state"], last["headline"], last["why"], last["subjects"]) == ("WITHDRAWN", None, [], [])


def test_a_withdrawal_reaches_who_was_told_even_when_the_agreement_is_gone_at_the_next_start() -> None:
    bus = told(demo_site(partitions=1))
    assert len(bus.shown_to(WATCH.id)) == 1
    bus.site = demo_site(partitions=1, agreements=())
    bus.restart_all()
    assert bus.shown_to(WATCH.id) == {}


def test_every_decision_is_on_the_audit_the_withheld_ones_too() -> None:
    recipients = tuple(r if r.id != "city-pd-intel" else INTEL for r in SITE.recipients)
    bus = told(demo_site(partitions=1, recipients=recipients))
    decisions = bus.history(topics.disclosures("demo"))
    raised = [a for a in bus.history(topics.alerts_raised("demo")) if a["state"] == "OPEN"]
    for one in raised:
        found = {
            d["recipient"]: d["decision"]
            for d in decisions
            if (d["alert_id"], d["revision"]) == (one["alert_id"], one["revision"])
        }
        assert found == {
            "county-jail-watch": "DISCLOSED",
            "county-jail-classification": "DISCLOSED",
            "city-pd-intel": "WITHHELD",
        }
    withheld = next(d for d in decisions if d["decision"] == "WITHHELD")
    assert withheld["reason"] == "NO_AGREEMENT"
    assert "county-jail/HousingAssigned" in withheld["fields_withheld"]


def test_another_agencys_report_does_not_take_away_what_the_jails_own_information_supports() -> None:
    bus = InMemoryBus(demo_site(partitions=1, agreements=()))
    bus.tick(NOW)
    for what in (
        event("BookingReported", "ada"),
        event("CustodyClassified", "ada", day=1),
        event("AffiliationValidated", "ada", day=0.5, group="Eastside"),
        event("DisciplinaryRecorded", "ada", day=2),
    ):
        bus.publish(what, agency_of(what))
        bus.run()
    before = bus.shown_to(WATCH.id)
    assert len(before) == 1
    feud = event("StreetViolenceReported", day=2.5, groups=["Eastside", "Harbor"])
    bus.publish(feud, agency_of(feud))
    bus.run()
    assert len(bus.open_alerts()) == 2
    assert bus.shown_to(WATCH.id) == before


def test_no_recipient_is_told_what_led_to_an_alert_nor_that_its_time_has_passed() -> None:
    bus = told(demo_site(partitions=1))
    bus.tick(NOW + 60 * DAY)
    bus.run()
    assert [alert["cause"]["kind"] for alert in bus.history(topics.alerts_raised("demo"))][-1] == "TICK"
    shown = bus.history(topics.alerts_for("demo", WATCH.id, "housing"))
    assert shown[-1]["state"] == "WITHDRAWN"
    for one in shown:
        assert one["cause"] == {"kind": "FACT", "stage": "disclose", "partition": 0, "offset": -1, "event_id": None}


def test_who_is_told_of_an_alert_is_written_together_with_it() -> None:
    bus = InMemoryBus(demo_site(partitions=1))
    bus.tick(NOW)
    for what in RIVALS:
        bus.publish(what, agency_of(what))
    bus.step(("person", 0), 1_000)
    partition, together = bus.running[0].partition, []
    for record in bus.input_of("facility", 0):
        outs = [out.name for out in partition.process("facility", record)]
        together += [outs] if "AlertRaised" in outs else []
    assert together
    for outs in together:
        assert outs.count("AlertDisclosed") == outs.count("DisclosureDecided") == 2 * outs.count("AlertRaised")


def test_an_agreement_without_a_field_is_refused() -> None:
    with pytest.raises(ValueError, match="StreetViolenceReported"):
        agreement("city-pd", "county-jail", grants={"StreetViolenceReported": ()})


def test_an_alert_that_is_over_is_kept_no_longer_and_may_come_back() -> None:
    bus = InMemoryBus(demo_site(partitions=1))
    bus.tick(NOW)

    def happens(*what: Any) -> None:
        for one in what:
            bus.publish(one, agency_of(one))
            bus.run()

    happens(event("BookingReported", "ada"), event("CustodyClassified", "ada", day=1))
    for number in range(1, 4):
        happens(event("DisciplinaryRecorded", "ada", day=number + 0.5))
        (shown,) = bus.shown_to(WATCH.id).values()
        assert shown["revision"] == 2 * number - 1
        happens(event("CustodyClassified", "ada", day=number + 1))
        assert bus.running[0].partition.disclose._alerts == {}
        bus.restart_all()
        assert bus.running[0].partition.disclose._alerts == {}, "nor after a recovery"
