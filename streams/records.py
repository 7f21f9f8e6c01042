"""Records as the stages see them: what comes off a log, and what goes onto one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]
TAKEN: Final = "taken"
"""Header of a record of `alerts.raised`: when its stage took up what led to it, microseconds by the worker's clock.
Nothing is derived from it; whoever follows the logs sees how long it waited, and how long it was decided on."""


class Record(Protocol):
    """One record as it is on a log."""

    @property
    def offset(self) -> int:
        """Position in the partition."""

    @property
    def key(self) -> bytes | None:
        """Key, as bytes."""

    @property
    def value(self) -> bytes | None:
        """Value, as bytes; None is a tombstone."""

    @property
    def headers(self) -> Headers:
        """Headers in their order; a name may occur twice."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, as the topic sets it."""


class LoggedRecord(NamedTuple):
    """A record that is in memory: read back by a plain consumer, or made by a test."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int = 0


class Out(NamedTuple):
    """A record that a stage wants written. Not yet encoded: the stage decides, the shell knows the schema ids."""

    topic: str
    partition: int
    key: bytes
    name: str | None
    """Short name of the contract's record in `value`; None where `value` is bytes, or a tombstone."""
    value: Mapping[str, Any] | bytes | None
    headers: Headers = ()


def header(headers: Headers, name: str) -> str | None:
    """The first header of that name, as text."""
    for key, value in headers:
        # Others' clients may write a header without a value.
        if key == name and value is not None:
            return value.decode(errors="replace")
    return None
