"""Ports for a bus of a test or a bench, and the settings of a bus on them."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from schemas.settings import Settings

OURS: Final = range(15_000, 32_000)
"""Below what systems give to outgoing connections (Linux from 32768, others from 49152): some client's would take such
a port between now and the moment at which the server listens."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    with ExitStack() as held:
        ports = []
        # Drawn from the system: tests that run side by side, each with one seed, would draw the same.
        for port in random.SystemRandom().sample(OURS, len(OURS)):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise OSError(f"fewer than {count} ports of {OURS} are free")


def settings_on_free_ports(home: Path, **more: Any) -> Settings:
    """Settings of an embedded bus on ports that nobody listens on now."""
    kafka, controller, registry = free_ports(3)
    return Settings(home=home, kafka_port=kafka, controller_port=controller, registry_port=registry, **more)
