"""Subjects: under which name a record's schema is in the registry.

A topic of one record has the subject `<topic>-value` (Confluent's TopicNameStrategy), which other people's clients find
by themselves. Topics of the bus that carry records of several kinds have `<topic>-<full name of the record>` for each
(TopicRecordNameStrategy).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from schemas import topics
from schemas.avro_files import whole_schema
from schemas.site import Site


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """A place in the registry: the schema of one record on one topic."""

    topic: str
    record: str
    """Short name of the record."""
    name: str
    """Name of the subject."""


def value_subject(topic: str) -> str:
    """Subject of a topic that carries one kind of record."""
    return f"{topic}-value"


def _mixed_records(site: str) -> dict[str, tuple[str, ...]]:
    """The bus's own records on topics of several kinds; events are there with the schema they came with."""
    return {
        topics.person_facts(site): ("Tick",),
        topics.facility_facts(site): ("PersonInCustody", "Tick"),
        topics.region_facts(site): ("Tick",),
        topics.alerts_raised(site): ("AlertRaised",),
    }


def subjects(site: Site) -> tuple[Subject, ...]:
    """Every subject of a site."""
    mixed = _mixed_records(site.name)
    return (
        *(
            Subject(spec.name, spec.record, value_subject(spec.name))
            for spec in topics.all_topics(site)
            if spec.record is not None and spec.name not in mixed
        ),
        *(
            Subject(topic, record, f"{topic}-{_full_name(record)}")
            for topic, records in mixed.items()
            for record in records
        ),
    )


def _full_name(record: str) -> str:
    schema = json.loads(whole_schema(record))
    return f"{schema['namespace']}.{schema['name']}"
