"""The embedded bus keeps its promises: it starts from any state, lets in only who may, leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from rich.console import Console

from deploy import artifacts, embedded, java, watchdog
from deploy.embedded import BusError, EmbeddedBus, require_space, running
from schemas.settings import Settings

pytestmark = pytest.mark.bus
SettingsIn = Callable[[Path], Settings]
A_RUN = """
import sys, time
from deploy.embedded import EmbeddedBus
from schemas.settings import Settings
bus = EmbeddedBus(Settings())
bus.start()
print("up", flush=True)
time.sleep(600)
"""
SCHEMA = '{"type": "record", "name": "Count", "fields": [{"name": "n", "type": "int"}]}'


def children(settings: Settings) -> list[psutil.Process]:
    return watchdog.marked(java.mark(settings.home))


def javas(settings: Settings) -> list[psutil.Process]:
    return [process for process in children(settings) if process.name() == "java"]


def listening(settings: Settings) -> list[int]:
    found = []
    for port in (settings.kafka_port, settings.controller_port, settings.registry_port):
        with socket.socket() as probe:
            if probe.connect_ex((settings.bind, port)) == 0:
                found.append(port)
    return found


def admin(settings: Settings, **changed: str) -> AdminClient:
    return AdminClient({**settings.kafka("admin"), "log_level": 0, **changed})


def create_topic(settings: Settings, name: str, user: str = "admin") -> None:
    client = AdminClient(settings.kafka(user))
    client.create_topics([NewTopic(name, 1, 1)])[name].result(20)


def topics(settings: Settings) -> set[str]:
    return set(admin(settings).list_topics(timeout=20).topics)


def registry(settings: Settings) -> SchemaRegistryClient:
    return SchemaRegistryClient(
        {
            "url": settings.registry_url,
            "ssl.ca.location": str(settings.ca_path),
            "basic.auth.user.info": f"admin:{settings.password('admin')}",
        }
    )


@contextmanager
def run_of_its_own(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the bus, and says "up" when it does."""
    fields = ("home", "cache", "kafka_port", "controller_port", "registry_port", "kafka_heap", "kafka_java")
    environment = {f"SALLYPORT_{name.upper()}": str(getattr(settings, name)) for name in fields}
    with subprocess.Popen(
        [sys.executable, "-c", A_RUN],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def error_of_a_start(settings: Settings) -> str:
    """The message of a start that is refused. Whatever it is: one line, and nothing stays behind."""
    with pytest.raises(BusError) as refused:
        EmbeddedBus(settings).start(Console(file=StringIO()))
    assert "\n" not in str(refused.value)
    assert children(settings) == []
    assert not running(settings)
    return str(refused.value)


def test_a_run_that_is_killed_takes_its_processes_along(tmp_path: Path, settings_of_a_bus_in: SettingsIn) -> None:
    settings = settings_of_a_bus_in(tmp_path)
    with run_of_its_own(settings) as run:
        until(lambda: len(javas(settings)) == 2 and len(children(settings)) == 3)
        left = children(settings)
        run.kill()
        _, alive = psutil.wait_procs(left, timeout=30)
    assert alive == []
    assert listening(settings) == []
    assert not running(settings)


def priorities(process: psutil.Process, named: str) -> set[int]:
    """The priorities (Unix: 0 is ordinary, 19 the least) of a process's threads of that name."""
    return {
        os.getpriority(os.PRIO_PROCESS, int(thread.name))
        for thread in Path(f"/proc/{process.pid}/task").iterdir()
        if named in (thread / "comm").read_text()
    }


def test_a_start_repairs_what_a_killed_run_left_and_finds_its_state(
    tmp_path: Path, settings_of_a_bus_in: SettingsIn
) -> None:
    settings = settings_of_a_bus_in(tmp_path / "a home with spaces")

    # This one with Java as it is shipped.
    with run_of_its_own(settings.model_copy(update={"kafka_java": ""})) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        (kafka,) = [process for process in javas(settings) if "kafka.Kafka" in process.cmdline()]
        assert priorities(kafka, "C2 Compiler") == {19}, "whoever waits for a record goes first"
        assert priorities(kafka, "data-plane") == {0}
        create_topic(settings, "kept.count-reported.v1")
        schema_id = registry(settings).register_schema("kept-value", Schema(SCHEMA, "AVRO"))
        assert running(settings)
        with pytest.raises(BusError, match=rf"already run by process {run.pid}.*SALLYPORT_HOME"):
            EmbeddedBus(settings).start()
        # The watchdog first, so that nobody ends the others.
        for process in children(settings):
            if process.name() != "java":
                process.kill()
        run.kill()
    orphans = javas(settings)
    assert len(orphans) == 2

    said = StringIO()
    bus = EmbeddedBus(settings)
    bus.start(Console(file=said))
    try:
        assert "a killed run left" in said.getvalue()
        assert not any(process.is_running() for process in orphans)
        assert bus.alive()
        assert bus.trouble() is None
        assert "kept.count-reported.v1" in topics(settings)
        assert registry(settings).lookup_schema("kept-value", Schema(SCHEMA, "AVRO")).schema_id == schema_id
        assert len(children(settings)) == 3
        assert listening(settings) == [settings.kafka_port, settings.controller_port, settings.registry_port]
    finally:
        bus.stop()

    assert not bus.alive()
    assert (settings.home / "kafka/data/.kafka_cleanshutdown").exists()
    assert children(settings) == []
    assert listening(settings) == []
    assert not running(settings)
    bus.stop()


@pytest.fixture
def java_server(tmp_path: Path) -> Iterator[java.JavaProcess]:
    """The JRE's own small web server: a Java program that runs until it is ended."""
    server = ["-m", "jdk.httpserver", "-b", "127.0.0.1", "-p", "0", "-d", str(tmp_path)]
    process = java.JavaProcess.start("Server", java.command(tmp_path, *server), tmp_path, tmp_path)
    until(lambda: b"Serving" in process.out.read_bytes())
    yield process
    process.process.kill()
    process.process.wait()


def test_a_program_that_was_killed_is_noticed_and_its_end_told(java_server: java.JavaProcess) -> None:
    assert java_server.alive()
    java_server.process.kill()
    until(lambda: not java_server.alive())
    assert java_server.last_words() == f"it ended with code -9 (more in {java_server.log})"


def test_a_program_that_does_not_end_by_itself_is_killed_after_its_grace(java_server: java.JavaProcess) -> None:
    java_server.process.send_signal(signal.SIGSTOP)
    java_server.ask_to_end()
    java_server.end(grace=0.2)
    assert not java_server.alive()
    assert java_server.process.returncode == -signal.SIGKILL


def test_a_log_is_asked_for_the_trouble_of_this_run(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("ERROR of yesterday\n", encoding="utf-8")
    process = java.JavaProcess.start("Server", java.command(tmp_path, "-version"), tmp_path, tmp_path)
    process.end(grace=30)
    assert "yesterday" not in process.last_words()
    with process.log.open("a", encoding="utf-8") as log:
        log.write("INFO all is well\nERROR of today: java.lang.Exception: no\n at that.place\nERROR that follows\n")
    assert process.last_words().startswith("ERROR of today: java.lang.Exception: no (more in ")


def test_everything_listens_on_loopback_only(bus: Settings) -> None:
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in javas(bus)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_secrets_are_readable_by_their_owner_alone(bus: Settings) -> None:
    assert bus.password("admin")
    for path in (
        bus.home,
        bus.home / "secrets",
        bus.home / "tls",
        bus.home / "run",
        bus.home / "kafka",
        bus.home / "registry",
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    files = 0
    for name in ("secrets", "tls", "run", "kafka", "registry", "logs"):
        # A walk goes on where a folder goes meanwhile: other tests delete topics.
        for folder, _, names in os.walk(bus.home / name):
            for path in (Path(folder) / name for name in names):
                with suppress(FileNotFoundError):
                    assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path
                    files += 1
    assert files


def test_no_password_is_in_a_command_line_or_a_log(bus: Settings) -> None:
    password = bus.password("admin")
    assert all(password not in " ".join(process.cmdline()) for process in children(bus))
    logs = list((bus.home / "logs").iterdir())
    assert logs
    assert all(password not in log.read_text(errors="replace") for log in logs)


@pytest.mark.parametrize(
    "changed",
    [
        {"security.protocol": "PLAINTEXT"},
        {"security.protocol": "SSL"},
        {"security.protocol": "SASL_PLAINTEXT"},
        {"sasl.password": "wrong"},
        {"sasl.mechanism": "PLAIN"},
        {"sasl.username": "nobody"},
    ],
    ids=lambda changed: " ".join(f"{key}={value}" for key, value in changed.items()),
)
def test_who_does_not_prove_who_he_is_does_not_come_in(bus: Settings, changed: dict[str, str]) -> None:
    with pytest.raises(KafkaException):
        admin(bus, **changed).list_topics(timeout=1.5)


def test_a_client_that_trusts_another_ca_refuses_the_broker(bus: Settings) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection((bus.bind, bus.kafka_port)) as plain:
        ssl.create_default_context().wrap_socket(plain, server_hostname=bus.bind)


def test_the_controller_talks_only_to_who_holds_the_brokers_certificate(bus: Settings) -> None:
    with (
        socket.create_connection((bus.bind, bus.controller_port), timeout=10) as plain,
        bus.ssl_context().wrap_socket(plain, server_hostname=bus.bind) as channel,
        # TLS 1.3: a client learns only when it reads that it should have shown one.
        pytest.raises(ssl.SSLError, match=r"CERTIFICATE_REQUIRED|BAD_CERTIFICATE"),
    ):
        channel.recv(1)


def test_a_user_without_an_acl_sees_and_writes_nothing(bus: Settings) -> None:
    administrator = admin(bus)
    create_topic(bus, "closed.count-reported.v1")
    scram = UserScramCredentialUpsertion(
        "stranger", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), b"his password"
    )
    administrator.alter_user_scram_credentials([scram])["stranger"].result(20)
    config = bus.kafka("admin") | {"sasl.username": "stranger", "sasl.password": "his password", "log_level": 0}

    assert dict(AdminClient(config).list_topics(timeout=20).topics) == {}
    refusals: list[str] = []
    producer = Producer(config | {"message.timeout.ms": 5_000})
    producer.produce("closed.count-reported.v1", b"x", on_delivery=lambda error, _: refusals.append(str(error)))
    producer.flush(20)
    assert len(refusals) == 1
    assert "TOPIC_AUTHORIZATION_FAILED" in refusals[0]


def test_topics_do_not_create_themselves(bus: Settings) -> None:
    # A producer asks like this before it writes; a broker that may would make the topic now.
    asked = Producer({**bus.kafka("admin"), "log_level": 0}).list_topics("nobody.made-this.v1", timeout=20)
    assert "UNKNOWN_TOPIC_OR_PART" in str(asked.topics["nobody.made-this.v1"].error)
    assert "nobody.made-this.v1" not in topics(bus)


def test_anyone_here_reads_schemas_but_only_admin_changes_them(bus: Settings) -> None:
    schema_id = registry(bus).register_schema("read-value", Schema(SCHEMA, "AVRO"))
    with httpx.Client(verify=bus.ssl_context(), trust_env=False) as anyone:
        assert anyone.get(f"{bus.registry_url}/schemas/ids/{schema_id}").json()["schema"]
        looked_up = anyone.post(f"{bus.registry_url}/subjects/read-value", json={"schema": SCHEMA})
        assert looked_up.json()["id"] == schema_id

        # Another path to the same: encoded, doubled, with a parameter.
        for subject in ("read-value", "other-value", "read%2dvalue", "read-value;a=b", "a%2fb"):
            url = f"{bus.registry_url}/subjects/{subject}/versions"
            assert anyone.post(url, json={"schema": SCHEMA}).status_code == 401
            assert anyone.post(url, json={"schema": SCHEMA}, auth=("admin", "wrong")).status_code == 401
        assert anyone.put(f"{bus.registry_url}/config", json={"compatibility": "NONE"}).status_code == 401
        assert anyone.put(f"{bus.registry_url}/config/read-value", json={"compatibility": "NONE"}).status_code == 401
        assert anyone.delete(f"{bus.registry_url}/subjects/read-value").status_code == 401
        for path in ("/apis/registry/v3/groups/default/artifacts", "/apis/ccompat/v8/subjects", "/ui/", "/"):
            assert anyone.get(str(httpx.URL(bus.registry_url).copy_with(path=path))).status_code in (401, 403), path
    assert not {"other-value", "a/b"} & set(registry(bus).get_subjects())
    assert registry(bus).get_versions("read-value") == [1]


def test_the_registry_does_not_speak_without_tls(bus: Settings) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{bus.bind}:{bus.registry_port}/apis/ccompat/v7/subjects", trust_env=False)


def test_a_port_in_use_is_named_with_its_holder_and_the_setting(
    tmp_path: Path, settings_of_a_bus_in: SettingsIn
) -> None:
    settings = settings_of_a_bus_in(tmp_path)
    for field in ("kafka_port", "controller_port", "registry_port"):
        with socket.create_server((settings.bind, getattr(settings, field))):
            message = error_of_a_start(settings)
        assert f"port {getattr(settings, field)} on 127.0.0.1 is in use by" in message
        assert str(os.getpid()) in message
        assert f"SALLYPORT_{field.upper()}" in message


def test_java_that_does_not_start_says_why_and_where_to_read_more(
    tmp_path: Path, settings_of_a_bus_in: SettingsIn
) -> None:
    settings = settings_of_a_bus_in(tmp_path).model_copy(update={"kafka_heap": "plenty"})
    message = error_of_a_start(settings)
    assert message.startswith("Kafka ended: Invalid maximum heap size: -Xmxplenty")
    assert str(tmp_path / "logs" / "kafka.out") in message
    assert listening(settings) == []


def test_a_bus_for_every_address_is_refused(tmp_path: Path, settings_of_a_bus_in: SettingsIn) -> None:
    settings = settings_of_a_bus_in(tmp_path).model_copy(update={"bind": "0.0.0.0"})  # noqa: S104
    assert "SALLYPORT_BIND" in error_of_a_start(settings)


def test_a_home_whose_name_java_would_misread_is_refused(tmp_path: Path, settings_of_a_bus_in: SettingsIn) -> None:
    message = error_of_a_start(settings_of_a_bus_in(tmp_path / "logs,of;us"))
    assert "has , ; in its name" in message
    assert "SALLYPORT_HOME" in message


def test_a_directory_of_something_else_is_not_taken_for_a_home(
    tmp_path: Path, settings_of_a_bus_in: SettingsIn
) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "letters").write_text("mine")
    before = tmp_path.stat().st_mode
    assert "SALLYPORT_HOME" in error_of_a_start(settings_of_a_bus_in(tmp_path))
    assert (tmp_path / "tmp").is_dir()
    assert tmp_path.stat().st_mode == before


def test_an_address_of_another_machine_is_refused(tmp_path: Path, settings_of_a_bus_in: SettingsIn) -> None:
    settings = settings_of_a_bus_in(tmp_path).model_copy(update={"bind": "192.0.2.1"})
    assert "can't listen on 192.0.2.1" in error_of_a_start(settings)


def test_a_home_that_can_not_be_written_is_named(tmp_path: Path, settings_of_a_bus_in: SettingsIn) -> None:
    (tmp_path / "file").touch()
    settings = settings_of_a_bus_in(tmp_path / "file" / "home")
    assert str(tmp_path / "file") in error_of_a_start(settings)


def test_a_lost_admin_password_is_not_replaced_by_one_the_broker_does_not_know(
    tmp_path: Path, settings_of_a_bus_in: SettingsIn
) -> None:
    settings = settings_of_a_bus_in(tmp_path)
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    assert "the password of 'admin' is gone" in error_of_a_start(settings)
    assert not (tmp_path / "secrets" / "admin").exists()


def test_a_disk_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, settings_of_a_bus_in: SettingsIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "HOME_BYTES", 1 << 60)
    message = error_of_a_start(settings_of_a_bus_in(tmp_path))
    assert "MB free" in message
    assert "make room" in message
    assert not (tmp_path / "kafka").exists()


def test_room_is_counted_in_what_is_free(tmp_path: Path) -> None:
    require_space(tmp_path, 1, "a byte")
    with pytest.raises(BusError, match="the log takes 1099511627776 MB"):
        require_space(tmp_path, 1 << 60, "the log")


class Zeroes(BaseHTTPRequestHandler):
    """A repository that gives the right number of bytes of every file, and not the right ones."""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        size = next(file.size for program in artifacts.pinned().values() for file in program.files if file.name == name)
        self.send_response(200)
        self.send_header("Content-Length", str(min(size, 1 << 20)))
        self.end_headers()
        self.wfile.write(bytes(min(size, 1 << 20)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture
def wrong_repository() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Zeroes) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/maven2"
        server.shutdown()


def test_a_wrong_program_is_not_run(tmp_path: Path, settings_of_a_bus_in: SettingsIn, wrong_repository: str) -> None:
    changed = {"cache": tmp_path / "cache", "maven": wrong_repository}
    settings = settings_of_a_bus_in(tmp_path / "home").model_copy(update=changed)
    message = error_of_a_start(settings)
    assert "its checksum is wrong" in message
    assert "SALLYPORT_MAVEN" in message
    assert list((tmp_path / "cache").rglob("*.jar")) == []


def test_a_disk_that_fills_up_while_fetching_is_said_in_one_line(
    tmp_path: Path, settings_of_a_bus_in: SettingsIn, wrong_repository: str
) -> None:
    cache = tmp_path / "cache"
    kafka = artifacts.pinned()["kafka"]
    kafka.directory(cache).mkdir(parents=True)
    for file in kafka.files:
        (kafka.directory(cache) / f"{file.name}.part").symlink_to("/dev/full")
    settings = settings_of_a_bus_in(tmp_path / "home").model_copy(update={"cache": cache, "maven": wrong_repository})
    assert "the disk is full" in error_of_a_start(settings)


def test_without_network_the_first_start_says_so(tmp_path: Path, settings_of_a_bus_in: SettingsIn) -> None:
    changed = {"cache": tmp_path / "cache", "maven": "http://127.0.0.1:1"}
    settings = settings_of_a_bus_in(tmp_path / "home").model_copy(update=changed)
    assert "Is the network there?" in error_of_a_start(settings)


def test_any_bus_takes_a_record_and_a_schema(container_bus: Settings) -> None:
    """The way out of Docker's bus: the same settings, no users."""
    create_topic(container_bus, "any.count-reported.v1", "anyone")
    producer = Producer(container_bus.kafka("anyone"))
    producer.produce("any.count-reported.v1", b"x")
    assert producer.flush(30) == 0
    schemas = SchemaRegistryClient({"url": container_bus.registry_url})
    schema_id = schemas.register_schema("any-value", Schema(SCHEMA, "AVRO"))
    assert schemas.get_schema(schema_id).schema_str


def test_a_second_start_waits_while_a_first_one_fetches(tmp_path: Path, settings_of_a_bus_in: SettingsIn) -> None:
    settings = settings_of_a_bus_in(tmp_path)
    settings.cache.mkdir(parents=True, exist_ok=True)
    said = StringIO()
    with artifacts.cache_lock(settings.cache):
        waiting = threading.Thread(target=embedded.ensure_programs, args=(settings, Console(file=said)))
        waiting.start()
        until(lambda: "waiting for it" in said.getvalue())
        assert waiting.is_alive()
    waiting.join(10)
    assert "Another start is fetching" in said.getvalue()
    assert not waiting.is_alive()
