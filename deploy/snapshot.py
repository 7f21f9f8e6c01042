"""A snapshot of a home: all that a bus is, as it was while nobody ran it, made in the time of a few copies.

The broker only ever appends to a log's file, and deletes or replaces whole files. So a log is not copied: the snapshot
gets a second name of the same file (a hard link), and remembers how long it was. Everything else is small, and copied.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from deploy.archive import Kept
from deploy.embedded import data_directory
from deploy.private_files import PRIVATE_FILE, private_directory
from producers.spool import SUFFIX as SPOOL_SUFFIX
from schemas.settings import Settings

CLEAN: Final = ".kafka_cleanshutdown"
"""The file that the broker leaves when it ended cleanly, and removes when it starts."""
INDEXES: Final = frozenset({".index", ".timeindex"})
DRAFTING: Final = frozenset({"import", "simulator"})
"""Parts of the home in which a file is made beside the one that it replaces."""


def snapshot(settings: Settings, into: Path) -> list[Kept]:
    """Everything of the home that an archive holds, in `into`, a new directory of the same home.

    Nobody may run the bus meanwhile. Raises OSError.
    """
    private_directory(into)
    data = data_directory(settings.home)
    clean = (data / CLEAN).exists()
    found = []
    for name, path in _state(settings):
        if name.startswith("kafka/"):
            # After a kill they are of their full size and the broker makes them anew: 20 MB a partition of nothing.
            if not clean and path.suffix in INDEXES:
                continue
            # Nor is a log only appended to then: its torn end is cut off.
            how = _link if clean and path.suffix == ".log" else _copy
        else:
            how = _copy_spool if path.suffix == SPOOL_SUFFIX else _copy
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            how(path, target)
        except FileNotFoundError:
            # Publishers and importers live on, and finish: what was there a moment ago is on the log, or replaced.
            if path.exists() or name.startswith("kafka/"):
                raise
            continue
        found.append(Kept(name, target, target.stat().st_size))
    return found


def _state(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Name in the archive, and file, of all that is kept."""
    home = settings.home
    roots = {
        "kafka/data": data_directory(home),
        "registry": home / "registry",
        "secrets": settings.secrets_path,
        "tls": home / "tls",
        "spool": home / "spool",
        "import": home / "import",
        "quarantine": home / "quarantine",
        "simulator": home / "simulator",
        "sites": home / "sites",
    }
    for name, root in roots.items():
        for path in sorted(root.rglob("*")):
            if path.is_file() and not _of_a_process(path, name):
                yield f"{name}/{path.relative_to(root).as_posix()}", path


def _of_a_process(path: Path, part: str) -> bool:
    """Locks and drafts, and what belongs to a spool's own file."""
    if part == "spool":
        return path.suffix != SPOOL_SUFFIX
    if part == "secrets":
        return path.name.startswith(".")  # a user may be called `lock`
    return path.suffix == ".lock" or path.name == ".lock" or (part in DRAFTING and path.suffix == ".new")


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one that has no links
        _copy(path, target)


def _copy(path: Path, target: Path) -> None:
    shutil.copyfile(path, target)
    target.chmod(PRIVATE_FILE)


def _copy_spool(path: Path, target: Path) -> None:
    """A publisher may be writing: SQLite knows what of it is whole."""
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as spool,
            closing(sqlite3.connect(target)) as copy,
        ):
            spool.backup(copy)
    except sqlite3.OperationalError as error:
        target.unlink(missing_ok=True)
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        # It may be whole. The file alone is without what was accepted last, which is in SQLite's log beside it.
        raise OSError(errno.EIO, f"this spool can't be copied whole ({error})", str(path)) from error
    except sqlite3.DatabaseError:
        target.unlink(missing_ok=True)
        _copy(path, target)  # damaged, as its publisher will say
    target.chmod(PRIVATE_FILE)
