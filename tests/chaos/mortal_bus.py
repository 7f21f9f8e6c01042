"""A real bus of which broker and registry can be killed, stopped, and started again, each by itself.

Who was killed is started again by the same command line: on the same data directory and the same ports.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console

from deploy import java, watchdog
from deploy.embedded import EmbeddedBus
from deploy.kafka_config import ADMIN
from schemas.registry_client import registry_client
from schemas.settings import Settings

GRACE_S: Final = 20.0


@dataclass
class Part:
    """Broker or registry: a Java process that is killed and started again."""

    name: str
    directory: Path
    logs: Path
    process: psutil.Process
    answers: Callable[[], bool]
    command: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.command = self.process.cmdline()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait(GRACE_S)

    def start(self) -> None:
        """Start it again; it takes seconds until it answers."""
        started = java.JavaProcess.start(self.name, self.command, self.directory, self.logs)
        self.process = psutil.Process(started.process.pid)

    def stop(self) -> None:
        """Let it hang: connections stay, nobody answers."""
        self.process.suspend()

    def go_on(self) -> None:
        """Let it go on."""
        self.process.resume()

    def end(self) -> None:
        """End it for good."""
        with suppress(psutil.NoSuchProcess):
            self.process.resume()
            watchdog.end([self.process], GRACE_S)


@dataclass
class MortalBus:
    """Broker and registry of a bus that runs."""

    broker: Part
    registry: Part


@contextmanager
def mortal_bus(settings: Settings, console: Console | None = None) -> Iterator[MortalBus]:
    """Start a bus; it ends with the block, whatever was done to it."""
    bus = EmbeddedBus(settings)
    bus.start(console)
    try:
        home = settings.home.resolve()
        running = {
            ("kafka" if "kafka.Kafka" in p.cmdline() else "registry"): p for p in watchdog.marked(java.mark(home))
        }
        broker = Part("Kafka", home / "kafka", home / "logs", running["kafka"], lambda: _broker_answers(settings))
        registry = Part(
            "Registry", home / "registry", home / "logs", running["registry"], lambda: _registry_answers(settings)
        )
        try:
            yield MortalBus(broker, registry)
        finally:
            broker.end()
            registry.end()
    finally:
        bus.stop()


def _broker_answers(settings: Settings) -> bool:
    with socket.socket() as probe:
        if probe.connect_ex((settings.bind, settings.kafka_port)):
            return False
    with suppress(KafkaException):
        AdminClient({**settings.kafka(ADMIN), "log_level": 0}).list_topics(timeout=2)
        return True
    return False


def _registry_answers(settings: Settings) -> bool:
    try:
        registry_client(settings).get_subjects()
    except Exception:  # whatever its client raises while nobody is there
        return False
    return True
