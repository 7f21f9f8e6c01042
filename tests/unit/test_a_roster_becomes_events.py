"""The invented jail's lists become the events that `docs/roster.md` promises, however the rows flap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deploy.sites import SITES_DIR
from producers.adapters.roster import Jail, Known, Summary, Tally, day_events, list_taken
from producers.adapters.roster_file import Row, Snapshot
from producers.roster_import import (
    Allowances,
    Day,
    FileChangedError,
    ImportRefusedError,
    StateFile,
    days,
    judge,
    publish_days,
)
from schemas.events import CARE_EVENTS, CustodyLevel, Event, ListTaken, type_name
from schemas.site import read_site

SAMPLE = tuple(sorted((Path(__file__).parents[1] / "data" / "roster").glob("2026-*.csv*")))
ENDED = date(2026, 3, 31)
SITE = read_site(SITES_DIR / "nyc-history")
JAIL = Jail(SITE.agencies[0], SITE.facilities[0])
Told = tuple[Any, ...]


def told(event: Event) -> Told:
    """An event in short: its type, and what it says of the stay."""
    said = event.model_dump(mode="json")
    names = ("level", "initial", "status", "active")
    return (type_name(event), *(said[name] for name in names if name in said and type_name(event) != "BookingReported"))


def sample_events() -> list[tuple[int, Event]]:
    """(day of March, event) of the whole sample."""
    imported = days(judge(SAMPLE, None, ENDED), None, JAIL, Summary())
    return [(day.state.known.day.day, event) for day in imported for event in day.events]


def of_person(number: str) -> list[tuple[int, Event]]:
    return [(day, event) for day, event in sample_events() if number in numbers_in(event)]


def numbers_in(event: Event) -> list[str]:
    return [number.value for person in event.head.persons for number in person.ids]


BOOKED = ("BookingReported",)
GONE = ("NoLongerListed",)
INFRACTION = ("DisciplinaryRecorded",)
MEMBER = ("AffiliationValidated", "MEMBER")


def classified(level: str, *, initial: bool) -> Told:
    return ("CustodyClassified", level, initial)


FIRST_MIN = classified("MINIMUM", initial=True)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1001", [(1, BOOKED), (1, FIRST_MIN), (2, INFRACTION)]),
        (
            "1002",
            [
                (1, BOOKED),
                (2, classified("MEDIUM", initial=True)),
                (4, classified("MAXIMUM", initial=False)),
            ],
        ),
        ("1003", [(1, BOOKED), (1, classified("MEDIUM", initial=True)), (3, MEMBER)]),
        ("1004", [(1, BOOKED), (1, FIRST_MIN), (1, ("CareObserved", True)), (4, ("CareObserved", False))]),
        ("1005", [(1, BOOKED), (1, classified("MAXIMUM", initial=True))]),
        ("1006", [(1, BOOKED), (1, FIRST_MIN), (3, GONE), (5, BOOKED), (5, classified("MEDIUM", initial=False))]),
        ("1007", [(1, BOOKED), (1, FIRST_MIN), (4, GONE)]),
        ("1008", [(1, BOOKED), (1, classified("MEDIUM", initial=True)), (4, GONE), (6, BOOKED)]),
        (
            "1009",
            [
                (1, BOOKED),
                (1, classified("MEDIUM", initial=True)),
                (4, GONE),
                (4, BOOKED),
                (4, classified("MEDIUM", initial=True)),
            ],
        ),
        ("1010", []),
        ("1011", [(1, BOOKED), (1, FIRST_MIN)]),
        (
            "1012",
            [
                (2, BOOKED),
                (2, classified("MAXIMUM", initial=True)),
                (2, MEMBER),
                (2, INFRACTION),
                (2, ("CareObserved", True)),
            ],
        ),
        ("1013", [(1, BOOKED), (1, classified("MEDIUM", initial=True))]),
        ("1014", [(8, BOOKED)]),
        ("1015", [(5, BOOKED), (6, GONE), (6, BOOKED)]),
        ("1018", [(1, BOOKED), (1, FIRST_MIN), (2, INFRACTION), (3, GONE), (4, BOOKED)]),
    ],
    ids=[
        "an infraction",
        "a first classification is no reclassification",
        "a flag that is gone again is not taken back",
        "a health flag comes and goes",
        "the same row twice is one stay",
        "off the list and back with another level",
        "sealed while in custody vanishes like any other",
        "admitted again is another stay",
        "of two admissions the later counts",
        "sealed on every day is never told",
        "charge and status flap without a word",
        "everything at first sight",
        "one stay with two charges is one stay",
        "admitted in the hour that the clock skips",
        "a corrected time of admission is another stay",
        "back after a day with what was known",
    ],
)
def test_each_oddity_of_the_sample_becomes_what_the_documentation_says(
    number: str, expected: list[tuple[int, Told]]
) -> None:
    assert [(day, told(event)) for day, event in of_person(number)] == expected


def test_what_a_list_shows_is_dated_at_the_midnight_that_ends_its_day() -> None:
    when = {type_name(event): event.head.time for _, event in of_person("1001")}
    assert when["BookingReported"] == JAIL.micros(datetime.fromisoformat("2026-02-20T10:00")), (
        "a booking is dated at the admission"
    )
    assert when["CustodyClassified"] == JAIL.micros(datetime.fromisoformat("2026-03-02"))
    assert when["DisciplinaryRecorded"] == JAIL.micros(datetime.fromisoformat("2026-03-03"))


@pytest.mark.parametrize(
    ("now", "ended"),
    [("2026-03-08T23:59:59-04:00", 7), ("2026-03-09T00:00:00-04:00", 8), ("2026-03-09T03:59:59+00:00", 7)],
    ids=["a second before midnight", "midnight", "where the jail is, not where the import runs"],
)
def test_a_day_has_ended_when_it_is_midnight_where_the_jail_is(now: str, ended: int) -> None:
    micros = int(datetime.fromisoformat(now).timestamp()) * 1_000_000
    assert JAIL.last_ended(micros) == date(2026, 3, ended)
    assert JAIL.as_of(JAIL.last_ended(micros)) <= micros < JAIL.as_of(date(2026, 3, ended + 1))


def test_health_is_told_by_care_events_and_by_nothing_else() -> None:
    care = [event for _, event in sample_events() if type_name(event) in CARE_EVENTS]
    assert {event.head.persons[0].ids[0].value for event in care} == {"1004", "1012"}
    others = [event.model_dump_json() for _, event in sample_events() if type_name(event) not in CARE_EVENTS]
    assert not any("MENTAL" in text or "observation" in text for text in others)


def test_the_same_lists_make_the_same_events_with_the_same_ids() -> None:
    ids = [event.head.event_id for _, event in sample_events()]
    assert ids == [event.head.event_id for _, event in sample_events()]
    assert len(set(ids)) == len(ids)


def test_the_summary_counts_rows_events_and_what_was_set_aside() -> None:
    summary = Summary()
    made = sum(len(day.events) for day in days(judge(SAMPLE, None, ENDED), None, JAIL, summary))
    said = summary.as_json()
    assert (said["days"], said["repeated_days"], said["listed_again"]) == (8, 1, 2)
    assert sum(said["events"].values()) == made
    assert said["set_aside"] == {
        "an earlier admission of somebody who is listed with a later one": 1,
        "sealed": 13,
        "the same row again": 1,
        "the same stay again, with another charge or status": 2,
    }


def test_each_list_that_was_taken_is_told_with_how_much_of_it_is_new() -> None:
    taken = [event for _, event in sample_events() if isinstance(event, ListTaken)]
    assert [event.head.time for event in taken] == [JAIL.as_of(date(2026, 3, day)) for day in range(1, 9)]
    assert taken[0].changed == taken[0].entries, "all of the first is"
    repeats = [later.content == earlier.content for earlier, later in pairwise(taken)]
    assert repeats.count(True) == 1
    assert [event.changed == 0 for event in taken[1:]] == repeats
    assert not any(event.head.persons for event in taken), "it is about nobody"


def test_a_jail_whose_site_has_no_such_event_does_not_tell_of_its_lists() -> None:
    agency = JAIL.agency.model_copy(update={"publishes": ("BookingReported",)})
    snapshot = Snapshot(date(2026, 3, 1), "a.csv", {}, 0, 0, (), "0" * 64)
    assert list_taken(None, snapshot, replace(JAIL, agency=agency), repeats=False) == []


# -- rows that flap, one list after the other --------------------------------------------------------------------------

ROW = Row(
    id="1",
    admitted=datetime.fromisoformat("2026-02-01T12:00"),
    level=CustodyLevel.MINIMUM,
    health=False,
    affiliated=False,
    status="DE",
    charge="120.05",
    infraction=False,
)


def told_by(*lists: Sequence[Row]) -> list[list[Told]]:
    """What each list tells after those before it."""
    known: Known | None = None
    said = []
    for number, rows in enumerate(lists, start=1):
        day = date(2026, 3, number)
        snapshot = Snapshot(day, f"{day}.csv", {row.id: row for row in rows}, len(rows), 0, (), str(number))
        said.append([told(event) for event in day_events(known, snapshot, JAIL, Tally())])
        known = Known.after(known, snapshot)
    return said


@pytest.mark.parametrize(
    ("row", "without", "first"),
    [
        (ROW, replace(ROW, level=None), [BOOKED, FIRST_MIN]),
        (replace(ROW, health=True), replace(ROW, health=None), [BOOKED, FIRST_MIN, ("CareObserved", True)]),
        (replace(ROW, affiliated=True), ROW, [BOOKED, FIRST_MIN, MEMBER]),
        (replace(ROW, infraction=True), ROW, [BOOKED, FIRST_MIN, INFRACTION]),
    ],
    ids=["level", "health", "group", "infraction"],
)
def test_what_a_list_leaves_out_for_a_day_is_not_told_again_as_the_first(
    row: Row, without: Row, first: list[Told]
) -> None:
    assert told_by([row], [without], [row]) == [first, [], []]


def test_a_level_that_comes_back_as_another_is_a_reclassification() -> None:
    blank, medium = replace(ROW, level=None), replace(ROW, level=CustodyLevel.MEDIUM)
    assert told_by([ROW], [blank], [medium]) == [[BOOKED, FIRST_MIN], [], [classified("MEDIUM", initial=False)]]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((True, None, False), [True, False]),
        ((True, False), [True, False]),
        ((None, False), []),
        ((False, None, False), []),
        ((None, True), [True]),
    ],
)
def test_a_health_flag_ends_where_a_list_says_so_and_not_where_it_says_nothing(
    flags: Sequence[bool | None], expected: list[bool]
) -> None:
    said = told_by(*([replace(ROW, health=flag)] for flag in flags))
    assert [one for day in said for one in day if one[0] == "CareObserved"] == [("CareObserved", e) for e in expected]


def test_what_was_told_of_a_stay_is_remembered_while_it_is_off_the_lists() -> None:
    flagged = replace(ROW, affiliated=True, infraction=True)
    back = replace(flagged, level=None, affiliated=False)
    other = replace(ROW, id="2")
    assert told_by([flagged, other], [other], [back, other], [flagged, other])[1:] == [[GONE], [BOOKED], []]


def test_a_new_stay_begins_with_nothing_of_the_one_before() -> None:
    again = replace(ROW, admitted=datetime.fromisoformat("2026-03-02T08:00"), level=None)
    assert told_by([replace(ROW, infraction=True)], [again]) == [
        [BOOKED, FIRST_MIN, INFRACTION],
        [GONE, BOOKED],
    ]


# -- going on after an earlier import ----------------------------------------------------------------------------------


def test_an_import_in_two_parts_tells_what_one_import_tells(tmp_path: Path) -> None:
    file = StateFile(tmp_path, SITE.name, JAIL.facility.id)
    parts = []
    for part in (SAMPLE[:5], SAMPLE[5:]):
        before = file.read()
        known = None if before is None else before.known
        for day in days(judge(part, before, ENDED), known, JAIL, Summary()):
            parts += list(day.events)
            file.write(day.state)
    assert parts == [event for _, event in sample_events()]


def test_what_was_imported_is_kept_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = StateFile(tmp_path, SITE.name, JAIL.facility.id)
    for day in days(judge(SAMPLE[:1], None, ENDED), None, JAIL, Summary()):
        file.write(day.state)
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_memory_of_the_last_import_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = StateFile(tmp_path, SITE.name, JAIL.facility.id)
    for day in days(judge(SAMPLE[:1], None, ENDED), None, JAIL, Summary()):
        file.write(day.state)
    file.path.write_text(file.path.read_text()[:-10])
    with pytest.raises(ValueError, match="remove it and import from the first day again"):
        file.read()


class _Bus:
    """Takes what is published, up to a tick at which the importer is ended."""

    def __init__(self, ends_at: int) -> None:
        self.events: list[Event] = []
        self._waits = ends_at

    def publish_many(self, events: Sequence[Event]) -> None:
        self.events += events

    def flush(self, _: float) -> int:
        return 0

    def until_identified(self) -> None:
        self._waits -= 1
        if not self._waits:
            raise KeyboardInterrupt

    def tick(self, _: int) -> None:
        pass


def import_into(file: StateFile, bus: _Bus, files: Sequence[Path]) -> None:
    before = file.read()
    judged = judge(files, before, ENDED, begun=file.begun())
    known = None if before is None else before.known

    def begin(day: Day) -> None:
        file.begin(day.state.begun)

    publish_days(days(judged, known, JAIL, Summary()), bus, bus, begin, lambda day: file.write(day.state))


def copied(files: Sequence[Path], into: Path) -> list[Path]:
    return [into / path.name for path in files if (into / path.name).write_bytes(path.read_bytes())]


@pytest.mark.parametrize("broken_off_in", [1, 3], ids=["the first day", "a later day"])
def test_an_import_that_was_broken_off_goes_on_with_the_same_file_and_with_no_other(
    tmp_path: Path, broken_off_in: int
) -> None:
    copies = copied(SAMPLE, tmp_path)
    file, bus = StateFile(tmp_path, SITE.name, JAIL.facility.id), _Bus(broken_off_in)
    with pytest.raises(KeyboardInterrupt):
        import_into(file, bus, copies)
    assert file.begun_path.stat().st_mode & 0o777 == 0o600
    broken = copies[broken_off_in - 1]
    broken.write_text(broken.read_text().replace(",MED,", ",MAX,"))
    day = f"2026-03-0{broken_off_in}"
    for files, why in (
        (copies, f"is not the file of which a part was published when an import was broken off in {day}"),
        (copies[broken_off_in:], f"an import was broken off in {day}, of which a part was published"),
    ):
        with pytest.raises(ImportRefusedError) as refused:
            judge(files, file.read(), ENDED, begun=file.begun(), allow=Allowances(gaps=True))
        assert [problem.why.startswith(why) for problem in refused.value.problems] == [True]
    copied(SAMPLE, tmp_path)
    import_into(file, bus, copies)
    published = {event.head.event_id for event in bus.events}
    assert published == {event.head.event_id for _, event in sample_events()}, "and nothing else"


def test_an_import_that_came_to_its_end_is_no_reason_to_refuse_what_comes_next(tmp_path: Path) -> None:
    file, bus = StateFile(tmp_path, SITE.name, JAIL.facility.id), _Bus(0)
    import_into(file, bus, SAMPLE[:5])
    import_into(file, bus, SAMPLE[5:])
    assert [event.head.event_id for event in bus.events] == [event.head.event_id for _, event in sample_events()]


def test_a_damaged_note_of_the_day_that_was_begun_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = StateFile(tmp_path, SITE.name, JAIL.facility.id)
    file.begun_path.parent.mkdir(parents=True)
    file.begun_path.write_text('{"day": "2026-03')
    with pytest.raises(ValueError, match="remove it and go on with the same files"):
        file.begun()


def test_a_file_that_changes_between_being_judged_and_imported_stops_the_import_there(tmp_path: Path) -> None:
    copies = []
    for path in SAMPLE:
        copies.append(tmp_path / path.name)
        copies[-1].write_bytes(path.read_bytes())
    judged = judge(copies, None, ENDED)
    copies[2].write_text(copies[2].read_text().replace(",MED,", ",MAX,"))
    importing = days(judged, None, JAIL, Summary())
    assert [next(importing).state.known.day.day, next(importing).state.known.day.day] == [1, 2]
    with pytest.raises(FileChangedError, match=copies[2].name):
        next(importing)
