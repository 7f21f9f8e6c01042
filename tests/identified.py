"""An event as identify hands it to the pictures."""

from __future__ import annotations

from schemas.codec import encode_event
from schemas.events import Event, type_name
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.facts import Fact, read_fact
from streams.identify import Facts, Source, identify
from streams.records import LoggedRecord
from tests.county import SITE, agency_of


def fact_of(what: Event) -> Fact:
    """The first fact that identify makes of an event."""
    kind, agency = type_name(what), agency_of(what)
    raw = encode_event(what, SCHEMA_IDS[kind])
    where = Source(f"demo.{agency}.x.v1", SITE.agency_by_id[agency], kind)
    found = identify(LoggedRecord(0, None, raw), where, SITE, SCHEMAS, what.head.time)
    assert isinstance(found, Facts)
    out = found.records[0]
    return read_fact(LoggedRecord(0, out.key, raw, out.headers))
