"""The spool: what was accepted is on disk, in order, until it is dropped; dead processes' spools are taken over."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.spool import Spool, Spooled, SpoolFullError


def item(text: str) -> Spooled:
    return Spooled("BookingReported", "a.topic", text.encode(), text.encode() * 3, (("ce_id", text),))


def everything(spool: Spool) -> list[bytes]:
    return [spooled.key for _, spooled in spool.after(0, 10_000)]


def test_events_come_back_as_they_were_and_in_order(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "spool")
    spool.add([item("a"), item("b")])
    spool.add([item("c")])
    assert [spooled for _, spooled in spool.after(0, 10)] == [item("a"), item("b"), item("c")]
    assert [spooled for _, spooled in spool.after(2, 10)] == [item("c")]
    spool.close()


def test_only_its_owner_may_look_into_it(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "spool")
    spool.add([item("a")])
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    spool.close()


def test_an_empty_spool_leaves_nothing_behind(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "spool")
    number = spool.add([item("a")])
    spool.drop([number])
    spool.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_spool_with_events_stays_and_is_taken_over_by_the_next(tmp_path: Path) -> None:
    first = Spool.create(tmp_path / "spool")
    first.add([item("a"), item("b")])
    first.close()
    (found,) = Spool.left_behind(tmp_path / "spool")
    assert everything(found) == [b"a", b"b"]
    found.close()


def test_the_spool_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    first = Spool.create(tmp_path / "spool")
    first.add([item("a")])
    assert Spool.left_behind(tmp_path / "spool") == []
    first.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from producers.spool import Spool, Spooled
spool = Spool.create(Path(sys.argv[1]))
for number in range(10_000):
    spool.add([Spooled("T", "t", str(number).encode(), b"", ())])
    print(number, flush=True)
"""


def test_what_was_accepted_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    program = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "spool")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 50:
            break
    process.send_signal(signal.SIGKILL)
    accepted = 50 + len(process.stdout.read().split())
    process.wait()
    (found,) = Spool.left_behind(tmp_path / "spool")
    kept = [int(key) for key in everything(found)]
    assert kept == list(range(len(kept)))
    # One more may be on disk than was said: it was killed between the two.
    assert accepted + 1 <= len(kept) <= accepted + 2
    found.close()


def test_a_disk_that_takes_no_more_is_said_and_nothing_of_the_batch_is_accepted(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "spool")
    spool.add([item("a")])
    (pages,) = spool._db.execute("PRAGMA page_count").fetchone()
    spool._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(SpoolFullError, match="free some disk"):
        spool.add([item("x" * 2_000) for _ in range(50)])
    assert everything(spool) == [b"a"]
    spool.close()


@given(st.lists(st.one_of(st.lists(st.text(max_size=5), min_size=1, max_size=5), st.integers(0, 9)), max_size=12))
def test_whatever_is_added_and_dropped_the_rest_stays_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[str] | int]
) -> None:
    spool = Spool.create(tmp_path_factory.mktemp("spool"))
    model: list[tuple[int, bytes]] = []
    for step in steps:
        if isinstance(step, int):
            dropped = [number for number, _ in model[:step]]
            spool.drop(dropped)
            model = model[step:]
        else:
            last = spool.add([item(text) for text in step])
            model += [(last - len(step) + 1 + n, text.encode()) for n, text in enumerate(step)]
    assert [(number, spooled.key) for number, spooled in spool.after(0, 10_000)] == model
    assert len(spool) == len(model)
    spool.close()
