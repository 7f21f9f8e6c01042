"""Commands say what is wrong in one line that names it, with an exit code, before they have done anything."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.schema_registry.error import SchemaRegistryError
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from typer.testing import CliRunner

from deploy import log_follower
from deploy.cli import app
from deploy.commands import trace as trace_command
from deploy.commands.metrics import _count_on
from deploy.commands.publish import _reject
from deploy.sites import SITES_DIR
from deploy.tallies import Tallies
from producers.event_json import Parsed, Problem
from producers.publisher import MOST_BYTES
from schemas.codec import frame
from schemas.registry_client import NO_SUCH_SCHEMA
from schemas.settings import SecretUnreadableError, Settings
from tests.county import SITE

COMMANDS = [
    ["up"],
    ["provision"],
    ["worker"],
    ["publish", "-", "--as", "county-jail"],
    ["import", "roster", "2026-03-01.csv"],
    ["watch", "--as", "county-jail-watch"],
    ["topics"],
    ["shadow", "draft.py"],
    ["explain", "4f1f"],
    ["replay", "4f1f"],
]


@pytest.fixture(autouse=True)
def nothing_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No command of a test reaches a bus, or a home, that is not the test's."""
    monkeypatch.setenv("SALLYPORT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SALLYPORT_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("SALLYPORT_REGISTRY", "https://127.0.0.1:1")


def error_of(*arguments: str, code: int = 2) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    (line,) = done.stderr.splitlines()
    assert line.startswith("sallyport: ")
    return line


@pytest.mark.parametrize(
    "command", [*COMMANDS, ["backup", "/backups"], ["restore", "it.tar.gz"]], ids=lambda command: command[0]
)
def test_a_wrong_setting_is_named(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_KAFKA_PORT", "abc")
    assert "SALLYPORT_KAFKA_PORT: " in error_of(*command)


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, ["doctor"], ["metrics"], ["trace"], ["dlq", "list", "--as", "county-jail"]],
    ids=lambda command: command[0],
)
def test_a_registry_without_an_address_is_named(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_REGISTRY", "registry.example:8081")
    assert error_of(*command) == ("sallyport: SALLYPORT_REGISTRY: no address such as https://registry.example:8081")


@pytest.mark.parametrize(
    "address",
    ["notaurl", "http://[::1", "https://host:port/x", "https://", "https://host:0", "https://host:70000", "https://a b",
     "ftp://registry.example", "//registry.example"],
)  # fmt: skip
def test_what_is_no_address_of_a_registry_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        Settings(registry=address)


@pytest.mark.parametrize(
    "address", ["https://registry.example", "http://localhost:8080/apis/ccompat/v7", "https://[::1]:8081/", None]
)
def test_an_address_of_a_registry_is_taken_as_it_is(address: str | None) -> None:
    assert Settings(registry=address).registry == address


def test_a_trace_of_a_bus_that_is_away_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_SECURITY_PROTOCOL", "PLAINTEXT")
    monkeypatch.setattr(log_follower, "CONNECT_S", 0.5)
    assert "the broker at 127.0.0.1:1 does not answer (" in error_of("trace")


def test_alerts_of_a_bus_that_is_away_are_not_waited_for_to_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follower, "CONNECT_S", 0.5)
    tallies = Tallies(SITE, CollectorRegistry())
    with pytest.raises(KafkaException):
        _count_on(Settings(security_protocol="PLAINTEXT"), SITE, tallies, lambda: False)


def test_a_collector_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_SECURITY_PROTOCOL", "PLAINTEXT")
    assert error_of("trace", "--otlp", "notaurl") == (
        "sallyport: --otlp: no address such as http://127.0.0.1:4318/v1/traces"
    )


@pytest.mark.parametrize(
    "address",
    ["https://us:hunter2@collector.example", "http://hunter2@127.0.0.1:4318", "https://us:hunter/2@c.example"],
)
def test_a_password_in_a_collector_s_address_is_refused_and_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALLYPORT_SECURITY_PROTOCOL", "PLAINTEXT")
    line = error_of("trace", "--otlp", address)
    assert line.startswith("sallyport: --otlp: ")
    assert "hunter" not in line


def test_an_empty_setting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_KAFKA_PORT", "")
    monkeypatch.setenv("SALLYPORT_SITE_FILE", "")
    assert (Settings().kafka_port, Settings().site_file) == (19092, None)


@pytest.mark.parametrize("command", COMMANDS[1:], ids=lambda command: command[0])
def test_a_site_that_is_not_there_is_named(command: list[str]) -> None:
    assert "'nowhere'" in error_of(*command, "--site", "nowhere")


def test_to_look_and_to_remove_are_not_one_thing() -> None:
    assert "--check" in error_of("provision", "--check", "--remove", "--confirm", "demo")


def test_up_finds_the_recipient_before_it_starts_anything(tmp_path: Path) -> None:
    assert "county-jail-watch" in error_of("up", "--watch", "nobody")
    assert not (tmp_path / "home").exists()


def test_up_works_for_the_site_that_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_SITE_FILE", str(SITES_DIR / "nyc-history"))
    assert "there are city-jail-watch, city-jail-care" in error_of("up", "--watch", "nobody")


def test_the_county_lives_on_its_own_site() -> None:
    assert "--site county" in error_of("up", "--simulate", "--site", "nyc-history")


def test_how_fast_a_county_lives_is_nothing_to_ask_where_none_does() -> None:
    assert "give --simulate as well" in error_of("up", "--speed", "10")


def test_an_event_that_is_too_large_is_a_wrong_event(tmp_path: Path) -> None:
    person = {"role": "SUBJECT", "ids": [{"kind": "LOCAL", "value": "1", "issuer": "jms", "verified": "SYSTEM"}]}
    booked = {
        "type": "BookingReported",
        "head": {"time": "2026-03-01T14:02:00-05:00", "persons": [person]},
        "facility": "county-jail-main",
        "booking_number": "26-1",
        "admitted": "2026-03-01T14:02:00-05:00",
        "legal_status": "pretrial",
        "charges": [],
    }
    charged = {**booked, "charges": ["x" * 400] * (MOST_BYTES // 400)}
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps(booked) + "\n" + json.dumps(charged) + "\n")
    done = CliRunner().invoke(app, ["publish", str(file), "--as", "county-jail", "--dry-run"])
    assert done.exit_code == 1
    assert done.stderr.startswith("sallyport: line 2: is of ")


def test_what_was_rejected_before_is_not_written_over(tmp_path: Path) -> None:
    bad = [Parsed(1, "no event", None, (Problem(1, "", "no JSON"),))]
    names = [_reject(tmp_path / "export.jsonl", bad).name for _ in range(3)]
    assert names == ["export.jsonl.rejected.jsonl", "export.jsonl.rejected-2.jsonl", "export.jsonl.rejected-3.jsonl"]


def test_a_file_of_columns_that_is_no_toml_is_named(tmp_path: Path) -> None:
    columns = tmp_path / "columns.toml"
    columns.write_text("id = BookingNo\n")
    listed = tmp_path / "2026-03-01.csv"
    listed.write_text("x\n")
    assert str(columns) in error_of("import", "roster", str(listed), "--columns", str(columns), "--dry-run")


def test_a_draft_that_is_no_rule_is_named_before_the_bus_is_asked(tmp_path: Path) -> None:
    draft = tmp_path / "draft.py"
    draft.write_text("CORRELATION = 'to be done'\n")
    assert str(draft) in error_of("shadow", str(draft))


def test_a_worker_that_finds_no_broker_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.app.BROKER_ANSWERS_S", 0.5)
    monkeypatch.setenv("SALLYPORT_SECURITY_PROTOCOL", "PLAINTEXT")
    assert "the broker does not answer at 127.0.0.1:1 (" in error_of("worker", "--site", "demo")


class OneAlert:
    """A consumer that reaches the bus, on whose log there is one alert: by a schema with the id 7."""

    def list_topics(self, *_: object, **__: object) -> None:
        pass

    def assign(self, parts: object) -> None:
        pass

    def poll(self, _: float) -> SimpleNamespace:
        said = {"topic": "demo.alerts.raised.v1", "partition": 0, "error": None, "offset": 0, "key": b"", "headers": ()}
        said |= {"value": frame(7, b""), "timestamp": (1, 0)}
        return SimpleNamespace(**{name: lambda what=what: what for name, what in said.items()})

    def close(self) -> None:
        pass


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """The last line of `trace` on a bus that has an alert."""
    unheard = SimpleNamespace(SIGINT=signal.SIGINT, SIGTERM=signal.SIGTERM, signal=lambda *_: None)
    monkeypatch.setattr(trace_command, "signal", unheard)
    monkeypatch.setattr(trace_command, "plain_consumer", lambda *_: OneAlert())

    def last_line() -> str:
        done = CliRunner().invoke(app, ["trace"])
        assert done.exit_code == 2, done.output
        assert isinstance(done.exception, SystemExit), done.exception
        return done.stderr.splitlines()[-1]

    return last_line


def test_a_trace_without_the_registry_s_password_says_which_file_it_misses(
    traced: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALLYPORT_REGISTRY_USER", "sallyport")
    assert traced().startswith("sallyport: no password for user 'sallyport': ")
    secret = tmp_path / "home" / "secrets" / "sallyport"
    secret.parent.mkdir(parents=True)
    secret.write_text("secret")
    secret.chmod(0o644)
    assert traced() == f"sallyport: {secret} is open to other users of this machine: chmod 600 {secret}"


def test_a_trace_of_what_the_registry_does_not_know_ends_in_one_line(
    traced: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: int) -> None:
        raise SchemaRegistryError(404, NO_SUCH_SCHEMA, "Schema not found")

    monkeypatch.setattr(trace_command, "registry_client", lambda _: nullcontext(SimpleNamespace(get_schema=unknown)))
    assert traced().startswith("sallyport: a record can't be read (")


# -- what a user needs to get in -----------------------------------------------------------------------------------


def test_a_ca_certificate_that_is_not_there_or_damaged_is_named_with_what_to_do(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    secret = settings.secrets_path / "demo.county-jail"
    secret.parent.mkdir()
    secret.write_text("secret")
    secret.chmod(0o600)
    for damage in (None, b"no certificate"):
        if damage is not None:
            settings.ca_path.parent.mkdir()
            settings.ca_path.write_bytes(damage)
        with pytest.raises(SecretUnreadableError, match="SALLYPORT_CA_FILE") as error:
            settings.kafka("demo.county-jail")
        assert str(settings.ca_path) in str(error.value)


def test_an_empty_password_is_none(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    secret = settings.secrets_path / "admin"
    secret.parent.mkdir()
    secret.touch(mode=0o600)
    with pytest.raises(SecretUnreadableError, match="is empty"):
        settings.password("admin")
