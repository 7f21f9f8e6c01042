"""On a real broker: every user of two sites does what it must and nothing else.

The expected rights are written here by hand and not taken from `deploy/acls.py`: each user tries to write and to read
every topic of both sites, and what works must be exactly what this page says.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from deploy.acls import users
from deploy.broker import EVERY_ACL
from deploy.provision import provision
from deploy.sites import SITES_DIR
from schemas import topics
from schemas.settings import Settings
from schemas.site import Agency, Site, read_site

pytestmark = pytest.mark.bus

WRITES = {
    "now.county-jail": [r"now\.county-jail\..*"],
    "now.county-jail-annex": [r"now\.county-jail-annex\..*"],
    "now.city-pd": [r"now\.city-pd\..*"],
    "now.county-court": [r"now\.county-court\..*"],
    "now.county-jail-watch": [r"now\.desk\.actions\.county-jail-watch\.v1"],
    "now.county-jail-classification": [r"now\.desk\.actions\.county-jail-classification\.v1"],
    "now.county-jail-affairs": [r"now\.desk\.actions\.county-jail-affairs\.v1"],
    "now.city-pd-intel": [r"now\.desk\.actions\.city-pd-intel\.v1"],
    "now.bus": [r"now\.bus\..*", r"now\.alerts\..*", r"now\.audit\..*"],
    "then.clock": [r"then\.bus\.clock\.v1"],
}
READS = {
    "now.county-jail": [
        r"now\.bus\.dead-letters\.county-jail\.v1",
        r"now\.bus\.dead-letters\.county-jail\.care\.v1",
        r"now\.county-jail\.dead-letters-settled\.v1",
    ],
    "now.county-jail-annex": [
        r"now\.bus\.dead-letters\.county-jail-annex\.v1",
        r"now\.county-jail-annex\.dead-letters-settled\.v1",
    ],
    "now.city-pd": [
        r"now\.bus\.dead-letters\.city-pd\.v1",
        r"now\.city-pd\.dead-letters-settled\.v1",
    ],
    "now.county-court": [
        r"now\.bus\.dead-letters\.county-court\.v1",
        r"now\.county-court\.dead-letters-settled\.v1",
    ],
    "now.county-jail-watch": [
        r"now\.alerts\.county-jail-watch\.(housing|contraband|coordination)\.v1",
        r"now\.bus\.stage-reports\.v1",
        r"now\.desk\.actions\.county-jail-watch\.v1",
    ],
    "now.county-jail-classification": [
        r"now\.alerts\.county-jail-classification\.(housing|coordination)\.v1",
        r"now\.bus\.stage-reports\.v1",
        r"now\.desk\.actions\.county-jail-classification\.v1",
    ],
    "now.county-jail-affairs": [
        r"now\.alerts\.county-jail-affairs\.(contraband|coordination)\.v1",
        r"now\.bus\.stage-reports\.v1",
        r"now\.desk\.actions\.county-jail-affairs\.v1",
    ],
    "now.city-pd-intel": [
        r"now\.alerts\.city-pd-intel\.(investigation|contraband|coordination)\.v1",
        r"now\.bus\.stage-reports\.v1",
        r"now\.desk\.actions\.city-pd-intel\.v1",
    ],
    "now.bus": [r"now\..*"],
    "then.clock": [],
}
EVERYBODY = sorted(WRITES)
NOT_THE_BUS = [user for user in EVERYBODY if user != "now.bus"]
REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
SECONDS = 20


@pytest.fixture(scope="module")
def now() -> Site:
    """The demo county, with an agency whose id begins with another's."""
    demo = read_site(SITES_DIR / "demo")
    annex = Agency(id="county-jail-annex", name="Annex", ori="NY099023C", publishes=("HousingAssigned",))
    return demo.model_copy(update={"name": "now", "partitions": 1, "agencies": (*demo.agencies, annex)})


@pytest.fixture(scope="module")
def then() -> Site:
    """A history site beside it, with agencies and desks of the same names."""
    demo = read_site(SITES_DIR / "demo")
    return demo.model_copy(update={"name": "then", "partitions": 1, "clock": "history"})


@pytest.fixture(scope="module", autouse=True)
def provisioned(bus: Settings, now: Site, then: Site) -> None:
    for site in (now, then):
        provision(bus, site)


@pytest.fixture(scope="module")
def all_topics(now: Site, then: Site) -> list[str]:
    return [spec.name for site in (now, then) for spec in topics.all_topics(site)]


def matching(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    return {name for name in names if any(re.fullmatch(pattern, name) for pattern in patterns)}


def test_this_page_speaks_of_every_user_of_the_live_site(now: Site) -> None:
    assert set(users(now)) == {user for user in EVERYBODY if user.startswith("now.")}


# --- topics ---


def written(bus: Settings, user: str, names: Iterable[str]) -> set[str]:
    """The topics that take a record from the user; every other must refuse it by authorization, not by chance."""
    taken: set[str] = set()
    refused: dict[str, int] = {}

    def answered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            taken.add(str(message.topic()))
        else:
            refused[str(message.topic())] = error.code()

    # As the Publisher is: idempotent, which needs no right of its own.
    producer = Producer({**bus.kafka(user), "enable.idempotence": True, "message.timeout.ms": SECONDS * 1000})
    for name in names:
        # The client may know already that it is refused.
        with contextlib.suppress(KafkaException):
            producer.produce(name, key=b"k", value=b"v", on_delivery=answered)
    assert producer.flush(SECONDS) == 0
    assert set(refused.values()) <= {KafkaError.TOPIC_AUTHORIZATION_FAILED}, refused
    return taken


def read(bus: Settings, user: str, names: Iterable[str]) -> set[str]:
    """The topics whose records the user can fetch; every other must refuse by authorization.

    Of most topics a user is not even told where they are, so that it could ask there.
    """
    admin = AdminClient(bus.kafka(user))
    pending, taken = set(), set()
    for name in names:
        hidden = admin.list_topics(topic=name, timeout=SECONDS).topics[name].error
        if hidden is None:
            pending.add(name)
        else:
            assert hidden.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, hidden
    consumer = Consumer({**bus.kafka(user), "group.id": user, "enable.partition.eof": True})
    deadline = time.monotonic() + SECONDS
    try:
        consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING) for name in pending])
        while pending:
            assert time.monotonic() < deadline, f"no answer about {sorted(pending)}"
            for message in consumer.consume(100, timeout=0.2):
                error, name = message.error(), str(message.topic())
                if error is None or error.code() == KafkaError._PARTITION_EOF:
                    taken.add(name)
                else:
                    # The clock has no group, which it is told, and needs none.
                    assert error.code() in REFUSED, error
                pending.discard(name)
    finally:
        consumer.close()
    return taken


@pytest.mark.parametrize("user", EVERYBODY)
def test_a_user_writes_its_own_topics_and_no_other_of_any_site(bus: Settings, user: str, all_topics: list[str]) -> None:
    assert written(bus, user, all_topics) == matching(WRITES[user], all_topics)


@pytest.mark.parametrize("user", EVERYBODY)
def test_a_user_reads_its_own_topics_and_no_other_of_any_site(bus: Settings, user: str, all_topics: list[str]) -> None:
    assert read(bus, user, all_topics) == matching(READS[user], all_topics)


def test_the_jail_neither_reads_nor_writes_a_police_topic_nor_the_reverse(all_topics: list[str]) -> None:
    """What the matrix above has shown, said for this pair."""
    police = {name for name in all_topics if name.startswith("now.city-pd.")}
    jail = {name for name in all_topics if name.startswith("now.county-jail.")}
    assert police
    assert jail
    assert not police & matching(WRITES["now.county-jail"] + READS["now.county-jail"], all_topics)
    assert not jail & matching(WRITES["now.city-pd"] + READS["now.city-pd"], all_topics)


def test_nobody_but_the_bus_writes_alerts_facts_or_the_audit(all_topics: list[str]) -> None:
    """What the matrix above has shown, said for these topics."""
    own = matching([r"now\.(bus|alerts|audit)\..*"], all_topics)
    for user in NOT_THE_BUS:
        assert not own & matching(WRITES[user], all_topics)


def test_a_user_does_not_even_see_the_topics_of_others(bus: Settings) -> None:
    seen = AdminClient(bus.kafka("now.city-pd")).list_topics(timeout=SECONDS).topics
    assert set(seen) == {
        "now.city-pd.affiliation-reported.v1",
        "now.city-pd.contraband-tipped.v1",
        "now.city-pd.dead-letters-settled.v1",
        "now.city-pd.event-withdrawn.v1",
        "now.city-pd.street-violence-reported.v1",
        "now.city-pd.tip-outcome.v1",
        "now.bus.dead-letters.city-pd.v1",
    }


# --- administration ---


def code_of(future: Any) -> int:
    """Code of the error in an answer; 0 for none."""
    try:
        answer = future.result(SECONDS)
    except KafkaException as error:
        return int(error.args[0].code())
    if isinstance(answer, ConsumerGroupTopicPartitions):
        return next((int(place.error.code()) for place in answer.topic_partitions or [] if place.error), 0)
    return 0


@pytest.mark.parametrize("user", EVERYBODY)
@pytest.mark.parametrize("prefix", ["own", "new"])
def test_nobody_makes_topics_not_even_under_the_own_prefix(bus: Settings, user: str, prefix: str) -> None:
    name = f"{user}.made-up.v1" if prefix == "own" else "new.bus.made-up.v1"
    admin = AdminClient(bus.kafka(user))
    (answer,) = admin.create_topics([NewTopic(name, 1, 1)]).values()
    assert code_of(answer) in REFUSED


@pytest.mark.parametrize("user", EVERYBODY)
def test_nobody_makes_a_topic_by_writing_to_it(bus: Settings, user: str) -> None:
    name = f"{user}.never-heard-of.v1"
    failed: list[int] = []
    producer = Producer({**bus.kafka(user), "message.timeout.ms": 3000, "topic.metadata.propagation.max.ms": 500})
    with contextlib.suppress(KafkaException):
        producer.produce(name, b"v", on_delivery=lambda error, _: failed.append(error.code() if error else 0))
    producer.flush(SECONDS)
    assert 0 not in failed
    assert name not in AdminClient(bus.kafka("admin")).list_topics(timeout=SECONDS).topics


@pytest.mark.parametrize("user", EVERYBODY)
def test_nobody_gives_or_takes_rights_or_sees_them(bus: Settings, user: str) -> None:
    admin = AdminClient(bus.kafka(user))
    everything = (ResourceType.TOPIC, "now.", ResourcePatternType.PREFIXED, f"User:{user}", "*")
    (given,) = admin.create_acls(
        [AclBinding(*everything, AclOperation.ALL, AclPermissionType.ALLOW)], request_timeout=SECONDS
    ).values()
    wish = AclBindingFilter(*everything, AclOperation.ANY, AclPermissionType.ANY)
    (taken,) = admin.delete_acls([wish], request_timeout=SECONDS).values()
    assert code_of(given) in REFUSED
    assert code_of(taken) in REFUSED
    # The client shows the broker's refusal to tell as an empty list; there are some to see.
    assert admin.describe_acls(wish, request_timeout=SECONDS).result(SECONDS) == []
    assert AdminClient(bus.kafka("admin")).describe_acls(EVERY_ACL, request_timeout=SECONDS).result(SECONDS)


@pytest.mark.parametrize("user", EVERYBODY)
def test_nobody_sets_a_password_not_even_the_own(bus: Settings, user: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    admin = AdminClient(bus.kafka(user))
    for victim in ("now.bus", user):
        (answer,) = admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(victim, info, b"mine now")]
        ).values()
        assert code_of(answer) in REFUSED


@pytest.mark.parametrize("user", EVERYBODY)
def test_nobody_changes_empties_widens_or_deletes_a_topic(bus: Settings, user: str, all_topics: list[str]) -> None:
    admin = AdminClient(bus.kafka(user))
    own = sorted(matching(WRITES[user], all_topics))
    for name in (own[0], "now.audit.disclosures.v1"):
        resource = ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)],
        )
        answers = [
            *admin.incremental_alter_configs([resource]).values(),
            *admin.create_partitions([NewPartitions(name, 9)]).values(),
            *admin.delete_topics([name]).values(),
        ]
        assert {code_of(answer) for answer in answers} <= REFUSED
    (emptied,) = admin.delete_records([TopicPartition(own[0], 0, OFFSET_END)]).values()
    assert code_of(emptied) in REFUSED


# --- groups and transactions ---


def group_error(bus: Settings, user: str, group: str) -> int:
    """What the broker says to a member of that group on its first meeting; 0 where it lets it in."""
    (topic,) = {"now.bus.dead-letters.city-pd.v1"} if user == "now.city-pd" else {"now.bus.stage-reports.v1"}
    consumer = Consumer({**bus.kafka(user), "group.id": group, "auto.offset.reset": "earliest"})
    joined: list[bool] = []
    try:
        consumer.subscribe([topic], on_assign=lambda *_: joined.append(True))
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is not None and (error := message.error()) is not None:
                return int(error.code())
            if joined:
                return 0
    finally:
        consumer.close()
    raise AssertionError("the broker said nothing")


@pytest.mark.parametrize("user", ["now.city-pd", "now.city-pd-intel"])
def test_a_user_has_a_group_of_its_own_name_and_no_other(bus: Settings, user: str) -> None:
    assert group_error(bus, user, user) == 0
    for group in ("now.bus", "now.county-jail", "then.bus", "anything"):
        assert group_error(bus, user, group) == KafkaError.GROUP_AUTHORIZATION_FAILED


@pytest.mark.parametrize("user", [user for user in NOT_THE_BUS if user != "then.clock"])
def test_nobody_moves_or_sees_the_positions_of_the_workers(bus: Settings, user: str) -> None:
    admin = AdminClient(bus.kafka(user))
    moved = ConsumerGroupTopicPartitions("now.bus", [TopicPartition("now.city-pd.event-withdrawn.v1", 0, 0)])
    assert code_of(admin.alter_consumer_group_offsets([moved])["now.bus"]) in REFUSED
    assert code_of(admin.delete_consumer_groups(["now.bus"])["now.bus"]) in REFUSED
    asked = [ConsumerGroupTopicPartitions("now.bus")]
    assert code_of(admin.list_consumer_group_offsets(asked)["now.bus"]) in REFUSED


def test_the_clock_of_a_history_site_sees_how_far_its_workers_are_and_cannot_move_them(bus: Settings) -> None:
    admin = AdminClient(bus.kafka("then.clock"))
    asked = [ConsumerGroupTopicPartitions("then.bus")]
    assert code_of(admin.list_consumer_group_offsets(asked)["then.bus"]) not in REFUSED
    moved = ConsumerGroupTopicPartitions("then.bus", [TopicPartition("then.city-pd.event-withdrawn.v1", 0, 0)])
    assert code_of(admin.alter_consumer_group_offsets([moved])["then.bus"]) in REFUSED
    asked = [ConsumerGroupTopicPartitions("now.bus")]
    assert code_of(admin.list_consumer_group_offsets(asked)["now.bus"]) in REFUSED


def transaction_error(bus: Settings, user: str, transactional_id: str) -> int:
    producer = Producer({**bus.kafka(user), "transactional.id": transactional_id})
    try:
        producer.init_transactions(SECONDS)
    except KafkaException as error:
        return int(error.args[0].code())
    return 0


@pytest.mark.parametrize("user", NOT_THE_BUS)
def test_nobody_fences_the_workers_off_with_their_transactional_id(bus: Settings, user: str) -> None:
    refused = KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    assert transaction_error(bus, user, "now.bus.person.0") == refused
    assert transaction_error(bus, user, user) == refused


def test_the_workers_have_the_transactional_ids_of_their_site_and_of_no_other(bus: Settings) -> None:
    assert transaction_error(bus, "now.bus", "now.bus.person.0") == 0
    assert transaction_error(bus, "now.bus", "then.bus.person.0") == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


# --- who is let in at all ---


def is_let_in(config: dict[str, Any]) -> bool:
    refused: list[KafkaError] = []
    config["error_cb"] = refused.append
    admin = AdminClient(config)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            admin.list_topics(timeout=0.5)
        except KafkaException:
            admin.poll(0.1)
            if refused:
                return False
        else:
            return True
    raise AssertionError("the broker said nothing")


def test_with_the_right_password_a_user_is_let_in(bus: Settings) -> None:
    assert is_let_in(dict(bus.kafka("now.county-jail")))


@pytest.mark.parametrize(
    "changed",
    [
        {"sasl.password": "guessed"},
        {"sasl.username": "now.nobody"},
        {"sasl.mechanism": "PLAIN"},
        {"sasl.mechanism": "SCRAM-SHA-256"},
    ],
    ids=["wrong password", "no such user", "password in the clear", "weaker digest"],
)
def test_without_the_right_password_nobody_is_let_in(bus: Settings, changed: dict[str, str]) -> None:
    assert not is_let_in({**bus.kafka("now.county-jail"), **changed})


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT"])
def test_without_encryption_or_without_a_user_nobody_is_let_in(bus: Settings, protocol: str) -> None:
    config = dict(bus.kafka("now.county-jail"))
    if not protocol.startswith("SASL"):
        config = {key: value for key, value in config.items() if not key.startswith("sasl.")}
    assert not is_let_in({**config, "security.protocol": protocol})


def test_a_broker_with_another_ca_is_not_trusted_with_a_password(bus: Settings) -> None:
    """A client does not log in to an impostor: it knows the CA of its own bus and no other."""
    config: dict[str, Any] = {
        key: value for key, value in bus.kafka("now.county-jail").items() if key != "ssl.ca.location"
    }
    assert not is_let_in(config)
