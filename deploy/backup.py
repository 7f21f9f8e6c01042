"""Backup and restore of the bus in a home: into one file, and out of one into an empty home."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import filelock

from deploy import archive, artifacts, java, watchdog
from deploy.archive import FORMAT, Advance, ArchiveError, Head, Kept
from deploy.embedded import BusError, data_directory, require_space
from deploy.left_snapshot import SNAPSHOT
from deploy.pause import alone, runs_again, standing_still
from deploy.private_files import PRIVATE_DIRECTORY, PRIVATE_FILE, private_directory
from deploy.snapshot import snapshot
from schemas.settings import Settings

RESTORING: Final = ("restore.lock", "restore.part")
"""What a home holds while it is restored; no bus starts in a home where they are."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was made."""

    file: Path | None
    """None: it went to a stream."""
    head: Head
    paused: bool
    """The bus ran, and stood still for it."""
    runs: bool
    """A bus that was paused runs again; true where none had to be."""


Told = Callable[[str], None]
"""Told, in a few words, what is being done."""
Begun = Callable[[int], Advance]
"""Told how many bytes are to be done; gives what is told of progress."""


def back_up(settings: Settings, target: Path | IO[bytes], told: Told, begun: Begun) -> BackedUp:
    """Write everything that the bus of this home is into an archive: a directory, a new file, or a stream.

    A running `sallyport up` is paused while the snapshot is made. The file is there whole or not at all. Raises
    BusError, ArchiveError, OSError; the bus runs on then as before.
    """
    settings = _whole_paths(settings)
    home = settings.home
    if not data_directory(home).exists():
        raise BusError(f"{home} holds no bus: nothing to back up. Is SALLYPORT_HOME right?")
    if home.stat().st_uid != os.geteuid():
        raise BusError(f"{home} is another user's: back up as the user who runs the bus")
    with alone(home), _scratch(home / SNAPSHOT) as scratch, _opened(target, home) as (out, file):
        with standing_still(home, told) as paused:
            _require_no_process(home)
            made = datetime.now(UTC)
            told("Taking a snapshot ...")
            files = snapshot(settings, scratch)
        head = _head(files, made)
        archive.write(out, head, files, begun(head.size))
    if not paused:
        return BackedUp(file, head, paused=False, runs=True)
    told("Waiting until the bus runs again ...")
    return BackedUp(file, head, paused=True, runs=runs_again(home))


def check(source: IO[bytes], begun: Begun) -> Head:
    """Read an archive to its end and hold it to its manifest; nothing is written. Raises ArchiveError, OSError."""

    def begin(head: Head) -> Advance:
        _require_known_programs(head)
        return begun(head.size)

    return archive.read(source, lambda _: Path(os.devnull).open("wb"), begin)


def restore(settings: Settings, source: IO[bytes], begun: Begun) -> Head:
    """Put a backup into an empty home, whole or not at all.

    Raises BusError where the home is not empty or its disk too small, ArchiveError, OSError. Then it is as it was.
    """
    home = _whole_paths(settings).home

    def begin(head: Head) -> Advance:
        _require_known_programs(head)
        require_space(home, head.size, "what is in the backup")
        return begun(head.size)

    _require_empty(home)
    made_it = not home.exists()
    home.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    lock = filelock.FileLock(home / "restore.lock", mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise BusError(f"{home} is being restored by another process: wait for its end") from None
    draft = home / "restore.part"
    moved: list[Path] = []
    try:
        shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
        private_directory(draft)
        head = archive.read(source, lambda name: _placed(draft, name), begin)
        # What was written is on the disk before it counts.
        os.sync()
        for path in sorted(draft.iterdir()):
            path.rename(home / path.name)
            moved.append(home / path.name)
        private_directory(home)
        draft.rmdir()
    except BaseException:
        for path in (*moved, draft):
            shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        (home / "restore.lock").unlink(missing_ok=True)
        lock.release()
        if made_it:
            with suppress(OSError):
                home.rmdir()  # nothing came into it
    return head


def file_name(made: datetime, host: str, bus: str) -> str:
    """The name of an archive in a directory, such as `sallyport-jail1-3f9ac214-20260301T021500Z.tar.gz`.

    `bus` is what tells the bus from others of that machine.
    """
    return f"sallyport-{_plain(host)}-{bus}-{made:%Y%m%dT%H%M%SZ}.tar.gz"


def _plain(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", host.partition(".")[0]).strip("-") or "host"


def _whole_paths(settings: Settings) -> Settings:
    return settings.model_copy(update={"home": settings.home.expanduser().resolve()})


def _head(files: list[Kept], made: datetime) -> Head:
    users = [kept.name.removeprefix("secrets/") for kept in files if kept.name.startswith("secrets/")]
    return Head(
        FORMAT,
        made.isoformat(timespec="seconds"),
        tuple(sorted(user.removesuffix(".bus") for user in users if user.endswith(".bus"))),
        importlib.metadata.version("sallyport"),
        {name: program.version for name, program in artifacts.pinned().items()},
        len(files),
        sum(kept.size for kept in files),
    )


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """A directory's place, emptied before and after."""
    shutil.rmtree(directory, ignore_errors=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _opened(target: Path | IO[bytes], home: Path) -> Iterator[tuple[IO[bytes], Path | None]]:
    """Where to write, and the name that it gets when the block has ended well."""
    if not isinstance(target, Path):
        yield target, None
        target.flush()
        return
    host = socket.gethostname()
    bus = hashlib.sha256(f"{host} {home}".encode()).hexdigest()[:8]
    target = target.expanduser().resolve()
    file = target / file_name(datetime.now(UTC), host, bus) if target.is_dir() else target
    if file.exists():
        raise _is_there(file)
    if not file.parent.is_dir():
        raise BusError(f"there is no directory {file.parent} to write the backup to")
    # One name for each home and machine: what a killed backup left is written over by the next.
    draft = file.with_name(f".sallyport-{bus}.part")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb") as out:
            yield out, file
            out.flush()
            os.fsync(out.fileno())
        _give_name(draft, file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _give_name(draft: Path, file: Path) -> None:
    """Give a draft its name. Raises BusError where something has that by now, which is not replaced, and OSError."""
    try:
        try:
            os.link(draft, file)
        except FileExistsError:
            raise
        except OSError:  # a file system that has no links
            _take_name(draft, file)
        else:
            draft.unlink()
    except FileExistsError:
        raise _is_there(file) from None


def _take_name(draft: Path, file: Path) -> None:
    """The name is there for a moment before the file is. Raises FileExistsError, OSError; then it is not."""
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    try:
        draft.replace(file)
    except BaseException:
        file.unlink()
        raise


def _is_there(file: Path) -> BusError:
    return BusError(f"{file} is there already: name a new file, or a directory")


def _require_no_process(home: Path) -> None:
    if watchdog.marked(java.mark(home)):
        raise BusError(f"a killed run of the bus in {home} left processes that are still ending: try again in a minute")


def _require_known_programs(head: Head) -> None:
    for name, program in artifacts.pinned().items():
        theirs = head.programs.get(name, "0")
        if _numbers(theirs) > _numbers(program.version):
            raise ArchiveError(
                f"holds files of {name} {theirs}, newer than {program.version}: update this sallyport first"
            )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _require_empty(home: Path) -> None:
    if not home.exists():
        return
    there = sorted(path.name for path in home.iterdir() if path.name not in RESTORING)
    if there:
        raise BusError(
            f"{home} is not empty ({there[0]} is there): set SALLYPORT_HOME to an empty directory or a new one"
        )


def _placed(draft: Path, name: str) -> IO[bytes]:
    path = draft / name
    try:
        _make_directory(path.parent)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb")
    except (FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(f"holds {name!r}, which is two things") from error


def _make_directory(path: Path) -> None:
    """Make it with all above it, each closed to others."""
    if not path.is_dir():
        _make_directory(path.parent)
        path.mkdir(mode=PRIVATE_DIRECTORY)
