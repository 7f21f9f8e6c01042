"""What a recipient is told of an alert, record by record, and what the audit keeps of each decision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

import fastavro
import pytest

from schemas.agreements import Agreement
from schemas.avro_files import whole_schema
from schemas.codec import decode, digest, encode, frame, writer_schema
from schemas.site import Recipient, Site
from streams.alerts import WITHDRAWN_DIGEST
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.disclose import Disclose, DiscloseStage, Reason, Withhold, decide
from streams.records import LoggedRecord, Out
from tests.county import DAY, SITE, START

NOW = START + 3 * DAY
LATER = NOW + DAY
JAIL_DESK = Recipient.model_validate({"id": "watch", "name": "Desk", "agency": "county-jail", "kinds": ["housing"]})
POLICE_DESK = Recipient.model_validate({"id": "police", "name": "Unit", "agency": "city-pd", "kinds": ["housing"]})
UNHEARD = Recipient.model_validate({"id": "other", "name": "Else", "agency": "county-jail", "kinds": ["release"]})
GRANTED = {
    "HousingAssigned": ("unit",),
    "BookingReported": ("facility", "booking_number"),
    "AffiliationValidated": ("group",),
}


def grant(**changes: Any) -> Agreement:
    shape = {
        "id": "jail-to-police",
        "title": "t",
        "authority": "a",
        "source": "county-jail",
        "recipient": "city-pd",
        "kinds": ("housing",),
        "grants": GRANTED,
        "valid_from": START,
        **changes,
    }
    return Agreement.model_validate(shape)


def site(*agreements: Agreement, recipients: tuple[Recipient, ...] = (UNHEARD, JAIL_DESK, POLICE_DESK)) -> Site:
    return SITE.model_copy(update={"agreements": agreements, "recipients": recipients})


def evidence(text: str, event_type: str, *fields: str, **changes: Any) -> dict[str, Any]:
    return {
        "text": text,
        "fields": list(fields),
        "agency": "county-jail",
        "event_type": event_type,
        "event_id": "e1",
        "event_time": START,
        "topic": "t",
        "via": "county-jail number",
        "joined": False,
        "marked": False,
        "person_id": "p1",
        "ground": "side",
        "alternative": "first",
        "severity": None,
        "confidence": None,
        "line": "NONE",
        "staff": False,
        "caution": None,
        "due": None,
        **changes,
    }


HOUSED = evidence("housed in 4-B", "HousingAssigned", "unit", severity="CRITICAL")
MEMBER = evidence("member of the group Eastside", "AffiliationValidated", "group", "status", confidence="MODERATE")
SUBJECT = {"person_id": "p1", "booking_number": "B-1", "name": "Adams, Ada", "agency": "county-jail"}


def alert(**changes: Any) -> dict[str, Any]:
    return {
        "alert_id": "a1",
        "revision": 4,
        "state": "OPEN",
        "digest": "d",
        "rule": "rivals",
        "rule_version": 1,
        "key": ["4-B"],
        "kind": "housing",
        "severity": "CRITICAL",
        "least_severity": "HIGH",
        "confidence": "MODERATE",
        "facility": "county-jail-main",
        "unit": "4-B",
        "headline": "Members are housed together in 4-B",
        "subjects": [SUBJECT],
        "evidence": [HOUSED, MEMBER],
        "actions": ["Look", "Move"],
        "cautions": [],
        "until": LATER,
        "at": NOW - 5,
        "cause": {"kind": "FACT", "stage": "facility", "partition": 1, "offset": 17, "event_id": "e1"},
        "group": "a crowd",
        **changes,
    }


OVER = alert(state="WITHDRAWN", revision=5, evidence=[], subjects=[], least_severity="UNKNOWN", group="another crowd")
KEPT = {
    "rule_version": 1,
    "state": "OPEN",
    "digest": "d",
    "revision_at": NOW - 5,
    "revision_cause": {"kind": "FACT", "stage": "facility", "partition": 1, "offset": 17, "event_id": "e1"},
    "rests_on": [
        {"agency": "county-jail", "event_type": "HousingAssigned", "event_id": "e1"},
        {"agency": "county-jail", "event_type": "AffiliationValidated", "event_id": "e1"},
    ],
}
"""What a decision keeps of `alert()`."""


def stage(where: Site, at: int = NOW) -> DiscloseStage:
    made = DiscloseStage(where, 2, SCHEMAS)
    made.recall_tick(at)
    return made


def values(outs: Iterable[Out], name: str = "AlertDisclosed") -> list[Mapping[str, Any]]:
    return [out.value for out in outs if out.name == name and isinstance(out.value, Mapping)]


def values_of(outs: Iterable[Out]) -> list[Mapping[str, Any]]:
    return [out.value for out in outs if isinstance(out.value, Mapping)]


def said(outs: Iterable[Out]) -> list[tuple[str, int, str]]:
    """What is told, in short: to whom, revision, state."""
    return [(one["recipient"], one["revision"], one["state"]) for one in values(outs)]


def audited(outs: list[Out]) -> list[tuple[str, str, str]]:
    return [(one["recipient"], one["decision"], one["reason"]) for one in values(outs, "DisclosureDecided")]


def written(outs: list[Out]) -> list[LoggedRecord]:
    """As they are on the logs."""
    return [
        LoggedRecord(number, out.key, encode(out.name, out.value, SCHEMA_IDS[out.name]))
        for number, out in enumerate(outs)
        if out.name is not None and isinstance(out.value, Mapping)
    ]


def raised(value: Mapping[str, Any]) -> LoggedRecord:
    return LoggedRecord(0, b"a1", encode("AlertRaised", value, SCHEMA_IDS["AlertRaised"]))


# -- decisions -------------------------------------------------------------------------------------------------------


def test_its_own_information_is_shown_whole() -> None:
    assert decide(alert(), JAIL_DESK, site(), NOW) == Disclose(
        Reason.OWN_INFORMATION,
        {
            "rule": "rivals",
            "severity": "CRITICAL",
            "confidence": "MODERATE",
            "facility": "county-jail-main",
            "unit": "4-B",
            "headline": "Members are housed together in 4-B",
            "subjects": [{"booking_number": "B-1", "name": "Adams, Ada", "linked_by": "county-jail number"}],
            "why": [
                {"text": "housed in 4-B", "agency": "county-jail", "event_time": START},
                {"text": "member of the group Eastside", "agency": "county-jail", "event_time": START},
            ],
            "left_out": 0,
            "caution": None,
            "actions": ["Look", "Move"],
            "due": None,
        },
        until=LATER,
        agreements=(),
        named=(),
        shown=(
            "county-jail/AffiliationValidated/group",
            "county-jail/AffiliationValidated/status",
            "county-jail/AffiliationValidated/time",
            "county-jail/BookingReported/booking_number",
            "county-jail/BookingReported/facility",
            "county-jail/BookingReported/name",
            "county-jail/HousingAssigned/time",
            "county-jail/HousingAssigned/unit",
        ),
        withheld=(),
    )


def test_of_anothers_information_only_what_is_granted_is_shown_and_the_rest_is_named_in_the_audit() -> None:
    assert decide(alert(), POLICE_DESK, site(grant()), NOW) == Disclose(
        Reason.AGREEMENT,
        {
            "rule": "rivals",
            "severity": "CRITICAL",
            "confidence": "UNKNOWN",
            "facility": "county-jail-main",
            "unit": "4-B",
            "headline": "Members are housed together in 4-B",
            "subjects": [{"booking_number": "B-1", "name": None, "linked_by": "county-jail number"}],
            "why": [{"text": "housed in 4-B", "agency": "county-jail", "event_time": None}],
            "left_out": 1,
            "caution": None,
            "actions": ["Look", "Move"],
            "due": None,
        },
        until=None,
        agreements=("jail-to-police",),
        named=("jail-to-police",),
        shown=(
            "county-jail/AffiliationValidated/group",
            "county-jail/BookingReported/booking_number",
            "county-jail/BookingReported/facility",
            "county-jail/HousingAssigned/unit",
        ),
        withheld=(
            "county-jail/AffiliationValidated/status",
            "county-jail/BookingReported/name",
            "county-jail/HousingAssigned/time",
        ),
    )


def shown_to_the_police(grants: dict[str, tuple[str, ...]], **changes: Any) -> dict[str, Any]:
    decision = decide(alert(**changes), POLICE_DESK, site(grant(grants=grants)), NOW)
    assert isinstance(decision, Disclose)
    return {**decision.view, "until": decision.until}


TIMES = {"HousingAssigned": ("unit", "time"), "AffiliationValidated": ("group", "status", "time")}


@pytest.mark.parametrize(
    ("grants", "changes", "shown"),
    [
        (TIMES, {}, {"facility": None, "subjects": [], "until": LATER, "left_out": 0}),
        ({**TIMES, "AffiliationValidated": ("group", "status")}, {}, {"until": None, "left_out": 0}),
        ({**TIMES, "AffiliationValidated": ("time",)}, {}, {"until": None, "left_out": 1}),
        ({"AffiliationValidated": ("time",), "HousingAssigned": ("time",)}, {}, {"unit": None, "severity": "HIGH"}),
        (
            {"AffiliationValidated": ("time",), "HousingAssigned": ("time",)},
            {},
            {"headline": "Members are housed together in a housing unit", "why": [], "left_out": 2},
        ),
        (
            {"AffiliationValidated": ("time",), "HousingAssigned": ("time",)},
            {"unit": "C", "headline": "Classifications in C, by C of ABC."},
            {"headline": "Classifications in a housing unit, by a housing unit of ABC."},
        ),
        ({**TIMES, "BookingReported": ("name",)}, {"facility": None}, {"facility": None}),
        (TIMES, {"unit": None, "headline": "Two of one party"}, {"unit": None, "headline": "Two of one party"}),
    ],
    ids=[
        "neither facility nor person, but all times",
        "not every time",
        "a piece is left out",
        "no unit, and no severity that rests on it",
        "nothing of the evidence",
        "no unit, though its name is in other words too",
        "an alert of no facility",
        "an alert of no unit",
    ],
)
def test_what_is_shown_follows_from_the_grants(
    grants: dict[str, tuple[str, ...]], changes: dict[str, Any], shown: dict[str, Any]
) -> None:
    found = shown_to_the_police(grants, **changes)
    assert {name: found[name] for name in shown} == shown


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({"state": "WITHDRAWN"}, Withhold(Reason.NOTHING_HOLDS)),
        ({"evidence": []}, Withhold(Reason.NO_AGREEMENT)),
        (
            {"evidence": [MEMBER, HOUSED]},
            Withhold(Reason.NO_AGREEMENT, ("county-jail/AffiliationValidated", "county-jail/HousingAssigned")),
        ),
        (
            {"evidence": [HOUSED, {**MEMBER, "agency": "city-pd", "ground": "other"}]},
            Withhold(Reason.NO_AGREEMENT, ("county-jail/HousingAssigned",)),
        ),
    ],
    ids=["nothing holds", "there is no evidence", "nothing is granted", "one of two grounds is not"],
)
def test_what_is_withheld_names_what_lacks_an_agreement(changes: dict[str, Any], decision: Withhold) -> None:
    assert decide(alert(**changes), POLICE_DESK, site(), NOW) == decision


@pytest.mark.parametrize(
    ("kind", "facility", "facilities", "event_type", "expected"),
    [
        ("housing", "county-jail-main", ("county-jail-main",), "HousingAssigned", Reason.OWN_INFORMATION),
        ("housing", "annex", ("county-jail-main",), "HousingAssigned", Reason.OTHER_FACILITY),
        ("housing", None, ("county-jail-main",), "HousingAssigned", Reason.OWN_INFORMATION),
        ("housing", "annex", (), "HousingAssigned", Reason.OWN_INFORMATION),
        ("housing", None, (), "CareObserved", Reason.HEALTH),
        ("care", None, (), "CareObserved", Reason.OWN_INFORMATION),
        ("care", None, (), "HousingAssigned", Reason.OWN_INFORMATION),
    ],
)
def test_facility_and_health_come_before_any_agreement(
    kind: str, facility: str | None, facilities: tuple[str, ...], event_type: str, expected: Reason
) -> None:
    what = alert(kind=kind, facility=facility, evidence=[evidence("seen", event_type)])
    recipient = JAIL_DESK.model_copy(update={"facilities": facilities})
    assert decide(what, recipient, site(), NOW).reason is expected


@pytest.mark.parametrize("recipient", [JAIL_DESK, POLICE_DESK])
def test_of_a_facility_that_the_site_knows_no_more_neither_it_nor_its_units_are_shown(recipient: Recipient) -> None:
    decision = decide(alert(facility="torn-down"), recipient, site(grant()), NOW)
    assert isinstance(decision, Disclose)
    assert (decision.view["facility"], decision.view["unit"]) == (None, None)
    assert "4-B" not in decision.view["headline"]
    assert "county-jail/BookingReported/facility" not in decision.shown


def test_what_only_supports_is_shown_by_itself_where_it_may_be() -> None:
    aside = evidence("seen", "CustodyEnded", ground="", alternative="")
    beside = evidence("heard", "DisciplinaryRecorded", ground="", alternative="")
    decision = decide(
        alert(evidence=[HOUSED, aside, beside]),
        POLICE_DESK,
        site(grant(grants={**GRANTED, "CustodyEnded": ("time",)})),
        NOW,
    )
    assert isinstance(decision, Disclose)
    assert [why["text"] for why in decision.view["why"]] == ["housed in 4-B", "seen"]
    assert decision.view["left_out"] == 0


def test_persons_of_whom_nothing_is_covered_are_not_among_the_subjects() -> None:
    other = {**SUBJECT, "person_id": "p2", "booking_number": "B-2", "agency": "county-jail"}
    decision = decide(alert(subjects=[SUBJECT, other]), JAIL_DESK, site(), NOW)
    assert isinstance(decision, Disclose)
    assert [one["booking_number"] for one in decision.view["subjects"]] == ["B-1"]


# -- records ---------------------------------------------------------------------------------------------------------


def test_who_is_told_gets_a_record_of_its_own_and_the_audit_one_of_the_decision() -> None:
    disclosed, audit = stage(site(recipients=(JAIL_DESK,))).tell(alert())
    decision = decide(alert(), JAIL_DESK, site(), NOW)
    assert isinstance(decision, Disclose)
    assert disclosed == Out(
        "demo.alerts.watch.housing.v1",
        2,
        b"a1",
        "AlertDisclosed",
        {
            **decision.view,
            "agreements": [],
            "alert_id": "a1",
            "revision": 1,
            "state": "OPEN",
            "digest": digest({**decision.view, "agreements": []}),
            "recipient": "watch",
            "kind": "housing",
            "until": LATER,
            "opened": NOW - 5,
            "at": NOW - 5,
            "cause": {"kind": "FACT", "stage": "disclose", "partition": 2, "offset": -1, "event_id": None},
            "group": "a crowd",
        },
    )
    assert audit == Out(
        "demo.audit.disclosures.v1",
        2,
        b"a1",
        "DisclosureDecided",
        {
            "alert_id": "a1",
            "revision": 4,
            "recipient": "watch",
            "kind": "housing",
            "rule": "rivals",
            "decision": "DISCLOSED",
            "reason": "OWN_INFORMATION",
            "agreements": [],
            "fields_shown": list(decision.shown),
            "fields_withheld": [],
            "at": NOW,
            "cause": {"kind": "FACT", "stage": "disclose", "partition": 2, "offset": -1, "event_id": "e1"},
            **KEPT,
        },
    )


def test_a_withdrawal_is_the_alerts_id_and_its_own_record_in_the_audit() -> None:
    told = stage(site(recipients=(JAIL_DESK,)))
    told.tell(alert())
    withdrawn, audit = told.tell(OVER)
    cause = {"kind": "FACT", "stage": "disclose", "partition": 2, "offset": -1, "event_id": None}
    assert withdrawn == Out(
        "demo.alerts.watch.housing.v1",
        2,
        b"a1",
        "AlertDisclosed",
        {
            "alert_id": "a1",
            "revision": 2,
            "state": "WITHDRAWN",
            "digest": WITHDRAWN_DIGEST,
            "recipient": "watch",
            "severity": "UNKNOWN",
            "confidence": "UNKNOWN",
            "subjects": [],
            "why": [],
            "left_out": 0,
            "actions": [],
            "agreements": [],
            "kind": "housing",
            "at": NOW - 5,
            "cause": cause,
            "group": "another crowd",
        },
    )
    assert audit.value == {
        "alert_id": "a1",
        "revision": 5,
        "recipient": "watch",
        "kind": "housing",
        "rule": "rivals",
        "decision": "WITHDRAWN",
        "reason": "NOTHING_HOLDS",
        "agreements": [],
        "fields_shown": [],
        "fields_withheld": [],
        "at": NOW,
        "cause": {**cause, "event_id": "e1"},
        **KEPT,
        "state": "WITHDRAWN",
        "rests_on": [],
    }
    assert told.tell(OVER) == [], "it is said once"


def kept(outs: Iterable[Out]) -> list[dict[str, Any]]:
    return [{name: one[name] for name in KEPT} for one in values(outs, "DisclosureDecided")]


def test_every_decision_keeps_what_the_revision_rested_on_whoever_is_told() -> None:
    assert kept(stage(site()).tell(alert())) == [KEPT, KEPT], "disclosed to the jail, withheld from the police"
    again = evidence("seen in 4-B", "HousingAssigned", "unit")
    assert kept(stage(site()).tell(alert(evidence=[HOUSED, MEMBER, again]))) == [KEPT, KEPT], "an event once"


def test_that_its_time_has_passed_is_kept_on_the_audit_and_told_to_nobody() -> None:
    told = stage(site(recipients=(JAIL_DESK,)))
    told.tell(alert())
    passed = {"kind": "TICK", "stage": "facility", "partition": 1, "offset": 18, "event_id": None}
    withdrawn, audit = map(dict, values_of(told.tell({**OVER, "cause": passed})))
    assert (withdrawn["cause"]["kind"], withdrawn["cause"]["offset"]) == ("FACT", -1)
    assert audit["revision_cause"] == passed


def test_a_decision_that_is_made_later_keeps_the_same_of_the_revision() -> None:
    begins = stage(site(grant(valid_from=LATER)))
    begins.tell(alert())
    (audit,) = values(begins.advance(LATER), "DisclosureDecided")
    assert (audit["recipient"], audit["at"], audit["cause"]["kind"]) == ("police", LATER, "TICK")
    assert {name: audit[name] for name in KEPT} == KEPT
    assert kept(recalled(site(), [raised(alert())]).reconcile()) == [KEPT]


def test_whoever_may_not_see_it_any_more_is_told_that_it_is_over_and_the_audit_that_it_is_not() -> None:
    ends = stage(site(grant(valid_until=LATER)))
    ends.tell(alert())
    (audit,) = values(ends.advance(LATER), "DisclosureDecided")
    assert (audit["decision"], audit["state"], audit["rests_on"]) == ("WITHDRAWN", "OPEN", KEPT["rests_on"])


def test_who_is_not_told_is_in_the_audit_with_what_lacks_an_agreement() -> None:
    (audit,) = values(stage(site(recipients=(POLICE_DESK,))).tell(alert()), "DisclosureDecided")
    assert (audit["recipient"], audit["decision"], audit["reason"]) == ("police", "WITHHELD", "NO_AGREEMENT")
    assert audit["fields_withheld"] == ["county-jail/AffiliationValidated", "county-jail/HousingAssigned"]
    assert audit["fields_shown"] == audit["agreements"] == []


@pytest.mark.parametrize(
    ("kind", "told_as"),
    [("FACT", "FACT"), ("TICK", "FACT"), ("RECONCILED", "RECONCILED"), ("RULE_CHANGED", "RULE_CHANGED")],
)
def test_what_led_to_it_is_told_but_that_its_time_has_passed(kind: str, told_as: str) -> None:
    what = alert(cause={**alert()["cause"], "kind": kind})
    assert [one["cause"]["kind"] for one in values(stage(site()).tell(what))] == [told_as]


def test_a_recipient_hears_again_only_when_what_it_may_see_has_changed() -> None:
    told = stage(site(grant()))
    assert said(told.tell(alert())) == [("watch", 1, "OPEN"), ("police", 1, "OPEN")]
    unseen = alert(revision=5, evidence=[HOUSED, {**MEMBER, "text": "suspected member of the group Eastside"}])
    outs = told.tell(unseen)
    assert said(outs) == [("watch", 2, "OPEN")]
    assert [who for who, _, _ in audited(outs)] == ["watch", "police"], "that it was decided is in the audit"
    assert said(told.tell(OVER)) == [("watch", 3, "WITHDRAWN"), ("police", 2, "WITHDRAWN")]
    assert said(told.tell(alert(revision=6))) == [("watch", 4, "OPEN"), ("police", 3, "OPEN")]


# -- time ------------------------------------------------------------------------------------------------------------


def test_who_may_see_it_from_a_moment_on_is_told_in_that_moment() -> None:
    told = stage(site(grant(valid_from=LATER)))
    assert said(told.tell(alert())) == [("watch", 1, "OPEN")]
    assert told.advance(LATER - 1) == []
    outs = told.advance(LATER)
    assert said(outs) == [("police", 1, "OPEN")]
    assert audited(outs) == [("police", "DISCLOSED", "AGREEMENT")]
    assert values(outs, "DisclosureDecided")[0]["agreements"] == ["jail-to-police"]
    (record,) = values(outs)
    assert record["group"] is None, "the alert's group is what once happened to it"
    assert record["cause"] == {"kind": "TICK", "stage": "disclose", "partition": 2, "offset": -1, "event_id": None}
    assert told.advance(LATER + 1) == []
    assert told.tick == LATER + 1


def test_who_may_see_it_no_more_is_told_that_in_that_moment() -> None:
    told = stage(site(grant(valid_until=LATER)))
    told.tell(alert())
    outs = told.advance(LATER + DAY)
    assert said(outs) == [("police", 2, "WITHDRAWN")]
    assert audited(outs) == [("police", "WITHDRAWN", "NO_AGREEMENT")], "it still holds"
    (record,) = values(outs)
    assert record["group"] is None
    (audit,) = values(outs, "DisclosureDecided")
    assert audit["at"] == LATER + DAY


def test_an_agreement_ends_in_the_moment_that_it_says() -> None:
    told = stage(site(grant(valid_until=LATER)))
    told.tell(alert())
    assert [said(told.advance(at)) for at in (LATER - 1, LATER, LATER + 1)] == [[], [("police", 2, "WITHDRAWN")], []]


def test_before_any_tick_it_is_as_early_as_can_be() -> None:
    assert DiscloseStage(site(), 2, SCHEMAS).tick == 0


def test_time_does_not_go_back() -> None:
    told = stage(site(grant(valid_until=LATER)), at=LATER)
    assert told.advance(NOW) == []
    assert told.tick == LATER
    assert said(told.tell(alert())) == [("watch", 1, "OPEN")]


# -- recovery --------------------------------------------------------------------------------------------------------


def recalled(where: Site, records: list[LoggedRecord]) -> DiscloseStage:
    made = stage(where)
    for record in records:
        made.recall("", record)
    return made


def test_what_was_told_before_is_not_told_again_after_a_restart() -> None:
    before = written(stage(site()).tell(alert()))
    told = recalled(site(), [raised(alert()), *before, LoggedRecord(9, b"a1", None)])
    assert list(told.reconcile()) == []
    assert said(told.tell(OVER)) == [("watch", 2, "WITHDRAWN")]


ENDED_AT = LATER + 300_000
"""By the broker's clock: a moment after the tick that ended it."""


def ended(where: Site) -> list[LoggedRecord]:
    """The records of an alert that the police were told of until their agreement ended."""
    told = stage(where)
    before = written(told.tell(alert()))
    return [
        raised(alert()),
        *before,
        *(one._replace(timestamp=ENDED_AT // 1000) for one in written(told.advance(LATER))),
    ]


def test_what_ended_by_a_tick_is_not_told_again_while_the_log_is_read_up_to_that_tick() -> None:
    where = site(grant(valid_until=LATER))
    after = recalled(where, ended(where))
    assert list(after.reconcile()) == []
    for at in (NOW + 1, LATER - 1, LATER, ENDED_AT, LATER + DAY):
        assert after.advance(at) == [], "neither told nor decided anew"


def test_nor_is_it_told_what_the_alert_says_by_then() -> None:
    where = site(grant(valid_until=LATER))
    after = recalled(where, ended(where))
    list(after.reconcile())
    assert said(after.tell(alert(revision=5, actions=["Look"]))) == [("watch", 2, "OPEN")]


@pytest.mark.parametrize(("clock", "at_once"), [("live", False), ("history", True)])
def test_what_ended_and_may_be_told_again_is_told_when_that_is_sure_or_at_once_where_no_tick_may_come(
    clock: str, at_once: bool
) -> None:
    renewed = site(grant()).model_copy(update={"clock": clock})
    after = recalled(renewed, ended(site(grant(valid_until=LATER))))
    told_again = [("police", 3, "OPEN")]
    assert said(after.reconcile()) == (told_again if at_once else [])
    assert said(after.advance(ENDED_AT - 1)) == []
    outs = after.advance(ENDED_AT)
    assert said(outs) == ([] if at_once else told_again)
    assert [one["group"] for one in values(outs)] == ([] if at_once else [None]), "the alert says nothing new"
    assert after.advance(ENDED_AT + 1) == []


def test_what_nobody_was_told_of_before_the_crash_is_told_on_recovery() -> None:
    outs = list(recalled(site(), [raised(alert())]).reconcile())
    assert said(outs) == [("watch", 1, "OPEN")]
    assert audited(outs) == [("watch", "DISCLOSED", "OWN_INFORMATION")]
    (record,) = values(outs)
    assert record["cause"] == {
        "kind": "RECONCILED",
        "stage": "disclose",
        "partition": 2,
        "offset": -1,
        "event_id": None,
    }
    assert record["group"] is None


def test_what_was_told_and_is_on_no_log_is_withdrawn_on_recovery() -> None:
    outs = list(recalled(site(), written(stage(site()).tell(alert()))).reconcile())
    assert said(outs) == [("watch", 2, "WITHDRAWN")]
    (audit,) = values(outs, "DisclosureDecided")
    assert (audit["alert_id"], audit["revision"], audit["kind"], audit["rule"]) == ("a1", 0, "housing", "rivals")
    (as_read,) = [decode(one.value or b"", SCHEMAS)[1] for one in written(outs) if one.offset == 1]
    assert (as_read["rule_version"], as_read["state"], as_read["digest"], as_read["revision_at"]) == (
        0,
        "UNKNOWN",
        "",
        0,
    )
    assert (as_read["revision_cause"], as_read["rests_on"]) == (None, [])
    assert [one["at"] for one in values(outs)] == [NOW]


def test_of_several_that_are_on_no_log_each_is_withdrawn() -> None:
    before = stage(site(grant()))
    records = written([*before.tell(alert()), *before.tell(alert(alert_id="a2"))])
    outs = list(recalled(site(grant()), records).reconcile())
    told_of = [(one["recipient"], one["alert_id"]) for one in values(outs)]
    assert told_of == [("police", "a1"), ("police", "a2"), ("watch", "a1"), ("watch", "a2")]


def test_what_was_withdrawn_before_is_not_withdrawn_again_after_a_restart() -> None:
    before = stage(site())
    records = written([*before.tell(alert()), *before.tell(OVER)])
    assert list(recalled(site(), records).reconcile()) == []
    assert said(recalled(site(), [*records, raised(alert(revision=6))]).reconcile()) == [("watch", 3, "OPEN")]


def withdrawals(outs: Iterable[Out]) -> list[tuple[str, str, str]]:
    """To whom, because of what by its record, and why by the audit."""
    outs = list(outs)
    causes = {one["recipient"]: one["cause"]["kind"] for one in values(outs) if one["state"] == "WITHDRAWN"}
    return [
        (one["recipient"], causes[one["recipient"]], one["reason"])
        for one in values(outs, "DisclosureDecided")
        if one["decision"] == "WITHDRAWN"
    ]


LOCKUP_DESK = JAIL_DESK.model_copy(update={"facilities": ("lockup",)})


@pytest.mark.parametrize(
    ("after", "now_raised", "found"),
    [
        (site(), alert(), ("police", "TICK", "NO_AGREEMENT")),
        (site(grant(valid_until=NOW - 1)), alert(), ("police", "TICK", "NO_AGREEMENT")),
        (site(grant(), recipients=(LOCKUP_DESK, POLICE_DESK)), alert(), ("watch", "TICK", "OTHER_FACILITY")),
        (site(grant(), recipients=(POLICE_DESK,)), OVER, ("police", "RECONCILED", "NOTHING_HOLDS")),
        (site(grant(), recipients=(POLICE_DESK,)), None, ("police", "RECONCILED", "NOTHING_HOLDS")),
    ],
    ids=["no agreement any more", "it ended meanwhile", "another facility's desk", "it is over", "it is on no log"],
)
def test_a_restart_tells_what_holds_no_more_from_what_holds_and_may_not_be_told_any_more(
    after: Site, now_raised: Mapping[str, Any] | None, found: tuple[str, str, str]
) -> None:
    before = written(stage(site(grant())).tell(alert()))
    told_before = [one for one in before if b"watch" in (one.value or b"")] if found[0] == "watch" else before
    records = [*([raised(now_raised)] if now_raised else []), *told_before]
    assert withdrawals(recalled(after, records).reconcile())[:1] == [found]


def test_where_only_others_still_say_it_a_recipient_is_told_what_it_would_be_if_nobody_did() -> None:
    own = {**HOUSED, "agency": "city-pd"}
    others = {**HOUSED, "alternative": "second"}
    told = stage(site(recipients=(POLICE_DESK,)))
    told.tell(alert(evidence=[own, others]))
    alone = stage(site(recipients=(POLICE_DESK,)))
    alone.tell(alert(evidence=[own]))
    left, over = told.tell(alert(revision=5, evidence=[others])), alone.tell({**OVER, "group": "a crowd"})
    assert values(left) == values(over), "that others say it too may not be told"
    assert [why for _, _, why in withdrawals(left)] == ["NO_AGREEMENT"], "the audit says why"


# -- since when --------------------------------------------------------------------------------------------------------


def opened(outs: Iterable[Out]) -> list[int | None]:
    return [one.get("opened") for one in values(outs)]


def test_since_when_a_recipient_was_told_of_it_is_in_each_of_its_records_until_it_is_over() -> None:
    told = stage(site())
    assert opened(told.tell(alert(at=1))) == [1]
    assert opened(told.tell(alert(revision=5, at=2, headline="Graver in 4-B"))) == [1]
    assert opened(told.tell({**OVER, "at": 3})) == [None]
    assert opened(told.tell(alert(revision=7, at=4))) == [4], "it is another time"


def test_since_when_it_is_open_for_others_is_not_told() -> None:
    told = stage(site(grant(valid_from=LATER)))
    told.tell(alert(at=1))
    told.tell(alert(revision=5, at=2, headline="Graver in 4-B"))
    assert opened(told.advance(LATER)) == [2]


def test_since_when_it_was_told_is_known_after_a_restart_when_the_first_record_is_gone() -> None:
    before = stage(site(recipients=(JAIL_DESK,)))
    before.tell(alert(at=1))
    (last, _) = written(before.tell(alert(revision=5, at=2, headline="Graver in 4-B")))
    made = recalled(site(), [last])
    assert opened(made.tell(alert(revision=6, at=3, headline="Gravest in 4-B"))) == [1]


def test_a_record_of_before_it_was_told_since_when_leads_to_no_other_one() -> None:
    contract = json.loads(whole_schema("AlertDisclosed"))
    contract["fields"] = [field for field in contract["fields"] if field["name"] != "opened"]
    before = writer_schema(json.dumps(contract))
    (record,) = values(stage(site(recipients=(JAIL_DESK,))).tell(alert(at=1)))
    body = BytesIO()
    fastavro.schemaless_writer(body, before.parsed, record)
    old = LoggedRecord(0, b"a1", frame(max(SCHEMAS) + 1, body.getvalue()))
    schemas = {**SCHEMAS, max(SCHEMAS) + 1: before}

    def recalled_by_now(*records: LoggedRecord) -> DiscloseStage:
        made = DiscloseStage(site(), 2, schemas)
        made.recall_tick(NOW)
        for one in records:
            made.recall("", one)
        return made

    assert list(recalled_by_now(raised(alert(at=1)), old).reconcile()) == []
    made = recalled_by_now(old)
    assert opened(made.tell(alert(revision=5, at=2, headline="Graver in 4-B"))) == [1], "the first that is known"


# -- standing by -------------------------------------------------------------------------------------------------------

SECOND = alert(alert_id="a2")
CHANGED = alert(revision=5, headline="Members are housed together in 4-B again")


def test_what_was_compared_ahead_is_told_all_the_same_on_recovery() -> None:
    made = recalled(site(), [raised(alert())])
    assert not made.derive_ahead(10)
    assert said(made.reconcile()) == [("watch", 1, "OPEN")]
    assert list(made.reconcile()) == []


def test_comparing_ahead_says_whether_any_alert_is_left() -> None:
    made = recalled(site(), [raised(alert()), raised(SECOND)])
    assert made.derive_ahead(1)
    assert not made.derive_ahead(1)
    assert [one["alert_id"] for one in values(made.reconcile())] == ["a1", "a2"]


def test_comparing_ahead_tells_nobody_and_forgets_nothing_that_was_told() -> None:
    before = stage(site(grant()))
    records = written([*before.tell(alert()), *before.tell(SECOND)])
    made = recalled(site(grant()), [raised(CHANGED), raised(SECOND), *records])
    made.derive_ahead(10)
    assert [(one["alert_id"], one["recipient"], one["revision"]) for one in values(made.reconcile())] == [
        ("a1", "watch", 2),
        ("a1", "police", 2),
    ]
    over = {**OVER, "alert_id": "a2"}
    assert said(made.tell(over)) == [("watch", 2, "WITHDRAWN"), ("police", 2, "WITHDRAWN")]


def test_of_whom_nothing_is_lacking_nobody_looks_again() -> None:
    made = recalled(site(), [raised(alert()), *written(stage(site()).tell(alert()))])
    assert not made.derive_ahead(10)
    assert made._ahead.unsettled == set()


def test_what_its_owner_told_since_is_compared_again() -> None:
    before = stage(site())
    told, over = written(before.tell(alert())), written(before.tell(OVER))
    made = recalled(site(), [raised(alert()), *told])
    made.derive_ahead(10)
    for record in over:
        made.recall("", record)
    assert said(made.reconcile()) == [("watch", 3, "OPEN")]


def test_what_was_told_of_an_alert_that_is_on_no_log_lacks_nothing_but_its_withdrawal() -> None:
    made = recalled(site(), written(stage(site()).tell(alert())))
    assert not made.derive_ahead(10)
    assert made._ahead.unsettled == set()
    assert said(made.reconcile()) == [("watch", 2, "WITHDRAWN")]


def test_what_was_open_on_recovery_is_told_to_who_may_see_it_from_a_later_moment_on() -> None:
    made = recalled(site(grant(valid_from=LATER)), [raised(alert()), raised({**OVER, "alert_id": "a2"})])
    assert said(made.reconcile()) == [("watch", 1, "OPEN")]
    assert said(made.advance(LATER)) == [("police", 1, "OPEN")]
