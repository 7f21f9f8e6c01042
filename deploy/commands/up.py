"""`sallyport up`: the whole bus on this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from deploy.changes import ProvisionError
from deploy.commands.errors import fail, settings_given
from deploy.embedded import BusError, EmbeddedBus
from deploy.live_county import COUNTY, SPEED, live_county, named_as_simulated
from deploy.nobody_told import untold
from deploy.pause import Pausing
from deploy.provision import provision
from deploy.sites import keep_site_files, load_site, settings_for, shipped_sites
from deploy.supervisor import Supervised, Supervisor
from deploy.topic_report import all_live
from producers.publisher import PublishError
from producers.simulator.noise import Noise
from producers.spool import SpoolFullError
from schemas.agreements import SiteError
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site

LIVE_S: Final = 60.0
"""Seconds that are waited for the workers to be live."""
LOOK_EVERY_S: Final = 1.0
"""Seconds between looks at whether broker and registry still run."""


def up(
    sites: Annotated[
        list[str] | None, typer.Option("--site", help="A site to work for; may be given again. Default: all shipped.")
    ] = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate", help="Let the simulated county live on its site, so that there is something to see."
        ),
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(min=0.01, help=f"With --simulate: how many times as fast as ours it lives. Default: {SPEED:g}."),
    ] = None,
    watch: Annotated[str | None, typer.Option(help="Show this recipient's alerts in this terminal.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers for each site.")] = 1,
) -> None:
    """Start the bus on this machine: Kafka, registry, sites, workers; Ctrl-C ends it all.

    The state is kept in SALLYPORT_HOME: the next start goes on from it.

    Example: sallyport up --site county --simulate --watch county-watch
    """
    console = Console(stderr=True)
    settings = settings_given()
    if speed is not None and not simulate:
        fail("--speed is for --simulate only: leave it out, or give --simulate as well")
    try:
        names = sites or ([str(settings.site_file)] if settings.site_file is not None else list(shipped_sites()))
        described = [load_site(settings_for(settings, name)) for name in names]
        desk = None if watch is None else _desk_of(watch, described)
        if simulate and COUNTY not in {site.name for site in described}:
            raise SiteError(f"--simulate is for the site {COUNTY}: give --site {COUNTY} as well")
        with ExitStack() as stack:
            bus = EmbeddedBus(settings) if settings.embedded else None
            if bus is not None:
                bus.start(console)
                # Called last: when everything else has ended.
                stack.callback(lambda: console.print("The bus has ended; its state is kept."))
                stack.callback(bus.stop)
            for name, site in zip(names, described, strict=True):
                with console.status(f"Provisioning {site.name} ..."):
                    provision(settings, site)
                for one in untold(site, time.time_ns() // 1000) if site.clock == "live" else ():
                    console.print(Text(f"{site.name}: {one.line}", "yellow"), soft_wrap=True)
                if bus is not None:
                    keep_site_files(settings_for(settings, name), site)
            supervisor = Supervisor([_worker(settings, name, n) for name in names for n in range(workers)])
            supervisor.start()
            stack.callback(supervisor.stop)
            _until_live(settings, described, console)
            trouble: Callable[[], str | None] = lambda: None  # noqa: E731  # of a bus that is not ours
            if bus is not None:
                pausing = _pausing(settings, bus, supervisor, Console(stderr=True, quiet=desk is not None))
                pausing.start()
                stack.callback(pausing.stop)
                trouble = pausing.trouble
            if simulate:
                county = _simulating(settings, next(site for site in described if site.name == COUNTY), speed or SPEED)
                trouble = _first_of(trouble, stack.enter_context(county))
                desk = desk and (named_as_simulated(desk[0], speed or SPEED), desk[1])
            code = _shown(settings, desk, trouble) if desk is not None else _until_ended(settings, trouble, console)
    except (BusError, ProvisionError, SiteError, PublishError, SecretUnreadableError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'the bus'}: {error.strerror or error}. See SALLYPORT_HOME")
    raise typer.Exit(code)


def _pausing(settings: Settings, bus: EmbeddedBus, supervisor: Supervisor, console: Console) -> Pausing:
    """What ends and begins all that we run where a backup asks for it."""

    def end() -> None:
        console.print("Pausing for a backup ...")
        supervisor.stop()
        bus.stop()

    def begin() -> None:
        bus.start(console)
        supervisor.start()
        console.print("The bus runs again.")

    return Pausing(settings.home, end, begin, bus.trouble)


def _until_live(settings: Settings, sites: list[Site], console: Console) -> None:
    """Wait until the workers know what is on the logs; a screen that begins sooner begins blind. Not for ever: it would
    say why."""
    began, since = time.monotonic(), time.time_ns() // 1000
    waiting = list(sites)
    with console.status("The workers read back what is on the logs ..."):
        while waiting and time.monotonic() - began < LIVE_S:
            waiting = [site for site in waiting if not all_live(settings, site, since)]
            time.sleep(LOOK_EVERY_S / 4)


def _worker(settings: Settings, site: str, number: int) -> Supervised:
    logs = settings.home / "logs"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "deploy", "worker", "--site", site, "--while-lives", str(os.getpid())]
    name = Path(site).name
    return Supervised(f"worker {name} {number}", command, logs / f"worker-{name}-{number}.log")


def _desk_of(recipient: str, sites: list[Site]) -> tuple[Site, str]:
    """A recipient and its site; found before anything is started."""
    site = next((s for s in sites if recipient in s.recipient_by_id), None)
    if site is None:
        known = ", ".join(r for s in sites for r in s.recipient_by_id)
        raise SiteError(f"no recipient {recipient!r}; there are {known}")
    return site, recipient


def _shown(settings: Settings, desk: tuple[Site, str], trouble: Callable[[], str | None]) -> int:
    # Textual is only loaded where there is a screen to show.
    from consumers.watch import run_watch  # noqa: PLC0415

    code = run_watch(settings, *desk, trouble)
    _raise_if(trouble())
    return code


def _until_ended(settings: Settings, trouble: Callable[[], str | None], console: Console) -> int:
    console.print(
        f"The bus runs: Kafka {settings.bootstrap_servers}, registry {settings.registry_url}. Ctrl-C ends it."
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(LOOK_EVERY_S):
        _raise_if(trouble())
    return 0


def _raise_if(trouble: str | None) -> None:
    if trouble is not None:
        raise BusError(f"{trouble}. Nothing is lost: start it again")


def _first_of(*troubles: Callable[[], str | None]) -> Callable[[], str | None]:
    return lambda: next(filter(None, (trouble() for trouble in troubles)), None)


@contextmanager
def _simulating(settings: Settings, site: Site, speed: float) -> Iterator[Callable[[], str | None]]:
    """The county lives in the background, and stops with the block; gives what says why it can't live on."""
    stop = threading.Event()
    why: list[str] = []
    thread = threading.Thread(target=_live, args=(settings, site, speed, stop, why), name="county", daemon=True)
    thread.start()
    try:
        yield lambda: next(iter(why), None)
    finally:
        stop.set()
        thread.join()


def _live(settings: Settings, site: Site, speed: float, stop: threading.Event, why: list[str]) -> None:
    try:
        # Another county each time: the same people would be back with what is known of them.
        live_county(settings, site, time.time_ns() % 16**4, Noise(), speed, stop)
    except Exception as error:
        # Whatever it is: a screen on which nothing happens any more must say so. A traceback would lie across it.
        why.append(f"the simulated county can't live on ({_said(error)})")


def _said(error: Exception) -> str:
    """An error in a line for people: of one that is foreseen its own words, of any other what it is."""
    if isinstance(error, PublishError | SpoolFullError | SecretUnreadableError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}"
    # Its kinds are mistakes of ours; by itself it says that what an earlier county left open can't be read.
    return str(error) if type(error) is ValueError else type(error).__name__
