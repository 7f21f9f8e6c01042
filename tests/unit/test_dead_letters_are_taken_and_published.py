"""Taking dead letters, and publishing them again: where it does not go on, it says so."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from deploy.commands import dlq
from deploy.dead_letters import Letter
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
