"""Files that only their owner may read: passwords, keys, and configuration that holds them."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


def private_directory(path: Path) -> Path:
    """Make a directory, mode 0700; one that exists is closed to others."""
    path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    path.chmod(PRIVATE_DIRECTORY)
    return path


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file, mode 0600, whole or not at all: it is never there half, and never open to others for a moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    data = content.encode() if isinstance(content, str) else content
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb") as file:
        file.write(data)
        file.flush()
        # The broker keeps only a password's digest: an empty file after a power failure could not be mended.
        os.fsync(file.fileno())
    draft.replace(path)


def private_text(path: Path, *, new: bool = False) -> IO[str]:
    """A file to be written as text, from its beginning, mode 0600 whatever it was before; a device or a pipe is left as
    it is. Raises OSError: FileExistsError where it must be `new`, PermissionError for a file of somebody else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_EXCL if new else 0), PRIVATE_FILE)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, PRIVATE_FILE)
            # Not when it is opened: one that can't be closed to others keeps what is in it.
            os.ftruncate(descriptor, 0)
        return os.fdopen(descriptor, "w", encoding="utf-8")
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_new(path: Path, lines: Iterable[str]) -> None:
    """Write a file that must not be there yet, mode 0600; where it can't be written whole, it is not there afterwards.

    Raises OSError, which names it: FileExistsError where it is there.
    """
    file = private_text(path, new=True)
    try:
        with file:
            file.writelines(lines)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def text_out(path: Path) -> AbstractContextManager[IO[str]]:
    """Where a command writes what it found: a file that only its owner may read, or standard output, called -.

    Raises OSError.
    """
    return nullcontext(sys.stdout) if str(path) == "-" else private_text(path)


def new_password() -> str:
    """A password of 256 random bits."""
    return secrets.token_urlsafe(32)


def keep_or_make_password(directory: Path, user: str) -> None:
    """Make a user's password file, mode 0600, with a new password; one that exists is kept."""
    path = private_directory(directory) / user
    if not path.exists():
        write_private(path, new_password() + "\n")
