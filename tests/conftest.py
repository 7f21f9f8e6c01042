"""The bus that the tests run on: a real broker and registry, started once for the run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker  # type: ignore[import-untyped]
import httpx
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from testcontainers.community.kafka import KafkaContainer
from testcontainers.core.container import DockerContainer

from schemas.settings import Settings
from tests import county_events
from tests.bus_of_the_run import bus_of_the_run
from tests.free_ports import settings_on_free_ports
from tests.working_site import WorkingSite

# How long an example takes tells of the machine: the first one alone builds tables of all characters.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Of a mutant nobody reads which example it fails on: none is made shorter.
hypothesis_settings.register_profile(
    "mutation",
    hypothesis_settings.get_profile("untimed"),
    derandomize=True,
    database=None,
    max_examples=20,
    phases=(Phase.explicit, Phase.generate),
)
hypothesis_settings.load_profile("untimed")

REGISTRY_IMAGE = "apicurio/apicurio-registry:3.3.3"


def settings_in(home: Path) -> Settings:
    """Settings of an embedded bus on free ports, with the user's own cache: what was fetched once is not fetched again.

    Nothing else is taken from the environment, so that the tests are the same for everybody.
    """
    with pytest.MonkeyPatch.context() as clean:
        for name in [name for name in os.environ if name.startswith("SALLYPORT_")]:
            if name not in ("SALLYPORT_CACHE", "SALLYPORT_MAVEN"):
                clean.delenv(name)
        return settings_on_free_ports(
            home,
            kafka_heap="384m",
            # Most of them live for seconds: what the second compiler makes faster it has cost before.
            kafka_java="-XX:TieredStopAtLevel=1",
        )


@pytest.fixture(scope="session")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The embedded bus: TLS, SCRAM users and ACLs as in production.

    `admin` may do everything, others what a test grants. There is one for the whole run, in however many processes: a
    test works in a site of its own, or on topics with names of its own.
    """
    own = tmp_path_factory.getbasetemp()
    with bus_of_the_run(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own, settings_in) as settings:
        yield settings


@pytest.fixture(scope="module")
def little_suffices() -> Iterator[None]:
    """What takes many events takes few: a module's random histories stay short (`tests/county_events.py`)."""
    with county_events.little_suffices():
        yield


@pytest.fixture(scope="session")
def settings_of_a_bus_in() -> Callable[[Path], Settings]:
    """Makes the settings of another embedded bus, for tests that start and end one themselves."""
    return settings_in


@pytest.fixture(scope="session")
def container_bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Kafka and registry in containers, for the tests that hold for any bus: no users, no TLS, no ACLs.

    Skips where no Docker engine answers.
    """
    try:
        docker.from_env(timeout=5).ping()
    except docker.errors.DockerException:
        pytest.skip("no Docker engine answers: the containers' bus is tested where there is one")
    registry = DockerContainer(REGISTRY_IMAGE).with_exposed_ports(8080)
    with KafkaContainer().with_kraft() as kafka, registry:
        settings = Settings(
            home=tmp_path_factory.mktemp("container-bus"),
            embedded=False,
            bootstrap=kafka.get_bootstrap_server(),
            registry=f"http://{registry.get_container_host_ip()}:{registry.get_exposed_port(8080)}/apis/ccompat/v7",
            security_protocol="PLAINTEXT",
        )
        _until_it_answers(f"{settings.registry_url}/subjects")
        yield settings


def _until_it_answers(url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            httpx.get(url, timeout=5).raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--real-lists",
        type=int,
        default=14,
        help="Real lists that are imported through crashes, 92 at most.",
    )
    parser.addoption(
        "--one-in",
        type=int,
        default=2,
        help="Of every how many-th person on them; 1 for the whole jail.",
    )


@pytest.fixture
def a_site(bus: Settings, tmp_path: Path) -> Iterator[Callable[..., WorkingSite]]:
    """Makes sites with names of their own on the bus; their workers end with the test."""
    made: list[WorkingSite] = []

    def make(name: str, **how: Any) -> WorkingSite:
        made.append(WorkingSite.make(bus, tmp_path, name, **how))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def site(made: WorkingSite) -> Iterator[WorkingSite]:
    """The site that a module has `made`, as on its first day: for each of its tests a log of its own."""
    site = made.renewed()
    yield site
    site.end()
