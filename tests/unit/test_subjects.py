"""Subjects: under which name the registry has the schema of each record on each topic."""

from __future__ import annotations

from schemas import topics
from schemas.subjects import Subject, subjects, value_subject
from tests.county import SITE

MIXED = {
    ("demo.bus.person.facts.v1", "Tick"): "demo.bus.person.facts.v1-sallyport.bus.Tick",
    ("demo.bus.facility.facts.v1", "PersonInCustody"): "demo.bus.facility.facts.v1-sallyport.bus.PersonInCustody",
    ("demo.bus.facility.facts.v1", "Tick"): "demo.bus.facility.facts.v1-sallyport.bus.Tick",
    ("demo.bus.region.facts.v1", "Tick"): "demo.bus.region.facts.v1-sallyport.bus.Tick",
    ("demo.alerts.raised.v1", "AlertRaised"): "demo.alerts.raised.v1-sallyport.bus.AlertRaised",
}
"""On topics of several records, each by its full name."""


def test_a_topic_of_one_record_has_one_subject_which_other_peoples_clients_find() -> None:
    name = topics.clock("demo")
    assert value_subject(name) == f"{name}-value"
    assert Subject(name, "Tick", f"{name}-value") in subjects(SITE)


def test_every_record_on_every_topic_has_a_subject() -> None:
    alone = {
        (spec.name, spec.record): f"{spec.name}-value"
        for spec in topics.all_topics(SITE)
        if spec.record is not None and (spec.name, spec.record) not in MIXED
    }
    assert len(alone) > len(SITE.agencies) + len(SITE.recipients)
    found = subjects(SITE)
    assert {(one.topic, one.record): one.name for one in found} == {**alone, **MIXED}
    assert len(set(found)) == len(found)
