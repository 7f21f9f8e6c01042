"""`sallyport metrics`: what Prometheus scrapes."""

from __future__ import annotations

import signal
import threading
from functools import partial
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry, start_http_server

from deploy.commands.errors import fail, settings_given
from deploy.metrics import SiteCollector
from deploy.sites import load_site
from deploy.topic_report import topic_report
from schemas.agreements import SiteError


def metrics(
    site: Annotated[
        str | None, typer.Option(help="The site, or the directory of one; default: SALLYPORT_SITE.")
    ] = None,
    address: Annotated[
        str, typer.Option(help="Where to listen; loopback, unless somebody else is to see it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 9464,
) -> None:
    """Serve a site's metrics to Prometheus at /metrics, until Ctrl-C: lag, dead letters, how the stages are doing.

    Each scrape asks the broker, at most every five seconds. There is nothing of a person in it. While the bus is away
    sallyport_up is 0. Exit codes: 0 ended, 2 can't begin.

    Example: sallyport metrics --site county --port 9464
    """
    try:
        settings = settings_given(site)
        described = load_site(settings)
    except SiteError as error:
        fail(str(error))
    registry = CollectorRegistry()
    ask = partial(topic_report, settings, described)
    registry.register(SiteCollector(described.name, ask, lambda why: typer.echo(f"sallyport: {why}", err=True)))
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        fail(f"{address}:{port}: {error.strerror or error}")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    typer.echo(f"sallyport: metrics of {described.name} at http://{address}:{port}/metrics; Ctrl-C ends it", err=True)
    ended.wait()
    server.shutdown()
    thread.join()
