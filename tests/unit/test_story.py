"""The played story: every event of it is taken, it raises and ends what the README says, and it may be told again."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.sites import SITES_DIR
from producers.story import Story, events_of, play, read_story
from schemas.events import Event
from tests.county import DAY, SITE, START
from tests.in_memory_bus import InMemoryBus

SECOND = 1_000_000
WATCH = "county-jail-watch"


@pytest.fixture(scope="module")
def story() -> Story:
    return read_story(SITES_DIR / "demo" / "story.toml")


def shown_after_each_step(story: Story, bus: InMemoryBus, run: str, began: int) -> dict[float, set[str]]:
    """What the shift commander has open after each step, by the step's second."""
    shown = {}
    for number, step in enumerate(story.steps):
        now = began + int(step.at * SECOND)
        for event in events_of(story, number, run, SITE, now):
            bus.publish(event, step.agency)
        bus.tick(now)
        bus.run()
        shown[step.at] = {f"{alert['rule']} {alert['unit'] or ''}".strip() for alert in bus.shown_to(WATCH).values()}
    assert bus.dead_letters == []
    return shown


IN_4B, IN_5A, REVIEW = "rivals_housed_together 4-B", "rivals_housed_together 5-A", "classification_review"
VISIT = "contraband_delivery_expected 4-A"


def test_it_raises_and_ends_what_the_readme_says(story: Story) -> None:
    assert shown_after_each_step(story, InMemoryBus(SITE), "1", START) == {
        0.0: set(),
        1.0: set(),
        4.0: {IN_4B},
        8.0: {IN_4B},
        10.0: {IN_4B, VISIT},
        14.0: {IN_4B, VISIT, REVIEW},
        22.0: {IN_4B, IN_5A, VISIT, REVIEW},
        28.0: {IN_4B, IN_5A, VISIT, REVIEW},
        34.0: {IN_5A, VISIT, REVIEW},
        42.0: {IN_5A, VISIT},
    }


@pytest.mark.parametrize("later", [60 * SECOND, 3_600 * SECOND, 3 * DAY])
def test_told_again_it_finds_the_feud_still_on_and_ends_as_before(story: Story, later: int) -> None:
    bus = InMemoryBus(SITE)
    shown_after_each_step(story, bus, "1", START)
    shown = shown_after_each_step(story, bus, "2", START + later)
    assert shown[0.0] == {IN_4B, IN_5A}
    assert shown[14.0] == {IN_4B, IN_5A, VISIT, REVIEW}
    assert shown[42.0] == {IN_5A, VISIT}


def test_a_run_has_event_ids_and_bookings_of_its_own_and_the_same_people(story: Story) -> None:
    def told(run: str) -> list[Event]:
        return [e for n in range(len(story.steps)) for e in events_of(story, n, run, SITE, START)]

    def people(run: str) -> set[str]:
        return {number.value for event in told(run) for person in event.head.persons for number in person.ids}

    def bookings(run: str) -> set[str]:
        return {str(getattr(event, "booking_number", "")) for event in told(run)} - {""}

    assert told("1") == told("1")
    first, second = ({event.head.event_id for event in told(run)} for run in "12")
    assert len(first) == len(told("1"))
    assert not first & second
    assert people("1") == people("2")
    assert len(bookings("1")) == 12
    assert not bookings("1") & bookings("2")


def test_each_step_is_told_by_its_agency_at_its_moment_until_it_is_stopped(story: Story) -> None:
    now = [START]
    told: list[tuple[float, str, int]] = []
    said: list[str] = []

    def wait(seconds: float) -> bool:
        now[0] += int(seconds * SECOND)
        return now[0] - START >= 30 * SECOND

    def publish(agency: str, events: list[Event]) -> None:
        told.append(((now[0] - START) / SECOND, agency, len(events)))
        # Publishing takes its time; the next step is not later for it.
        now[0] += SECOND // 2

    assert not play(story, "1", SITE, publish, lambda: now[0], wait, said.append)
    before = [step for step in story.steps if step.at < 30]
    assert told == [(step.at, step.agency, len(step.events)) for step in before]
    assert said == [step.says for step in before]


def test_a_file_that_is_no_story_is_refused(tmp_path: Path) -> None:
    (tmp_path / "story.toml").write_text("[[step]]\nat = 0\n")
    with pytest.raises((KeyError, ValueError)):
        read_story(tmp_path / "story.toml")
