"""`sallyport watch` on the real bus: an alert shows once, changes in place, and an acknowledgement is every desk's."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from consumers.alert_feed import AlertFeed, now_us
from consumers.board import Board, LogReplaced, Said, Standing
from consumers.desk import Desk
from tests.county import today
from tests.json_lines import Stream
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus
RECIPIENT = "county-jail-watch"


RIVALS = [
    *(today("BookingReported", person, hours=9) for person in ("ada", "bo")),
    *(today("HousingAssigned", person, hours=8, unit="4-B") for person in ("ada", "bo")),
    today("AffiliationValidated", "ada", hours=7, group="Eastside"),
    today("AffiliationValidated", "bo", hours=7, group="Harbor"),
    today("StreetViolenceReported", hours=1, groups=["Eastside", "Harbor"]),
]


def watching(site: WorkingSite, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deploy", "watch", "--as", RECIPIENT, *options]
    return subprocess.Popen(
        command, env=environment(site.settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_alerts_stream_as_json_lines_what_is_open_is_listed_once_and_blindness_is_said(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("watched")
    process = watching(site, "--json")
    stream = Stream(process)
    worker = site.start_worker()
    assert stream.until("sighted")["tick"] > 0
    site.publish(RIVALS)
    opened = stream.until("open", "opened")
    assert opened["headline"] == "Members of feuding groups are housed together in 4-B"

    once = watching(site, "--once", "--json")
    out, error = once.communicate(timeout=60)
    assert once.returncode == 0, error
    (listed,) = [alert for alert in json.loads(out) if alert["rule"] == "rivals_housed_together"]
    assert listed["alert_id"] == opened["alert_id"]

    site.publish([today("HousingAssigned", "bo", hours=0.1, unit="5-A")])
    assert stream.until("withdrawn")["alert_id"] == opened["alert_id"]

    # The desk hears of nothing any more, and must not take that for a quiet night.
    worker.kill()
    worker.wait()
    causes = {cause["why"] for cause in stream.until("blind")["causes"]}
    assert causes & {"NO_REPORT", "NO_TICK"}
    site.start_worker()
    assert stream.until("sighted")["tick"] > 0
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def with_an_alert(site: WorkingSite) -> WorkingSite:
    """A site with a worker, on which the desk has been told of an alert."""
    site.start_worker()
    site.publish(RIVALS)
    until(lambda: site.shown_to(RECIPIENT), "the alert was disclosed")
    return site


def test_what_one_desk_acknowledges_every_desk_of_the_recipient_knows(a_site: Callable[..., WorkingSite]) -> None:
    site = with_an_alert(a_site("acknowledged"))
    board = Board(site.site, RECIPIENT, now_us())
    feed = AlertFeed(site.settings, site.site, RECIPIENT)

    def deliver(said: Sequence[Said]) -> None:
        for one in said:
            board.fold(one, now_us())

    feed.start(deliver)
    desk = Desk(site.settings, site.site, RECIPIENT)
    try:
        until(lambda: board.open_entries(now_us()), "this desk has read the alert")
        entry = board.open_entries(now_us())[0]
        assert entry.standing is Standing.OPEN
        taken: list[bool] = []
        desk.acknowledge(entry.alert.alert_id, entry.alert.revision, taken.append)
        desk._producer.flush(60)
        assert taken == [True]
        until(
            lambda: board.entry(entry.alert.alert_id).standing is Standing.ACKNOWLEDGED,  # type: ignore[union-attr]
            "it was read back from the log",
        )
    finally:
        desk.close()
        feed.stop()


def test_a_desk_that_stays_while_the_log_is_made_anew_reads_all_of_it_again(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = with_an_alert(a_site("gone-back"))
    board = Board(site.site, RECIPIENT, now_us())
    feed = AlertFeed(site.settings, site.site, RECIPIENT)
    replaced: list[Said] = []

    def deliver(said: Sequence[Said]) -> None:
        for one in said:
            replaced.extend([one] if isinstance(one, LogReplaced) else [])
            board.fold(one, now_us())

    feed.start(deliver)
    again = site
    try:
        until(lambda: board.caught_up and board.open_entries(now_us()), "this desk has read the alert")
        again = site.renewed()
        until(lambda: replaced and board.caught_up, "the desk has read the new log")
        assert not board.open_entries(now_us())
        again.start_worker()
        again.publish(RIVALS)
        until(lambda: board.open_entries(now_us()), "this desk has read the alert on the new log")
    finally:
        feed.stop()
        again.end()


def test_a_screen_whose_terminal_takes_no_more_output_ends_by_a_signal_all_the_same(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("held")
    outer, inner = pty.openpty()
    # Larger than what a terminal holds that nobody reads.
    termios.tcsetwinsize(inner, (200, 300))
    before = termios.tcgetattr(inner)
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy", "watch", "--as", RECIPIENT],
        env=environment(site.settings, TERM="xterm"), stdin=inner, stdout=inner, stderr=inner,
    )  # fmt: skip
    shown = b""
    while b"Starting" not in shown:
        shown += os.read(outer, 1000)
    until(lambda: writes_in_vain(process.pid), "the terminal takes no more")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert termios.tcgetattr(inner) == before
    os.close(inner)
    os.close(outer)


def writes_in_vain(process: int) -> bool:
    """One of its threads waits in the kernel as who writes to a full terminal does; the others wait otherwise."""
    return any(wchan.read_text() == "wait_woken" for wchan in Path(f"/proc/{process}/task").glob("*/wchan"))


def test_who_may_not_watch_is_told_in_one_line(a_site: Callable[..., WorkingSite], tmp_path: Path) -> None:
    site = a_site("refused")
    process = watching(site, "--once")
    out, error = process.communicate(timeout=60)
    # It may watch, but nobody works on this site: that is no quiet night.
    assert process.returncode == 3
    assert "No open alerts" in out
    assert "BLIND" in error
    # Not among the secrets of the bus: other tests hold that none of those is open.
    leaked = Path(shutil.copy(site.settings.secrets_path / site.site.user(RECIPIENT), tmp_path))
    leaked.chmod(0o644)
    process = watching(replace(site, settings=site.settings.model_copy(update={"secrets": tmp_path})), "--once")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "chmod 600" in error
    assert len(error.splitlines()) == 1
