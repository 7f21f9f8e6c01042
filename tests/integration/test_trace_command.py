"""`sallyport trace` on the real bus: an OpenTelemetry collector gets the way of an event to an alert."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from schemas.events import Event
from schemas.settings import Settings
from tests.county import today
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus
ROOT = "publish to alert"


@pytest.fixture
def site(bus: Settings, tmp_path: Path) -> Iterator[WorkingSite]:
    site = WorkingSite.make(bus, tmp_path / "site", "traced", partitions=2)
    site.start_worker()
    yield site
    site.end()


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A collector's address, and the spans that it was sent."""
    spans: list[Any] = []

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(span for of in told.resource_spans for scope in of.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def tracing(site: WorkingSite, home: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    of_the_bus = {"home": home, "ca_file": site.settings.ca_path, "secrets": site.settings.secrets_path}
    command = [sys.executable, "-m", "deploy", "trace", "--site", str(site.directory), "--otlp", url]
    where = {**environment(site.settings.model_copy(update=of_the_bus)), "OTEL_BSP_SCHEDULE_DELAY": "200"}
    process = subprocess.Popen(command, env=where, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert f"go to {url}" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def test_each_alert_has_a_trace_with_the_id_of_the_event_that_led_to_it(site: WorkingSite, tmp_path: Path) -> None:
    with collector() as (url, spans), tracing(site, tmp_path / "home", url) as process:
        for number in range(40):
            # It follows what is written once it listens: one review after another, until it hears of one.
            site.publish(reviewed(number))
            site.until_settled()
            if spans:
                break
        until(lambda: any(span.name == ROOT for span in spans), "a trace came")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    by_trace: dict[bytes, list[Any]] = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    whole = [of for of in by_trace.values() if {span.name for span in of} == {"identify", "person", "commit", ROOT}]
    assert whole
    # Whichever of the three was identified last led to the review.
    ids = {uuid.UUID(what.head.event_id).bytes for number in range(40) for what in reviewed(number)}
    assert {of[0].trace_id for of in whole} <= ids
    for of in whole:
        root = next(span for span in of if span.name == ROOT)
        assert all(root.start_time_unix_nano <= s.start_time_unix_nano <= s.end_time_unix_nano for s in of)
        said = {item.key: item.value for item in root.attributes}
        assert said["sallyport.rule"].string_value == "classification_review"


def reviewed(number: int) -> list[Event]:
    """What somebody is to be reviewed for."""
    person = f"p{number}"
    return [
        today("BookingReported", person, hours=9, name=f"booking-{number}"),
        today("CustodyClassified", person, hours=8, name=f"class-{number}"),
        today("DisciplinaryRecorded", person, hours=1, name=f"infraction-{number}"),
    ]
