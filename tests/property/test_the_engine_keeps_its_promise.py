"""The theorem: order, duplication, batches, crashes, restarts and partitions leave no trace in the open alerts."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import event as hypothesis_event
from hypothesis import given, note, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.events import Event
from streams.partition import FOLDING
from tests.county import DAY, MAIN, START, agency_of, demo_site, event, event_id
from tests.in_memory_bus import InMemoryBus, digests

PEOPLE = ("ada", "bo", "cy")
UNITS = ("4-A", "4-B")
GROUPS = ("Eastside", "Harbor")
COURIERS = ("Cole, Dana", "Reed, Pat")
numbers = st.sampled_from(["N-1", "N-2"])
days = st.integers(0, 40)
people = st.sampled_from(PEOPLE)


def strong(person: str) -> st.SearchStrategy[dict[str, str]]:
    """Numbers verified by fingerprint that the event carries as well: none, one, another, or a stronger one."""
    return st.sampled_from([{}, {"sid": f"SID-{person}"}, {"sid": f"SID2-{person}"}, {"ucn": f"UCN-{person}"}])


@st.composite
def an_event(draw: st.DrawFn) -> Event:
    kind = draw(
        st.sampled_from(
            [
                "BookingReported",
                "HousingAssigned",
                "HousingAssigned",
                "CustodyClassified",
                "DisciplinaryRecorded",
                "AffiliationValidated",
                "AffiliationReported",
                "StreetViolenceReported",
                "CustodyEnded",
                "NoLongerListed",
                "CareObserved",
                "EventWithdrawn",
                "VisitScheduled",
                "VisitCancelled",
                "VisitCompleted",
                "MailReceived",
                "DepositReceived",
                "MovementScheduled",
                "ContrabandSeized",
                "ContrabandTipped",
                "TipOutcome",
                "ListTaken",
            ]
        )
    )
    day = draw(days)
    number = draw(st.integers(0, 12))
    # By the event's name: of two contents with two purge dates, what is left after one is purged is as it came.
    purge = [None, None, 7, 30][number % 4]
    if kind == "StreetViolenceReported":
        retaliation = draw(st.booleans())
        name = f"street-{number}"
        return event(kind, day=day, name=name, purge_day=purge, groups=list(GROUPS), retaliation_expected=retaliation)
    if kind == "ContrabandTipped":
        return draw(a_tip(day, f"tip-{number}", purge))
    if kind == "TipOutcome":
        target = f"{draw(st.sampled_from(['tip', 'staff-tip']))}-{draw(st.integers(0, 12))}"
        return event(kind, day=day, name=f"outcome-{number}", purge_day=purge, target_event_id=event_id(target))
    if kind == "ListTaken":
        return a_list(day, draw(st.integers(0, 45)), draw(st.sampled_from([0, 4])))
    if kind == "EventWithdrawn":
        whose = draw(st.sampled_from(["jail", "street", "police", "tip", "staff-tip", "outcome"]))
        target = f"{whose}-{draw(st.integers(0, 12))}"
        agency = "county-jail" if whose == "jail" else "city-pd"
        return event(kind, day=day, agency=agency, name=f"withdraw-{target}", target_event_id=event_id(target))
    person = draw(people)
    extras: dict[str, dict[str, Any]] = {
        "HousingAssigned": {"unit": draw(st.sampled_from(UNITS))},
        "CustodyClassified": {"level": draw(st.sampled_from(["MINIMUM", "MEDIUM", "MAXIMUM"]))},
        "AffiliationValidated": {
            "group": draw(st.sampled_from(GROUPS)),
            "status": draw(st.sampled_from(["MEMBER", "SUSPECT", "DROPOUT"])),
        },
        "AffiliationReported": {"group": draw(st.sampled_from(GROUPS))},
        # From a jail that this site does not know: set aside, whatever else is true.
        "NoLongerListed": {"facility": draw(st.sampled_from([MAIN, MAIN, "nowhere"]))},
        "VisitScheduled": {
            "visit_number": draw(numbers),
            "visitor_name": draw(st.sampled_from([None, *COURIERS])),
            "contact": draw(st.sampled_from(["ORDINARY", "ORDINARY", "ATTORNEY"])),
            "setting": draw(st.sampled_from(["CONTACT", "BARRIER", "VIDEO"])),
            "starts": draw(st.integers(30, 50)),
        },
        "VisitCancelled": {"visit_number": draw(numbers)},
        "VisitCompleted": {"visit_number": draw(numbers)},
        "MailReceived": {"item_number": draw(numbers), "sender_name": draw(st.sampled_from([None, *COURIERS]))},
        "DepositReceived": {"transaction_number": draw(numbers), "depositor_name": draw(st.sampled_from(COURIERS))},
        "MovementScheduled": {
            "movement_number": draw(numbers),
            "purpose": draw(st.sampled_from(["COURT", "WORK_CREW"])),
            "returns": draw(st.integers(40, 50)),
        },
        "ContrabandSeized": {
            "reference": draw(st.none() | numbers),
            "method": draw(st.sampled_from(["UNKNOWN", "VISIT", "MAIL"])),
        },
    }
    extra = extras.get(kind, {})
    owner = "police" if kind == "AffiliationReported" else "jail"
    return event(kind, person, day=day, name=f"{owner}-{number}", purge_day=purge, **draw(strong(person)), **extra)


def a_list(day: float, content: int, changed: int = 4) -> Event:
    name = f"jail-list-{day}-{content}-{changed}"
    return event("ListTaken", day=day, name=name, content=f"{content:016x}", changed=changed)


@st.composite
def a_tip(draw: st.DrawFn, day: int, name: str, purge: int | None) -> Event:
    begins, staff = draw(st.sampled_from([None, 30, 42])), draw(st.sampled_from([False, False, True]))
    return event(
        "ContrabandTipped",
        day=day,
        name=f"staff-{name}" if staff else name,
        purge_day=purge,
        sid=draw(st.sampled_from([None, *(f"SID-{p}" for p in PEOPLE)])),
        ucn=draw(st.sampled_from([None, None, *(f"UCN-{p}" for p in PEOPLE)])),
        facility=draw(st.sampled_from([None, MAIN])),
        courier_name=draw(st.sampled_from([None, *COURIERS])),
        method=draw(st.sampled_from(["UNKNOWN", "UNKNOWN", "VISIT", "MAIL", "COURT_RETURN"])),
        expected_from=begins,
        expected_until=None if begins is None else begins + draw(st.sampled_from([1, 20])),
        handling=draw(st.sampled_from(["ACT", "CALL_FIRST", "WATCH_ONLY"])),
        touches_staff=staff,
    )


# Random events alone rarely make a situation: most histories begin with a jail in which something can happen.
A_JAIL = [
    *(event("BookingReported", p, name=f"jail-book-{p}", sid=f"SID-{p}") for p in PEOPLE),
    *(event("CustodyClassified", p, day=1, name=f"jail-class-{p}") for p in PEOPLE),
    *(event("HousingAssigned", p, day=2, name=f"jail-house-{p}", unit="4-A") for p in PEOPLE),
    event("AffiliationValidated", "ada", day=3, name="jail-stg-ada", group="Eastside", status="MEMBER"),
    event("AffiliationReported", None, day=3, name="police-stg-bo", sid="SID-bo", group="Harbor"),
    event("AffiliationValidated", "cy", day=3, name="jail-stg-cy", group="harbor ", status="SUSPECT"),
    event("StreetViolenceReported", day=30, name="street-0", groups=list(GROUPS), retaliation_expected=True),
    event("DisciplinaryRecorded", "cy", day=20, name="jail-infraction-cy"),
    event(
        "VisitScheduled", "ada", day=30, name="jail-visit-ada", visit_number="N-1", visitor_name=COURIERS[0], starts=45
    ),
    event("MailReceived", "bo", day=43, name="jail-mail-bo", item_number="N-1", sender_name=COURIERS[1]),
    event("ContrabandTipped", day=40, name="tip-0", sid="SID-ada"),
    event("ContrabandTipped", day=41, name="tip-1", facility=MAIN, courier_name=COURIERS[1], method="MAIL"),
]
# Now and then there are so many visits of one name that a tip of that name means nobody.
A_CROWD = [
    said
    for number in range(6)
    for said in (
        event("BookingReported", f"v{number}", name=f"jail-book-v{number}"),
        event(
            "VisitScheduled",
            f"v{number}",
            day=39,
            name=f"jail-visit-v{number}",
            visit_number=f"V-{number}",
            visitor_name=COURIERS[0],
            starts=46,
        ),
    )
]
A_CROWD.append(
    event("ContrabandTipped", day=41, name="tip-2", facility=MAIN, courier_name=COURIERS[0], expected_from=30)
)
# Or something comes every day, and then no more; and in one of them it comes again.
A_FEED = [event("DepositReceived", "ada", day=day, name=f"jail-paid-{day}") for day in range(20, 42)]
A_BREAK = [event("DepositReceived", "ada", day=day, name=f"jail-paid-{day}") for day in (*range(18, 40), 44.5)]
# Or a list is taken every day, and in the end says the same; and in one of them something else again.
A_LIST = [a_list(day, min(day, 43)) for day in range(34, 46)]
A_LIST_AGAIN = [*(a_list(day, min(day, 42)) for day in range(34, 45)), a_list(44.8, 7)]
histories = st.builds(
    lambda left_out, more_of_it, more: [e for n, e in enumerate(A_JAIL + more_of_it) if n not in left_out] + more,
    st.sets(st.integers(0, 30), max_size=4),
    st.sampled_from([[], [], [], [], A_CROWD, A_FEED, A_BREAK, A_LIST, A_LIST_AGAIN]),
    st.lists(an_event(), max_size=12),
)
LAST_TICK = START + 45 * DAY


def story(history: list[Event]) -> str:
    """A history as one can read it: a line for each event, in order of time."""
    return "\n".join(
        f"day {(e.head.time - START) / DAY:4.1f}  {type(e).__name__} {e.head.event_id[:8]} of "
        f"{[i.value for p in e.head.persons for i in p.ids] or 'nobody'}: {e.model_dump(mode='json', exclude={'head'})}"
        + (f", purged on day {(e.head.handling.purge_by - START) / DAY:.0f}" if e.head.handling.purge_by else "")
        for e in sorted(history, key=lambda e: (e.head.time, e.head.event_id))
    )


def from_scratch(history: list[Event]) -> dict[str, str]:
    """The open alerts when every event is there before anything is evaluated, once, on one partition."""
    bus = InMemoryBus(demo_site(partitions=1))
    for what in history:
        bus.publish(what, agency_of(what))
    bus.tick(LAST_TICK)
    bus.run()
    # Evaluated again by stages that have never seen anything but the whole log.
    for number, running in bus.running.items():
        for stage in FOLDING:
            running.committed[stage] = max((r.offset + 1 for r in bus.input_of(stage, number)), default=0)
    bus.restart_all()
    bus.run()
    return digests(bus)


def from_the_future(history: list[Event], seed: int) -> list[Event]:
    """Those that an agency with a wrong clock publishes a day before they happened: they are quarantined."""
    choose = random.Random(seed)
    return [what for what in history if choose.random() < 0.05]


def unfold(history: list[Event], seed: int, partitions: int, *, compact: bool) -> InMemoryBus:
    """The same history shuffled, duplicated, cut into batches, with ticks between, crashes and restarts.

    Some arrive when they happened, some so late that their purge date has passed, some before they have happened.
    """
    choose = random.Random(seed)
    bus = InMemoryBus(demo_site(partitions=partitions))
    events = history + choose.choices(history, k=len(history) // 3) if history else []
    choose.shuffle(events)
    too_early = from_the_future(history, seed)
    for number, what in enumerate(events):
        if any(what is early for early in too_early):
            arrived = what.head.time - DAY
        else:
            arrived = LAST_TICK if choose.random() < 0.3 else what.head.time
        bus.publish(what, agency_of(what), wall_now=arrived)
        if choose.random() < 0.2:
            bus.tick(START + choose.randint(0, 45) * DAY)
        if choose.random() < 0.3:
            bus.run(choose, crash=0.1, follow=0.3)
        if compact and number % 5 == 4:
            bus.run(choose)
            for topic in (
                topics.person_facts(bus.site.name),
                topics.facility_facts(bus.site.name),
                topics.alerts_raised(bus.site.name),
            ):
                bus.compact(topic)
    bus.tick(LAST_TICK)
    bus.run(choose, crash=0.1, follow=0.3)
    return bus


@settings(max_examples=150)
@given(histories, st.integers(0, 2**32), st.sampled_from([1, 2, 3, 8]), st.booleans())
def test_any_order_batches_crashes_and_partitions_end_in_the_same_open_alerts(
    history: list[Event], seed: int, partitions: int, compact: bool
) -> None:
    note(f"What happened, and was then told in any order, twice, and with crashes in between:\n{story(history)}")
    bus = unfold(history, seed, partitions, compact=compact)
    too_early = from_the_future(history, seed)
    expected = from_scratch([what for what in history if all(what is not early for early in too_early)])
    for refused in {letter.reason for letter in bus.dead_letters}:
        hypothesis_event(f"refused: {refused}")
    for rule in {alert["rule"] for alert in bus.open_alerts().values()}:
        hypothesis_event(f"open in the end: {rule}")
    assert digests(bus) == expected


@settings(max_examples=60)
@given(histories, st.integers(0, 2**32))
def test_no_two_records_share_alert_and_revision_with_different_digests(history: list[Event], seed: int) -> None:
    bus = unfold(history, seed, 2, compact=False)
    said: dict[tuple[str, int], str] = {}
    for record in bus.history(topics.alerts_raised(bus.site.name)):
        assert said.setdefault((record["alert_id"], record["revision"]), record["digest"]) == record["digest"]


@settings(max_examples=60)
@given(histories, st.integers(0, 2**32))
def test_every_recipient_ends_with_exactly_the_open_alerts_it_may_see(history: list[Event], seed: int) -> None:
    bus = unfold(history, seed, 2, compact=False)
    # The demo's jail desk may see all: it is the jail's own information or granted to it. But for what touches staff,
    # and what is for a tip's author alone.
    open_alerts = bus.open_alerts().items()
    of_staff = {known_as for known_as, alert in open_alerts if any(item["staff"] for item in alert["evidence"])}
    of_authors = {known_as for known_as, alert in open_alerts if alert["rule"] == "tip_too_broad"}
    assert bus.shown_to("county-jail-watch").keys() == bus.open_alerts().keys() - of_staff - of_authors
    assert of_staff - of_authors <= bus.shown_to("county-jail-affairs").keys()
    assert of_authors == bus.shown_to("city-pd-intel").keys()


@settings(max_examples=40)
@given(histories)
def test_restarting_everything_writes_nothing_new(history: list[Event]) -> None:
    bus = InMemoryBus(demo_site(partitions=2))
    for what in history:
        bus.publish(what, agency_of(what))
    bus.tick(LAST_TICK)
    bus.run()
    before = {where: len(log) for where, log in bus.logs.items() if log}
    bus.restart_all()
    assert {where: len(log) for where, log in bus.logs.items() if log} == before


@settings(max_examples=100)
@given(histories, st.integers(0, 2**32), st.sampled_from([1, 3]))
def test_who_stood_by_finds_on_taking_over_what_one_who_reads_all_the_log_finds(
    history: list[Event], seed: int, partitions: int
) -> None:
    choose = random.Random(seed)
    bus = InMemoryBus(demo_site(partitions=partitions))
    for what in history:
        bus.publish(what, agency_of(what))
        if choose.random() < 0.2:
            bus.tick(START + choose.randint(0, 45) * DAY)
        if choose.random() < 0.4:
            bus.run(choose, follow=0.5)
        for where in bus.pending() if choose.random() < 0.3 else []:
            # What was written and never committed is found as well.
            bus.step(where, choose.randint(1, 5), commit=False)
    for number in bus.running:
        bus.follow(number, None, choose.choice([0, 1, 1_000]))
        warm = bus.follow(number, None, 0)
        del bus.standing_by[number]
        cold = bus.follow(number, None, 0)
        assert warm.folded == cold.folded
        found = cold.partition.reconcile(cold.folded)
        hypothesis_event(f"something is found: {bool(found)}")
        assert warm.partition.reconcile(warm.folded) == found
