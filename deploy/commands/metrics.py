"""`sallyport metrics`: what Prometheus scrapes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

import typer
from confluent_kafka import KafkaException
from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from deploy.commands.errors import fail, settings_given
from deploy.log_follower import Nothing, follow, reach
from deploy.metrics import SiteCollector, ground
from deploy.sites import load_site
from deploy.tallies import Tallies
from deploy.topic_report import topic_report
from deploy.ways import AlertRead, DecisionRead, Ways
from schemas import topics
from schemas.agreements import SiteError
from schemas.codec import DecodeError
from schemas.registry_client import RegistryAway, SchemaCache, registry_client
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site
from streams.clock import wall_clock
from streams.fold import plain_consumer

AGAIN_S: Final = 5.0
"""Seconds after which it is tried again to follow the logs."""


def metrics(
    site: Annotated[
        str | None, typer.Option(help="The site, or the directory of one; default: SALLYPORT_SITE.")
    ] = None,
    address: Annotated[
        str, typer.Option(help="Where to listen; loopback, unless somebody else is to see it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 9464,
) -> None:
    """Serve a site's metrics to Prometheus at /metrics, until Ctrl-C: alerts, how long they take, lag, dead letters.

    Each scrape asks the broker, at most every five seconds, and is answered within seven whatever the broker does;
    alerts and decisions are counted from when it begins. There is nothing of a person in it, and nothing of tips or
    health. While the bus is away sallyport_up is 0. Exit codes: 0 ended, 2 can't begin.

    Example: sallyport metrics --site county --port 9464
    """
    try:
        settings = settings_given(site)
        described = load_site(settings)
    except SiteError as error:
        fail(str(error))
    # When each series began is told by none of ours, and doubles them.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    tallies, ended = Tallies(described, registry), threading.Event()
    ask, look = partial(topic_report, settings, described), partial(ground, settings)
    registry.register(SiteCollector(described, ask, tallies.standing, look, _say))
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        fail(f"{address}:{port}: {error.strerror or error}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    typer.echo(f"sallyport: metrics of {described.name} at http://{address}:{port}/metrics; Ctrl-C ends it", err=True)
    counting = threading.Thread(target=_count, args=(settings, described, tallies, ended), name="counts")
    counting.start()
    ended.wait()
    server.shutdown()
    thread.join()
    counting.join()


def _say(why: str) -> None:
    typer.echo(f"sallyport: {why}", err=True)


def _count(settings: Settings, site: Site, tallies: Tallies, ended: threading.Event) -> None:
    """Follow the logs and count, until it is ended; again from the beginning where that can't go on."""
    while not ended.is_set():
        try:
            _count_on(settings, site, tallies, lambda: not ended.is_set())
        except KafkaException as error:
            _say(f"alerts are not counted just now: the broker does not go on ({error.args[0].str()})")
        except (SecretUnreadableError, RegistryAway, DecodeError) as error:
            _say(f"alerts are not counted just now: {error}")
        finally:
            tallies.begin()
        ended.wait(AGAIN_S)


def _count_on(settings: Settings, site: Site, tallies: Tallies, goes_on: Callable[[], bool]) -> None:
    consumer, ways = plain_consumer(settings, site.user(topics.BUS), topics.consumer_group(site.name)), Ways(site)
    try:
        reach(site, consumer)
        with registry_client(settings) as registry:
            for one in follow(site, consumer, SchemaCache(registry), goes_on, with_old_alerts=True):
                if not isinstance(one, Nothing):
                    ways.see(one, wall_clock())
                match one:
                    case AlertRead():
                        tallies.alert(one)
                    case DecisionRead():
                        tallies.decision(one)
                    case Nothing(caught_up=True):
                        tallies.caught_up()
                for trace in ways.traces(wall_clock()):
                    tallies.trace(trace)
    finally:
        consumer.close()
