"""The archive of a backup: one compressed tar that says first what it is, and last what is in it.

    sallyport-backup.json    version of the format, time, sites, what wrote it, how much follows
    kafka/... registry/... secrets/... tls/... spool/... import/... quarantine/... simulator/... sites/...
    manifest.json            size and SHA-256 of each file

What it is comes first, so that a newer one is refused before anything is read; the manifest comes last, so that one
pass over the files writes it and a cut-off archive has none. Both ends stream: no file is held in memory.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

FORMAT: Final = 1
HEAD: Final = "sallyport-backup.json"
MANIFEST: Final = "manifest.json"
PARTS: Final = frozenset({"import", "kafka", "quarantine", "registry", "secrets", "simulator", "sites", "spool", "tls"})
"""Directories of the home that may be in an archive; everything else is this run's, or a cache."""
LEVEL: Final = 1
"""Of compression: three times as fast as the default, and a fifth larger."""
CHUNK: Final = 1 << 20
MOST_WORDS: Final = 256 << 20
"""Bytes that the head or the manifest may have: a million files."""

Advance = Callable[[int], None]
"""Told how many more bytes are done."""


class ArchiveError(Exception):
    """The archive can't be restored; the message is one line that goes on from its name."""


@dataclass(frozen=True, slots=True)
class Head:
    """What an archive says of itself before anything else."""

    format: int
    made: str
    """When the bus stood still for it: ISO 8601, UTC."""
    sites: tuple[str, ...]
    sallyport: str
    """Version that wrote it."""
    programs: Mapping[str, str]
    """Versions of Kafka and registry whose files it holds."""
    files: int
    size: int
    """Bytes of all files, unpacked."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that goes into an archive."""

    name: str
    """In the archive, and below the home: parts separated by slashes."""
    content: Path
    size: int
    """Bytes of it that count, from its beginning: a log may have grown since."""


Place = Callable[[str], IO[bytes]]
"""Opens a file of that name for writing."""


def write(out: IO[bytes], head: Head, files: Iterable[Kept], advance: Advance) -> None:
    """Write an archive. Raises OSError; ArchiveError where a file is shorter than it was."""
    with (
        gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=LEVEL, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar,
    ):
        _add_words(tar, HEAD, asdict(head))
        manifest = {}
        for kept in files:
            with kept.content.open("rb") as content:
                digesting = _Digesting(kept, content, advance)
                tar.addfile(_entry(kept.name, kept.size), digesting)
            manifest[kept.name] = {"size": kept.size, "sha256": digesting.hexdigest()}
        _add_words(tar, MANIFEST, {"files": manifest})


def read(source: IO[bytes], place: Place, begin: Callable[[Head], Advance]) -> Head:
    """Read an archive to its end and hold every file to the manifest.

    `begin` is told the head before `place` is asked to open the first file, and gives what is told of progress. Raises
    ArchiveError where it is damaged, cut off, of a newer format, or has an entry that no backup has; OSError of source
    or place. What was placed before is of no use then.
    """
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as packed:
            head = _read(packed, place, begin)
            # Its checksum is at its end.
            while rest := packed.read(CHUNK):
                if rest.strip(b"\0"):
                    raise ArchiveError("goes on after its manifest")
            return head
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError) as error:
        raise ArchiveError("is cut off or damaged, or no backup") from error


def _read(packed: gzip.GzipFile, place: Place, begin: Callable[[Head], Advance]) -> Head:
    found: dict[str, dict[str, Any]] = {}
    left = 0
    head: Head | None = None
    advance: Advance = lambda _: None  # noqa: E731
    with tarfile.open(fileobj=packed, mode="r|", encoding="utf-8", bufsize=CHUNK) as tar:
        for entry in tar:
            if head is None:
                head = _head(tar, entry)
                left = head.size
                advance = begin(head)
                continue
            if entry.name == MANIFEST:
                if _words(tar, entry) != {"files": found} or len(found) != head.files or left:
                    raise ArchiveError("holds other files than its manifest says")
                return head
            why = reason_to_refuse(entry)
            if why is not None or entry.name in found:
                raise ArchiveError(f"holds {entry.name!r}, which {why or 'it has twice'}")
            left -= entry.size
            if left < 0:
                raise ArchiveError("holds more than it says")
            with place(entry.name) as out:
                found[entry.name] = {"size": entry.size, "sha256": _copied(tar, entry, out, advance)}
    raise ArchiveError("is cut off: it has no manifest")


def reason_to_refuse(entry: tarfile.TarInfo) -> str | None:
    """Why an entry is not put into a home, or None."""
    if not entry.isreg():
        return "is no ordinary file"
    parts = entry.name.split("/")
    if PurePosixPath(entry.name).is_absolute() or {"", ".", ".."}.intersection(parts) or "\0" in entry.name:
        return "leads out of the home"
    if parts[0] not in PARTS or len(parts) == 1 or entry.size < 0:
        return "no backup has"
    return None


def _head(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Head:
    if entry.name != HEAD:
        raise ArchiveError("is no backup of sallyport")
    words = _words(tar, entry)
    try:
        version = int(words["format"])
        if version > FORMAT:
            raise ArchiveError(f"was written by a newer sallyport ({words.get('sallyport')}): update this one first")
        return Head(
            version,
            str(words["made"]),
            tuple(map(str, words["sites"])),
            str(words["sallyport"]),
            {str(name): str(number) for name, number in words["programs"].items()},
            int(words["files"]),
            int(words["size"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"is damaged: {HEAD} is not as it was written") from error


def _words(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> dict[str, Any]:
    content = tar.extractfile(entry)
    if content is None or entry.size > MOST_WORDS:
        raise ArchiveError(f"is damaged: {entry.name} is not as it was written")
    try:
        words = json.loads(content.read())
    except ValueError as error:
        raise ArchiveError(f"is damaged: {entry.name} is not as it was written") from error
    if not isinstance(words, dict):
        raise ArchiveError(f"is damaged: {entry.name} is not as it was written")
    return words


def _copied(tar: tarfile.TarFile, entry: tarfile.TarInfo, out: IO[bytes], advance: Advance) -> str:
    content, sha256 = tar.extractfile(entry), hashlib.sha256()
    while content is not None and (chunk := content.read(CHUNK)):
        sha256.update(chunk)
        out.write(chunk)
        advance(len(chunk))
    return sha256.hexdigest()


def _add_words(tar: tarfile.TarFile, name: str, words: Mapping[str, Any]) -> None:
    data = json.dumps(words, indent=1).encode()
    tar.addfile(_entry(name, len(data)), io.BytesIO(data))


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


class _Digesting:
    """The bytes of a file that count, digested as they are read."""

    def __init__(self, kept: Kept, content: IO[bytes], advance: Advance) -> None:
        self._kept, self._content, self._advance = kept, content, advance
        self._sha256 = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._content.read(size)
        if len(data) < size:
            raise ArchiveError(f"{self._kept.name} was cut while it was read: back up again")
        self._sha256.update(data)
        self._advance(size)
        return data

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()
