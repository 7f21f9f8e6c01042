"""The Java programs of the embedded bus: fetched once a user, verified against pinned digests, kept in the cache.

What is fetched is pinned file by file in artifacts.json (written by `python -m deploy.pin`). jgo, which resolved it,
does not fetch it: it only warns about a wrong checksum and writes in place, so that a cut download looks whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import filelock
import httpx

MANIFEST: Final = Path(__file__).with_name("artifacts.json")
PARALLEL: Final = 4
TRIES: Final = 3
"""Attempts at one file; each goes on where the last one was cut."""
CHUNK: Final = 1 << 18
UNPACKED: Final = 1.1
"""Size of the registry unpacked, relative to its archive (168 to 158 MB, and some air)."""

Advance = Callable[[int], None]
"""Told how many more bytes are here; a negative number where a damaged file is fetched anew."""


class FetchError(Exception):
    """Kafka or the registry can't be fetched; the message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file of a Maven repository and what it must be."""

    path: str
    size: int
    """Bytes."""
    sha256: str

    @property
    def name(self) -> str:
        """Its last part."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Program:
    """A program at one version, as pinned."""

    name: str
    version: str
    files: tuple[Pinned, ...]

    def directory(self, cache: Path) -> Path:
        """Where it is kept."""
        return cache / f"{self.name}-{self.version}"


def pinned(manifest: Path = MANIFEST) -> dict[str, Program]:
    """The programs of the manifest by name: `kafka` and `registry`."""
    return {
        name: Program(name, entry["version"], tuple(Pinned(**file) for file in entry["files"]))
        for name, entry in json.loads(manifest.read_text(encoding="utf-8")).items()
    }


def missing(programs: Iterable[Program], cache: Path) -> list[tuple[Program, Pinned]]:
    """What is not in the cache as it was pinned: absent, cut off, or changed since.

    Jars are digested each time (44 MB: some 50 ms). The registry is unpacked, so its files are held to the sizes that
    were written down when its verified archive was unpacked.
    """
    return [
        (program, file)
        for program in programs
        for file in program.files
        if not (
            _unpacked_whole(program.directory(cache))
            if file.name.endswith(".tar.gz")
            else _is(program.directory(cache) / file.name, file)
        )
    ]


def space_needed(wanted: Iterable[tuple[Program, Pinned]]) -> int:
    """Bytes that fetching these takes at its peak, archives with their content."""
    return sum(int(file.size * (1 + UNPACKED)) if file.name.endswith(".tar.gz") else file.size for _, file in wanted)


def fetch(wanted: Iterable[tuple[Program, Pinned]], cache: Path, source: str, advance: Advance) -> None:
    """Fetch these from the Maven repository at `source`; the caller holds the cache's lock.

    Each file is written beside its place, verified and moved there: a run that is killed leaves nothing half, and the
    next one goes on where it ended. Raises FetchError.
    """
    # The largest first: it alone takes longer than all the others.
    largest_first = sorted(wanted, key=lambda item: -item[1].size)
    ended = threading.Event()
    with (
        httpx.Client(base_url=source.rstrip("/") + "/", timeout=30, follow_redirects=True) as client,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        errand = _Errand(client, cache, advance, ended)
        running = [pool.submit(errand.fetch, program, file) for program, file in largest_first]
        try:
            for one in as_completed(running):
                one.result()
        except BaseException:
            # One failed, or Ctrl-C: the others end with their next chunk, and go on from there at the next start.
            ended.set()
            raise


def maven_central() -> str:
    """URL of Maven Central."""
    # Here, not above: it takes a quarter of a second to import, and is asked only when something is fetched.
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415

    return str(MAVEN_CENTRAL_URL)


def cache_lock(cache: Path) -> filelock.BaseFileLock:
    """The lock under which one process at a time changes the cache."""
    return filelock.FileLock(cache / ".lock", thread_local=False)


class _EndedError(Exception):
    """Another file failed, so this one is not fetched to its end."""


@dataclass(frozen=True, slots=True)
class _Errand:
    client: httpx.Client
    cache: Path
    advance: Advance
    ended: threading.Event

    def fetch(self, program: Program, file: Pinned) -> None:
        directory = program.directory(self.cache)
        directory.mkdir(parents=True, exist_ok=True)
        if file.name.endswith(".tar.gz"):
            archive = self.cache / file.name
            if not _is(archive, file):
                self._download(file, archive)
            _unpack(archive, directory)
            archive.unlink()
        else:
            self._download(file, directory / file.name)

    def _download(self, file: Pinned, target: Path) -> None:
        part = target.with_name(target.name + ".part")
        problem = ""
        for _ in range(TRIES):
            try:
                self._append(file, part)
            except httpx.HTTPStatusError as error:
                raise FetchError(
                    f"{file.name} can't be fetched: the server answers {error.response.status_code}"
                ) from error
            except httpx.HTTPError as error:
                problem = str(error) or type(error).__name__
                continue
            if _is(part, file):
                part.replace(target)
                return
            problem = "its checksum is wrong"
            self.advance(-part.stat().st_size)
            part.unlink()
        raise FetchError(f"{file.name} can't be fetched: {problem} (tried {TRIES} times; nothing of it is used)")

    def _append(self, file: Pinned, part: Path) -> None:
        """Fetch what is still missing of the file; all of it where the server can't give a part."""
        have = part.stat().st_size if part.exists() else 0
        self.advance(have)
        if have >= file.size:
            return
        counted = have
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with self.client.stream("GET", file.path, headers=headers) as response:
                response.raise_for_status()
                goes_on = response.status_code == HTTPStatus.PARTIAL_CONTENT
                if not goes_on:
                    self.advance(-have)
                    counted = 0
                with part.open("ab" if goes_on else "wb") as out:
                    for chunk in response.iter_raw(CHUNK):
                        if self.ended.is_set():
                            raise _EndedError
                        out.write(chunk)
                        counted += len(chunk)
                        self.advance(len(chunk))
        except BaseException:
            # The next attempt counts what it finds.
            self.advance(-counted)
            raise


def _unpack(archive: Path, directory: Path) -> None:
    beside = directory.with_name(directory.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    with tarfile.open(archive) as tar:
        # The archive is the pinned one, to the bit. The filter is a second lock, which early releases of 3.11 lack.
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(beside)  # noqa: S202
    sizes = {str(path.relative_to(beside)): path.stat().st_size for path in beside.rglob("*") if path.is_file()}
    (beside / _CONTENTS).write_text(json.dumps(sizes), encoding="utf-8")
    shutil.rmtree(directory)
    beside.replace(directory)


_CONTENTS: Final = "contents.json"


def _unpacked_whole(directory: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((directory / _CONTENTS).read_text(encoding="utf-8"))
        return all((directory / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _is(path: Path, file: Pinned) -> bool:
    try:
        if path.stat().st_size != file.size:
            return False
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
    except FileNotFoundError:
        return False
