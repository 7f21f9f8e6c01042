"""Outlines: what the audit keeps of a record of `alerts.raised`, which goes when the next one has come. Pure.

When and by what it came to that revision, by which version of the rule, the digest of what it said, and the events that
it rested on, by their ids. None of its words, and no person. Each decision on its disclosure carries it, so that an
alert that is over can be accounted for: `docs/decisions/0012-a-replay-says-what-it-cannot-tell.md`.

An outline has the fields of the record itself as far as it knows them, and takes its place where a revision is
explained or replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from schemas import topics

Named: TypeAlias = tuple[str, str]
"""Agency and event id: how records name an event."""


def kept_of(alert: Mapping[str, Any]) -> dict[str, Any]:
    """What a decision keeps of the record of `alerts.raised` decided upon, as fields of DisclosureDecided."""
    events = dict.fromkeys((item["agency"], item["event_type"], item["event_id"]) for item in alert["evidence"])
    return {
        "rule_version": alert["rule_version"],
        "state": alert["state"],
        "digest": alert["digest"],
        "revision_at": alert["at"],
        "revision_cause": alert["cause"],
        "rests_on": [{"agency": agency, "event_type": kind, "event_id": known_as} for agency, kind, known_as in events],
    }


def outline_of(decision: Mapping[str, Any], last: Mapping[str, Any], site: str) -> dict[str, Any] | None:
    """The outline of the record that was decided upon; None where the decision keeps none.

    `last` is the alert's last record: of one alert all have the same key. `site` is the site's name.
    """
    if decision["revision_cause"] is None:
        return None
    return {
        "alert_id": decision["alert_id"],
        "revision": decision["revision"],
        "state": decision["state"],
        "digest": decision["digest"],
        "rule": decision["rule"],
        "rule_version": decision["rule_version"],
        "key": last["key"],
        "kind": decision["kind"],
        "subjects": [],
        "evidence": [
            {**event, "person_id": None, "topic": topics.inbound(site, event["agency"], event["event_type"])}
            for event in decision["rests_on"]
        ],
        "at": decision["revision_at"],
        "cause": decision["revision_cause"],
    }


def outlines(
    decisions: Iterable[Mapping[str, Any]], known: Iterable[Mapping[str, Any]], last: Mapping[str, Any], site: str
) -> dict[int, dict[str, Any]]:
    """By revision: the outlines of those that are not among the `known` records of an alert."""
    there = {alert["revision"] for alert in known}
    found = ((one["revision"], outline_of(one, last, site)) for one in decisions if one["revision"] not in there)
    return {revision: outline for revision, outline in found if outline is not None}


def whose(left: Iterable[tuple[Named, str, str, bool]]) -> dict[Named, list[str]]:
    """By event: whose facts those are that it left, in the order of the log, each as (event, person, from whom it was
    forwarded, whether it is there still). Where none is there any more, whose they were."""
    last: dict[Named, dict[tuple[str, str], bool]] = {}
    for named, person, origin, there in left:
        last.setdefault(named, {})[person, origin] = there
    return {
        named: list(dict.fromkeys(person for (person, _), there in facts.items() if there or not any(facts.values())))
        for named, facts in last.items()
    }


def with_persons(outline: Mapping[str, Any], persons: Mapping[Named, Iterable[str]]) -> dict[str, Any]:
    """The outline with the persons of its events: an event once for each."""
    return {
        **outline,
        "evidence": [
            {**item, "person_id": person}
            for item in outline["evidence"]
            for person in (sorted(persons.get((item["agency"], item["event_id"]), ())) or (None,))
        ],
    }


def is_outline(alert: Mapping[str, Any]) -> bool:
    """Whether it is an outline, and no record of `alerts.raised`: it does not know what was said."""
    return "headline" not in alert
