"""`sallyport trace` on the real bus: an OpenTelemetry collector gets the way of an event to an alert."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from deploy.traces import ROOT
from schemas.events import Event
from schemas.settings import Settings
from tests.county import today
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus
SENTINEL = "SENTINEL"
"""Begins what would tell of a person."""


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
            # It follows what is written once it listens, and to some topics sooner: one review after another, until it
            # has heard all of one.
            site.publish(reviewed(number))
            site.until_settled()
            if whole_ones(spans):
                break
        until(lambda: whole_ones(spans), "a whole trace came")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    whole = whole_ones(spans)
    # Whichever of the three was identified last led to the review.
    ids = {uuid.UUID(what.head.event_id).bytes for number in range(40) for what in reviewed(number)}
    assert {of[0].trace_id for of in whole} <= ids
    for of in whole:
        root = next(span for span in of if span.name == ROOT)
        assert all(root.start_time_unix_nano <= s.start_time_unix_nano <= s.end_time_unix_nano for s in of)
        said = {item.key: item.value for item in root.attributes}
        assert said["sallyport.rule"].string_value == "classification_review"
        first = next(span for span in of if span.name == "publish")
        assert (first.parent_span_id, root.parent_span_id) == (b"", first.span_id)
        assert first.start_time_unix_nano == root.start_time_unix_nano
        disclosed = next(span for span in of if span.name == "disclose")
        told = {item.key: [one.string_value for one in item.value.array_value.values] for item in disclosed.attributes}
        assert "county-jail-watch OWN_INFORMATION" in told["sallyport.disclosed"]
    assert SENTINEL.encode() not in b"".join(span.SerializeToString() for span in spans)


def whole_ones(spans: Sequence[Any]) -> list[list[Any]]:
    """The spans of each trace of which all came."""
    names = {"publish", ROOT, "identify", "person", "waiting", "deciding", "disclose", "commit"}
    by_trace: dict[bytes, list[Any]] = {}
    for span in list(spans):
        by_trace.setdefault(span.trace_id, []).append(span)
    return [of for of in by_trace.values() if {span.name for span in of} == names]


def reviewed(number: int) -> list[Event]:
    """What somebody is to be reviewed for."""
    person = f"{SENTINEL}-{number}"
    return [
        today("BookingReported", person, hours=9, name=f"booking-{number}", booked_as=f"{SENTINEL}, Ada"),
        today("CustodyClassified", person, hours=8, name=f"class-{number}"),
        today("DisciplinaryRecorded", person, hours=1, name=f"infraction-{number}"),
    ]
