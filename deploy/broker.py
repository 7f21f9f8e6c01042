"""The broker as the user `admin` sees and changes it: a thin shell over Kafka's admin client, in batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from deploy.acls import Acl, of_strangers
from deploy.broker_says import in_a_line
from deploy.changes import Changes, Ground, ProvisionError
from deploy.kafka_config import ADMIN
from deploy.private_files import new_password, private_directory, write_private
from deploy.topic_settings import replication, topic_settings
from schemas.settings import Settings

REQUEST_SECONDS: Final = 30
REACH_SECONDS: Final = 10
"""How long to try before saying that the broker can't be reached."""
SETTLE_SECONDS: Final = 20
"""How long a broker may take to show what it has acknowledged."""
SCRAM_ITERATIONS: Final = 4096
"""Kafka's least: stretching protects weak passwords, and these have 256 random bits."""

_ANY: Final[Any] = None
"""Matches any value in a filter, as the client's documentation has it and its annotations do not."""
EVERY_ACL: Final = AclBindingFilter(
    ResourceType.ANY,
    _ANY,
    ResourcePatternType.ANY,
    _ANY,
    _ANY,
    AclOperation.ANY,
    AclPermissionType.ANY,
)


class Broker:
    """The broker, for one site: what stands there (`look`), and how to change it (`apply`, `purge`).

    Its methods raise ProvisionError, in one line.
    """

    def __init__(self, settings: Settings, site: str) -> None:
        self._settings = settings
        self._site = site
        self._prefix = f"{site}."
        self._keeps_users = settings.security_protocol.startswith("SASL") and settings.sasl_mechanism.startswith(
            "SCRAM-"
        )
        self._knows_users = settings.security_protocol != "PLAINTEXT"
        self._admin = AdminClient(settings.kafka(ADMIN), logger=logging.getLogger("sallyport.kafka"))

    def look(self, named: Iterable[str]) -> Ground:
        """How the broker stands; settings are asked for the topics that are `named`."""
        metadata = self._metadata()
        # A topic just made may have partitions without a leader yet: it does not count as there.
        there = {
            name: topic
            for name, topic in metadata.topics.items()
            if name.startswith(self._prefix)
            and topic.error is None
            and all(partition.leader >= 0 for partition in topic.partitions.values())
        }
        partitions = {name: len(topic.partitions) for name, topic in there.items()}
        self._require_rights()
        ours, strangers = self._acls() if self._knows_users else (None, ())
        return Ground(
            brokers=len(metadata.brokers),
            partitions=partitions,
            replicas={name: min(len(p.replicas) for p in topic.partitions.values()) for name, topic in there.items()},
            settings=self._topic_settings([name for name in named if name in partitions]),
            users=frozenset(self._users()) if self._keeps_users else None,
            acls=ours,
            strangers=strangers,
        )

    def apply(self, todo: Changes, brokers: int, progress: Callable[[str], None]) -> None:
        """Do it. Rights are taken before any are given, and a user has its rights before it can log in."""
        if todo.gone_acls:
            progress(f"removing {len(todo.gone_acls)} rights")
            self._remove_acls(todo.gone_acls)
        if todo.gone_users:
            progress(f"removing {len(todo.gone_users)} users")
            self._remove_users(todo.gone_users)
        if todo.new_topics:
            progress(f"making {len(todo.new_topics)} topics")
            new = [
                NewTopic(
                    spec.name,
                    num_partitions=spec.partitions,
                    replication_factor=replication(brokers),
                    config=topic_settings(spec, brokers),
                )
                for spec in todo.new_topics
            ]
            made = self._admin.create_topics(new, operation_timeout=REQUEST_SECONDS)
            _wait(made, already={KafkaError.TOPIC_ALREADY_EXISTS})
        if todo.changed_settings:
            progress(f"changing settings of {len(todo.changed_settings)} topics")
            _wait(self._admin.incremental_alter_configs([_alteration(*item) for item in todo.changed_settings.items()]))
        if todo.new_acls:
            progress(f"giving {len(todo.new_acls)} rights")
            _wait(self._admin.create_acls([_binding(acl) for acl in todo.new_acls]))
        if todo.new_users:
            progress(f"making {len(todo.new_users)} users")
            self._make_users(todo.new_users)

    def purge(self, progress: Callable[[str], None]) -> tuple[list[Acl], list[str], list[str]]:
        """Remove everything of the site, all records included: (rights, users, topics) that were there."""
        self._require_rights()
        rights = sorted(self._acls()[0]) if self._knows_users else []
        users = self._users() if self._keeps_users else []
        if rights:
            progress(f"removing {len(rights)} rights")
            self._remove_acls(rights)
        if users:
            progress(f"removing {len(users)} users")
            self._remove_users(users)
        groups = [
            group.group_id
            for group in _answer(self._admin.list_consumer_groups()).valid
            if group.group_id.startswith(self._prefix)
        ]
        if groups:
            _wait(self._admin.delete_consumer_groups(groups), already={KafkaError.GROUP_ID_NOT_FOUND})
        topics = self._topics()
        if topics:
            progress(f"removing {len(topics)} topics")
            gone = self._admin.delete_topics(topics, operation_timeout=REQUEST_SECONDS)
            _wait(gone, already={KafkaError.UNKNOWN_TOPIC_OR_PART})
        settle(lambda: not self._topics())
        return rights, users, topics

    def _metadata(self) -> Any:
        try:
            return self._admin.list_topics(timeout=REACH_SECONDS)
        except KafkaException as error:
            raise ProvisionError(
                f"Kafka at {self._settings.bootstrap_servers} can't be reached as {ADMIN}: {_reason(error)}"
            ) from error

    def _require_rights(self) -> None:
        """Raises ProvisionError unless we may administer.

        Asked first: of a refusal Kafka's client makes an empty list of rights, and an abort of the whole
        process where users are asked for.
        """
        needed = {AclOperation.DESCRIBE, AclOperation.ALTER, AclOperation.CREATE}
        cluster = _answer(self._admin.describe_cluster(include_authorized_operations=True))
        if not needed <= set(cluster.authorized_operations or []):
            raise ProvisionError(f"the Kafka user {ADMIN} may not administer this broker")

    def _topics(self) -> list[str]:
        return sorted(name for name in self._metadata().topics if name.startswith(self._prefix))

    def _topic_settings(self, names: list[str]) -> dict[str, dict[str, str | None]]:
        if not names:
            return {}
        asked = self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
        return {
            resource.name: {entry.name: entry.value for entry in _answer(future).values()}
            for resource, future in asked.items()
        }

    def _users(self) -> list[str]:
        described = _answer(self._admin.describe_user_scram_credentials())
        return sorted(name for name in described if name.startswith(self._prefix))

    def _make_users(self, names: Sequence[str]) -> None:
        info = ScramCredentialInfo(self._mechanism(), SCRAM_ITERATIONS)
        directory = private_directory(self._settings.secrets_path)
        new = {name: new_password() for name in names if not (directory / name).exists()}
        alterations: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(name, info, (new.get(name) or self._settings.password(name)).encode())
            for name in names
        ]
        failed: list[ProvisionError] = []
        for name, future in self._admin.alter_user_scram_credentials(alterations).items():
            try:
                _wait({name: future})
            except ProvisionError as error:
                failed.append(error)
                continue
            if name in new:
                # The broker first: who has a file is known to have the password in it. Where a run is refused or killed
                # before, the next one finds no file and makes another; else it would keep the one that was to go.
                write_private(directory / name, new[name] + "\n")
        if failed:
            raise failed[0]

    def _remove_users(self, names: Sequence[str]) -> None:
        # The files first: one that outlived its user would give the old password to the next of that name. A user that
        # outlives its file is found on the broker by the next run.
        for name in names:
            (self._settings.secrets_path / name).unlink(missing_ok=True)
        mechanism = self._mechanism()
        doomed: list[UserScramCredentialAlteration] = [UserScramCredentialDeletion(name, mechanism) for name in names]
        _wait(self._admin.alter_user_scram_credentials(doomed), already={KafkaError.RESOURCE_NOT_FOUND})

    def _mechanism(self) -> ScramMechanism:
        return ScramMechanism[self._settings.sasl_mechanism.replace("-", "_")]

    def _acls(self) -> tuple[frozenset[Acl], tuple[Acl, ...]]:
        """The rights of the site's users, and those of others on what is the site's."""
        every = [_acl(binding) for binding in _answer(self._admin.describe_acls(EVERY_ACL))]
        ours = frozenset(right for right in every if right.user.startswith(self._prefix))
        return ours, of_strangers(self._site, every)

    def _remove_acls(self, rights: Iterable[Acl]) -> None:
        _wait(self._admin.delete_acls([_exactly(acl) for acl in rights]))


def settle(is_so: Callable[[], bool]) -> None:
    """Wait until the broker shows what it has acknowledged. Raises ProvisionError where it never does."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise ProvisionError("the broker does not show what it acknowledged: run `sallyport provision` again")
        time.sleep(0.05)


def _acl(binding: Any) -> Acl:
    return Acl(
        binding.principal.removeprefix("User:"),
        binding.operation.name,
        binding.restype.name,
        binding.resource_pattern_type.name,
        binding.name,
        binding.host,
        binding.permission_type.name,
    )


def _parts(acl: Acl) -> tuple[Any, ...]:
    return (
        ResourceType[acl.resource],
        acl.name,
        ResourcePatternType[acl.pattern],
        f"User:{acl.user}",
        acl.host,
        AclOperation[acl.operation],
        AclPermissionType[acl.permission],
    )


def _binding(acl: Acl) -> AclBinding:
    return AclBinding(*_parts(acl))


def _exactly(acl: Acl) -> AclBindingFilter:
    return AclBindingFilter(*_parts(acl))


def _alteration(topic: str, changed: Mapping[str, str]) -> ConfigResource:
    return ConfigResource(
        ResourceType.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in changed.items()
        ],
    )


def _answer(future: Any) -> Any:
    try:
        return future.result(REQUEST_SECONDS)
    except (KafkaException, TimeoutError) as error:
        raise ProvisionError(f"the broker refused: {_reason(error)}") from error


def _wait(futures: Mapping[Any, Future[Any]], already: Iterable[int] = ()) -> None:
    """Wait for every answer; `already` are error codes that say it was so before."""
    fine = frozenset(already)
    for asked, future in futures.items():
        try:
            future.result(REQUEST_SECONDS)
        except (KafkaException, TimeoutError) as error:
            if isinstance(error, KafkaException) and error.args[0].code() in fine:
                continue
            raise ProvisionError(f"the broker refused {asked}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, KafkaException):
        return in_a_line(error)
    return "no answer in time"
