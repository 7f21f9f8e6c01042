"""Fetching Kafka and the registry, against a real HTTP server: whatever happens, only what was pinned is ever used."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from deploy import artifacts, embedded
from deploy.artifacts import FetchError, Pinned, Program
from schemas.settings import Settings

JAR = bytes(range(256)) * 5_000


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in (("quarkus-run.jar", b"run" * 1_000), ("lib/main/other.jar", b"other")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


ARCHIVE = archive()


@dataclass
class Repository:
    """A Maven repository that behaves as it is told."""

    files: dict[str, bytes]
    url: str = ""
    knows_ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    """The next answers end after so many bytes."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Name and range of each request."""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name, wanted = self.path.rpartition("/")[2], self.headers.get("Range")
                repository.asked.append((name, wanted))
                if name not in repository.files:
                    self.send_error(404)
                    return
                content = repository.files[name]
                start = 0
                if wanted is not None and repository.knows_ranges:
                    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                end = start + repository.cut_after.pop(0) if repository.cut_after else len(content)
                self.wfile.write(content[start:end])

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing."""

        return Handler


@pytest.fixture
def repository() -> Iterator[Repository]:
    served = Repository({"broker.jar": JAR, "registry.tar.gz": ARCHIVE})
    with ThreadingHTTPServer(("127.0.0.1", 0), served.handler()) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        served.url = f"http://127.0.0.1:{server.server_port}/maven2"
        yield served
        server.shutdown()


def pinned(name: str, content: bytes) -> Pinned:
    return Pinned(f"some/group/{name}", len(content), hashlib.sha256(content).hexdigest())


KAFKA = Program("kafka", "1", (pinned("broker.jar", JAR),))
REGISTRY = Program("registry", "1", (pinned("registry.tar.gz", ARCHIVE),))


def fetch(repository: Repository, cache: Path, *programs: Program) -> int:
    """Fetch what is missing; the bytes that progress was told of."""
    told: list[int] = []
    artifacts.fetch(artifacts.missing(programs, cache), cache, repository.url, told.append)
    return sum(told)


def test_what_was_fetched_is_used_and_not_fetched_again(repository: Repository, tmp_path: Path) -> None:
    assert fetch(repository, tmp_path, KAFKA, REGISTRY) == len(JAR) + len(ARCHIVE)
    assert (tmp_path / "kafka-1" / "broker.jar").read_bytes() == JAR
    assert (tmp_path / "registry-1" / "lib" / "main" / "other.jar").read_bytes() == b"other"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kafka-1", "registry-1"]
    assert artifacts.missing((KAFKA, REGISTRY), tmp_path) == []


@pytest.mark.parametrize("knows_ranges", [True, False], ids=["from where it was cut", "from its start"])
def test_a_half_download_of_a_killed_run_is_finished(
    repository: Repository, tmp_path: Path, knows_ranges: bool
) -> None:
    repository.knows_ranges = knows_ranges
    (tmp_path / "kafka-1").mkdir()
    (tmp_path / "kafka-1" / "broker.jar.part").write_bytes(JAR[:1_000])
    assert fetch(repository, tmp_path, KAFKA) == len(JAR)
    assert (tmp_path / "kafka-1" / "broker.jar").read_bytes() == JAR
    assert repository.asked == [("broker.jar", "bytes=1000-")]
    assert list(tmp_path.rglob("*.part")) == []


def test_a_connection_that_is_cut_goes_on_where_it_ended(repository: Repository, tmp_path: Path) -> None:
    repository.cut_after = [300_000, 300_000]
    assert fetch(repository, tmp_path, KAFKA) == len(JAR)
    assert (tmp_path / "kafka-1" / "broker.jar").read_bytes() == JAR
    assert len(repository.asked) == 3
    assert repository.asked[1][1] is not None


def test_a_connection_that_is_always_cut_is_given_up(repository: Repository, tmp_path: Path) -> None:
    repository.cut_after = [10] * 3
    with pytest.raises(FetchError, match=r"broker\.jar can't be fetched.*tried 3 times"):
        fetch(repository, tmp_path, KAFKA)
    assert not (tmp_path / "kafka-1" / "broker.jar").exists()


def test_a_half_download_of_something_else_is_thrown_away(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "kafka-1").mkdir()
    (tmp_path / "kafka-1" / "broker.jar.part").write_bytes(b"?" * 1_000)
    assert fetch(repository, tmp_path, KAFKA) == len(JAR)
    assert (tmp_path / "kafka-1" / "broker.jar").read_bytes() == JAR


@pytest.mark.parametrize("program", [KAFKA, REGISTRY], ids=lambda program: program.name)
def test_a_file_with_another_checksum_is_refused(repository: Repository, tmp_path: Path, program: Program) -> None:
    name = program.files[0].name
    repository.files[name] = b"!" + repository.files[name][1:]
    with pytest.raises(FetchError, match="its checksum is wrong"):
        fetch(repository, tmp_path, program)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_that_is_not_there_is_named(repository: Repository, tmp_path: Path) -> None:
    del repository.files["broker.jar"]
    with pytest.raises(FetchError, match=r"broker\.jar can't be fetched: the server answers 404"):
        fetch(repository, tmp_path, KAFKA)


def test_when_one_file_fails_the_others_are_kept_and_not_asked_for_again(
    repository: Repository, tmp_path: Path
) -> None:
    good = repository.files.pop("registry.tar.gz")
    with pytest.raises(FetchError):
        fetch(repository, tmp_path, KAFKA, REGISTRY)
    repository.files["registry.tar.gz"] = good
    fetch(repository, tmp_path, KAFKA, REGISTRY)
    assert artifacts.missing((KAFKA, REGISTRY), tmp_path) == []


def spoil_jar(cache: Path) -> None:
    jar = cache / "kafka-1" / "broker.jar"
    jar.write_bytes(b"!" + jar.read_bytes()[1:])


def cut_jar(cache: Path) -> None:
    jar = cache / "kafka-1" / "broker.jar"
    jar.write_bytes(jar.read_bytes()[:-1])


def remove_a_file_of_the_registry(cache: Path) -> None:
    (cache / "registry-1" / "lib" / "main" / "other.jar").unlink()


def cut_a_file_of_the_registry(cache: Path) -> None:
    (cache / "registry-1" / "quarkus-run.jar").write_bytes(b"run")


@pytest.mark.parametrize(
    "damage",
    [spoil_jar, cut_jar, remove_a_file_of_the_registry, cut_a_file_of_the_registry],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_cache_is_repaired(repository: Repository, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    fetch(repository, tmp_path, KAFKA, REGISTRY)
    repository.asked.clear()
    damage(tmp_path)
    assert len(artifacts.missing((KAFKA, REGISTRY), tmp_path)) == 1
    fetch(repository, tmp_path, KAFKA, REGISTRY)
    assert artifacts.missing((KAFKA, REGISTRY), tmp_path) == []
    assert len(repository.asked) == 1


def test_a_run_that_was_killed_while_unpacking_is_repaired(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "registry-1.part" / "lib").mkdir(parents=True)
    (tmp_path / "registry-1.part" / "lib" / "half.jar").touch()
    (tmp_path / "registry.tar.gz").write_bytes(ARCHIVE)
    fetch(repository, tmp_path, REGISTRY)
    assert repository.asked == [], "the archive was whole"
    assert artifacts.missing((REGISTRY,), tmp_path) == []
    assert sorted(path.name for path in (tmp_path / "registry-1").iterdir()) == [
        "contents.json",
        "lib",
        "quarkus-run.jar",
    ]


def test_two_first_starts_at_once_fetch_once(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "pinned", lambda: {"kafka": KAFKA, "registry": REGISTRY})
    settings = Settings(cache=tmp_path / "cache", home=tmp_path, maven=repository.url)
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(embedded.ensure_programs, settings, Console(file=StringIO())) for _ in range(2)]
        found = [start.result(30) for start in starts]
    assert found[0] == found[1]
    assert sorted(name for name, _ in repository.asked) == ["broker.jar", "registry.tar.gz"]


def test_progress_is_lines_where_there_is_no_terminal_and_a_bar_where_there_is(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "pinned", lambda: {"kafka": KAFKA})
    plain, terminal = StringIO(), StringIO()
    for said, console in (
        (plain, Console(file=plain, force_terminal=False)),
        (terminal, Console(file=terminal, force_terminal=True, width=120)),
    ):
        cache = tmp_path / str(id(said))
        embedded.ensure_programs(Settings(cache=cache, home=tmp_path, maven=repository.url), console)
    assert "Fetching Kafka" in plain.getvalue()
    assert "1 of 1 MB" in plain.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert "━" in terminal.getvalue()
    assert "1.3/1.3 MB" in terminal.getvalue()


def test_what_is_pinned_is_whole() -> None:
    programs = artifacts.pinned()
    assert {name: (program.version, len(program.files)) for name, program in programs.items()} == {
        "kafka": ("4.4.0", 45),
        "registry": ("3.3.3", 1),
    }
    for program in programs.values():
        for file in program.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.size > 0
