"""A simulated county: the same seed lives the same life, and all that it tells is what an agency may tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest

from producers.simulator.county import DAY
from producers.simulator.jail import INTAKE, Jail
from producers.simulator.leftovers import Leftovers, Open, endings
from producers.simulator.life import Life
from producers.simulator.live import live
from producers.simulator.noise import HOUR, LATEST, USUAL, Noise
from producers.simulator.scenes import SCENES
from producers.simulator.score import GRACE
from producers.simulator.simulation import START, Simulation
from producers.simulator.truth import DELIVERY, FROZEN, REVIEW, RIVALS, SILENT, Situation
from producers.simulator.world import Process, Told
from schemas.events import BookingReported, CustodyEnded, Event, EventWithdrawn, ListTaken, type_name
from tests.small_county import COUNTY, SMALL_COUNTY, TINY_COUNTY

QUIET = Noise().times(0)


def told(seed: int = 1, days: float = 2, noise: Noise = QUIET, start: int = START, speed: float = 1.0) -> list[Told]:
    return [*Simulation(SMALL_COUNTY, seed, noise, start, speed).told(start + int(days * DAY / speed))]


def test_the_same_seed_lives_the_same_life_and_another_one_another() -> None:
    assert told(1, noise=Noise()) == told(1, noise=Noise())
    assert {one.event.head.event_id for one in told(1)}.isdisjoint(one.event.head.event_id for one in told(2))


def test_another_start_gives_other_numbers_and_ids() -> None:
    """So that a bus on which it lived before takes it for another."""
    one, other = told(1, 1), told(1, 1, start=START + DAY)
    assert {o.event.head.event_id for o in one}.isdisjoint(o.event.head.event_id for o in other)

    def numbers(of: list[Told]) -> set[str]:
        return {f"{number.issuer}/{number.value}" for o in of for ref in o.event.head.persons for number in ref.ids} | {
            str(getattr(o.event, "booking_number", "")) for o in of
        } - {""}

    assert numbers(one).isdisjoint(numbers(other))


def test_how_it_is_cut_changes_nothing() -> None:
    simulation = Simulation(SMALL_COUNTY, 1, Noise())
    cut: list[Told] = []
    for hour in range(48):
        cut += simulation.told(START + hour * HOUR + 1)
    cut += simulation.told(START + 2 * DAY)
    assert cut == told(1, 2, Noise())


def test_it_comes_in_order_of_arrival_and_not_before_it_happened() -> None:
    came = told(noise=Noise().times(3))
    assert [one.arrives for one in came] == sorted(one.arrives for one in came)
    assert all(one.arrives >= one.event.head.time for one in came)
    assert any(a.event.head.time > b.event.head.time + HOUR for a, b in pairwise(came))


def test_each_agency_tells_what_it_may_and_of_its_own_jails() -> None:
    for one in told(days=4):
        agency = SMALL_COUNTY.agency_by_id[one.agency]
        assert type_name(one.event) in agency.event_types
        assert one.event.head.ori == agency.ori
        facility = getattr(one.event, "facility", None)
        if facility is not None and type_name(one.event) != "ContrabandTipped":
            assert SMALL_COUNTY.facility_by_id[facility].agency == one.agency


@pytest.fixture(scope="module")
def fortnight() -> Simulation:
    simulation = Simulation(SMALL_COUNTY, 1, QUIET)
    for _ in simulation.told(START + 21 * DAY):
        pass
    return simulation


def test_every_scene_is_played_and_every_decoy_is_noted(fortnight: Simulation) -> None:
    decoys = Counter(decoy.scene for decoy in fortnight.truth.decoys)
    true = Counter(situation.scene for situation in fortnight.truth.situations)
    names = {scene.__name__ for scene in SCENES}
    assert set(decoys) <= names
    # A decoy brings about nothing by itself; but what else is so then is noted under its name.
    assert names - set(decoys) <= set(true)
    assert len(decoys) == 14


def test_who_is_of_a_situation_all_the_while_is_among_those_of_it_and_of_one_person_there_is_always_one(
    fortnight: Simulation,
) -> None:
    true = fortnight.truth.situations
    assert all(one.throughout <= one.bookings for one in true)
    assert all(one.throughout == one.bookings for one in true if one.key[0] in {REVIEW, DELIVERY})
    of_rivals = [one for one in true if one.key[0] == RIVALS]
    assert any(len(one.throughout) > 1 for one in of_rivals)
    assert any(one.throughout < one.bookings for one in of_rivals), "some came later, or left"


def test_tips_come_in_the_last_hour_before_what_they_mean(fortnight: Simulation) -> None:
    late = [one for one in fortnight.truth.situations if one.scene == "said_in_the_last_hour" and one.due is not None]
    last = [one for one in late if one.due is not None and one.due - one.since < HOUR]
    assert len(last) > 5
    assert min(one.due - one.since for one in last if one.due is not None) < HOUR // 3
    # In time; and mostly over so soon that they are asked for when they come, or not at all.
    assert all(one.known < (one.due or 0) for one in last)
    assert sum((one.until or START) - one.since < GRACE for one in last) > 5


def test_things_come_about_without_a_scene_too(fortnight: Simulation) -> None:
    assert any(not situation.scene for situation in fortnight.truth.situations)


def test_officers_see_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def standing() -> int:
        simulation = Simulation(SMALL_COUNTY, 1, QUIET)
        assert [*simulation.told(START + 10 * DAY)]
        return sum(one.until is None and one.key[0] in {RIVALS, REVIEW} for one in simulation.truth.situations)

    def nobody(_: Life, __: Jail) -> Process:
        yield from ()

    seen_to = standing()
    monkeypatch.setattr(Life, "_officers", nobody)
    assert standing() > 2 * seen_to


def test_no_unit_is_fuller_than_it_may_be() -> None:
    capacity = {(f.id, unit.id): unit.capacity or 0 for f in COUNTY.facilities for unit in f.units}
    housed: dict[str, tuple[str, str]] = {}
    for one in Simulation(COUNTY, 1, QUIET).told(START + 10 * DAY):
        event = one.event
        booking = str(getattr(event, "booking_number", ""))
        if type_name(event) == "HousingAssigned":
            housed[booking] = event.facility, event.unit  # type: ignore[attr-defined]
            facility, unit = housed[booking]
            taken = Counter(housed.values())[facility, unit]
            # Everybody comes at once on the first day; later it is a jail's own business to be full.
            assert unit == INTAKE or taken <= capacity[facility, unit] * 1.2
        elif type_name(event) == "CustodyEnded":
            housed.pop(booking, None)
    assert 150 < sum(facility != "state-prison-north" for facility, _ in housed.values()) < 300


def test_night_and_day_differ() -> None:
    hours = Counter(
        (one.event.starts - START) // HOUR % 24  # type: ignore[attr-defined]
        for one in told(days=7)
        if type_name(one.event) == "VisitScheduled"
    )
    assert sum(hours[hour] for hour in range(9, 20)) == hours.total()


@pytest.mark.parametrize("name", ["misspelt", "late", "twice"])
def test_what_goes_wrong_in_the_telling_changes_nothing_of_what_is_so(name: str) -> None:
    def true(noise: Noise) -> list[Situation]:
        simulation = Simulation(SMALL_COUNTY, 1, noise)
        assert [*simulation.told(START + 5 * DAY)]
        return simulation.truth.situations

    assert true(replace(QUIET, **{name: 0.5})) == true(QUIET)


def test_each_noise_is_heard() -> None:
    quiet = told()
    for each in fields(Noise):
        assert told(noise=replace(QUIET, **{each.name: 0.5})) != quiet, each.name


def test_noise_is_told_in_times_and_never_more_than_all() -> None:
    assert Noise(late=0.2).times(2).late == 0.4
    assert Noise(late=0.7).times(2).late == 1.0


def test_what_is_late_is_at_most_so_late_and_the_rest_is_told_at_once() -> None:
    delays = [one.arrives - one.event.head.time for one in told(noise=replace(QUIET, late=1.0))]
    assert USUAL < max(delays) <= LATEST
    told_of_the_past = {"DisciplinaryRecorded", "StreetViolenceReported"}
    assert max(o.arrives - o.event.head.time for o in told() if type_name(o.event) not in told_of_the_past) <= USUAL


def test_it_lives_faster_where_it_should() -> None:
    slow, fast = told(days=1), told(days=1, speed=100)
    assert len(fast) == pytest.approx(len(slow), rel=0.1)
    assert fast[-1].arrives - START <= DAY / 100


# -- on a bus --------------------------------------------------------------------------------------------------------


class Bus:
    """Takes what is published; its clock goes on while somebody waits."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.published: list[tuple[str, Event]] = []

    def publish(self, agency: str, events: list[Event]) -> None:
        self.published += [(agency, event) for event in events]

    def clock(self) -> int:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += int(seconds * 1_000_000)
        return False


def test_on_a_bus_all_is_told_when_it_arrives(tmp_path: Path) -> None:
    start, speed = START, 600.0
    bus = Bus(start)
    day = int(DAY / speed)
    simulation = Simulation(SMALL_COUNTY, 1, QUIET, start, speed)
    count = live(simulation, SMALL_COUNTY, Leftovers(tmp_path / "left"), bus.publish, bus.clock, bus.wait, start + day)
    expected = told(days=1, speed=speed)
    assert count == len(expected)
    for agency in SMALL_COUNTY.agency_by_id:
        assert [e for a, e in bus.published if a == agency] == [o.event for o in expected if o.agency == agency]


def test_it_stops_when_it_is_told_to(tmp_path: Path) -> None:
    bus = Bus(START + HOUR)
    simulation = Simulation(SMALL_COUNTY, 1, QUIET)
    live(simulation, SMALL_COUNTY, Leftovers(tmp_path / "left"), bus.publish, bus.clock, lambda _: True)
    assert bus.published
    assert simulation.now == START + HOUR


def test_what_an_earlier_one_left_open_is_ended_first(tmp_path: Path) -> None:
    left = Leftovers(tmp_path / "home" / "left.json")
    first, bus = Simulation(SMALL_COUNTY, 1, QUIET), Bus(START + 4 * DAY)
    live(first, SMALL_COUNTY, left, bus.publish, bus.clock, lambda _: True)
    opened = first.left_open()
    assert any(one.facility is None for one in opened)
    assert any(one.facility is not None for one in opened)
    assert oct((tmp_path / "home" / "left.json").stat().st_mode)[-3:] == "600"

    bus = Bus(START + 5 * DAY)
    live(
        Simulation(SMALL_COUNTY, 2, QUIET, START + 4 * DAY), SMALL_COUNTY, left, bus.publish, bus.clock, lambda _: True
    )
    ended = bus.published[: len(opened)]
    assert Counter(type_name(event) for _, event in ended) == {
        "CustodyEnded": sum(one.facility is not None for one in opened),
        "EventWithdrawn": sum(one.facility is None for one in opened),
    }
    assert {getattr(e, "booking_number", None) or getattr(e, "target_event_id", None) for _, e in ended} == {
        one.number for one in opened
    }
    assert all(event.head.time == START + 5 * DAY for _, event in ended)


def test_what_ends_but_was_not_told_yet_is_open() -> None:
    simulation = Simulation(SMALL_COUNTY, 1, replace(QUIET, late=1.0))
    told = [*simulation.told(START + 6 * DAY)]
    ended = {one.event.booking_number for one in told if isinstance(one.event, CustodyEnded)}
    booked = {one.event.booking_number for one in told if isinstance(one.event, BookingReported)}
    still = {one.number for one in simulation.left_open() if one.facility is not None}
    assert booked - ended <= still
    assert still.isdisjoint(ended)


def violence(told: Iterable[Told]) -> dict[str, int]:
    """When it happened, by the id of the report."""
    return {
        one.event.head.event_id: one.event.head.time for one in told if type_name(one.event) == "StreetViolenceReported"
    }


def withdrawn(told: Iterable[Told]) -> set[str]:
    return {one.event.target_event_id for one in told if isinstance(one.event, EventWithdrawn)}


def test_a_feud_that_lasts_is_left_open() -> None:
    simulation = Simulation(TINY_COUNTY, 1, QUIET)
    told = [*simulation.told(START + 40 * DAY)]
    reported, left = violence(told), {one.number for one in simulation.left_open()}
    lasting = {known_as for known_as, time in reported.items() if time > START + 27 * DAY}
    assert lasting
    assert lasting <= left
    assert left.isdisjoint(known_as for known_as, time in reported.items() if time < START + 9 * DAY)
    assert withdrawn(told).isdisjoint(reported), "the bus itself knows how long a feud lasts"


def test_in_a_county_that_lives_faster_a_feud_is_over_when_its_own_days_have_passed() -> None:
    simulation = Simulation(TINY_COUNTY, 1, QUIET, speed=100)
    told = [*simulation.told(START + 40 * DAY // 100)]
    reported, left = violence(told), {one.number for one in simulation.left_open()}
    long_ago = {known_as for known_as, time in reported.items() if START <= time < START + 9 * DAY // 100}
    assert long_ago
    assert long_ago <= withdrawn(told)
    assert left.isdisjoint(long_ago)
    assert {known_as for known_as, time in reported.items() if time > START + 27 * DAY // 100} <= left


def test_what_the_site_does_not_know_any_more_is_left() -> None:
    assert endings([Open("old-jail", "old-jail-main", "1", None)], SMALL_COUNTY, START) == []


@pytest.mark.parametrize("content", ["", "{", '[["jail"]]', "7"])
def test_a_file_that_is_no_list_of_leftovers_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "left").write_text(content)
    with pytest.raises(ValueError, match="delete it"):
        Leftovers(tmp_path / "left").read()


# -- the lockup ------------------------------------------------------------------------------------------------------

LOCKUP = "town-lockup"


@pytest.fixture(scope="module")
def weeks() -> tuple[Simulation, list[Told]]:
    """Four of them, and what the lockup told."""
    simulation = Simulation(TINY_COUNTY, 1, QUIET)
    return simulation, [one for one in simulation.told(START + 28 * DAY) if one.agency == LOCKUP]


def situations(simulation: Simulation, correlation: str) -> list[tuple[int, int]]:
    """From when to when each of them was."""
    of = [one for one in simulation.truth.situations if one.key[0] == correlation]
    return [(one.since, simulation.now + 1 if one.until is None else one.until) for one in of]


def test_a_lockup_changes_nothing_elsewhere() -> None:
    without = SMALL_COUNTY.model_copy(
        update={"facilities": tuple(one for one in SMALL_COUNTY.facilities if one.agency != LOCKUP)}
    )
    noisy = Noise().times(2)
    assert [one for one in told(noise=noisy) if one.agency != LOCKUP] == [
        *Simulation(without, 1, noisy).told(START + 2 * DAY)
    ]


def test_its_lists_say_who_is_held_and_how_many_have_come_and_gone(weeks: tuple[Simulation, list[Told]]) -> None:
    held, listed = set[str](), set[str]()
    for one in sorted(weeks[1], key=lambda one: one.event.head.time):
        match one.event:
            case BookingReported(booking_number=number):
                held.add(number)
            case CustodyEnded(booking_number=number):
                held.remove(number)
            case ListTaken(changed=changed, entries=entries) if changed:
                assert (entries, changed) == (len(held), len(held ^ listed))
                listed = {*held}


def test_where_its_list_stands_still_the_lists_say_the_same(weeks: tuple[Simulation, list[Told]]) -> None:
    simulation, came = weeks
    lists = [one.event for one in came if isinstance(one.event, ListTaken)]
    standing = situations(simulation, FROZEN)
    assert len(standing) > 1
    for since, _ in standing:
        before, repeated = (one for pair in pairwise(lists) if pair[1].head.time == since for one in pair)
        assert (repeated.changed, repeated.content) == (0, before.content)
    assert all(one.changed for one in lists if not any(since <= one.head.time < until for since, until in standing))


def test_while_its_line_is_down_nothing_comes_and_then_all_of_it(weeks: tuple[Simulation, list[Told]]) -> None:
    simulation, came = weeks
    silences = situations(simulation, SILENT)
    assert silences
    for since, until in silences:
        if until > simulation.now:
            continue
        assert since > START + 14 * DAY
        happened = [one for one in came if since + USUAL < one.event.head.time < since + 20 * HOUR]
        assert len(happened) > 20
        back = min(one.arrives for one in happened)
        assert back >= since + 20 * HOUR
        assert until <= back < until + USUAL
        assert not [one for one in came if since + USUAL < one.arrives < back]


def test_who_is_held_is_left_open(weeks: tuple[Simulation, list[Told]]) -> None:
    assert [one for one in weeks[0].left_open() if one.agency == LOCKUP]
