"""The embedded bus: a real Apache Kafka and a real schema registry as children of this process, their state in `home`.

    home/bus.lock bus.pid      who runs it: a lock that the kernel drops with its holder, and the pid to tell people
    home/kafka/data            the log
    home/registry/             schemas and their ids
    home/tls/ secrets/         certificates and keys, passwords (0600)
    home/run/ logs/            configuration and scratch of this run, logs

All of it is closed to other users of the machine (0700).
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import filelock
import httpx
import psutil  # type: ignore[import-untyped]
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from deploy import artifacts, java, watchdog
from deploy.kafka_config import ADMIN, log4j_properties, server_properties
from deploy.left_snapshot import remove_left_snapshot
from deploy.private_files import keep_or_make_password, private_directory, write_private
from deploy.registry_config import application_properties
from deploy.tls import CertificateError, ensure_certificates, server_names
from schemas.settings import SecretUnreadableError, Settings

START_SECONDS: Final = 120.0
"""How long both may take to start: 6 s on two cores, but after a kill the broker reads its logs first."""
STOP_SECONDS: Final = 30.0
"""How long the broker may take to close its logs before it is killed."""
HOME_BYTES: Final = 512 << 20
"""Free space below which a bus is not started: a broker that can't write its log ends in the middle of something."""
REGISTRY_HEAP: Final = "192m"
ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::", "*", ""})  # noqa: S104
"""Refused: clients are told the address that the broker listens on."""
OURS: Final = frozenset(
    {"import", "kafka", "logs", "quarantine", "registry", "run", "secrets", "simulator", "sites", "spool", "tls"}
)
"""What commands make in the home before a bus was ever started in it."""
UNFIT: Final = frozenset(",;:$%\\\"'*?#\n")
"""Characters that mean something else to Kafka's list of directories, H2's address of a file or Java's class path."""


class BusError(Exception):
    """The embedded bus can't start; the message is one line: what is wrong, and what to do."""


class EmbeddedBus:
    """A broker and a registry of our own. Not for several threads at a time.

    >>> with EmbeddedBus(Settings()) as bus: ...
    """

    def __init__(self, settings: Settings) -> None:
        # Whole paths: the children have a working directory of their own.
        self._home = settings.home.expanduser().resolve()
        self._settings = settings.model_copy(update={"home": self._home})
        self._lock = lock_of(self._home)
        self._processes: list[java.JavaProcess] = []
        self._watchdog: subprocess.Popen[bytes] | None = None

    def start(self, console: Console | None = None) -> None:
        """Fetch what is missing, repair what a killed run left, start both and wait until they answer.

        Progress goes to `console` (by default stderr): a bar on a terminal, lines elsewhere. Raises BusError; then
        nothing is left running.
        """
        try:
            self._start(console or Console(stderr=True))
        except BusError:
            self.stop()
            raise
        except artifacts.FetchError as error:
            self.stop()
            raise BusError(f"{error}. Is the network there? See SALLYPORT_MAVEN for a mirror.") from error
        except OSError as error:
            self.stop()
            raise _explained(error) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both cleanly, by force after 30 s. Safe to call twice, and on a bus that never started."""
        for process in self._processes:
            process.ask_to_end()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            process.end(max(0.0, deadline - time.monotonic()))
        self._processes.clear()
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            self._watchdog = None
        if self._lock.is_locked:
            (self._home / "bus.pid").unlink(missing_ok=True)
            self._lock.release()

    def alive(self) -> bool:
        """It was started, and both run."""
        return bool(self._processes) and self.trouble() is None

    def trouble(self) -> str | None:
        """Which of both ended by itself and why, in one line; None while both run."""
        for process in self._processes:
            if not process.alive():
                return f"{process.name} ended: {process.last_words()}"
        return None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, console: Console) -> None:
        settings, home = self._settings, self._home
        if settings.bind in ANY_ADDRESS:
            raise BusError(
                f"SALLYPORT_BIND is {settings.bind!r}: clients are told this address, so it must be one of this "
                "machine's own."
            )
        for path, setting in ((home, "SALLYPORT_HOME"), (settings.cache, "SALLYPORT_CACHE")):
            unfit = sorted(UNFIT.intersection(str(path)))
            if unfit:
                raise BusError(
                    f"{path} has {' '.join(unfit)} in its name, which Java programs misread: set {setting} to another."
                )
        _require_ours(home)
        private_directory(home)
        self._take_lock()
        with contextlib.suppress(OSError):  # a bus that runs matters more
            remove_left_snapshot(home)
        require_space(home, HOME_BYTES, "the bus's log")
        self._end_orphans(console)
        ports = {
            "SALLYPORT_KAFKA_PORT": (settings.bind, settings.kafka_port),
            "SALLYPORT_CONTROLLER_PORT": ("127.0.0.1", settings.controller_port),
            "SALLYPORT_REGISTRY_PORT": (settings.bind, settings.registry_port),
        }
        if len({port for _, port in ports.values()}) < len(ports):
            raise BusError(f"{', '.join(ports)} must be three ports: two of them are the same.")
        for setting, (address, port) in ports.items():
            require_port(address, port, setting)
        programs = ensure_programs(settings, console)

        shutil.rmtree(home / "run", ignore_errors=True)
        for name in ("logs", "run", java.SCRATCH, "kafka", "registry"):
            private_directory(home / name)
        try:
            ensure_certificates(home / "tls", server_names(settings.bind))
        except CertificateError as error:
            raise BusError(str(error)) from error
        password = self._admin_password()
        self._processes.append(self._start_registry(programs["registry"], password))
        self._watchdog = self._start_watchdog()
        self._processes.append(self._start_kafka(programs["kafka"], password))
        deadline = time.monotonic() + START_SECONDS
        with console.status("Starting Kafka and the schema registry ..."):
            self._wait("Kafka", lambda: _broker_answers(settings), deadline)
            self._wait("the registry", _registry_question(settings), deadline)
        for process in self._processes:
            process.compile_when_idle()

    def _take_lock(self) -> None:
        try:
            # Not at once: `running` holds it for a moment, too.
            self._lock.acquire(timeout=1)
        except filelock.Timeout:
            raise BusError(
                f"the bus in {self._home} is already run by process {holder(self._home)}: "
                "stop that one, or set SALLYPORT_HOME to another directory."
            ) from None
        write_private(self._home / "bus.pid", f"{os.getpid()}\n")

    def _end_orphans(self, console: Console) -> None:
        """End what a killed run left: we hold the lock, so nobody else's can it be."""
        orphans = watchdog.marked(java.mark(self._home))
        if not orphans:
            return
        console.print(f"Ending {len(orphans)} processes that a killed run left ...")
        alive = watchdog.end(orphans, STOP_SECONDS)
        if alive:
            pids = ", ".join(str(process.pid) for process in alive)
            raise BusError(f"a killed run of this bus left processes that can't be ended: {pids}. End them by hand.")

    def _admin_password(self) -> str:
        path = self._settings.secrets_path / ADMIN
        if data_directory(self._home).exists() and not path.exists():
            raise BusError(
                f"the password of {ADMIN!r} is gone ({path}), and the broker in {self._home} only knows its digest: "
                "restore the file, or move that directory away to begin anew."
            )
        keep_or_make_password(self._settings.secrets_path, ADMIN)
        try:
            return self._settings.password(ADMIN)
        except SecretUnreadableError as error:
            raise BusError(str(error)) from error

    def _start_registry(self, program: Path, password: str) -> java.JavaProcess:
        home = self._home
        config = home / "run" / "registry.properties"
        log = home / "logs" / "registry.log"
        write_private(config, application_properties(self._settings, home / "registry", log, password))
        # The first compiler only: it starts in two thirds of the time, and is asked a few questions a minute.
        arguments = java.command(
            home, f"-Xmx{REGISTRY_HEAP}", "-XX:TieredStopAtLevel=1", f"-Dquarkus.config.locations={config.as_uri()}"
        )
        return java.JavaProcess.start(
            "Registry", [*arguments, "-jar", str(program / "quarkus-run.jar")], home / "registry", home / "logs"
        )

    def _start_kafka(self, program: Path, password: str) -> java.JavaProcess:
        home, settings = self._home, self._settings
        config, logging = home / "run" / "server.properties", home / "run" / "log4j2.properties"
        if not data_directory(home).exists():
            self._format(program, password)
        write_private(config, server_properties(settings, data_directory(home), password))
        write_private(logging, log4j_properties(home / "logs" / "kafka.log"))
        arguments = java.command(
            home,
            f"-Xmx{settings.kafka_heap}",
            *settings.kafka_java.split(),
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            f"{program}/*",
        )
        return java.JavaProcess.start("Kafka", [*arguments, "kafka.Kafka", str(config)], home / "kafka", home / "logs")

    def _format(self, program: Path, password: str) -> None:
        """Make the log's directory with its first user: beside its place, so that it is there whole or not at all."""
        home = self._home
        draft = data_directory(home).with_suffix(".part")
        shutil.rmtree(draft, ignore_errors=True)
        config, words = home / "run" / "format.properties", home / "run" / "format.arguments"
        write_private(config, server_properties(self._settings, draft, password))
        # 16 bytes in base64. The first is fixed: an id that began with a dash would be read as an option.
        cluster = base64.urlsafe_b64encode(b"S" + secrets.token_bytes(15)).decode().rstrip("=")
        scram = f"SCRAM-SHA-512=[name={ADMIN},password={password}]"
        # In a file: anyone may read a command line.
        write_private(words, "\n".join(["format", "-t", cluster, "-c", str(config), "--add-scram", scram]))
        arguments = java.command(home, "-XX:TieredStopAtLevel=1", "-cp", f"{program}/*", "kafka.tools.StorageTool")
        process = java.JavaProcess.start("Format", [*arguments, f"@{words}"], home / "kafka", home / "logs")
        self._processes.append(process)
        process.end(START_SECONDS)
        self._processes.remove(process)
        if process.process.returncode:
            raise BusError(f"Kafka's log directory could not be made: {process.last_words()}")
        # They hold the password, and what it says its digest.
        for path in (config, words, process.out):
            path.unlink()
        draft.replace(data_directory(home))

    def _start_watchdog(self) -> subprocess.Popen[bytes]:
        script = Path(watchdog.__file__)
        return subprocess.Popen(
            # -P: the script's directory is a package of ours, and no place to import from.
            [sys.executable, "-P", str(script), str(os.getpid()), java.mark(self._home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait(self, what: str, answers: Callable[[], bool], deadline: float) -> None:
        while not answers():
            trouble = self.trouble()
            if trouble is not None:
                raise BusError(trouble)
            if time.monotonic() > deadline:
                raise BusError(f"{what} did not answer within {START_SECONDS:.0f} s: see {self._home / 'logs'}")
            time.sleep(0.05)


def _require_ours(home: Path) -> None:
    """Raise BusError where the home is a directory of something else: it would be closed to everybody else."""
    if not home.exists() or (home / "bus.lock").exists():
        return
    strange = sorted(path.name for path in home.iterdir() if path.name not in OURS)
    if strange:
        raise BusError(
            f"{home} is not a bus's directory ({strange[0]} is there): set SALLYPORT_HOME to an empty or a new one."
        )


def running(settings: Settings) -> bool:
    """Some process runs the bus of this home now."""
    return held(settings.home.expanduser().resolve() / "bus.lock")


def lock_of(home: Path) -> filelock.BaseFileLock:
    """The lock that whoever runs the bus of a home holds. `home` is a whole path."""
    return filelock.FileLock(home / "bus.lock", thread_local=False)


def held(path: Path) -> bool:
    """Some process holds this lock now; to find out, it is taken for a moment where nobody does."""
    if not path.exists():
        return False
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def ensure_programs(settings: Settings, console: Console) -> dict[str, Path]:
    """The directories of `kafka` and `registry`, fetched where they are missing or damaged.

    Raises FetchError, BusError where space is short.
    """
    cache = settings.cache.expanduser().resolve()
    cache.mkdir(parents=True, exist_ok=True)
    programs = artifacts.pinned()
    lock = artifacts.cache_lock(cache)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        console.print("Another start is fetching Kafka and the registry: waiting for it ...")
        lock.acquire()
    try:
        wanted = artifacts.missing(programs.values(), cache)
        if wanted:
            require_space(cache, artifacts.space_needed(wanted), "Kafka and the registry")
            total = sum(file.size for _, file in wanted)
            with _told(console, total) as advance:
                artifacts.fetch(wanted, cache, settings.maven or artifacts.maven_central(), advance)
    finally:
        lock.release()
    return {name: program.directory(cache) for name, program in programs.items()}


def require_space(directory: Path, needed: int, what: str) -> None:
    """Raise BusError where fewer than `needed` bytes are free for `what`."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise BusError(
            f"the disk of {directory} has {free >> 20} MB free, {what} takes {needed >> 20} MB: "
            "make room, or set SALLYPORT_HOME and SALLYPORT_CACHE to another disk."
        )


def require_port(address: str, port: int, setting: str) -> None:
    """Raise BusError where the bus can't listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise BusError(
                    f"port {port} on {address} is in use{_by_whom(port)}: "
                    f"end that program, or set {setting} to a free port."
                ) from error
            raise BusError(
                f"can't listen on {address}:{port}: {error.strerror}. See SALLYPORT_BIND and {setting}."
            ) from error


def _by_whom(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def holder(home: Path) -> str:
    """The process that runs the bus of a home, for people."""
    try:
        return (home / "bus.pid").read_text(encoding="utf-8").strip()
    except OSError:
        return "(unknown)"


def data_directory(home: Path) -> Path:
    """Where the broker keeps its log."""
    return home / "kafka" / "data"


def _explained(error: OSError) -> BusError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BusError(
            f"the disk is full ({error.filename or 'while writing'}): "
            "make room, or set SALLYPORT_HOME and SALLYPORT_CACHE to another disk."
        )
    return BusError(
        f"{error.filename or 'the bus'}: {error.strerror or error}. See SALLYPORT_HOME and SALLYPORT_CACHE."
    )


def _broker_answers(settings: Settings) -> bool:
    with socket.socket() as probe:
        if probe.connect_ex((settings.bind, settings.kafka_port)):
            return False
    # It listens; now it must know us. Only then is it asked: librdkafka waits a second between attempts to connect.
    own = settings.model_copy(update={"bootstrap": None, "security_protocol": "SASL_SSL", "ca_file": None})
    try:
        AdminClient(own.kafka(ADMIN) | {"log_level": 0}).list_topics(timeout=5)
    except KafkaException:
        return False
    return True


def _registry_question(settings: Settings) -> Callable[[], bool]:
    context = ssl.create_default_context(cafile=str(settings.home / "tls" / "ca.pem"))
    url = f"https://{settings.bind}:{settings.registry_port}/apis/ccompat/v7/subjects"

    def answers() -> bool:
        try:
            # trust_env: a proxy of the environment is not for this machine.
            return httpx.get(url, verify=context, timeout=10, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    return answers


@contextlib.contextmanager
def _told(console: Console, total: int) -> Iterator[artifacts.Advance]:
    """Progress of a download of `total` bytes: a bar on a terminal, a line every tenth elsewhere."""
    what = "Fetching Kafka and the schema registry (once for each user)"
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(what, total=total)
            yield lambda more: bar.advance(task, more)
        return
    console.print(f"{what}: {total / 1e6:.0f} MB ...")
    here, told = 0, 0

    def advance(more: int) -> None:
        nonlocal here, told
        here += more
        tenth = here * 10 // total
        if tenth > told:
            told = tenth
            console.print(f"  {here / 1e6:.0f} of {total / 1e6:.0f} MB")

    yield advance
