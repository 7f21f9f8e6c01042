"""What a backup that was killed leaves in the home: its snapshot, a copy of everything, passwords included.

The snapshot holds logs beyond the time for which the bus keeps them. So it goes when the bus starts, with the next
backup, and where a site is removed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import filelock

SNAPSHOT: Final = "backup.part"
"""Where in the home a snapshot is until it is in the archive."""
BACKUP_LOCK: Final = "backup.lock"
"""The lock in the home that a backup holds as long as it lives."""


def remove_left_snapshot(home: Path) -> bool:
    """Remove the snapshot of a backup that lives no more: whether there was one. Raises OSError."""
    snapshot = home / SNAPSHOT
    if not snapshot.exists():
        return False
    lock = filelock.FileLock(home / BACKUP_LOCK, mode=0o600, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return False  # it is being written into its archive
    try:
        shutil.rmtree(snapshot)
    finally:
        lock.release()
    return True
