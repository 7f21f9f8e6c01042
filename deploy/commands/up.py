"""`sallyport up`: the whole bus on this machine."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.changes import ProvisionError
from deploy.commands.errors import fail
from deploy.embedded import BusError, EmbeddedBus
from deploy.provision import provision
from deploy.sites import SITES_DIR, load_site, settings_for, shipped_sites
from deploy.supervisor import Supervised, Supervisor
from producers.publisher import Publisher, PublishError
from producers.spool import SpoolFullError
from producers.story import play, read_story
from schemas.agreements import SiteError
from schemas.events import Event
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site

log = logging.getLogger(__name__)


def up(
    sites: Annotated[
        list[str] | None, typer.Option("--site", help="A site to work for; may be given again. Default: all shipped.")
    ] = None,
    story: Annotated[bool, typer.Option("--story", help="Play the demo site's story.")] = False,
    watch: Annotated[str | None, typer.Option(help="Show this recipient's alerts in this terminal.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers for each site.")] = 1,
) -> None:
    """Start the bus on this machine: Kafka, registry, sites, workers; Ctrl-C ends it all.

    The state is kept in SALLYPORT_HOME: the next start goes on from it.

    Example: sallyport up --story --watch county-jail-watch
    """
    console = Console(stderr=True)
    settings = Settings()
    try:
        described = [load_site(settings_for(settings, name)) for name in sites or shipped_sites()]
        with ExitStack() as stack:
            if settings.embedded:
                bus = EmbeddedBus(settings)
                bus.start(console)
                stack.callback(bus.stop)
            for site in described:
                with console.status(f"Provisioning {site.name} ..."):
                    provision(settings, site)
            names = dict(zip([site.name for site in described], sites or shipped_sites(), strict=True))
            supervisor = Supervisor([_worker(settings, names[s.name], n) for s in described for n in range(workers)])
            supervisor.start()
            stack.callback(supervisor.stop)
            if story:
                stack.enter_context(_playing(settings, load_site(settings_for(settings, "demo"))))
            _until_ended(settings, described, watch, console)
    except (BusError, ProvisionError, SiteError, PublishError, SecretUnreadableError) as error:
        fail(str(error))


def _worker(settings: Settings, site: str, number: int) -> Supervised:
    logs = settings.home / "logs"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "deploy", "worker", "--site", site, "--while-parent-lives"]
    name = Path(site).name
    return Supervised(f"worker {name} {number}", command, logs / f"worker-{name}-{number}.log")


def _until_ended(settings: Settings, sites: list[Site], recipient: str | None, console: Console) -> None:
    if recipient is not None:
        site = next((s for s in sites if recipient in s.recipient_by_id), None)
        if site is None:
            known = ", ".join(r for s in sites for r in s.recipient_by_id)
            raise SiteError(f"no recipient {recipient!r}; there are {known}")
        # Textual is only loaded where there is a screen to show.
        from consumers.watch import run_watch  # noqa: PLC0415

        run_watch(settings, site, recipient)
        return
    console.print(
        f"The bus runs: Kafka {settings.bootstrap_servers}, registry {settings.registry_url}. Ctrl-C ends it."
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


@contextmanager
def _playing(settings: Settings, site: Site) -> Iterator[None]:
    """The story, told in the background; it stops with the block."""
    stop = threading.Event()
    thread = threading.Thread(target=_tell, args=(settings, site, stop), name="story", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _tell(settings: Settings, site: Site, stop: threading.Event) -> None:
    story = read_story(SITES_DIR / "demo" / "story.toml")
    run = datetime.now(UTC).strftime("%m%d%H%M%S")
    try:
        with ExitStack() as stack:
            agencies = {step.agency for step in story.steps}
            publishers = {a: stack.enter_context(Publisher(settings, site, a)) for a in agencies}

            def publish(agency: str, events: list[Event]) -> None:
                publishers[agency].publish_many(events)

            play(story, run, site, publish, lambda: time.time_ns() // 1000, stop.wait, log.info)
    except (PublishError, SpoolFullError) as error:
        log.error("the story can't be told: %s", error)
