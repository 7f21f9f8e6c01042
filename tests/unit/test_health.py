"""What is found of a bus: each part's grade, what is said of it, and that whatever is not well says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from consumers.board import FOLDING, PATIENCE, REPORTING
from deploy import health
from deploy.changes import Did, Step, What
from deploy.health import Copies, Finding, Grade, Part, worst
from deploy.topic_report import DeadLetters, StageStands, TopicStands
from tests.county import demo_site

NOW = 1_700_000_000_000_000
SITE = demo_site(partitions=2)
HISTORY = demo_site(partitions=2, clock="history")


def graded(finding: Finding) -> Grade:
    """Its grade; whatever is not well says what to do about it, and what is well says nothing of the sort."""
    assert bool(finding.do) is (finding.grade is not Grade.OK), finding
    return finding.grade


@pytest.mark.parametrize(
    ("grades", "all_in_all", "exit_code"),
    [
        ([Grade.OK, Grade.OK], Grade.OK, 0),
        ([Grade.OK, Grade.UNKNOWN], Grade.UNKNOWN, 3),
        ([Grade.WARNING, Grade.UNKNOWN, Grade.OK], Grade.WARNING, 1),
        ([Grade.WARNING, Grade.CRITICAL, Grade.UNKNOWN], Grade.CRITICAL, 2),
        ([], Grade.UNKNOWN, 3),
    ],
)
def test_the_worst_part_is_what_monitoring_is_told(grades: list[Grade], all_in_all: Grade, exit_code: int) -> None:
    assert worst([Finding(Part.DISK, grade, "") for grade in grades]) is all_in_all
    assert health.EXIT_CODES[all_in_all] == exit_code


@pytest.mark.parametrize(
    ("copies", "grade"),
    [(Copies(3, 0, 0), Grade.OK), (Copies(2, 0, 7), Grade.WARNING), (Copies(1, 1, 7), Grade.CRITICAL)],
)
def test_partitions_without_a_copy_are_a_warning_and_without_a_leader_critical(copies: Copies, grade: Grade) -> None:
    assert graded(health.broker_found(copies, "demo")) is grade


@pytest.mark.parametrize(
    ("did", "grade", "says"),
    [
        ([Did.KEPT, Did.KEPT], Grade.OK, "2 as the site's files say"),
        ([Did.KEPT, Did.MADE, Did.MADE], Grade.CRITICAL, "not as the site's files say: 2 missing"),
        ([Did.REMOVED, Did.CHANGED], Grade.CRITICAL, "not as the site's files say: 1 different, 1 too many"),
    ],
)
def test_what_provisioning_would_change_is_critical(did: list[Did], grade: Grade, says: str) -> None:
    steps = [Step(What.ACL, str(number), one) for number, one in enumerate(did)]
    found = health.provisioned_found(What.ACL, [*steps, Step(What.TOPIC, "another sort", Did.MADE)], "demo")
    assert (found.part, graded(found), found.says) == (Part.RIGHTS, grade, says)


@pytest.mark.parametrize(
    ("left", "embedded", "grade"),
    [
        (timedelta(days=61), True, Grade.OK),
        (timedelta(days=60), True, Grade.WARNING),
        (timedelta(days=60), False, Grade.OK),
        (timedelta(days=30), False, Grade.WARNING),
        (timedelta(days=7), False, Grade.CRITICAL),
        (timedelta(), True, Grade.CRITICAL),
    ],
)
def test_a_certificate_is_renewed_in_time(left: timedelta, embedded: bool, grade: Grade) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found = health.certificate_found("the broker", now + left, now, embedded=embedded)
    assert graded(found) is grade
    assert ("start it again" in found.do) is (embedded and grade is not Grade.OK)


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize(
    ("days", "grade"), [(61, Grade.OK), (60, Grade.WARNING), (8, Grade.WARNING), (7, Grade.CRITICAL)]
)
def test_a_ca_takes_longer_to_renew_and_no_start_does_it(days: int, embedded: bool, grade: Grade) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found = health.ca_found("the broker", now + timedelta(days=days), now, embedded=embedded)
    assert (graded(found), found.says.partition(",")[0]) == (grade, f"the CA of the broker ends in {days} days")
    assert ("ca.pem" in found.do) is (grade is not Grade.OK)


def test_a_password_that_others_can_read_is_critical_and_named_by_its_user() -> None:
    assert graded(health.secrets_found("/s", [], 12)) is Grade.OK
    found = health.secrets_found("/s", ["demo.bus"], 12)
    assert graded(found) is Grade.CRITICAL
    assert "demo.bus" in found.says


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("seconds", "grade"), [(5, Grade.OK), (6, Grade.WARNING), (300, Grade.CRITICAL)])
def test_clocks_that_differ_are_to_be_set(sign: int, seconds: int, grade: Grade) -> None:
    found = health.clock_found(timedelta(seconds=sign * seconds))
    assert graded(found) is grade
    if grade is not Grade.OK:
        assert ("ahead of" if sign > 0 else "behind") in found.says


@pytest.mark.parametrize(
    ("seconds", "grade"),
    [(-300, None), (0, None), (5, None), (6, Grade.WARNING), (299, Grade.WARNING), (300, Grade.CRITICAL)],
)
def test_a_record_that_the_broker_took_later_than_it_is_here_shows_a_clock_that_is_behind(
    seconds: int, grade: Grade | None
) -> None:
    found = health.broker_clock_found(NOW + seconds * 1_000_000, NOW)
    assert (found and graded(found)) is grade
    if found is not None:
        assert (found.part, f"is {seconds} s or more behind the broker's" in found.says) == (Part.CLOCK, True)


def report(stage: str, partition: int, **changes: object) -> StageStands:
    fields = {"state": "LIVE", "tick": NOW, "lag": 0, "done": 5, "total": 20, "at": NOW} | changes
    return StageStands(stage, partition, **fields)  # type: ignore[arg-type]


ALL_LIVE = [report(stage, number) for stage in REPORTING for number in range(2)]


def but(**changes: object) -> list[StageStands]:
    """All live, but for the persons of partition 1."""
    return [*(one for one in ALL_LIVE if (one.stage, one.partition) != ("person", 1)), report("person", 1, **changes)]


@pytest.mark.parametrize(
    ("stages", "grade", "says"),
    [
        (ALL_LIVE, Grade.OK, "partitions 0, 1: all live"),
        ([], Grade.CRITICAL, "nobody works for partitions 0, 1"),
        (but(at=NOW - PATIENCE), Grade.OK, "all live"),
        (but(at=NOW - PATIENCE - 1), Grade.CRITICAL, "nobody works for partition 1"),
        (but(state="REFOLDING"), Grade.WARNING, "partition 1: recovering, 5 of 20 records"),
        (
            [*ALL_LIVE, *(report(stage, n, state="REFOLDING") for stage in FOLDING for n in range(2))],
            Grade.WARNING,
            "partitions 0, 1: recovering, 10 of 40 records",
        ),
        (but(state="STOPPED"), Grade.CRITICAL, "stopped for partition 1"),
        (but(tick=NOW - PATIENCE - 1), Grade.CRITICAL, "time stands still for partition 1"),
        ([*ALL_LIVE, report("standby", 1, at=0, state="REFOLDING")], Grade.OK, "all live"),
        ([*ALL_LIVE, report("standby", 1, at=0, state="STOPPED")], Grade.OK, "all live"),
        ([*ALL_LIVE, report("standby", 1, state="STOPPED")], Grade.WARNING, "one who stands by gave up partition 1"),
    ],
)
def test_every_partition_has_a_worker_that_works_and_time_passes(
    stages: list[StageStands], grade: Grade, says: str
) -> None:
    found = health.workers_found(SITE, stages, NOW, 0)
    assert graded(found) is grade
    assert says in found.says


def test_nobody_need_work_for_a_history_for_which_nothing_waits_and_its_time_may_stand_still() -> None:
    assert graded(health.workers_found(HISTORY, [], NOW, 0)) is Grade.OK
    assert graded(health.workers_found(HISTORY, [], NOW, 1)) is Grade.CRITICAL
    assert graded(health.workers_found(HISTORY, but(tick=0), NOW, 0)) is Grade.OK


@pytest.mark.parametrize(
    ("lags", "grade", "says"),
    [
        ([None, 0], Grade.OK, "nothing waits"),
        ([None, 400, 600], Grade.OK, "1,000 records"),
        ([1, 1_000, None], Grade.WARNING, "up to 1,001 records wait for the workers, most of them on topic 1"),
    ],
)
def test_much_that_waits_is_a_warning_and_says_where(lags: list[int | None], grade: Grade, says: str) -> None:
    topics = [TopicStands(f"topic {number}", 2, 9, True, lag, "for ever") for number, lag in enumerate(lags)]
    found = health.lag_found(topics)
    assert graded(found) is grade
    assert says in found.says


CAME = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
A_DAY = 24 * 60 * 60 * 1_000_000


@pytest.mark.parametrize(("days", "grade"), [(0, Grade.WARNING), (26.9, Grade.WARNING), (27, Grade.CRITICAL)])
def test_dead_letters_are_told_by_agency_and_reason_and_in_time_before_they_go(days: float, grade: Grade) -> None:
    now = CAME + int(days * A_DAY)
    assert graded(health.dead_letters_found([], now)) is Grade.OK
    letters = [DeadLetters("police", "FUTURE", 1, CAME + A_DAY), DeadLetters("jail", "UNKNOWN_UNIT", 2_000, CAME)]
    found = health.dead_letters_found(letters, now)
    assert graded(found) is grade
    assert found.says == "jail: 2,000 UNKNOWN_UNIT; police: 1 FUTURE; the first goes on 2026-01-31"
    of_the_bus = health.dead_letters_found([DeadLetters("bus", "POISON", 1, CAME)], now)
    assert graded(of_the_bus) is Grade.WARNING, "nobody can mend it here"


@pytest.mark.parametrize(("days", "grade"), [(0, Grade.WARNING), (3.9, Grade.WARNING), (4, Grade.CRITICAL)])
def test_dead_letters_of_care_go_sooner(days: float, grade: Grade) -> None:
    letters = [DeadLetters("jail", "FUTURE", 3, CAME), DeadLetters("jail", "FUTURE", 1, CAME, care=True)]
    found = health.dead_letters_found(letters, CAME + int(days * A_DAY))
    assert graded(found) is grade
    assert found.says == "jail: 3 FUTURE; jail: 1 FUTURE of care; the first goes on 2026-01-08"


@pytest.mark.parametrize(
    ("waiting", "damaged", "unseen", "told"),
    [
        ({"jail": 0}, [], {}, {Grade.OK: "nothing waits on this machine"}),
        ({"police": 1_200, "jail": 0}, [], {}, {Grade.WARNING: "events wait on this machine: 1,200 of police"}),
        ({}, ["the spool is damaged"], {}, {Grade.CRITICAL: "damaged: the spool is damaged"}),
        (
            {"jail": 0},
            [],
            {"police": "/s (no)"},
            {Grade.UNKNOWN: "whether events of police wait can't be seen: /s (no)"},
        ),
        (
            {"jail": 1},
            ["it"],
            {"police": "/s (no)", "court": "/t (no)"},
            {
                Grade.CRITICAL: "damaged: it",
                Grade.WARNING: "events wait on this machine: 1 of jail",
                Grade.UNKNOWN: "whether events of police, court wait can't be seen: /s (no)",
            },
        ),
    ],
)
def test_events_that_wait_are_told_by_agency_and_what_is_damaged_or_unseen_is_not_taken_for_none(
    waiting: dict[str, int], damaged: list[str], unseen: dict[str, str], told: dict[Grade, str]
) -> None:
    found = health.spools_found(waiting, damaged, unseen)
    assert {one.grade: one.says for one in found} == told
    assert all(bool(one.do) is (one.grade is not Grade.OK) for one in found)


@pytest.mark.parametrize(
    ("free", "total", "grade"),
    [
        (10, 100, Grade.OK),
        (9, 100, Grade.WARNING),
        (3, 100, Grade.WARNING),
        (2, 100, Grade.CRITICAL),
        (0, 0, Grade.CRITICAL),
    ],
)
def test_a_disk_is_looked_at_before_it_is_full(free: int, total: int, grade: Grade) -> None:
    found = health.disk_found("/home", free * health.GB, total * health.GB)
    assert graded(found) is grade
    assert f"{free:.1f} GB free" in found.says


def test_of_the_disk_of_a_broker_elsewhere_it_is_said_that_it_is_not_seen() -> None:
    found = health.disk_elsewhere("kafka-1.example:9093")
    assert (found.part, graded(found)) == (Part.DISK, Grade.OK)
    assert "at kafka-1.example:9093, is not seen from here" in found.says
