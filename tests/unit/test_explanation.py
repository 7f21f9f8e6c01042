"""Explanations: what the logs tell of an alert is put together whole, what is missing is said, and it can be read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pytest

from deploy.explanation import (
    Explanation,
    Shown,
    Wanted,
    What,
    explanation_of,
    outlines_of,
    trace,
    with_their_persons,
)
from deploy.explanation_words import in_words
from deploy.log_reader import Found, Said
from schemas import topics
from schemas.codec import decode, encode
from schemas.events import Event, Handling
from schemas.site import Site
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.disclose import DiscloseStage
from streams.replay import Lack, Place
from tests.county import DAY, SITE, START, agency_of, demo_site, event, event_id
from tests.in_memory_bus import InMemoryBus, processed
from tests.unit.test_tear_line import VISIT, county_bus, in_the_county, tip
from tests.unit.test_what_recipients_are_told import HOUSED, NOW, POLICE_DESK, alert, grant, site

PEOPLE = ("bo", "cy")
RIVALS = [
    *(
        event("BookingReported", who, name=f"booked-{who}").model_copy(update={"name": f"{who} Marsh"})
        for who in PEOPLE
    ),
    *(event("HousingAssigned", who, day=1, name=f"housed-{who}", unit="4-B") for who in PEOPLE),
    event("AffiliationValidated", "bo", day=1, name="stg-bo", group="Eastside"),
    event("AffiliationReported", "cy", day=1, name="stg-cy", group="Harbor", sid="SID-cy"),
    event("AffiliationValidated", "cy", day=1, name="stg-cy-jail", group="Harbor", sid="SID-cy"),
    event("StreetViolenceReported", day=2, name="feud", groups=["Eastside", "Harbor"]),
]
GRAVER = event("StreetViolenceReported", day=3, name="graver", groups=["Eastside", "Harbor"], retaliation_expected=True)
CY_IS_MOVED = event("HousingAssigned", "cy", day=5, name="moved-cy", unit="5-A", sid="SID-cy")


def published(events: Iterable[Event], site: Site | None = None) -> InMemoryBus:
    bus = InMemoryBus(site or demo_site(partitions=2))
    for what in events:
        bus.publish(what, agency_of(what))
        bus.tick(what.head.time)
        bus.run()
    return bus


def found(bus: InMemoryBus, topic: str) -> list[Found]:
    return [
        Found(Place(topic, number, record.offset), record)
        for number in range(bus.site.partitions)
        for record in bus.logs[topic, number]
    ]


def said(bus: InMemoryBus, topic: str, rule: str) -> list[Said]:
    records = [(one.place, one.record.value) for one in found(bus, topic)]
    decoded = [Said(place, decode(value, SCHEMAS)[1]) for place, value in records if value is not None]
    return [one for one in decoded if one.value["rule"] == rule]


def explained(
    bus: InMemoryBus,
    rule: str = "rivals_housed_together",
    site: Site | None = None,
    purged: Collection[tuple[str, str]] = (),
) -> Explanation:
    """The alert of a rule, explained from all that is on the logs."""
    name = bus.site.name
    alerts, decisions = said(bus, topics.alerts_raised(name), rule), said(bus, topics.disclosures(name), rule)
    on_facts = [
        trace(one) for topic in (topics.person_facts(name), topics.facility_facts(name)) for one in found(bus, topic)
    ]
    kept = with_their_persons(outlines_of(alerts, decisions, bus.site), on_facts)
    wanted = Wanted.of([*(one.value for one in alerts), *kept.values()], bus.site)
    facts = [one for one in on_facts if wanted.has(one)]
    return explanation_of(alerts, kept, decisions, facts, [], purged, site or bus.site)


def text(of: Explanation) -> str:
    return "\n".join(in_words(of))


def evidence(of: Explanation, event_name: str, revision: int = -1) -> list[Any]:
    return [one for one in of.revisions[revision].grounds if one.event_id == event_id(event_name)]


def test_every_piece_of_evidence_leads_to_the_facts_it_is_from() -> None:
    bus = published(RIVALS)
    for ground in explained(bus).revisions[-1].grounds:
        facts = [one for one in ground.facts if one.what is not What.PLACEMENT]
        assert What.FACT in {one.what for one in facts}
        for fact in facts:
            log = bus.logs[fact.place.topic, fact.place.partition]
            (record,) = [one for one in log if one.offset == fact.place.offset]
            assert ground.event_id.encode() in (record.key or b"")
            if fact.what is not What.TOMBSTONE:
                inbound = topics.inbound("demo", ground.agency, ground.event_type)
                assert (fact.event_type, fact.inbound) == (ground.event_type, inbound)
        placed = [one for one in ground.facts if one.what is What.PLACEMENT]
        assert [one.person for one in placed] == ([ground.person] if ground.person else [])


def test_what_is_told_to_everybody_is_shown_once_where_the_stage_read_it() -> None:
    of = explained(published(RIVALS))
    assert of.revisions[-1].origin is not None
    read = of.revisions[-1].origin.place
    assert {(t.place.topic, t.place.partition) for one in evidence(of, "feud") for t in one.facts} == {
        (read.topic, read.partition)
    }


def test_what_raised_changed_and_withdrew_it_is_named() -> None:
    of = explained(published([*RIVALS, GRAVER, CY_IS_MOVED]))
    told = [(one.record and one.record["state"], one.origin and one.origin.event_id) for one in of.revisions]
    assert told == [("OPEN", event_id("feud")), ("OPEN", event_id("graver")), ("WITHDRAWN", event_id("moved-cy"))]
    origin = of.revisions[2].origin
    assert origin is not None
    assert [one.what for one in origin.traces][:2] == [What.PLACEMENT, What.FACT]
    assert of.revisions[1].changed == ("severity", "evidence")
    assert {"RAISED", "CHANGED", "WITHDRAWN"} <= set(text(of).replace(",", "").split())


def test_who_was_told_under_which_agreement_and_what_was_left_out() -> None:
    of = explained(published(RIVALS))
    told = {(one.recipient, one.how, one.agreements) for ground in evidence(of, "feud") for one in ground.told}
    assert ("county-jail-watch", Shown.AGREEMENT, ("city-pd-to-county-jail-housing",)) in told
    (ground,) = evidence(of, "stg-bo")
    assert {(one.recipient, one.how) for one in ground.told} >= {("county-jail-watch", Shown.OWN_INFORMATION)}


def test_what_an_agreement_does_not_grant_is_left_out() -> None:
    site = demo_site(partitions=2)
    (granting, *others) = [one for one in site.agreements if one.id == "city-pd-to-county-jail-housing"]
    fewer = granting.model_copy(update={"grants": {**granting.grants, "StreetViolenceReported": ("groups",)}})
    of = explained(published(RIVALS, site.model_copy(update={"agreements": (fewer, *others)})))
    how = {one.text: {told.how for told in one.told} for one in evidence(of, "feud")}
    assert how["It happened at 5th and Main"] == {Shown.LEFT_OUT}
    assert how["Violence between the groups Eastside and Harbor"] == {Shown.AGREEMENT}
    assert "withheld: StreetViolenceReported of city-pd: place" in text(of)


def told_of(of: Explanation, event_name: str) -> dict[str, set[tuple[Shown, tuple[str, ...]]]]:
    """By recipient: how the pieces of evidence of one event were told."""
    told: dict[str, set[tuple[Shown, tuple[str, ...]]]] = {}
    for one in (one for ground in evidence(of, event_name) for one in ground.told):
        told.setdefault(one.recipient, set()).add((one.how, one.agreements))
    return told


def test_what_its_publisher_marked_was_told_to_nobody_else_though_another_event_shows_the_same_fields() -> None:
    secret = event("StreetViolenceReported", day=2, name="secret", groups=["Eastside", "Harbor"])
    marked = secret.model_copy(
        update={"head": secret.head.model_copy(update={"handling": Handling(markings=("LES",))})}
    )
    of = explained(published([*RIVALS, marked]))
    assert told_of(of, "feud")["county-jail-watch"] == {(Shown.AGREEMENT, ("city-pd-to-county-jail-housing",))}
    assert told_of(of, "secret").values()
    assert set().union(*told_of(of, "secret").values()) == {(Shown.LEFT_OUT, ())}


BOTH_TIP = county_bus(
    in_the_county(tip(reliability="A", handling="ACT"), "city-pd"),
    in_the_county(tip("another", day=3.5, reliability="E", substance="a phone"), "sheriff"),
)
"""Two who may not know of each other tip one visit."""
LEFT_OUT = (Shown.LEFT_OUT, ())
OWN = (Shown.OWN_INFORMATION, ())


@pytest.mark.parametrize(
    ("event_name", "recipient", "told"),
    [
        ("the tip", "city-pd-intel", {OWN}),
        ("the tip", "sheriff-intel", {LEFT_OUT}),
        ("the tip", "county-watch", {LEFT_OUT, (Shown.AGREEMENT, ("city-pd-to-county-jail-contraband",))}),
        ("another", "city-pd-intel", {LEFT_OUT}),
        ("another", "sheriff-intel", {OWN}),
        ("another", "county-watch", {LEFT_OUT, (Shown.AGREEMENT, ("sheriff-to-county-jail-contraband",))}),
    ],
)
def test_of_what_another_agency_says_beside_nobody_was_told_who_may_not_know_of_it(
    event_name: str, recipient: str, told: set[tuple[Shown, tuple[str, ...]]]
) -> None:
    of = explained(BOTH_TIP, "contraband_delivery_expected")
    assert told_of(of, event_name)[recipient] == told
    assert "under :" not in text(of)


CALLED_FIRST = [
    tip(handling="CALL_FIRST", deconfliction_reference="DC-77"),
    tip("another", day=3.5, handling="CALL_FIRST", deconfliction_reference="DC-12"),
]
TOUCHES_STAFF = tip(handling="CALL_FIRST", deconfliction_reference="DC-77", touches_staff=True)


@pytest.mark.parametrize(
    ("bus", "rule"),
    [
        (published(RIVALS), "rivals_housed_together"),
        (BOTH_TIP, "contraband_delivery_expected"),
        (processed(SITE, [*VISIT, *CALLED_FIRST], START + 4 * DAY), "contraband_delivery_expected"),
        (processed(SITE, [*VISIT, TOUCHES_STAFF], START + 4 * DAY), "contraband_delivery_expected"),
    ],
    ids=["rivals", "two agencies tip", "two to be called", "it touches staff"],
)
def test_who_is_said_to_have_been_told_a_text_has_it_in_a_record_and_nobody_else_has(
    bus: InMemoryBus, rule: str
) -> None:
    of = explained(bus, rule)
    grounds = of.revisions[-1].grounds
    assert of.revisions[-1].decisions
    for recipient in bus.site.recipients:
        record = bus.shown_to(recipient.id).get(of.alert_id)
        whys = [why["text"] for why in record["why"]] if record else []
        # Before a text stands whom it is about, where there are several.
        has = {one.text for one in grounds if any(why == one.text or why.endswith(f": {one.text}") for why in whys)}
        told = {
            one.text
            for one in grounds
            for told in one.told
            if told.recipient == recipient.id and told.how is not Shown.LEFT_OUT
        }
        assert told == has, recipient.id


def told_to_the_police(*pieces: Mapping[str, Any], since: Site | None = None) -> list[Shown]:
    """How the pieces of evidence of an alert were told to the police; by the site's files as they are since then."""
    where = site(grant())
    what = alert(evidence=list(pieces), cause={**alert()["cause"], "partition": 0})
    stage = DiscloseStage(where, 0, SCHEMAS)
    stage.recall_tick(NOW)
    decisions = [
        Said(Place(out.topic, 0, number), out.value)
        for number, out in enumerate(stage.tell(what))
        if out.name == "DisclosureDecided" and isinstance(out.value, Mapping)
    ]
    of = explanation_of([Said(Place("", 0, 0), what)], {}, decisions, [], [], (), since or where)
    return [told.how for one in of.revisions[-1].grounds for told in one.told if told.recipient == POLICE_DESK.id]


HALF = {**HOUSED, "event_id": "half", "alternative": "second"}
REST = {**HALF, "text": "who said so", "fields": [], "line": "BELOW"}
FIELDLESS = {**REST, "line": "NONE"}


@pytest.mark.parametrize(
    ("pieces", "how"),
    [
        ([HOUSED, HALF], [Shown.AGREEMENT, Shown.AGREEMENT]),
        ([HOUSED, HALF, REST], [Shown.AGREEMENT, Shown.LEFT_OUT, Shown.LEFT_OUT]),
        ([HOUSED, {**HALF, "staff": True}], [Shown.AGREEMENT, Shown.LEFT_OUT]),
        ([HOUSED, FIELDLESS], [Shown.AGREEMENT, Shown.AGREEMENT]),
        ([HOUSED, {**FIELDLESS, "event_type": "CustodyEnded"}], [Shown.AGREEMENT, Shown.LEFT_OUT]),
    ],
    ids=[
        "each is enough alone",
        "one stays with its author",
        "one touches staff",
        "no fields",
        "no fields, and of what is not granted",
    ],
)
def test_what_was_granted_is_left_out_with_the_rest_of_its_alternative(
    pieces: list[Mapping[str, Any]], how: list[Shown]
) -> None:
    assert told_to_the_police(*pieces) == how


def test_what_was_shown_was_told_though_its_agreement_grants_less_since() -> None:
    less = site(grant(grants={"CustodyEnded": ("time",)}))
    assert told_to_the_police(HOUSED, since=less) == [Shown.AGREEMENT]


def test_what_a_recipient_was_told_that_the_files_have_no_more_is_told_by_the_decision() -> None:
    bus = published(RIVALS)
    gone = bus.site.model_copy(update={"recipients": ()})
    of, before = explained(bus, site=gone), explained(bus)
    for name in ("feud", "stg-bo", "housed-bo"):
        assert told_of(of, name) == told_of(before, name)


def test_without_an_agreement_it_is_withheld_and_says_for_want_of_which() -> None:
    of = explained(published(RIVALS, demo_site(partitions=2).model_copy(update={"agreements": ()})))
    assert {(one.decision, one.reason) for one in of.revisions[-1].decisions} == {("WITHHELD", "NO_AGREEMENT")}
    assert "no agreement for: StreetViolenceReported of city-pd" in text(of)
    assert [ground.told for ground in of.revisions[-1].grounds if ground.told] == []


def over_and_compacted() -> InMemoryBus:
    """An alert that was raised, changed and withdrawn, and of which only the withdrawal's record is left."""
    bus = published([*RIVALS, GRAVER, CY_IS_MOVED])
    bus.compact(topics.alerts_raised("demo"))
    return bus


def test_of_revisions_whose_records_are_gone_it_is_told_by_what_they_came_about() -> None:
    of = explained(over_and_compacted())
    assert of.missing == (1, 2)
    assert [one.record is not None for one in of.revisions] == [False, False, True]
    assert [one.origin and one.origin.event_id for one in of.revisions] == [
        event_id("feud"),
        event_id("graver"),
        event_id("moved-cy"),
    ]
    raised, changed, _ = of.revisions
    assert raised.origin is not None
    assert raised.origin.on_the_log
    assert (raised.outline or {})["rule_version"] == of.rule_version
    assert (raised.before, changed.before) == (None, "OPEN")
    told = " ".join(text(of).split())
    assert "Not on the log any more: revisions 1 to 2." in told
    assert told.count("its words are gone; this is what the audit keeps, rule version 1") == 2
    assert "Revision 1: RAISED, " in told
    assert "Revision 2: CHANGED, " in told


def test_what_they_rested_on_is_named_with_where_each_fact_is_and_whose() -> None:
    whole, kept = explained(published([*RIVALS, GRAVER, CY_IS_MOVED])), explained(over_and_compacted())
    for known, left in zip(whole.revisions[:2], kept.revisions[:2], strict=True):
        grounds = {(one.agency, one.event_type, one.event_id, one.person, one.facts, one.gone) for one in known.grounds}
        assert {(g.agency, g.event_type, g.event_id, g.person, g.facts, g.gone) for g in left.grounds} == grounds
        assert {one.text for one in left.grounds} == {""}
        assert left.decisions == known.decisions
    assert "StreetViolenceReported of city-pd\n     event" in text(kept)
    assert "bo Marsh" not in text(kept)


@pytest.mark.parametrize(("purged", "why"), [(True, Lack.PURGED), (False, Lack.TOMBSTONED)])
def test_what_they_rested_on_and_was_removed_is_said_to_be_gone_and_why(purged: bool, why: Lack) -> None:
    bus = over_and_compacted()
    for where, log in bus.logs.items():
        bus.logs[where] = [
            one._replace(value=None) if event_id("stg-bo").encode() in (one.key or b"") else one for one in log
        ]
    of = explained(bus, purged={("county-jail", event_id("stg-bo"))} if purged else ())
    (ground,) = evidence(of, "stg-bo", revision=0)
    assert (ground.gone, [one.what for one in ground.facts][:1]) == (why, [What.TOMBSTONE])
    said = "its purge date has come" if purged else "it was removed"
    assert f"its fact is not on the log any more: {said}" in text(of)


def test_what_its_agency_took_back_is_said_to_be_withdrawn() -> None:
    taken_back = event("EventWithdrawn", agency="city-pd", day=6, target_event_id=event_id("feud"))
    bus = published([*RIVALS, GRAVER, CY_IS_MOVED, taken_back])
    for topic in (topics.alerts_raised("demo"), topics.facility_facts("demo"), topics.person_facts("demo")):
        bus.compact(topic)
    of = explained(bus)
    assert {one.gone for one in evidence(of, "feud", revision=0)} == {Lack.WITHDRAWN}
    assert {one.gone for one in evidence(of, "graver", revision=1)} == {None}
    assert "its fact is not on the log any more: its agency withdrew it" in text(of)


def test_of_what_nothing_is_left_not_even_a_tombstone_nothing_is_said_but_its_id() -> None:
    bus = over_and_compacted()
    for where, log in bus.logs.items():
        bus.logs[where] = [one for one in log if event_id("stg-bo").encode() not in (one.key or b"")]
    of = explained(bus)
    (ground,) = evidence(of, "stg-bo", revision=0)
    assert (ground.gone, ground.facts, ground.person) == (Lack.GONE, (), None)
    assert "nothing there says why" in text(of)


def test_a_revision_of_which_the_audit_keeps_nothing_is_said_to_be_gone() -> None:
    bus = over_and_compacted()
    audit = topics.disclosures("demo")
    nothing = {"rule_version": 0, "state": "UNKNOWN", "digest": "", "revision_cause": None, "rests_on": []}
    for number in range(bus.site.partitions):
        bus.logs[audit, number] = [
            one._replace(value=encode("DisclosureDecided", {**value, **nothing}, SCHEMA_IDS["DisclosureDecided"]))
            for one in bus.logs[audit, number]
            if (value := decode(one.value or b"", SCHEMAS)[1])["revision"] != 1
        ]
    told = " ".join(text(explained(bus)).split())
    assert "Revision 1: its record is not on the log any more nor has the audit anything of it" in told
    assert "Revision 2: its record is not on the log any more the audit has decisions about it, which do not" in told


def test_an_agreement_that_is_not_in_the_files_any_more_is_said_to_be_gone() -> None:
    bus = published(RIVALS)
    of = explained(bus, site=bus.site.model_copy(update={"agreements": ()}))
    assert (of.agreements, of.agreements_gone) == ((), ("city-pd-to-county-jail-housing",))
    assert "city-pd-to-county-jail-housing: not in the site's files any more" in text(of)


def test_a_record_that_replaced_the_one_the_alert_stood_on_is_not_taken_for_it() -> None:
    bus = published([*RIVALS, CY_IS_MOVED])
    bus.compact(topics.facility_facts("demo"))
    of = explained(bus)
    (placed,) = [one for one in evidence(of, "housed-cy", revision=0)[0].facts if one.what is What.PLACEMENT]
    assert of.revisions[0].origin is not None
    assert placed.place.offset > of.revisions[0].origin.place.offset
    assert "(written after the cause)" in text(of)


def test_a_person_s_alert_is_explained_as_well() -> None:
    classified = event("CustodyClassified", "bo", day=3, name="classified")
    infraction = event("DisciplinaryRecorded", "bo", day=4, name="infraction", infraction="101.11", violent=True)
    of = explained(published([*RIVALS, classified, infraction]), "classification_review")
    assert "1. bo Marsh (booking B-bo): Classified minimum" in text(of)
    assert [one.facts[0].what for one in evidence(of, "infraction")] == [What.FACT]


@pytest.mark.parametrize("width", [80, 60])
def test_lines_fit_the_terminal_and_steer_it_nowhere(width: int) -> None:
    steering = [
        one.model_copy(update={"name": "bo \x1b[2J\nMarsh"}) if "name" in type(one).model_fields else one
        for one in RIVALS
    ]
    lines = list(in_words(explained(published([*steering, GRAVER, CY_IS_MOVED])), width))
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if "\x1b" in line or "\n" in line]


def test_a_silent_agencys_alert_is_explained_by_the_notes_of_what_came() -> None:
    daily = [event("CustodyClassified", "bo", day=day, name=f"class-{day}") for day in range(17)]
    bus = published(daily)
    bus.tick(daily[-1].head.time + 3 * DAY)
    bus.run()
    whole = explained(bus, "feed_silent")
    (ground,) = whole.revisions[-1].grounds
    (note,) = ground.facts
    assert (note.what, note.event_id, note.event_type) == (What.NOTE, ground.event_id, "CustodyClassified")
    told = text(whole)
    assert "CustodyClassified: the last came" in told
    assert "note that it came" in told
    assert "because time passed: a tick" in told
    assert "not on the log any more" not in told
    assert "came on" not in told, "which events they were was not noted"
