"""The archive of a backup: what was put in comes out, and whatever is not a whole backup is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import archive
from deploy.archive import FORMAT, HEAD, MANIFEST, ArchiveError, Head, Kept

CONTENTS = {
    "kafka/data/demo.bus.clock.v1-0/00000000000000000000.log": b"records " * 40_000,
    "kafka/data/meta.properties": b"",
    "secrets/demo.bus": b"secret\n",
    os.fsdecode(b"quarantine/demo/Liste du 1er f\xe9vrier.csv"): b"1;2\n",
}
HEAD_OF_IT = Head(FORMAT, "2026-03-01T02:15:00+00:00", ("demo",), "0.1.0", {"kafka": "4.4.0"}, 0, 0)


class Placed(dict[str, bytes]):
    """Where a test's archive is unpacked to."""

    def place(self, name: str) -> IO[bytes]:
        self[name] = b""
        placed = self

        class Out(io.BytesIO):
            def close(self) -> None:
                placed[name] = self.getvalue()
                super().close()

        return Out()


def written(directory: Path, contents: dict[str, bytes], longer: int = 0) -> bytes:
    files = []
    for number, (name, content) in enumerate(contents.items()):
        path = directory / str(number)
        path.write_bytes(content + b"x" * longer)
        files.append(Kept(name, path, len(content)))
    out = io.BytesIO()
    done: list[int] = []
    head = replace(HEAD_OF_IT, files=len(files), size=sum(map(len, contents.values())))
    archive.write(out, head, files, done.append)
    assert sum(done) == head.size
    return out.getvalue()


def unpacked(data: bytes, placed: Placed | None = None) -> Placed:
    placed = Placed() if placed is None else placed
    done: list[int] = []
    head = archive.read(io.BytesIO(data), placed.place, lambda _: done.append)
    assert sum(done) == head.size
    return placed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    small = {name: content[:3_000] for name, content in CONTENTS.items()}
    return written(tmp_path_factory.mktemp("whole"), small)


def test_what_was_put_in_comes_out(tmp_path: Path) -> None:
    assert unpacked(written(tmp_path, CONTENTS)) == CONTENTS


def test_any_tar_can_read_it(whole: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        assert tar.getnames()[0] == HEAD
        assert tar.getnames()[-1] == MANIFEST
        assert {entry.mode for entry in tar} == {0o600}


def test_a_log_that_has_grown_since_is_as_long_as_it_was(tmp_path: Path) -> None:
    assert unpacked(written(tmp_path, CONTENTS, longer=5)) == CONTENTS


def test_a_file_that_was_cut_meanwhile_is_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(b"1234")
    with pytest.raises(ArchiveError, match=r"^kafka/cut was cut"):
        archive.write(io.BytesIO(), HEAD_OF_IT, [Kept("kafka/cut", path, 5)], lambda _: None)


# -- damage --------------------------------------------------------------------------------------------------------


@given(st.data())
def test_cut_off_anywhere_it_is_refused(whole: bytes, data: Any) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ArchiveError):
        unpacked(whole[:at])


@given(st.data())
def test_with_any_byte_changed_it_is_refused_or_nothing_of_it_is_other(whole: bytes, data: Any) -> None:
    at, bits = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    damaged = whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :]
    try:
        found = unpacked(damaged)
    except ArchiveError:
        return
    # Some bits mean nothing: when it was compressed, and what fills up a byte.
    assert found == unpacked(whole)


@pytest.mark.parametrize(
    "nothing",
    [b"", b"no archive", gzip.compress(b""), gzip.compress(b"no tar " * 999)],
    ids=["nothing", "some text", "nothing compressed", "text compressed"],  # the bytes themselves hold the time
)
def test_what_is_no_archive_is_refused(nothing: bytes) -> None:
    with pytest.raises(ArchiveError):
        unpacked(nothing)


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in more.items():
        setattr(made, field, value)
    return made, content


def head(**changed: Any) -> tuple[tarfile.TarInfo, bytes]:
    return entry(HEAD, json.dumps({**asdict(HEAD_OF_IT), "files": 1, "size": 4, **changed}).encode())


@pytest.mark.parametrize(
    "name",
    [
        "../secrets/admin", "kafka/../../.ssh/authorized_keys", "/etc/cron.d/x", "//etc/x", "kafka//x", "./tls/ca.pem",
        "kafka/./x", "..", "run/server.properties", "bus.lock", "secrets", "tls/..",
    ],
)  # fmt: skip
def test_an_entry_that_leads_elsewhere_is_refused_before_it_is_opened(name: str) -> None:
    placed = Placed()
    with pytest.raises(ArchiveError, match="holds"):
        unpacked(packed(head(), entry(name, b"evil")), placed)
    assert placed == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_an_entry_that_is_no_file_is_refused(kind: bytes) -> None:
    with pytest.raises(ArchiveError, match="no ordinary file"):
        unpacked(packed(head(), entry("kafka/data", kind=kind, linkname="/etc")))


def manifest(content: bytes, name: str = "tls/ca.pem") -> tuple[tarfile.TarInfo, bytes]:
    files = {name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    return entry(MANIFEST, json.dumps({"files": files}).encode())


def test_the_archive_that_the_next_ones_differ_from_is_fine() -> None:
    assert unpacked(packed(head(), entry("tls/ca.pem", b"good"), manifest(b"good"))) == {"tls/ca.pem": b"good"}


@pytest.mark.parametrize(
    ("why", "entries"),
    [
        ("other files", [head(), entry("tls/ca.pem", b"evil"), manifest(b"good")]),
        ("other files", [head(), entry("tls/ca.key", b"good"), manifest(b"good")]),
        ("other files", [head(), manifest(b"good")]),
        ("other files", [head(files=2), entry("tls/ca.pem", b"good"), manifest(b"good")]),
        ("other files", [head(size=5), entry("tls/ca.pem", b"good"), manifest(b"good")]),
        ("more than it says", [head(size=3), entry("tls/ca.pem", b"good"), manifest(b"good")]),
        ("twice", [head(size=9), entry("tls/ca.pem", b"good"), entry("tls/ca.pem", b"good"), manifest(b"good")]),
        ("no manifest", [head(), entry("tls/ca.pem", b"good")]),
        ("no backup of sallyport", [entry("tls/ca.pem", b"good"), head(), manifest(b"good")]),
        ("not as it was written", [head(files="many")]),
        ("not as it was written", [head(programs=None)]),
        ("not as it was written", [entry(HEAD, b"{")]),
        ("not as it was written", [entry(HEAD, b"[]")]),
        ("not as it was written", [entry(HEAD, b"{}")]),
        ("not as it was written", [entry(HEAD, kind=tarfile.DIRTYPE)]),
        ("not as it was written", [head(), entry(MANIFEST, b"{")]),
    ],
)
def test_a_tar_that_no_backup_wrote_is_refused_with_the_reason(
    why: str, entries: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    with pytest.raises(ArchiveError, match=why):
        unpacked(packed(*entries))


def test_what_goes_on_after_its_manifest_is_refused() -> None:
    data = packed(head(), entry("tls/ca.pem", b"good"), manifest(b"good"))
    with pytest.raises(ArchiveError, match="goes on"):
        unpacked(data + gzip.compress(b"x" * archive.CHUNK * 2))


def test_a_newer_format_is_refused_with_what_to_do_before_anything_is_opened() -> None:
    placed = Placed()
    newer = head(format=FORMAT + 1, sallyport="9.0", what="nobody knows yet")
    with pytest.raises(ArchiveError, match=r"newer sallyport \(9\.0\): update"):
        unpacked(packed(newer, entry("tls/ca.pem", b"good")), placed)
    assert placed == {}


def test_whoever_is_told_the_head_can_refuse_it(whole: bytes) -> None:
    def refuse(_: Head) -> Callable[[int], None]:
        raise OSError(28, "No space left on device")

    placed = Placed()
    with pytest.raises(OSError, match="No space"):
        archive.read(io.BytesIO(whole), placed.place, refuse)
    assert placed == {}
