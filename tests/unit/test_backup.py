"""Backup and restore of a home: what of it is kept, that either is done whole or not at all, and that a bus which was
paused runs again whatever happens."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import IO, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from deploy import archive, backup, pause
from deploy.archive import ArchiveError, Head
from deploy.backup import BackedUp, back_up, check, file_name, restore
from deploy.cli import app
from deploy.commands.interrupted import ENDING, ended_as_by_ctrl_c
from deploy.embedded import BusError, EmbeddedBus, held, lock_of
from deploy.pause import Pausing, alone
from deploy.provision import remove_kept
from deploy.sites import SITES_DIR, keep_site_files
from deploy.snapshot import snapshot
from producers.spool import Spool, Spooled
from schemas.settings import Settings
from schemas.site import read_site
from tests.full_disk import no_file_beyond
from tests.working_site import site_files, until

LOG = "kafka/data/demo.bus.clock.v1-0/00000000000000000000.log"
STATE = {
    LOG: "records",
    "kafka/data/demo.bus.clock.v1-0/00000000000000000000.index": "offsets",
    "kafka/data/.kafka_cleanshutdown": "",
    "kafka/data/meta.properties": "cluster.id=S",
    "registry/schemas.mv.db": "schemas",
    "secrets/admin": "password",
    "secrets/demo.bus": "password",
    "secrets/our-county.bus": "password",
    "secrets/our-county.lock": "password of who is called so",
    "tls/ca.key": "key",
    "import/nyc-history/city-jail.roster.json": "{}",
    "quarantine/demo/20260301T000000/list.csv": "rows",
    "simulator/county.json": "[]",
    "sites/our-county/site.toml": "name",
}
NO_STATE = {
    "bus.lock": "", "bus.pid": "1", "backup.lock": "", "logs/kafka.log": "log", "run/server.properties": "password",
    "secrets/.provision.lock": "", "secrets/.demo.bus.4711": "passw", "kafka/data/.lock": "",
    "simulator/county.lock": "", "simulator/county.new": "[", "import/nyc-history/city-jail.roster.lock": "",
    "import/nyc-history/city-jail.roster.new": "{", "kafka/hs_err_pid1.log": "", "backup.part/tls/ca.pem": "old",
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SALLYPORT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(pause, "MOMENT_S", 0.1)
    monkeypatch.setattr(pause, "LOOK_EVERY_S", 0.05)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    for name, content in {**STATE, **NO_STATE}.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "backups").mkdir()
    return home


def ignore(*_: object) -> Callable[[int], None]:
    return lambda _: None


def backed_up(home: Path, told: Callable[[str], None] = lambda _: None) -> BackedUp:
    return back_up(Settings(home=home), home.parent / "backups", told, ignore)


def restored(archived: Path, home: Path) -> Head:
    with archived.open("rb") as source:
        return restore(Settings(home=home), source, ignore)


def content(home: Path) -> dict[str, str]:
    return {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}


def archive_of(home: Path) -> Path:
    file = backed_up(home).file
    assert file is not None
    return file


def backups(home: Path) -> list[Path]:
    return list((home.parent / "backups").iterdir())


# -- what is kept --------------------------------------------------------------------------------------------------


def test_all_that_a_bus_is_comes_back_and_nothing_of_a_run_does(home: Path) -> None:
    before = content(home)
    assert restored(archive_of(home), home.parent / "new" / "home").sites == ("demo", "our-county")
    assert content(home.parent / "new" / "home") == STATE
    # The home is as it was, but for what an earlier, killed backup left.
    assert content(home) == {name: text for name, text in before.items() if not name.startswith("backup.part")}


def test_what_is_restored_is_closed_to_others_whatever_it_was_before(home: Path) -> None:
    (home / "tls" / "ca.key").chmod(0o666)
    file = archive_of(home)
    assert file.stat().st_mode & 0o777 == 0o600
    new = home.parent / "new"
    mask = os.umask(0)
    try:
        new.mkdir(mode=0o777)
        restored(file, new)
    finally:
        os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in (new, *new.rglob("*")) if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in new.rglob("*") if path.is_file()} == {0o600}


def test_passwords_that_are_elsewhere_are_kept_too(home: Path) -> None:
    elsewhere = (home / "secrets").rename(home.parent / "elsewhere")
    back_up(Settings(home=home, secrets=elsewhere), home.parent / "backups", lambda _: None, ignore)
    (file,) = backups(home)
    restored(file, home.parent / "new")
    assert content(home.parent / "new") == STATE


def test_what_changes_while_the_archive_is_written_is_in_it_as_it_was(home: Path) -> None:
    def grow(_: int) -> Callable[[int], None]:
        with (home / LOG).open("a") as log:
            log.write(" and more")
        for name in ("secrets/demo.bus", "kafka/data/meta.properties", LOG.replace(".log", ".index")):
            (home / name).write_text("written anew, in place")
        return lambda _: None

    done = back_up(Settings(home=home), home.parent / "backups", lambda _: None, grow)
    assert done.file is not None
    restored(done.file, home.parent / "new")
    assert content(home.parent / "new") == STATE


def test_after_a_kill_the_indexes_which_the_broker_makes_anew_are_left_out(home: Path) -> None:
    (home / "kafka" / "data" / ".kafka_cleanshutdown").unlink()
    restored(archive_of(home), home.parent / "new")
    kept = {name: text for name, text in STATE.items() if not name.endswith((".index", ".kafka_cleanshutdown"))}
    assert content(home.parent / "new") == kept


def test_a_torn_end_that_the_broker_cuts_off_after_a_kill_is_still_in_the_archive(home: Path) -> None:
    (home / "kafka" / "data" / ".kafka_cleanshutdown").unlink()

    def cut(_: int) -> Callable[[int], None]:
        os.truncate(home / LOG, 3)
        return lambda _: None

    assert back_up(Settings(home=home), home.parent / "backups", lambda _: None, cut).file is not None


def test_where_there_are_no_links_logs_are_copied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_links)
    restored(archive_of(home), home.parent / "new")
    assert content(home.parent / "new") == STATE


def test_what_a_living_publisher_has_not_sent_is_kept(home: Path) -> None:
    spool = Spool.create(home / "spool" / "demo" / "county-jail")
    waiting = Spooled("HousingAssigned", "topic", b"key", b"body", (("ce_id", "1"),), "the schema")
    try:
        spool.add([waiting])
        restored(archive_of(home), home.parent / "new")
        spool.add([waiting])
    finally:
        spool.close()
    (copy,) = Spool.left_behind(home.parent / "new" / "spool" / "demo" / "county-jail")
    assert [event for _, event in copy.after(0, 9)] == [waiting]
    copy.close()


def test_a_damaged_spool_is_kept_as_it_is(home: Path) -> None:
    path = home / "spool" / "demo" / "county-jail" / "00000001.spool"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all " * 99)
    restored(archive_of(home), home.parent / "new")
    assert (home.parent / "new" / path.relative_to(home)).read_bytes() == path.read_bytes()


def test_a_spool_that_can_not_be_copied_whole_is_not_kept_without_what_was_accepted_last(home: Path) -> None:
    spool = Spool.create(home / "spool" / "demo" / "county-jail")
    spool.add([Spooled("HousingAssigned", "topic", b"key", b"body", (), "the schema")])
    try:
        # There is room for the file, and none for what is in SQLite's log beside it.
        with (
            no_file_beyond(spool.path.stat().st_size),
            pytest.raises(OSError, match="this spool can't be copied whole") as refused,
        ):
            snapshot(Settings(home=home), home / "snapshot")
    finally:
        spool.close()
    assert refused.value.filename == str(spool.path)


def test_a_spool_that_is_sent_and_gone_meanwhile_is_missed_by_nobody(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, connect = home / "spool" / "demo" / "county-jail" / "00000001.spool", sqlite3.connect
    path.parent.mkdir(parents=True)
    path.touch()

    def gone(*given: Any, **named: Any) -> Any:
        path.unlink(missing_ok=True)
        return connect(*given, **named)

    monkeypatch.setattr(sqlite3, "connect", gone)
    restored(archive_of(home), home.parent / "new")
    assert content(home.parent / "new") == STATE


def test_the_files_of_a_site_of_ones_own_are_kept_as_the_last_start_read_them(tmp_path: Path) -> None:
    directory, home = site_files(tmp_path, "our-county"), tmp_path / "home"
    site = read_site(directory)
    gone = home / "sites" / "our-county" / "agreements" / "ended.toml"
    gone.parent.mkdir(parents=True)
    gone.touch()
    for given in (directory, directory / "site.toml"):
        keep_site_files(Settings(home=home, site_file=given), site)
        assert read_site(home / "sites" / "our-county") == site
        assert not gone.exists()
    # A restored site works from the copy: it stays.
    keep_site_files(Settings(home=home, site_file=home / "sites" / "our-county"), site)
    assert read_site(home / "sites" / "our-county") == site


def test_the_files_of_a_shipped_site_come_with_the_program(tmp_path: Path) -> None:
    for given in (None, SITES_DIR / "demo"):
        keep_site_files(Settings(home=tmp_path, site_file=given), read_site(SITES_DIR / "demo"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_named_by_machine_bus_and_time() -> None:
    made = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)
    named = file_name(made, "jail_1.county.example", "3f9ac214")
    assert named == "sallyport-jail-1-3f9ac214-20260301T021500Z.tar.gz"


# -- whole or not at all -------------------------------------------------------------------------------------------


def test_a_home_that_is_not_empty_is_left_as_it_is(home: Path) -> None:
    file, before = archive_of(home), content(home)
    with pytest.raises(BusError, match="is not empty"):
        restored(file, home)
    assert content(home) == before


def test_of_a_damaged_archive_nothing_is_restored(home: Path) -> None:
    file = archive_of(home)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ArchiveError):
        restored(file, home.parent / "new")
    assert not (home.parent / "new").exists()
    (home.parent / "empty").mkdir()
    with pytest.raises(ArchiveError):
        restored(file, home.parent / "empty")
    assert list((home.parent / "empty").iterdir()) == []


def test_a_restore_that_was_killed_is_begun_again(home: Path) -> None:
    new = home.parent / "new"
    (new / "restore.part" / "kafka").mkdir(parents=True)
    (new / "restore.part" / "kafka" / "half").touch()
    (new / "restore.lock").touch()
    restored(archive_of(home), new)
    assert content(new) == STATE


def test_in_a_home_that_is_being_restored_no_other_restore_begins(home: Path) -> None:
    new, file = home.parent / "new", archive_of(home)

    def another(_: int) -> Callable[[int], None]:
        with pytest.raises(BusError, match="by another process"):
            restored(file, new)
        return lambda _: None

    with file.open("rb") as source:
        restore(Settings(home=new), source, another)
    assert content(new) == STATE


def test_what_comes_into_the_home_meanwhile_is_not_lost(home: Path) -> None:
    new, file = home.parent / "new", archive_of(home)

    def publish(_: int) -> Callable[[int], None]:
        (new / "tls").mkdir()
        (new / "tls" / "mine").write_text("mine")
        return lambda _: None

    with file.open("rb") as source, pytest.raises(OSError, match="not empty"):
        restore(Settings(home=new), source, publish)
    assert content(new) == {"tls/mine": "mine"}


@pytest.mark.parametrize("program", ["kafka", "registry"])
def test_files_of_a_newer_program_are_refused(home: Path, program: str) -> None:
    head = backed_up(home).head
    newer, out = replace(head, programs={**head.programs, program: "10.0"}, files=0, size=0), io.BytesIO()
    archive.write(out, newer, [], lambda _: None)
    out.seek(0)
    with pytest.raises(ArchiveError, match=rf"{program} 10\.0.*update"):
        check(out, ignore)
    out.seek(0)
    with pytest.raises(ArchiveError, match=rf"{program} 10\.0.*update"):
        restore(Settings(home=home.parent / "new"), out, ignore)
    assert not (home.parent / "new").exists()


def test_a_disk_that_is_too_small_is_known_before_anything_is_written(home: Path) -> None:
    out, size = io.BytesIO(), shutil.disk_usage(home).total + (1 << 30)
    archive.write(out, replace(backed_up(home).head, files=0, size=size), [], lambda _: None)
    out.seek(0)
    with pytest.raises(BusError, match="make room"):
        restore(Settings(home=home.parent / "new"), out, ignore)
    assert not (home.parent / "new").exists()


@pytest.mark.parametrize("name", ["sallyport.tar.gz", "nowhere/sallyport.tar.gz"])
def test_no_file_is_written_over_and_no_directory_made(home: Path, name: str) -> None:
    target = home.parent / "backups" / name
    if target.parent.exists():
        target.write_text("an earlier one")
    with pytest.raises(BusError, match=r"there already|no directory"):
        back_up(Settings(home=home), target, lambda _: None, ignore)
    assert [path.read_text() for path in backups(home)] in (["an earlier one"], [])


def no_links(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@pytest.mark.parametrize("link", [os.link, no_links], ids=["links", "no links"])
def test_a_file_that_came_while_the_backup_was_written_is_not_written_over(
    home: Path, monkeypatch: pytest.MonkeyPatch, link: Callable[..., None]
) -> None:
    monkeypatch.setattr(os, "link", link)
    target = home.parent / "backups" / "sallyport.tar.gz"

    def another(_: int) -> Callable[[int], None]:
        target.write_text("another one's")
        return lambda _: None

    with pytest.raises(BusError, match=r"sallyport\.tar\.gz is there already: name a new file"):
        back_up(Settings(home=home), target, lambda _: None, another)
    assert [(path, path.read_text()) for path in backups(home)] == [(target, "another one's")]


def test_where_a_name_can_not_be_given_none_is_left(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="Input/output"):
        backed_up(home)
    assert backups(home) == []


def test_two_buses_of_a_machine_share_a_directory_at_the_same_second(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noon(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Noon:
            return cls(2026, 3, 1, 12, tzinfo=tz)

    monkeypatch.setattr(backup, "datetime", Noon)
    other = home.parent / "other"
    shutil.copytree(home, other)
    (other / "secrets" / "our-county.bus").unlink()
    assert {backed_up(one).head.sites for one in (home, other)} == {("demo", "our-county"), ("demo",)}
    assert len(backups(home)) == 2


def test_where_no_bus_is_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(BusError, match="holds no bus"):
        back_up(Settings(home=tmp_path / "nothing"), tmp_path, lambda _: None, ignore)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_backup_left_goes_with_the_next(home: Path) -> None:
    def die(_: int) -> Callable[[int], None]:
        for path in backups(home):  # as a kill leaves it: not removed
            shutil.copy(path, home.parent / "left")
            (home.parent / "half").write_text(path.name)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(Settings(home=home), home.parent / "backups", lambda _: None, die)
    assert backups(home) == []
    (home.parent / "left").rename(home.parent / "backups" / (home.parent / "half").read_text())
    file = archive_of(home)
    assert backups(home) == [file]


# -- what is cut off leaves nothing ---------------------------------------------------------------------------------


@pytest.fixture
def left(home: Path) -> Path:
    """The snapshot of a backup that was killed."""
    left = home / "backup.part"
    (left / "secrets").mkdir()
    (left / "secrets" / "admin").write_text("password")
    return left


def start(home: Path) -> None:
    """A start of the bus, up to where it looks at its ports: two of them are the same."""
    with pytest.raises(BusError, match="three ports"):
        EmbeddedBus(Settings(home=home, kafka_port=1, controller_port=1)).start(Console(quiet=True))


def test_what_a_killed_backup_left_goes_when_the_bus_starts(home: Path, left: Path) -> None:
    start(home)
    assert not left.exists()


def test_what_a_backup_is_still_writing_stays_while_the_bus_starts_again(home: Path, left: Path) -> None:
    with alone(home):
        start(home)
        assert left.exists()


def test_a_bus_starts_also_where_what_was_left_can_not_be_removed(
    home: Path, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refused)
    start(home)
    assert left.exists()


def test_what_a_killed_backup_left_goes_with_a_site_that_is_removed(home: Path, left: Path) -> None:
    of_the_site, of_another = home / "quarantine" / "demo", home / "spool" / "our-county"
    of_another.mkdir(parents=True)
    assert remove_kept(home, "demo") == [of_the_site, left]
    assert (of_the_site.exists(), left.exists(), of_another.exists()) == (False, False, True)
    assert remove_kept(home, "demo") == []


def test_what_a_simulated_county_left_open_goes_with_its_site_and_no_other(home: Path) -> None:
    left_open = home / "simulator" / "county.json"
    assert left_open not in remove_kept(home, "demo")
    assert left_open.exists()
    assert remove_kept(home, "county") == [left_open]
    assert not left_open.exists()


@pytest.fixture
def signals() -> Iterator[None]:
    """They are as a session has them, for what is started from here, too, and whatever started the tests."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def running(
    home: Path, *arguments: str, stdin: IO[bytes] | int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "SALLYPORT_HOME": str(home)}
    command = [sys.executable, "-m", "deploy", *arguments]
    process = subprocess.Popen(command, env=environment, stdin=stdin, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_backup_whose_session_closes_leaves_nothing(home: Path, number: signal.Signals) -> None:
    os.truncate(home / LOG, 1 << 33)  # nothing on the disk, and half a minute to write
    with running(home, "backup", str(home.parent / "backups")) as process:
        until(lambda: [path for path in backups(home) if path.stat().st_size], "it is written", 30)
        assert (home / "backup.part").exists()
        process.send_signal(number)
        assert process.wait(20) == 130
    assert backups(home) == []
    assert not (home / "backup.part").exists()


@pytest.mark.usefixtures("signals")
def test_a_restore_whose_session_closes_leaves_nothing(home: Path) -> None:
    (home / LOG).write_bytes(os.urandom(1 << 22))
    file, new = archive_of(home), home.parent / "new"
    with running(new, "restore", "-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(file.read_bytes()[: 3 << 20])
        process.stdin.flush()
        until((new / "restore.part" / "kafka").exists, "it is restored", 30)
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 130
    assert not new.exists()


def interrupts(number: signal.Signals) -> bool:
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("first", ENDING)
def test_what_is_cleaned_up_is_not_broken_off_by_a_second_signal(first: signal.Signals) -> None:
    ended_as_by_ctrl_c()
    assert interrupts(first)
    assert not any(interrupts(second) for second in ENDING)


@pytest.mark.usefixtures("signals")
def test_what_nohup_lets_outlive_its_session_does() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended_as_by_ctrl_c()
    assert not interrupts(signal.SIGHUP)


def test_the_line_for_every_night_deletes_what_is_old_whole_or_cut_off_and_nothing_else(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^15 2 \* \* \*  sallyport backup /mnt/backup && (find .*)$", page, re.MULTILINE)
    whole, half = file_name(datetime.now(UTC), "jail1", "3f9ac214"), ".sallyport-3f9ac214.part"
    month_ago = time.time() - 32 * 86_400
    for age in ("old", "new"):
        (tmp_path / age).mkdir()
        for name in (whole, half, "another's"):
            (tmp_path / age / name).touch()
            if age == "old":
                os.utime(tmp_path / age / name, (month_ago, month_ago))
    subprocess.run(["/bin/sh", "-c", line.replace("/mnt/backup", str(tmp_path))], check=True)
    kept = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {f"new/{whole}", f"new/{half}", "new/another's", "old/another's"}


# -- the pause -----------------------------------------------------------------------------------------------------


class Up:
    """What `sallyport up` does with a bus, but for the bus: it holds the home's lock while it runs."""

    def __init__(self, home: Path) -> None:
        self.did: list[str] = []
        self.fails: str | None = None
        self._lock = lock_of(home)
        self._lock.acquire()
        (home / "bus.pid").write_text("4711")
        self.pausing = Pausing(home, self.end, self.begin, lambda: None if self._lock.is_locked else "it stands still")
        self.pausing.start()

    def end(self) -> None:
        self.did.append("end")
        self._lock.release()

    def begin(self) -> None:
        self.did.append("begin")
        if self.fails is not None:
            raise BusError(self.fails)
        self._lock.acquire()

    def stop(self) -> None:
        self.pausing.stop()
        self._lock.release()


@pytest.fixture
def up(home: Path) -> Iterator[Up]:
    up = Up(home)
    yield up
    up.stop()


def test_a_bus_that_runs_is_paused_and_runs_again(home: Path, up: Up) -> None:
    said = []
    done = backed_up(home, lambda text: said.append((text, list(up.did), up.pausing.trouble())))
    assert (done.paused, done.runs, up.did) == (True, True, ["end", "begin"])
    assert [(text, did) for text, did, _ in said] == [
        ("Pausing the bus (process 4711) ...", []),
        ("Taking a snapshot ...", ["end"]),
        ("Waiting until the bus runs again ...", said[-1][1]),
    ]
    assert {trouble for _, _, trouble in said} == {None}, "it stands still on purpose"
    assert not (home / "pause").exists()
    assert not (home / "paused").exists()


@pytest.mark.usefixtures("up")
def test_nobody_starts_the_bus_while_it_is_paused(home: Path) -> None:
    def look(text: str) -> None:
        if text.startswith("Taking"):
            assert held(home / "bus.lock")
            assert (home / "bus.pid").read_text() == "4711\n"

    assert backed_up(home, look).paused


@pytest.mark.parametrize("phase", ["Pausing", "Taking", "Waiting"])
def test_ctrl_c_leaves_no_half_file_and_the_bus_running_as_before(home: Path, up: Up, phase: str) -> None:
    def interrupt(text: str) -> None:
        if text.startswith(phase):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backed_up(home, interrupt)
    until(lambda: len(up.did) % 2 == 0 and held(home / "bus.lock"), "the bus ran again", 10)
    assert up.pausing.trouble() is None
    # It was whole already where only the bus was waited for.
    assert len(backups(home)) == (phase == "Waiting")
    assert not (home / "backup.part").exists()


def test_a_disk_that_is_full_in_the_middle_is_one_error_and_the_bus_runs_again(home: Path, up: Up) -> None:
    (home / LOG).write_bytes(os.urandom(1 << 20))
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space"):
        back_up(Settings(home=home), full, lambda _: None, ignore)
    until(lambda: up.did == ["end", "begin"] and held(home / "bus.lock"), "the bus ran again", 10)
    assert not (home / "backup.part").exists()


def test_a_backup_that_is_killed_in_the_pause_does_not_keep_the_bus_standing(home: Path, up: Up) -> None:
    with alone(home):
        (home / "pause").touch()
        until(lambda: up.did == ["end"], "it was paused", 10)
    # The request is still there; only the lock went with its holder.
    until(lambda: up.did == ["end", "begin"], "it ran again", 10)
    assert backed_up(home).runs


def test_a_bus_that_is_ended_in_the_pause_stays_ended_and_the_backup_is_whole(home: Path, up: Up) -> None:
    ended = threading.Thread(target=up.pausing.stop)

    def end(text: str) -> None:
        if text.startswith("Taking"):
            ended.start()
            until(lambda: not (home / "paused").exists(), "it ended", 10)

    done = backed_up(home, end)
    ended.join()
    assert (done.paused, done.runs, up.did) == (True, False, ["end"])
    assert done.file is not None
    assert restored(done.file, home.parent / "new").files == len(STATE)


def test_a_bus_that_cannot_run_again_says_why(home: Path, up: Up) -> None:
    up.fails = "port 19092 is in use"
    assert not backed_up(home).runs
    assert up.pausing.trouble() == "port 19092 is in use"


def test_who_runs_the_bus_and_does_not_pause_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "PAUSE_S", 0.2)
    (home / "bus.pid").write_text("4711\n")
    with lock_of(home), pytest.raises(BusError, match=r"process 4711.* did not pause within"):
        backed_up(home)
    assert not (home / "pause").exists()
    assert backups(home) == []


def test_one_backup_at_a_time(home: Path) -> None:
    with alone(home), pytest.raises(BusError, match="another backup"):
        backed_up(home)


# -- the commands --------------------------------------------------------------------------------------------------


def run(*arguments: str, code: int) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    lines = done.stderr.splitlines()
    assert len(lines) == (code != 0), done.stderr
    return lines[0] if lines else done.stdout


def test_commands_back_up_check_and_restore(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Backed up demo, our-county as of" in run("backup", str(home.parent / "backups"), code=0)
    (file,) = map(str, backups(home))
    assert "Whole: demo, our-county" in run("restore", file, "--check", code=0)
    assert "is not empty" in run("restore", file, code=2)
    monkeypatch.setenv("SALLYPORT_HOME", str(home.parent / "new"))
    told = run("restore", file, code=0)
    assert told.startswith("Restored demo, our-county as of ")
    assert f"sallyport up --site demo --site {home.parent / 'new' / 'sites' / 'our-county'}" in told
    assert content(home.parent / "new") == STATE


def test_a_script_is_told_in_json(home: Path) -> None:
    told = json.loads(run("backup", str(home.parent / "backups"), "--json", code=0))
    assert (told["sites"], told["paused"], told["runs"]) == (["demo", "our-county"], False, True)
    assert Path(told["file"]).stat().st_size == told["archive_size"]
    told = json.loads(run("restore", told["file"], "--check", "--json", code=0))
    assert (told["files"], told["restored"]) == (len(STATE), False)


def test_commands_say_in_one_line_what_is_wrong(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = home.parent / "broken.tar.gz"
    broken.write_bytes(b"\x1f\x8b")
    assert "cut off or damaged" in run("restore", str(broken), "--check", code=1)
    assert "No such file" in run("restore", str(home.parent / "nothing"), "--check", code=2)
    assert "Is a directory" in run("restore", str(home.parent), "--check", code=2)
    assert "no directory" in run("backup", str(home.parent / "no" / "where"), code=2)
    assert "no --json" in run("backup", "-", "--json", code=2)
    monkeypatch.setenv("SALLYPORT_EMBEDDED", "false")
    assert "SALLYPORT_EMBEDDED" in run("backup", str(home.parent), code=2)
    assert "SALLYPORT_EMBEDDED" in run("restore", str(broken), code=2)


@pytest.mark.usefixtures("home")
def test_a_stream_is_backed_up_and_restored(tmp_path: Path) -> None:
    piped = CliRunner().invoke(app, ["backup", "-"])
    assert piped.exit_code == 0
    environment = {"SALLYPORT_HOME": str(tmp_path / "new")}
    done = CliRunner().invoke(app, ["restore", "-"], input=piped.stdout_bytes, env=environment)
    assert done.exit_code == 0, done.output
    assert content(tmp_path / "new") == STATE


def test_a_bus_that_does_not_come_back_has_its_own_exit_code(home: Path, up: Up) -> None:
    up.fails = "port 19092 is in use"
    assert "not started again" in run("backup", str(home.parent / "backups"), code=3)
    assert len(backups(home)) == 1
