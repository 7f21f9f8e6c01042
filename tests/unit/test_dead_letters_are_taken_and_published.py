"""Taking dead letters, and publishing them again: where it does not go on, it says so."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from deploy.commands import dlq
from deploy.dead_letters import Became, Letter
from deploy.publishing import CHUNK
from producers.publisher import Publisher, PublishError
from producers.spool import waiting_in
from schemas.codec import encode_event
from schemas.events import Event
from streams.backtest import SCHEMA_IDS, SCHEMAS
from tests.county import JAIL, today
from tests.full_disk import no_file_beyond


class Box:
    """Stands for an agency's letters on the bus."""

    def __init__(self) -> None:
        self.schemas = SCHEMAS
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
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """No bus is there."""
    monkeypatch.setenv("SALLYPORT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SALLYPORT_SITE", "demo")
    monkeypatch.setenv("SALLYPORT_SECURITY_PROTOCOL", "PLAINTEXT")
    monkeypatch.setenv("SALLYPORT_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("SALLYPORT_REGISTRY", "http://127.0.0.1:1")
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


def housed(number: int) -> Event:
    return today("HousingAssigned", str(number), unit="4-A", name=f"housed {number}")


def mended(file: Path, events: Iterable[Event]) -> Path:
    lines = ({"type": type(what).__name__, **what.model_dump(mode="json")} for what in events)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


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
