"""What is written is judged whole before any of it is published, is never held whole; what was accepted is told."""

from __future__ import annotations

import json
import os
import stat
import threading
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy import publishing
from deploy.cli import app
from deploy.publishing import CHUNK, Written, opened
from producers.event_json import UnreadableError
from producers.publisher import Publisher, PublishError
from producers.spool import waiting_in
from schemas.events import Event
from tests.county import JAIL, MAIN, SITE
from tests.full_disk import no_file_beyond

AGENCY = SITE.agency_by_id[JAIL]


def housing(number: int, **changes: Any) -> dict[str, Any]:
    person = {"kind": "LOCAL", "value": str(number), "issuer": "jms", "verified": "SYSTEM"}
    return {
        "type": "HousingAssigned",
        "head": {"time": "2026-03-01T14:02:00-05:00", "persons": [{"role": "SUBJECT", "ids": [person]}]},
        "facility": MAIN,
        "booking_number": f"26-{number}",
        "unit": "4-A",
        **changes,
    }


def lines(events: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def published(file: Path, *options: str, text: str = "") -> tuple[int, dict[str, Any], list[str]]:
    """Exit code, result and what was said."""
    done = CliRunner().invoke(app, ["publish", str(file), "--as", JAIL, "--wait", "0", "--json", *options], input=text)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, json.loads(done.stdout) if done.stdout else {}, done.stderr.splitlines()


def spooled(home: Path) -> int:
    return waiting_in(home / "spool" / "demo" / JAIL)


# -- what was accepted is told ---------------------------------------------------------------------------------------


def test_a_disk_that_is_full_in_the_middle_ends_it_with_what_was_accepted(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines(map(housing, range(4 * CHUNK))))
    with no_file_beyond(1_000_000):
        code, told, said = published(file)
    accepted = spooled(home)
    assert 0 < accepted < 4 * CHUNK
    assert (code, told["published"], told["waiting"]) == (2, {"HousingAssigned": accepted}, accepted)
    assert told["not_accepted"] == 4 * CHUNK - accepted
    assert "takes no more events" in told["stopped"]
    assert said == [f"sallyport: {accepted:,} of 2,000 accepted; {told['stopped']}"]


def test_a_refusal_in_the_middle_ends_it_with_what_was_accepted(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = Publisher.publish_many

    def refused_from_then_on(self: Publisher, events: Iterable[Event]) -> None:
        if self.pending:
            raise PublishError("the broker refuses")
        accept(self, events)

    monkeypatch.setattr(Publisher, "publish_many", refused_from_then_on)
    file = tmp_path / "events.jsonl"
    file.write_text(lines(map(housing, range(CHUNK + 1))))
    code, told, said = published(file)
    assert (code, told["published"], told["not_accepted"]) == (2, {"HousingAssigned": CHUNK}, 1)
    assert said == ["sallyport: 500 of 501 accepted; the broker refuses"]
    assert spooled(home) == CHUNK


def test_what_is_accepted_whole_says_that_nothing_stopped_it(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines(map(housing, range(3))))
    code, told, _ = published(file)
    assert (code, told) == (
        3,
        {
            "published": {"HousingAssigned": 3},
            "rejected": 0,
            "waiting": 3,
            "not_accepted": 0,
            "stopped": None,
            "dry_run": False,
        },
    )
    assert spooled(home) == 3


# -- judged whole, held in pieces ------------------------------------------------------------------------------------


def test_nothing_is_published_where_the_last_of_many_is_wrong(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines([*map(housing, range(CHUNK + 5)), housing(0, unit="9-Z")]))
    code, told, said = published(file)
    assert (code, told["published"], [one["line"] for one in told["problems"]]) == (1, {}, [CHUNK + 6])
    assert said[-1] == "sallyport: nothing was published"
    assert not home.exists()


def test_what_comes_through_a_pipe_is_judged_and_published_as_a_file_is(home: Path) -> None:
    code, told, _ = published(Path("-"), text=lines(map(housing, range(3))))
    assert (code, told["published"]) == (3, {"HousingAssigned": 3})
    code, told, _ = published(Path("-"), text=lines([housing(0), housing(1, unit="9-Z")]))
    assert (code, told["published"]) == (1, {})
    assert spooled(home) == 3


def test_what_can_be_read_once_is_kept_where_nobody_else_reads_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("what is written",))
    writer.start()
    with opened(pipe) as copy:
        kept = os.fstat(copy.fileno())
        assert (kept.st_nlink, stat.S_IMODE(kept.st_mode) & 0o077) == (0, 0)
        for _ in range(2):
            copy.seek(0)
            assert copy.read() == b"what is written"
    writer.join()


def test_a_file_that_changes_between_judging_and_publishing_is_not_published(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines(map(housing, range(3))))
    with opened(file) as given:
        written = Written(given, AGENCY, SITE)
        assert written.judged().good == {"HousingAssigned": 3}
        with file.open("a") as more:
            more.write(lines([housing(3)]))
        with pytest.raises(UnreadableError, match="it changed while it was read"):
            next(written.chunks())


def test_what_is_published_takes_no_more_memory_than_a_piece_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "CHUNK", 10)
    file = tmp_path / "events.jsonl"
    file.write_text(lines(map(housing, range(600))))
    with opened(file) as given:
        written = Written(given, AGENCY, SITE)
        next(written.chunks())  # what is made once
        tracemalloc.start()
        try:
            assert written.judged().good == {"HousingAssigned": 600}
            assert sum(map(len, written.chunks())) == 600
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < file.stat().st_size, "all events held at once take twenty times as much"


def test_of_very_many_problems_the_first_are_kept_and_the_others_counted(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "TOLD", 30)
    file = tmp_path / "events.jsonl"
    file.write_text(lines(housing(number, unit="9-Z") for number in range(40)))
    code, told, said = published(file)
    assert (code, len(told["problems"]), told["more_problems"]) == (1, 30, 10)
    assert said[-2:] == ["sallyport: and 20 more", "sallyport: nothing was published"]
    assert not home.exists()


def test_good_events_go_on_and_the_others_are_written_down_in_a_second_reading(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines([housing(0), housing(1, unit="9-Z"), housing(2)]) + "{broken\n")
    code, told, _ = published(file, "--keep-going")
    assert (code, told["published"], told["rejected"]) == (1, {"HousingAssigned": 2}, 2)
    rejected = [json.loads(line) for line in (tmp_path / "events.jsonl.rejected.jsonl").read_text().splitlines()]
    assert [(one["line"], one["event"]) for one in rejected] == [(2, housing(1, unit="9-Z")), (4, "{broken")]
    assert spooled(home) == 2
