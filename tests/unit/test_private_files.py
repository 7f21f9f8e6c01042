"""What a command writes for whoever gave it is that user's alone, whatever was there before."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.private_files import private_text, text_out, write_new
from tests.full_disk import no_file_beyond


@pytest.mark.parametrize("mode", [None, 0o644, 0o666, 0o600])
def test_a_file_is_the_owner_s_alone_before_the_first_word_is_in_it(mode: int | None, tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    if mode is not None:
        path.write_text("what was there before, and was longer")
        path.chmod(mode)
    mask = os.umask(0)
    try:
        with text_out(path) as file:
            assert (path.stat().st_mode & 0o777, path.read_text()) == (0o600, "")
            file.write("names\n")
    finally:
        os.umask(mask)
    assert path.read_text() == "names\n"


def test_one_that_can_not_be_closed_to_others_is_named_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "theirs"
    path.write_text("theirs")
    opened: list[int] = []

    def refused(descriptor: int, _: int) -> None:
        opened.append(descriptor)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refused)
    with pytest.raises(PermissionError, match="theirs"):
        private_text(path)
    assert path.read_text() == "theirs"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_one_that_must_be_new_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("before")
    with pytest.raises(FileExistsError):
        private_text(tmp_path / "letters", new=True)
    assert (tmp_path / "letters").read_text() == "before"


def test_a_new_file_is_the_owner_s_alone_and_written_over_nothing(tmp_path: Path) -> None:
    path = tmp_path / "letters"
    write_new(path, ["one\n", "two\n"])
    assert (path.stat().st_mode & 0o777, path.read_text()) == (0o600, "one\ntwo\n")
    with pytest.raises(FileExistsError):
        write_new(path, ["three\n"])
    assert path.read_text() == "one\ntwo\n"


@pytest.mark.parametrize("lines", [100, 1_000_000], ids=["found at its end", "found in its middle"])
def test_a_new_file_for_which_the_disk_has_no_room_is_named_and_not_left_in_part(lines: int, tmp_path: Path) -> None:
    path = tmp_path / "letters"
    with no_file_beyond(50), pytest.raises(OSError, match="letters") as told:
        write_new(path, ("a letter\n" for _ in range(lines)))
    assert (told.value.filename, path.exists()) == (str(path), False)


def test_a_new_file_whose_writing_is_broken_off_is_not_left_in_part(tmp_path: Path) -> None:
    def broken_off() -> Iterator[str]:
        yield "a letter\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_new(tmp_path / "letters", broken_off())
    assert not (tmp_path / "letters").exists()


def test_a_pipe_is_written_to_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    path.chmod(0o644)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    with text_out(path) as file:
        file.write("names\n")
    reader.join()
    assert (read, path.stat().st_mode & 0o777) == (["names\n"], 0o644)
