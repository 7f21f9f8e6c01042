"""Who is no user of a site and may do something with what is the site's: it is told at every look."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import examination
from deploy.acls import CLUSTER, Acl, Operation, Pattern, Resource, acls, of_strangers, strangers_told, users
from deploy.changes import Ground, notes
from deploy.examination import Examination
from deploy.health import Grade, Part
from deploy.kafka_config import ADMIN
from deploy.sites import SITES_DIR
from deploy.topic_settings import topic_settings
from schemas.settings import Settings
from schemas.site import read_site
from schemas.topics import all_topics

DEMO = read_site(SITES_DIR / "demo")
COUNTY = read_site(SITES_DIR / "county")
TOPIC, GROUP, TRANSACTIONAL_ID = Resource
EVERYBODY_READS = Acl("*", "READ", TOPIC, Pattern.LITERAL, "*")
VENDOR_ALTERS = Acl("vendor", "ALTER", CLUSTER, Pattern.LITERAL, "kafka-cluster")


def on(resource: str, name: str, pattern: Pattern = Pattern.LITERAL, operation: str = Operation.READ) -> Acl:
    return Acl("vendor", operation, resource, pattern, name)


@pytest.mark.parametrize(
    "right",
    [
        EVERYBODY_READS,
        on(TOPIC, "demo.audit.disclosures.v1", operation="DESCRIBE"),
        on(TOPIC, "demo.bus.", Pattern.PREFIXED),
        on(TOPIC, "d", Pattern.PREFIXED),
        on(TOPIC, "", Pattern.PREFIXED),
        on(GROUP, "*", operation="ALL"),
        on(GROUP, "demo.bus"),
        on(TRANSACTIONAL_ID, "demo.", Pattern.PREFIXED, "WRITE"),
        on(TRANSACTIONAL_ID, "*", operation="WRITE"),
        VENDOR_ALTERS,
        on(CLUSTER, "kafka-cluster", operation="ALL"),
        on(CLUSTER, "kafka-cluster", operation="ALTER_CONFIGS"),
        on(CLUSTER, "kafka-cluster", operation="CLUSTER_ACTION"),
        Acl("Group:demo.bus", "READ", TOPIC, Pattern.LITERAL, "*"),
        Acl("demo", "READ", TOPIC, Pattern.LITERAL, "*"),
    ],
    ids=str,
)
def test_a_stranger_s_right_on_what_is_the_site_s_is_told(right: Acl) -> None:
    assert of_strangers("demo", [right]) == (right,)


@pytest.mark.parametrize(
    "right",
    [
        *sorted(acls(DEMO)),
        *sorted(acls(COUNTY)),
        Acl(ADMIN, "ALTER", CLUSTER, Pattern.LITERAL, "kafka-cluster"),
        Acl("vendor", "READ", TOPIC, Pattern.LITERAL, "*", permission="DENY"),
        on(TOPIC, "demo"),
        on(TOPIC, "demo-2.bus.clock.v1"),
        on(TOPIC, "demolition.", Pattern.PREFIXED),
        on(GROUP, "connect"),
        on(TRANSACTIONAL_ID, "connect-", Pattern.PREFIXED, "WRITE"),
        on(CLUSTER, "kafka-cluster", operation="DESCRIBE"),
        on(CLUSTER, "kafka-cluster", operation="CREATE"),
        on(CLUSTER, "kafka-cluster", operation="IDEMPOTENT_WRITE"),
        on("UNKNOWN", "*"),
    ],
    ids=str,
)
def test_no_other_right_is(right: Acl) -> None:
    assert of_strangers("demo", [right]) == ()


def test_a_right_to_everything_reads_as_one() -> None:
    assert str(on(GROUP, "demo.", Pattern.PREFIXED, "ALL")) == "vendor may do all with group demo.*"


def test_each_stranger_is_one_line_that_says_who_and_what() -> None:
    several = [on(GROUP, name) for name in "abcde"]
    assert strangers_told([VENDOR_ALTERS, *several, EVERYBODY_READS]) == [
        "everybody may read topic *, and is no user of the site",
        "vendor may alter cluster kafka-cluster, read group a, read group b and 3 more, and is no user of the site",
    ]


def ground(strangers: tuple[Acl, ...]) -> Ground:
    """Of a broker on which all is as the site's files say."""
    specs = all_topics(DEMO)
    return Ground(
        brokers=1,
        partitions={spec.name: spec.partitions for spec in specs},
        replicas={spec.name: 1 for spec in specs},
        settings={spec.name: topic_settings(spec, 1) for spec in specs},
        users=frozenset(users(DEMO)),
        acls=acls(DEMO),
        strangers=strangers,
    )


@pytest.mark.parametrize(
    ("strangers", "grades"), [((), []), ((EVERYBODY_READS, VENDOR_ALTERS), [Grade.WARNING, Grade.WARNING])]
)
def test_the_doctor_warns_of_each_beside_what_provisioning_made(
    strangers: tuple[Acl, ...], grades: list[Grade], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Standing:
        def __init__(self, *_: object) -> None: ...

        def look(self, _: object) -> Ground:
            return ground(strangers)

    monkeypatch.setattr(examination, "Broker", Standing)
    monkeypatch.setattr(examination, "with_password", lambda *_: frozenset(users(DEMO)))
    found = [one for one in Examination(Settings(home=tmp_path), DEMO)._ground() if one.part is Part.RIGHTS]
    assert [one.grade for one in found] == [Grade.OK, *grades]
    assert [one.says.partition(" ")[0] for one in found[1:]] == ["everybody", "vendor"][: len(grades)]
    assert all("kafka-acls.sh --remove" in one.do for one in found[1:])
    assert notes(DEMO, ground(strangers)) == tuple(one.says for one in found[1:])
