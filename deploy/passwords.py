"""Password files: one a Kafka user, mode 0600, made once and kept."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def keep_or_make_password(directory: Path, user: str) -> None:
    """Make a user's password file with 256 random bits; one that exists is kept."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / user
    if path.exists():
        return
    draft = directory / f".{user}.{os.getpid()}"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    # A link, unlike a rename, does not replace the password of another run that was first.
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()


def with_password(directory: Path, users: tuple[str, ...]) -> frozenset[str]:
    """Those of the users whose password file exists."""
    return frozenset(user for user in users if (directory / user).exists())


def remove_password(directory: Path, user: str) -> None:
    """Remove a user's password file, if there is one."""
    (directory / user).unlink(missing_ok=True)
