"""Taking dead letters, and publishing them again, loses nothing that they say; where it does not go on, it says so."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fastavro
import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from deploy.commands import dlq
from deploy.dead_letters import Became, Letter
from deploy.publishing import CHUNK, Outcome
from producers.publisher import Publisher, PublishError
from producers.spool import waiting_in
from schemas.avro_files import whole_schema
from schemas.codec import WriterSchema, encode_event, frame, writer_schema
from schemas.events import Event
from streams.backtest import SCHEMA_IDS, SCHEMAS
from tests.county import JAIL, event, today
from tests.full_disk import no_file_beyond

LATER_ID = 9_999
LATER = json.loads(whole_schema("HousingAssigned"))
LATER["fields"].insert(3, {"name": "bed", "type": ["null", "string"], "default": None})
LATER_TIPS_ID = 9_998
LATER_TIPS = whole_schema("ContrabandTipped").replace('"WORK_CREW"]', '"WORK_CREW","DRONE"]')


class Box:
    """Stands for an agency's letters on the bus."""

    def __init__(self) -> None:
        self.schemas: Mapping[int, WriterSchema] = {
            **SCHEMAS,
            LATER_ID: writer_schema(json.dumps(LATER)),
            LATER_TIPS_ID: writer_schema(LATER_TIPS),
        }
        self.letters: list[Letter] = []
        self.settled: list[str] = []

    def holds(self, value: bytes, reason: str = "UNKNOWN_UNIT") -> None:
        number = len(self.letters)
        self.letters.append(Letter(str(number), number, reason, "of a test", "topic", 0, number, value))

    def read(self) -> list[Letter]:
        return self.letters

    def settle(self, settled: Iterable[Letter], became: Became, _: str) -> None:
        assert became is Became.PUBLISHED
        self.settled += [one.number for one in settled]


@pytest.fixture
def box(home: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    del home
    box = Box()
    monkeypatch.setattr(dlq, "dead_letters", lambda *_: nullcontext(box))
    return box


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(app, ["dlq", *arguments, "--as", JAIL])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def written(what: Event) -> bytes:
    """An event as this version writes it."""
    return encode_event(what, SCHEMA_IDS[type(what).__name__])


def of_a_newer_version(what: Event, schema_id: int, schema: Any, **more: Any) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), {**what.model_dump(), **more})
    return frame(schema_id, buffer.getvalue())


def housed(number: int) -> Event:
    return today("HousingAssigned", str(number), unit="4-A", name=f"housed {number}")


def mended(file: Path, events: Iterable[Event]) -> Path:
    lines = ({"type": type(what).__name__, **what.model_dump(mode="json")} for what in events)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


# -- what a newer version wrote --------------------------------------------------------------------------------------

IN_A_BED = of_a_newer_version(housed(1), LATER_ID, LATER, bed="B")
BY_DRONE = of_a_newer_version(event("ContrabandTipped", "ada"), LATER_TIPS_ID, json.loads(LATER_TIPS), method="DRONE")


def test_what_a_newer_version_says_more_is_not_taken_without_it(box: Box, tmp_path: Path) -> None:
    box.holds(written(housed(0)))
    box.holds(IN_A_BED)
    box.holds(BY_DRONE)
    box.holds(b"no Avro at all")
    done = run("take", "--out", str(tmp_path / "mend.jsonl"))
    assert (done.exit_code, done.stdout) == (0, f"1 event in {tmp_path / 'mend.jsonl'}\n")
    newer, unreadable = done.stderr.splitlines()
    assert newer == (
        "sallyport: not taken: 1, 2: a newer version wrote that and says more than this one knows: "
        "install it, then take them"
    )
    assert unreadable == "sallyport: 1 can't be read as events: see `sallyport dlq show`"
    (line,) = (tmp_path / "mend.jsonl").read_text().splitlines()
    assert json.loads(line)["booking_number"] == "B-0"
    told = json.loads(run("take", "--out", str(tmp_path / "scripted.jsonl"), "--json").stdout)
    assert (told["taken"], told["newer"], told["unreadable"]) == (["0"], ["1", "2"], 1)


def test_where_all_is_of_a_newer_version_nothing_is_taken_and_it_says_why(box: Box, tmp_path: Path) -> None:
    for _ in range(12):
        box.holds(IN_A_BED)
    done = run("take", "--out", str(tmp_path / "mend.jsonl"))
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("sallyport: nothing was taken: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more: a newer version")
    assert not (tmp_path / "mend.jsonl").exists()


def test_what_can_be_read_of_a_newer_version_s_event_is_shown_with_all_its_bytes(box: Box) -> None:
    box.holds(written(housed(0)))
    box.holds(IN_A_BED)
    known, newer = (json.loads(run("show", number).stdout) for number in "01")
    assert (known["event"]["unit"], known["bytes"]) == ("4-A", None)
    assert (newer["event"]["unit"], newer["bytes"]) == ("4-A", IN_A_BED.hex())


@pytest.fixture
def all_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for publishing on a bus that takes all."""

    def published(chunks: Iterable[Any], total: int, *_: Any, **__: Any) -> Outcome:
        assert sum(map(len, chunks)) == total
        return Outcome({"HousingAssigned": total}, 0, 0, False, None)

    monkeypatch.setattr(dlq, "publish_events", published)


@pytest.mark.usefixtures("all_arrives")
def test_a_letter_of_which_only_a_part_was_published_is_not_settled(box: Box, tmp_path: Path) -> None:
    box.holds(written(housed(0)))
    box.holds(IN_A_BED)
    done = run("publish", str(mended(tmp_path / "mend.jsonl", map(housed, range(2)))))
    assert (done.exit_code, done.stdout) == (0, "2 events published, 1 letter settled\n")
    assert done.stderr.startswith("sallyport: not settled: 1: a newer version wrote that")
    assert box.settled == ["0"]


# -- what breaks off -------------------------------------------------------------------------------------------------


def interrupted_after_the_first(monkeypatch: pytest.MonkeyPatch, then: Exception | None = None) -> None:
    """Ctrl-C, once some events are accepted; and what goes wrong with them at the same time."""
    accept = Publisher.publish_many

    def accepts(self: Publisher, events: Iterable[Event]) -> None:
        if then is not None and self.pending:
            os.kill(os.getpid(), signal.SIGINT)
            raise then
        accept(self, events)
        if then is None:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Publisher, "publish_many", accepts)


def test_ctrl_c_ends_publishing_with_how_many_were_not_accepted(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after_the_first(monkeypatch)
    box.holds(written(housed(0)))
    file = mended(tmp_path / "mend.jsonl", map(housed, range(CHUNK + 3)))
    done = run("publish", str(file))
    assert (done.exit_code, done.stdout) == (130, "")
    assert done.stderr.splitlines()[-1] == (
        "sallyport: interrupted: not accepted: 3, in the spool: 500; no letter is settled: do it again"
    )
    told = run("publish", str(file), "--json")
    assert (told.exit_code, json.loads(told.stdout)) == (
        130,
        {
            "published": {"HousingAssigned": CHUNK},
            "waiting": 2 * CHUNK,
            "not_accepted": 3,
            "stopped": None,
            "settled": [],
        },
    )
    assert waiting_in(tmp_path / "home" / "spool" / "demo" / JAIL) == 2 * CHUNK
    assert box.settled == []


def test_what_stopped_it_as_well_is_told_beside_ctrl_c(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after_the_first(monkeypatch, PublishError("the broker refuses"))
    done = run("publish", str(mended(tmp_path / "mend.jsonl", map(housed, range(CHUNK + 3)))))
    assert (done.exit_code, box.settled) == (130, [])
    line = done.stderr.splitlines()[-1]
    assert line.startswith("sallyport: 500 of 503 accepted; the broker refuses; interrupted: not accepted: 3,")


def test_a_bus_that_is_away_is_no_interruption(box: Box, tmp_path: Path) -> None:
    box.holds(written(housed(0)))
    done = run("publish", str(mended(tmp_path / "mend.jsonl", [housed(0)])), "--wait", "0")
    assert (done.exit_code, box.settled) == (3, [])
    assert done.stderr == ("sallyport: the bus is away: what was accepted waits in the spool. Do it again to settle\n")


def test_a_disk_that_is_full_names_the_file_and_leaves_no_part_of_it(box: Box, tmp_path: Path) -> None:
    for number in range(3):
        box.holds(written(housed(number)))
    out = tmp_path / "mend.jsonl"
    with no_file_beyond(1_000):
        done = run("take", "--out", str(out))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"sallyport: {out}: File too large\n"
    assert not out.exists()
    assert run("take", "--out", str(out)).exit_code == 0
    assert len(out.read_text().splitlines()) == 3
