"""The spool: what it accepted it has, whatever happens to its process or its disk; and it is nobody else's to read."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from producers.spool import Spool, SpoolDamagedError, Spooled, SpoolFullError, waiting_in
from tests.full_disk import no_file_beyond

ROOT = Path(__file__).parents[2]


def spooled(text: str) -> Spooled:
    return Spooled(
        "HousingAssigned", "s.county-jail.housing-assigned.v1", b"k", text.encode(), (("ce_id", text),), "the schema"
    )


def raises(error: Exception) -> Callable[[object], None]:
    def fails(_: object) -> None:
        raise error

    return fails


def bodies(spool: Spool) -> list[str]:
    return [event.body.decode() for _, event in spool.after(0, 1_000_000)]


def left_by_a_killed_process(directory: Path, script: str) -> str:
    """Run a script that never ends by itself, kill it -9 once it says `now`; returns what it said before."""
    program = f"""
import sys
from pathlib import Path
from producers.spool import Spool, Spooled
def spooled(text):
    return Spooled("HousingAssigned", "t", b"k", text.encode(), (("ce_id", text),), "the schema")
directory = Path({str(directory)!r})
{script}
print("now", flush=True)
sys.stdin.read()
"""
    said = ""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "now\n":
                break
            said += line
        process.send_signal(signal.SIGKILL)
    return said


def test_events_come_back_whole_and_in_order(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled("a"), spooled("b")])
    spool.add([spooled("c")])
    assert [event for _, event in spool.after(0, 10)] == [spooled("a"), spooled("b"), spooled("c")]
    assert bodies(spool) == ["a", "b", "c"]
    assert len(spool) == 3


def test_what_is_dropped_is_gone_and_its_number_is_never_given_again(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled("a"), spooled("b")])
    last = spool.after(0, 10)[-1][0]
    assert spool.drop([1, last])
    spool.add([spooled("c")])
    assert [event.body for _, event in spool.after(last, 10)] == [b"c"]
    assert len(spool) == 1


def test_a_process_killed_after_add_has_lost_nothing(tmp_path: Path) -> None:
    left_by_a_killed_process(tmp_path, 'Spool.create(directory).add([spooled("a"), spooled("b")])')
    (spool,) = Spool.left_behind(tmp_path)
    assert bodies(spool) == ["a", "b"]


def test_a_torn_tail_is_cut_and_what_came_before_it_stands(tmp_path: Path) -> None:
    left_by_a_killed_process(
        tmp_path,
        """
spool = Spool.create(directory)
spool.add([spooled("whole")])
spool.add([spooled("torn" * 1000)])
""",
    )
    (log,) = tmp_path.glob("*.spool-wal")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 100)
    (spool,) = Spool.left_behind(tmp_path)
    assert bodies(spool) == ["whole"]
    spool.add([spooled("next")])
    assert bodies(spool) == ["whole", "next"]


def test_garbage_after_the_tail_changes_nothing(tmp_path: Path) -> None:
    left_by_a_killed_process(tmp_path, 'Spool.create(directory).add([spooled("a")])')
    (log,) = tmp_path.glob("*.spool-wal")
    with log.open("ab") as file:
        file.write(os.urandom(5000))
    (spool,) = Spool.left_behind(tmp_path)
    assert bodies(spool) == ["a"]


def test_a_damaged_file_is_named_and_kept(tmp_path: Path) -> None:
    tmp_path.joinpath("00000001.spool").write_bytes(b"no database at all" * 100)
    with pytest.raises(SpoolDamagedError, match=re.escape(str(tmp_path / "00000001.spool"))):
        Spool.left_behind(tmp_path)
    assert tmp_path.joinpath("00000001.spool").stat().st_size == 1800


def test_spools_of_dead_processes_are_taken_over_in_the_order_in_which_they_were_begun(tmp_path: Path) -> None:
    for text in "abc":
        left_by_a_killed_process(tmp_path, f'Spool.create(directory).add([spooled("{text}")])')
    for number in (3, 1, 2):
        tmp_path.joinpath(f"0000000{number}.spool").touch()
    assert [bodies(spool) for spool in Spool.left_behind(tmp_path)] == [["a"], ["b"], ["c"]]


def test_the_spool_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    alive = Spool.create(tmp_path)
    alive.add([spooled("mine")])
    assert Spool.left_behind(tmp_path) == []
    other = Spool.create(tmp_path)
    assert other.path != alive.path
    assert bodies(other) == []


def test_a_closed_spool_that_is_not_empty_is_the_next_ones(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled("a")])
    spool.close()
    spool.close()
    (taken,) = Spool.left_behind(tmp_path)
    assert bodies(taken) == ["a"]


def test_what_waits_is_counted_whoever_has_it_and_stays_where_it_is(tmp_path: Path) -> None:
    assert waiting_in(tmp_path / "of nobody") == waiting_in(tmp_path) == 0
    mine, closed = Spool.create(tmp_path), Spool.create(tmp_path)
    mine.add([spooled("a"), spooled("b")])
    closed.add([spooled("c")])
    closed.close()
    assert waiting_in(tmp_path) == waiting_in(tmp_path) == 3
    mine.add([spooled("d")])
    assert waiting_in(tmp_path) == 4
    (tmp_path / "00000009.spool").write_bytes(b"no database" * 100)
    with pytest.raises(SpoolDamagedError, match=re.escape("00000009.spool")):
        waiting_in(tmp_path)
    assert bodies(mine) == ["a", "b", "d"]


def test_what_can_not_be_looked_into_is_not_taken_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "00000001.spool").mkdir()  # as closed to everybody as another's is to us
    with pytest.raises(OSError, match=re.escape("00000001.spool")):
        waiting_in(tmp_path)
    (tmp_path / "no directory").touch()
    with pytest.raises(OSError, match="no directory"):
        waiting_in(tmp_path / "no directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_spool_that_is_another_s_is_not_taken_for_nothing(tmp_path: Path) -> None:
    with closing(Spool.create(tmp_path / "spool")) as spool:
        spool.add([spooled("a")])
        for closed in (spool.path, spool.path.parent):
            mode = closed.stat().st_mode
            closed.chmod(0)
            try:
                with pytest.raises(OSError, match=re.escape(str(closed))):
                    waiting_in(tmp_path / "spool")
            finally:
                closed.chmod(mode)


def test_a_spool_that_is_just_being_made_or_was_just_removed_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "00000001.spool").touch()
    (tmp_path / "00000002.spool").symlink_to(tmp_path / "gone")
    assert waiting_in(tmp_path) == 0


def test_an_empty_spool_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled("a")])
    spool.drop([1])
    spool.close()
    assert [path.name for path in tmp_path.iterdir() if path.name != "lock"] == []


def test_what_is_dropped_twice_is_gone_once(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled("a"), spooled("b")])
    for _ in range(2):
        assert spool.drop([1])
        assert len(spool) == 1
    spool.close()
    (taken,) = Spool.left_behind(tmp_path)
    assert bodies(taken) == ["b"]


def test_what_a_drop_removed_before_it_failed_is_not_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled("a"), spooled("b")])
    with monkeypatch.context() as broken:
        broken.setattr(Spool, "_shrink", raises(sqlite3.DatabaseError("database disk image is malformed")))
        with pytest.raises(sqlite3.DatabaseError):
            spool.drop([1])
    assert spool.drop([1])
    assert len(spool) == 1


def test_a_file_is_removed_by_what_is_in_it_and_not_by_what_was_counted(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled("a")])
    spool._waiting = 0
    spool.close()
    (taken,) = Spool.left_behind(tmp_path)
    assert bodies(taken) == ["a"]


def test_a_file_that_can_not_be_looked_into_at_its_end_is_kept(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool._db.execute("DROP TABLE spooled")
    spool.close()
    assert spool.path.exists()


def test_nothing_is_accepted_once_it_is_seen_that_a_spool_is_empty(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    looked = threading.Event()
    accepted: list[str] = []

    def add() -> None:
        looked.wait(10)
        with suppress(sqlite3.ProgrammingError):
            spool.add([spooled("late")])
            accepted.append("late")

    def looks() -> bool:
        looked.set()
        adding.join(0.3)
        return True

    adding = threading.Thread(target=add)
    adding.start()
    spool._holds_nothing = looks  # type: ignore[method-assign]
    spool.close()
    adding.join()
    assert accepted == []


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spool = Spool.create(tmp_path / "spool")
        spool.add([spooled("a")])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert {path.suffix for path in spool.path.parent.iterdir()} >= {".spool", ".spool-wal"}


def test_an_outage_s_disk_is_given_back_and_its_bytes_are_wiped(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled(f"SECRET-{n} " + "x" * 2000) for n in range(2000)])
    spool.drop(range(1, 2001))
    left = sorted(tmp_path.glob("*.spool*"))
    assert sum(path.stat().st_size for path in left) < 100_000
    assert not [path for path in left if b"SECRET" in path.read_bytes()]
    spool.add([spooled("after")])
    assert spool.after(2000, 10)[0][1] == spooled("after")


def test_a_full_disk_accepts_nothing_and_says_so(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled("before")])
    with no_file_beyond(200_000):
        with pytest.raises(SpoolFullError, match=r"takes no more events .* what did not fit was not accepted"):
            spool.add([spooled("x" * 1000) for _ in range(1000)])
        assert bodies(spool) == ["before"]
        assert len(spool) == 1
    spool.add([spooled("after")])
    assert bodies(spool) == ["before", "after"]


def test_a_full_disk_forgets_nothing_and_later_all(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.add([spooled("a"), spooled("b")])
    with no_file_beyond(1):
        assert not spool.drop([1, 2])
        assert bodies(spool) == ["a", "b"]
    assert spool.drop([1, 2])
    assert bodies(spool) == []


def test_a_spool_cannot_be_begun_on_a_full_disk(tmp_path: Path) -> None:
    with no_file_beyond(1), pytest.raises(SpoolFullError, match="free some disk"):
        Spool.create(tmp_path)
    Spool.create(tmp_path).add([spooled("later")])


def test_threads_may_add_while_others_drop(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)

    def add(name: str) -> None:
        for number in range(50):
            spool.add([spooled(f"{name}{number}")])

    adding = [threading.Thread(target=add, args=(name,)) for name in "ab"]
    for thread in adding:
        thread.start()
    sent = 0
    seen: list[str] = []
    while len(seen) < 100:
        rows = spool.after(sent, 7)
        seen += [event.body.decode() for _, event in rows]
        if rows:
            sent = rows[-1][0]
            spool.drop(number for number, _ in rows)
    for thread in adding:
        thread.join()
    assert [text for text in seen if text[0] == "a"] == [f"a{n}" for n in range(50)]
    assert len(spool) == 0
