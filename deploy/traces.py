"""Traces: the way of an event from its publishing to an alert that can be read, as OpenTelemetry has it.

Each event that leads to alerts has one, with the event's id, or with that of the trace in which its agency published
it. It is put together from the logs (`deploy/ways.py`). It names topics, offsets, rules, recipients, and ids of events
and alerts; nothing of a person.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Final

from confluent_kafka import Consumer
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from deploy.log_follower import Nothing, follow, reach
from deploy.ways import PUBLISH, Passed, Step, Trace, Ways
from schemas.registry_client import SchemaCache
from schemas.site import Site
from streams.disclose import DISCLOSE

ROOT: Final = "publish to alert"
"""The span that holds what became of an event, up to one record of an alert."""
QUIET_S: Final = 10.0
"""Seconds without a record after which the broker is asked whether it is there."""


def traces(
    site: Site, consumer: Consumer, schemas: SchemaCache, goes_on: Callable[[], bool], now: Callable[[], int]
) -> Iterator[Trace]:
    """The ways to what is raised from now on, as long as it `goes_on`.

    Raises KafkaException, also where the broker has gone away; RegistryAway, DecodeError.
    """
    ways, heard = Ways(site), time.monotonic()
    for one in follow(site, consumer, schemas, goes_on):
        if not isinstance(one, Nothing):
            ways.see(one, now())
            heard = time.monotonic()
        elif time.monotonic() - heard >= QUIET_S:
            reach(site, consumer)
            heard = time.monotonic()
        yield from ways.traces(now())


class _Given(RandomIdGenerator):
    """The ids that the next span is to have; another span id is drawn where none is given."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id: int | None = None

    def generate_trace_id(self) -> int:
        """The trace's; asked for only where the span is the first of its trace."""
        return self.trace_id

    def generate_span_id(self) -> int:
        """The span's."""
        given, self.span_id = self.span_id, None
        return super().generate_span_id() if given is None else given


class Spans:
    """Where traces go: an OpenTelemetry collector."""

    def __init__(self, site: str, exporter: SpanExporter) -> None:
        self._ids = _Given()
        resource = Resource.create({"service.name": "sallyport", "service.namespace": site})
        # That an agency keeps no spans of its own says nothing of ours.
        self._provider = TracerProvider(ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sallyport")

    @classmethod
    def to(cls, site: str, url: str) -> Spans:
        """To a collector's OTLP address over HTTP, such as http://127.0.0.1:4318/v1/traces."""
        return cls(site, OTLPSpanExporter(endpoint=url))

    def tell(self, one: Trace) -> None:
        """Hand on a trace; it is sent a moment later."""
        about = {
            "sallyport.event.id": one.event_id,
            "sallyport.alert.id": one.alert_id,
            "sallyport.alert.revision": one.revision,
            "sallyport.rule": one.rule,
            **(_place(one.came) if one.came is not None else {}),
        }
        published_in = TraceContextTextMapPropagator().extract({"traceparent": one.traceparent}, Context())
        publisher = trace.get_current_span(published_in).get_span_context()
        self._ids.trace_id, steps = uuid.UUID(one.event_id).int, list(one.steps)
        if steps[0].name == PUBLISH and publisher.is_valid and publisher.trace_id == self._ids.trace_id:
            # Our publisher tells nobody of its span: it is told here, once. Other clients tell of their own.
            publishing, *steps = steps
            if one.is_first:
                self._ids.span_id = publisher.span_id
                self._span(publishing, Context(), {"sallyport.event.id": one.event_id}, SpanKind.PRODUCER)
        root = self._tracer.start_span(ROOT, context=published_in, start_time=one.began * 1000, attributes=about)
        inside = trace.set_span_in_context(root, Context())
        for step in steps:
            self._span(step, inside, _told(one) if step.name == DISCLOSE else {})
        root.end(one.ended * 1000)

    def _span(
        self, step: Step, context: Context, more: dict[str, str | list[str]], kind: SpanKind = SpanKind.INTERNAL
    ) -> None:
        attributes = {**_place(step.wrote), **more}
        span = self._tracer.start_span(
            step.name, context=context, kind=kind, start_time=step.began * 1000, attributes=attributes
        )
        for part in step.parts:
            self._span(part, trace.set_span_in_context(span, Context()), {})
        span.end(step.ended * 1000)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _place(passed: Passed) -> dict[str, str | int]:
    """A record's place, by OpenTelemetry's names (semantic conventions for messaging, Kafka)."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": passed.topic,
        "messaging.destination.partition.id": str(passed.partition),
        "messaging.kafka.offset": passed.offset,
    }


def _told(one: Trace) -> dict[str, str | list[str]]:
    """Who was told, and who was not, and why."""
    return {
        f"sallyport.{decision.lower()}": [
            f"{made.recipient} {made.reason}" for made in one.decisions if made.decision == decision
        ]
        for decision in sorted({made.decision for made in one.decisions})
    }
