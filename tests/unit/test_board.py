"""What the board shows of what its topics say."""

from __future__ import annotations

from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from consumers import words
from consumers.alert_detail import detail
from consumers.board import (
    MUCH_LAG,
    OVER_SHOWN,
    PATIENCE,
    REPORTING,
    SECOND,
    ActionSaid,
    AlertForgotten,
    AlertSaid,
    Blind,
    Blindness,
    Board,
    CaughtUp,
    Change,
    ChangeKind,
    Entry,
    LinkBack,
    LinkLost,
    LogReplaced,
    Notice,
    Readable,
    ReportSaid,
    Said,
    Standing,
    Unreadable,
)
from schemas.site import read_site
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from tests.county import demo_site
from tests.disclosed_alert import disclosed

ME = "county-jail-watch"
NOW = 1_790_000_000 * SECOND
MINUTE = 60 * SECOND


def alert(name: str, revision: int = 1, **changes: Any) -> AlertSaid:
    said = {
        "alert_id": name,
        "revision": revision,
        "digest": "",
        "recipient": ME,
        "severity": "HIGH",
        "facility": "county-jail-main",
        "unit": "4-B",
        "headline": f"headline of {name}",
        "at": NOW,
        "cause": {"kind": "FACT", "stage": "disclose", "partition": 0, "offset": 0, "event_id": None},
    }
    return disclosed(**{**said, **changes})


def over(name: str, revision: int, **changes: Any) -> AlertSaid:
    return alert(
        name, revision, **{"state": "WITHDRAWN", "severity": "UNKNOWN", "headline": None, "unit": None, **changes}
    )


def acknowledged(name: str, revision: int, by: str = "ann", at: int = NOW, action_id: str = "1") -> ActionSaid:
    return ActionSaid(
        {
            "action_id": action_id,
            "alert_id": name,
            "revision": revision,
            "recipient": ME,
            "action": "ACKNOWLEDGE",
            "by": by,
            "at": at,
        }
    )


def report(stage: str, partition: int, **changes: Any) -> ReportSaid:
    return ReportSaid(
        {
            "stage": stage,
            "partition": partition,
            "state": "LIVE",
            "tick": NOW,
            "lag": 0,
            "done": 0,
            "total": 0,
            "at": NOW,
            **changes,
        }
    )


def board(clock: str = "live") -> Board:
    made = Board(demo_site(partitions=2, clock=clock), ME, started=NOW - 60 * SECOND)
    made.fold(CaughtUp(), NOW)
    return made


def all_is_well(on: Board, **changes: Any) -> None:
    for stage in REPORTING:
        for partition in range(2):
            on.fold(report(stage, partition, **changes), NOW)


def shown(on: Board, now: int = NOW) -> list[str]:
    return [line.key for line in on.lines(now)]


def told(change: Change | None) -> ChangeKind | None:
    return change.what if change else None


# -- alerts ------------------------------------------------------------------------------------------------------------


def test_an_alert_shows_once_however_often_it_is_sent() -> None:
    desk = board()
    assert told(desk.fold(alert("a"), NOW)) is ChangeKind.OPENED
    assert desk.fold(alert("a"), NOW) is None
    assert shown(desk) == ["a"]


def test_a_later_revision_replaces_the_text_and_keeps_the_age() -> None:
    desk = board()
    desk.fold(alert("a"), NOW)
    assert told(desk.fold(alert("a", 2, headline="now graver", at=NOW + MINUTE), NOW)) is ChangeKind.UPDATED
    desk.fold(alert("a", 1), NOW)
    (entry,) = desk.open_entries(NOW)
    assert (entry.alert.headline, entry.alert.opened, entry.alert.at) == ("now graver", NOW, NOW + MINUTE)


def test_since_when_it_is_open_is_what_its_record_says_whenever_the_desk_began_to_look() -> None:
    desk, later = board(), board()
    revisions = [alert("a", number, at=NOW + number, opened=NOW + 1) for number in (1, 2, 3)]
    for one in revisions:
        desk.fold(one, NOW)
    # Compaction has taken the others.
    later.fold(revisions[-1], NOW)
    assert desk.lines(NOW) == later.lines(NOW)
    (entry,) = later.open_entries(NOW)
    assert (entry.alert.opened, entry.alert.at) == (NOW + 1, NOW + 3)
    # What it missed is that it was over in between.
    later.fold(alert("a", 5, at=NOW + 5, opened=NOW + 5), NOW)
    assert [entry.alert.opened for entry in later.open_entries(NOW)] == [NOW + 5]


def test_of_another_log_nothing_is_known_that_was_said_before() -> None:
    """As a restored one is: it goes on from an earlier revision, under the same numbers with something else."""
    desk = board()
    before: list[Said] = [alert("x"), alert("x", 2), over("x", 3), alert("y"), acknowledged("y", 1)]
    for one in [*before, Unreadable("t", "k")]:
        desk.fold(one, NOW)
    all_is_well(desk, at=NOW + MINUTE)
    desk.fold(LogReplaced(), NOW)
    assert vars(desk) == vars(Board(demo_site(partitions=2), ME, started=NOW))
    assert not desk.caught_up, "it does not see before it has read all of it"
    assert [told(desk.fold(one, NOW)) for one in (alert("x"), alert("x", 2))] == [ChangeKind.OPENED, ChangeKind.UPDATED]
    assert shown(desk) == ["x"]


def test_what_was_withdrawn_is_not_brought_back_by_an_older_revision() -> None:
    desk = board()
    desk.fold(over("a", 2), NOW)
    assert desk.fold(alert("a", 1), NOW) is None
    assert desk.open_entries(NOW) == []


def test_alerts_stand_by_severity_then_by_age() -> None:
    desk = board()
    for name, severity, minutes in (
        ("low", "LOW", 9),
        ("young", "HIGH", 1),
        ("grave", "CRITICAL", 0),
        ("old", "HIGH", 5),
    ):
        desk.fold(alert(name, severity=severity, at=NOW - minutes * MINUTE), NOW)
    assert shown(desk) == ["grave", "old", "young", "low"]


def test_what_comes_within_the_hour_stands_before_what_holds_already_and_that_before_what_comes_later() -> None:
    desk = board()
    for name, minutes in (("in three hours", 180), ("in an hour", 60), ("tomorrow", 1_440), ("a minute ago", -1)):
        desk.fold(alert(name, due=NOW + minutes * MINUTE, at=NOW - 3 * MINUTE), NOW)
    desk.fold(alert("now", at=NOW - MINUTE), NOW)
    assert shown(desk) == ["a minute ago", "in an hour", "now", "in three hours", "tomorrow"]
    # What was due more than an hour ago does not stand above what is still to come.
    assert shown(desk, NOW + 59 * MINUTE) == ["a minute ago", "in an hour", "now", "in three hours", "tomorrow"]
    assert shown(desk, NOW + 120 * MINUTE) == ["in an hour", "in three hours", "now", "a minute ago", "tomorrow"]


def test_a_severity_of_a_later_version_stands_above_all() -> None:
    desk = board()
    desk.fold(alert("known", severity="CRITICAL"), NOW)
    desk.fold(alert("newer", severity="UNKNOWN"), NOW)
    assert shown(desk) == ["newer", "known"]


def test_what_is_over_stays_below_what_is_open_for_two_minutes_and_is_gone() -> None:
    desk = board()
    desk.fold(alert("a", severity="CRITICAL"), NOW)
    desk.fold(alert("b", severity="LOW"), NOW)
    assert told(desk.fold(over("a", 2), NOW)) is ChangeKind.WITHDRAWN
    first, second = desk.lines(NOW + OVER_SHOWN - 1)
    assert first.key == "b"
    assert isinstance(second, Entry)
    assert (second.standing, second.alert.headline) == (Standing.OVER, "headline of a")
    assert shown(desk, NOW + OVER_SHOWN) == ["b"]


def test_a_tombstone_removes_an_alert_and_what_comes_after_it_counts_anew() -> None:
    desk = board()
    desk.fold(alert("a", 7), NOW)
    assert told(desk.fold(AlertForgotten("a"), NOW)) is ChangeKind.WITHDRAWN
    assert desk.open_entries(NOW) == []
    assert told(desk.fold(alert("a", 1), NOW)) is ChangeKind.OPENED


def test_what_was_over_before_the_desk_looked_is_not_shown() -> None:
    desk = Board(demo_site(partitions=2), ME, NOW)
    desk.fold(alert("a"), NOW)
    desk.fold(over("a", 2), NOW)
    assert desk.lines(NOW) == []


def test_an_alert_that_comes_back_is_open_and_no_longer_over() -> None:
    desk = board()
    for said in (alert("a"), over("a", 2), alert("a", 3)):
        desk.fold(said, NOW)
    (line,) = desk.lines(NOW)
    assert isinstance(line, Entry)
    assert line.standing is Standing.OPEN


def test_another_recipients_record_is_none_of_ours() -> None:
    desk = board()
    desk.fold(alert("a", recipient="city-pd-intel"), NOW)
    assert desk.lines(NOW) == []


def test_what_an_agency_wrote_cannot_steer_the_terminal() -> None:
    desk = board()
    why = [{"text": "Ashby\x1b[2J\u202eyug", "agency": "city-pd", "event_time": None}]
    desk.fold(alert("a", headline="red\x1b[41m\nline", why=why), NOW)
    (entry,) = desk.open_entries(NOW)
    assert entry.alert.headline == "red\ufffd[41m line"
    assert entry.alert.why[0].text == "Ashby\ufffd[2J\ufffdyug"


# -- mass changes ------------------------------------------------------------------------------------------------------


def test_a_mass_change_is_told_in_one_line_and_its_open_alerts_stay_in_the_list() -> None:
    desk = board()
    for name, severity in (("a", "LOW"), ("b", "CRITICAL"), ("c", "MEDIUM")):
        desk.fold(alert(name, severity=severity, group="rivals: version 2"), NOW)
    desk.fold(alert("alone", severity="HIGH"), NOW)
    assert shown(desk) == ["group/rivals: version 2", "b", "alone", "c", "a"]
    notice = desk.lines(NOW)[0]
    assert isinstance(notice, Notice)
    assert [entry.key for entry in notice.entries] == ["b", "c", "a"]
    assert notice.over == ()


def test_a_mass_change_of_one_alert_is_that_alert() -> None:
    desk = board()
    desk.fold(alert("a", group="rivals: version 2"), NOW)
    assert shown(desk) == ["a"]


def test_alerts_withdrawn_together_are_one_line_and_no_more() -> None:
    desk = board()
    for name in ("a", "b"):
        desk.fold(alert(name), NOW)
        desk.fold(over(name, 2, group="rivals: no longer in force"), NOW)
    (notice,) = desk.lines(NOW)
    assert isinstance(notice, Notice)
    assert {entry.standing for entry in notice.over} == {Standing.OVER}
    assert words.notice(notice) == "rivals: 2 alerts withdrawn; no longer in force"


def test_a_mass_change_that_withdrew_some_and_changed_others_says_both() -> None:
    desk = board()
    for name in ("a", "b", "c"):
        desk.fold(alert(name), NOW)
    group = "classification_review: version 2"
    desk.fold(over("a", 2, group=group), NOW)
    desk.fold(over("b", 2, group=group), NOW)
    desk.fold(alert("c", 2, group=group), NOW)
    notice, still_open = desk.lines(NOW)
    assert isinstance(notice, Notice)
    assert still_open.key == "c"
    said = "classification review: 2 alerts withdrawn, 1 new or changed; the rule is now version 2"
    assert words.notice(notice) == said


def test_a_notice_goes_after_two_minutes_and_open_alerts_stay() -> None:
    desk = board()
    for name in ("a", "b"):
        desk.fold(alert(name, group="rivals: version 2"), NOW)
    assert shown(desk, NOW + OVER_SHOWN - 1) == ["group/rivals: version 2", "a", "b"]
    assert shown(desk, NOW + OVER_SHOWN) == ["a", "b"]


def test_a_mass_change_from_before_the_desk_looked_is_no_news() -> None:
    desk = Board(demo_site(partitions=2), ME, NOW)
    for name in ("a", "b"):
        desk.fold(alert(name, group="rivals: version 2"), NOW)
    desk.fold(CaughtUp(), NOW)
    assert shown(desk) == ["a", "b"]


def test_an_alert_that_changes_by_itself_leaves_its_group() -> None:
    desk = board()
    for name in ("a", "b", "c"):
        desk.fold(alert(name, group="rivals: version 2"), NOW)
    desk.fold(alert("a", 2, group=None), NOW)
    notice = next(line for line in desk.lines(NOW) if isinstance(line, Notice))
    assert [entry.key for entry in notice.entries] == ["b", "c"]


# -- the bell ----------------------------------------------------------------------------------------------------------


def urgent(change: Change | None) -> bool:
    assert change is not None
    return change.is_urgent


@pytest.mark.parametrize(("severity", "rings"), [("CRITICAL", True), ("HIGH", True), ("MEDIUM", False), ("LOW", False)])
def test_a_new_alert_is_urgent_where_it_is_critical_or_high(severity: str, rings: bool) -> None:
    assert urgent(board().fold(alert("a", severity=severity), NOW)) is rings


def test_an_update_is_urgent_where_it_is_graver_than_before_or_was_acknowledged() -> None:
    desk = board()
    desk.fold(alert("a", severity="MEDIUM"), NOW)
    assert urgent(desk.fold(alert("a", 2, severity="HIGH"), NOW))
    assert not urgent(desk.fold(alert("a", 3, severity="HIGH"), NOW))
    desk.fold(acknowledged("a", 3), NOW)
    assert urgent(desk.fold(alert("a", 4, severity="HIGH"), NOW))
    assert not urgent(desk.fold(over("a", 5), NOW))


# -- acknowledging -----------------------------------------------------------------------------------------------------


def test_what_is_acknowledged_sinks_below_others_of_its_severity() -> None:
    desk = board()
    desk.fold(alert("old", at=NOW - MINUTE), NOW)
    desk.fold(alert("young"), NOW)
    desk.fold(alert("low", severity="LOW", at=NOW - 9 * MINUTE), NOW)
    assert told(desk.fold(acknowledged("old", 1), NOW)) is ChangeKind.ACKNOWLEDGED
    assert shown(desk) == ["young", "old", "low"]


def test_a_change_after_the_acknowledgement_asks_again() -> None:
    desk = board()
    desk.fold(alert("a"), NOW)
    desk.fold(acknowledged("a", 1), NOW)
    desk.fold(alert("a", 2), NOW)
    (entry,) = desk.open_entries(NOW)
    assert entry.standing is Standing.CHANGED
    desk.fold(acknowledged("a", 2, action_id="2"), NOW)
    (entry,) = desk.open_entries(NOW)
    assert entry.standing is Standing.ACKNOWLEDGED


@pytest.mark.parametrize("turned", [False, True])
def test_two_desks_agree_on_who_acknowledged_first(turned: bool) -> None:
    desk = board()
    actions = [acknowledged("a", 1, "ann", NOW, "1"), acknowledged("a", 1, "bob", NOW + 1, "2")]
    for action in reversed(actions) if turned else actions:
        desk.fold(action, NOW)
    desk.fold(alert("a"), NOW)
    (entry,) = desk.open_entries(NOW)
    assert entry.acknowledged is not None
    assert entry.acknowledged.by == "ann"


def test_an_action_of_a_later_version_acknowledges_nothing() -> None:
    desk = board()
    desk.fold(alert("a"), NOW)
    desk.fold(ActionSaid({**acknowledged("a", 1).record, "action": "UNKNOWN"}), NOW)
    (entry,) = desk.open_entries(NOW)
    assert entry.standing is Standing.OPEN


# -- blindness ---------------------------------------------------------------------------------------------------------


def blind(on: Board, now: int = NOW) -> list[Blind]:
    return [one.why for one in on.sight(now).blind]


def test_a_desk_that_hears_from_every_stage_sees() -> None:
    desk = board()
    all_is_well(desk)
    assert blind(desk, NOW + PATIENCE) == []
    assert desk.sight(NOW).tick == NOW


def test_a_partition_whose_time_stands_still_blinds_the_desk_since_then() -> None:
    desk = board()
    all_is_well(desk)
    desk.fold(report("facility", 1, tick=NOW - PATIENCE - 1), NOW)
    (one,) = desk.sight(NOW).blind
    assert (one.why, one.since, one.where) == (Blind.NO_TICK, NOW - PATIENCE - 1, "facility 1")


@pytest.mark.parametrize(("ahead", "is_blind"), [(PATIENCE, False), (PATIENCE + 1, True), (60 * MINUTE, True)])
def test_a_partition_whose_time_was_set_ahead_blinds_the_desk_until_it_is_that_late(ahead: int, is_blind: bool) -> None:
    desk = board()
    all_is_well(desk, at=NOW)
    desk.fold(report("facility", 1, tick=NOW + ahead), NOW)
    assert [(one.why, one.since) for one in desk.sight(NOW).blind] == ([(Blind.NO_TICK, NOW)] if is_blind else [])


def test_a_tick_of_ten_seconds_ago_is_young_enough() -> None:
    desk = board()
    all_is_well(desk, tick=NOW - PATIENCE)
    assert blind(desk) == []


def test_on_a_history_site_old_ticks_are_the_time_on_the_log() -> None:
    desk = board(clock="history")
    all_is_well(desk, tick=NOW - 3000 * MINUTE)
    desk.fold(report("disclose", 0, tick=NOW - 4000 * MINUTE), NOW)
    sight = desk.sight(NOW)
    assert (sight.blind, sight.tick) == ((), NOW - 4000 * MINUTE)
    assert desk.time(NOW) == NOW - 4000 * MINUTE


def test_much_lag_blinds_the_desk_since_it_began() -> None:
    desk = board()
    all_is_well(desk)
    desk.fold(report("identify", 0, lag=MUCH_LAG + 1), NOW)
    desk.fold(report("identify", 0, lag=MUCH_LAG + 500, at=NOW + SECOND), NOW + SECOND)
    (one,) = desk.sight(NOW + SECOND).blind
    assert (one.why, one.since, one.number) == (Blind.BEHIND, NOW, MUCH_LAG + 500)
    desk.fold(report("identify", 0, lag=MUCH_LAG, at=NOW + 2 * SECOND), NOW + 2 * SECOND)
    assert blind(desk, NOW + 2 * SECOND) == []


def test_refolding_blinds_the_desk_and_tells_how_far_it_is() -> None:
    desk = board()
    all_is_well(desk)
    for partition, done in ((0, 10), (1, 70)):
        desk.fold(report("person", partition, state="REFOLDING", done=done, total=100, tick=0), NOW)
    (one,) = desk.sight(NOW).blind
    assert (one.why, one.number, one.where) == (Blind.REFOLDING, 40, "person 0 and 1 more")


def test_silence_blinds_the_desk_since_the_last_report() -> None:
    desk = board()
    all_is_well(desk)
    desk.fold(report("person", 0, at=NOW + SECOND), NOW + SECOND)
    (one,) = desk.sight(NOW + SECOND + PATIENCE + 1).blind
    assert (one.why, one.since, one.where) == (Blind.NO_REPORT, NOW + SECOND, "")


def test_one_silent_partition_is_named() -> None:
    desk = board()
    all_is_well(desk)
    later = NOW + PATIENCE + 1
    for stage in REPORTING:
        for partition in range(2):
            if (stage, partition) != ("person", 1):
                desk.fold(report(stage, partition, at=later, tick=later), later)
    (one,) = desk.sight(later).blind
    assert (one.why, one.since, one.where) == (Blind.NO_REPORT, NOW, "person 1")


def test_partitions_that_never_reported_are_missed() -> None:
    desk = Board(demo_site(partitions=3), ME, NOW - MINUTE)
    desk.fold(CaughtUp(), NOW)
    all_is_well(desk)
    assert [one.where for one in desk.sight(NOW).blind] == ["identify 2 and 3 more"]


def test_a_stage_that_stopped_blinds_the_desk() -> None:
    desk = board()
    all_is_well(desk)
    desk.fold(report("disclose", 0, state="STOPPED"), NOW)
    assert blind(desk) == [Blind.STOPPED]


def test_an_older_report_that_comes_late_changes_nothing() -> None:
    desk = board()
    all_is_well(desk)
    desk.fold(report("person", 0, state="REFOLDING", at=NOW - SECOND), NOW)
    assert blind(desk) == []


def test_a_bus_out_of_reach_blinds_the_desk_until_it_is_back() -> None:
    desk = board()
    all_is_well(desk)
    desk.fold(LinkLost(Blind.UNREACHABLE, NOW), NOW)
    desk.fold(LinkLost(Blind.UNREACHABLE, NOW + 5 * SECOND), NOW)
    (one,) = desk.sight(NOW).blind
    assert (one.why, one.since) == (Blind.UNREACHABLE, NOW)
    desk.fold(LinkBack(), NOW)
    assert blind(desk) == []


def test_a_record_that_cannot_be_read_blinds_the_desk_until_one_of_its_key_can() -> None:
    desk = board()
    all_is_well(desk)
    desk.fold(Unreadable("topic", "a"), NOW)
    assert blind(desk) == [Blind.UNREADABLE]
    desk.fold(Readable("topic", "a"), NOW)
    assert blind(desk) == []


def test_a_desk_whose_clock_is_behind_is_not_fooled_by_it() -> None:
    desk = board()
    hour = 60 * MINUTE
    all_is_well(desk, at=NOW + hour, tick=NOW + hour - PATIENCE - 1)
    assert blind(desk) == [Blind.NO_TICK]


def test_the_first_ten_seconds_are_starting() -> None:
    desk = Board(demo_site(partitions=2), ME, NOW)
    assert desk.sight(NOW + PATIENCE - 1).starting
    assert not desk.sight(NOW + PATIENCE).starting
    assert blind(desk) == [Blind.READING, Blind.NO_REPORT]


def test_a_lost_bus_blinds_the_desk_even_while_it_starts() -> None:
    desk = Board(demo_site(partitions=2), ME, NOW)
    assert not desk.sight(NOW).is_blind
    desk.fold(LinkLost(Blind.UNREACHABLE, NOW), NOW)
    assert desk.sight(NOW).is_blind


@pytest.mark.parametrize("why", list(Blind))
def test_every_banner_says_since_when_what_it_means_why_and_what_to_do(why: Blind) -> None:
    line = words.blind_line((Blindness(why, NOW, "person 2", 40),), NOW, ZoneInfo("America/New_York"))
    assert line.startswith("This desk is BLIND since 10:13 EDT: alerts may be missing; phone the floor. ")
    assert words.WHAT_TO_DO[why] in line
    assert words.blindness(Blindness(why, NOW, "person 2", 40))[1:] in line


def test_a_banner_since_yesterday_says_so_and_counts_further_causes() -> None:
    blind = (Blindness(Blind.UNREACHABLE, NOW), Blindness(Blind.NO_REPORT, NOW - 24 * 60 * MINUTE))
    line = words.blind_line(blind, NOW, ZoneInfo("America/New_York"))
    assert line.startswith("This desk is BLIND since 10:13 EDT yesterday: ")
    assert "(and 1 more cause)" in line


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "said"),
    [(0, "10:13 today"), (10, "00:13 today"), (11, "23:13 yesterday"), (-20, "06:13 tomorrow"),
     (24 * 3, "10:13 on 18 September"), (24 * 365, "10:13 on 21 September 2025")],
)  # fmt: skip
def test_times_are_told_in_the_facilitys_zone(hours: int, said: str) -> None:
    assert words.when(NOW - hours * 60 * MINUTE, NOW, ZoneInfo("America/New_York")) == said


@pytest.mark.parametrize(
    ("fold", "said"), [(0, "01:30 EDT"), (1, "01:30 EST")], ids=["the first time", "the second time"]
)
def test_on_a_day_on_which_clocks_are_changed_the_zone_is_named(fold: int, said: str) -> None:
    zone = ZoneInfo("America/New_York")
    moment = datetime(2026, 11, 1, 1, 30, tzinfo=zone, fold=fold)
    time = int(moment.timestamp()) * SECOND
    assert words.when(time, time, zone) == f"{said} today"
    assert "EST" not in words.when(time + 24 * 60 * MINUTE, time, zone), "on the next day nobody asks"


def test_that_it_changed_in_the_hour_that_comes_twice_is_said_with_the_zone_of_each() -> None:
    zone = ZoneInfo("America/New_York")
    raised, changed, due = (
        int(datetime(2026, 11, 1, 1, minute, tzinfo=zone, fold=fold).timestamp()) * SECOND
        for minute, fold in ((30, 0), (30, 1), (50, 1))
    )
    desk = board()
    desk.fold(alert("a", 2, at=changed, opened=raised, due=due), changed)
    paper = Console(width=200, file=StringIO())
    paper.print(detail(desk.lines(changed)[0], demo_site(), changed, zone, changed))
    said = paper.file.getvalue()  # type: ignore[attr-defined]
    assert "raised 01:30 EDT today · changed 01:30 EST today" in said
    assert "Expected 01:50 EST today" in said


def test_the_desk_knows_in_which_ways_the_alerts_of_every_rule_end() -> None:
    of_persons, of_facilities = ({one.name for one in rules} for rules in (PERSON_CORRELATIONS, FACILITY_CORRELATIONS))
    assert set(words.WAYS_TO_END) == of_persons | of_facilities


def test_buildings_are_called_by_what_tells_them_from_each_other() -> None:
    county = read_site(Path(__file__).parents[2] / "deploy" / "sites" / "county")
    called = words.buildings(county, "county-watch")
    assert called == {
        "county-jail-main": "main building",
        "county-jail-annex": "annex",
        "town-lockup": "Town Lockup",
    }
    assert words.buildings(county, "prison-watch") == {}
    # Who watches the whole site is told of more than one jail: nothing is common to their names.
    everywhere = words.buildings(county, "city-pd-intel")
    assert everywhere == {facility.id: facility.name for facility in county.facilities}
