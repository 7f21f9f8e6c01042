"""`sallyport trace`: the way of events to alerts, for an OpenTelemetry collector."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Annotated

import typer
from confluent_kafka import KafkaException

from deploy.broker_says import in_a_line
from deploy.commands.errors import fail, settings_given
from deploy.log_follower import reach
from deploy.sites import load_site
from schemas import topics
from schemas.agreements import SiteError
from schemas.codec import DecodeError
from schemas.registry_client import RegistryAway, SchemaCache, registry_client
from schemas.settings import SecretUnreadableError, is_web_address, names_a_user
from streams.clock import wall_clock
from streams.fold import plain_consumer


def trace(
    site: Annotated[
        str | None, typer.Option(help="The site, or the directory of one; default: SALLYPORT_SITE.")
    ] = None,
    otlp: Annotated[
        str, typer.Option(help="The collector's address for traces: OTLP over HTTP.")
    ] = "http://127.0.0.1:4318/v1/traces",
) -> None:
    """Send a trace of each alert from now on to an OpenTelemetry collector, until Ctrl-C: from publishing to readable.

    A trace has the id of the event that led to the alert, and a span for each stage. It is put together from the logs:
    workers do nothing for it. There is nothing of a person in it, and nothing of tips or health. While the collector is
    away traces are lost, and said to be. Exit codes: 0 ended, 2 can't begin, or the bus went away.

    Example: sallyport trace --site county --otlp http://127.0.0.1:4318/v1/traces
    """
    # What only this command needs takes its time to load.
    from deploy.traces import Spans, traces  # noqa: PLC0415

    logging.basicConfig(format="sallyport: %(message)s", level=logging.WARNING)
    try:
        settings = settings_given(site)
        described = load_site(settings)
        if not is_web_address(otlp):
            # Not repeated: it may be one with a password whose / makes it none.
            fail("--otlp: no address such as http://127.0.0.1:4318/v1/traces")
        if names_a_user(otlp):
            fail("--otlp: has a user or password in it, which would be shown: give OTEL_EXPORTER_OTLP_HEADERS")
        consumer = plain_consumer(settings, described.user("bus"), topics.consumer_group(described.name))
    except (SiteError, SecretUnreadableError, KafkaException) as error:
        fail(str(error))
    try:
        reach(described, consumer)
    except KafkaException as error:
        consumer.close()
        fail(f"the broker at {settings.bootstrap_servers} does not answer ({in_a_line(error)}): is the bus up?")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    spans, told = Spans.to(described.name, otlp), 0
    typer.echo(f"sallyport: traces of {described.name} go to {otlp}; Ctrl-C ends it", err=True)
    try:
        with registry_client(settings) as registry:
            for one in traces(described, consumer, SchemaCache(registry), lambda: not ended.is_set(), wall_clock):
                spans.tell(one)
                told += 1
    except KafkaException as error:
        fail(f"the broker at {settings.bootstrap_servers} does not go on ({in_a_line(error)}): is the bus up?")
    except (SecretUnreadableError, RegistryAway) as error:
        fail(str(error))
    except DecodeError as error:
        fail(f"a record can't be read ({error}): was it another registry?")
    finally:
        consumer.close()
        spans.close()
    typer.echo(f"sallyport: {told:,} traces", err=True)
