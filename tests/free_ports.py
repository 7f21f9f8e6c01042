"""Ports for a bus of a test or a bench, and the settings of a bus on them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from schemas.settings import Settings


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def settings_on_free_ports(home: Path, **more: Any) -> Settings:
    """Settings of an embedded bus on ports that nobody listens on now."""
    kafka, controller, registry = free_ports(3)
    return Settings(home=home, kafka_port=kafka, controller_port=controller, registry_port=registry, **more)
