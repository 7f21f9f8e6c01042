"""What to change on the broker to make it what a site's files say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from deploy.acls import Acl, acls, strangers_told, users
from deploy.topic_settings import topic_settings
from schemas.site import Site
from schemas.topics import TopicSpec, all_topics


class ProvisionError(Exception):
    """The bus can't be made what the site's files say; the message is one line for a person."""


class What(StrEnum):
    """A sort of thing that provisioning keeps right."""

    TOPIC = "topic"
    USER = "user"
    ACL = "acl"
    SCHEMA = "schema"


class Did(StrEnum):
    """What became of it."""

    MADE = "made"
    CHANGED = "changed"
    REMOVED = "removed"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing, and what became of it (or would, on a check)."""

    what: What
    name: str
    did: Did
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """How the broker stands, as far as it concerns one site."""

    brokers: int
    partitions: Mapping[str, int]
    """Topics of the site and their partition counts."""
    replicas: Mapping[str, int]
    """Of the same topics: how many brokers are to keep each partition, whether they are up now or not."""
    settings: Mapping[str, Mapping[str, str | None]]
    """Of each topic that exists and that the site names: its settings."""
    users: frozenset[str] | None
    """Users of the site that can log in; None where the broker does not keep users."""
    acls: frozenset[Acl] | None
    """What the site's users may do; None where the broker does not know users."""
    strangers: tuple[Acl, ...] = ()
    """What others than its users may do with what is the site's."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done on the broker."""

    new_topics: tuple[TopicSpec, ...]
    changed_settings: Mapping[str, Mapping[str, str]]
    new_users: tuple[str, ...]
    gone_users: tuple[str, ...]
    new_acls: tuple[Acl, ...]
    gone_acls: tuple[Acl, ...]

    @property
    def are_none(self) -> bool:
        """The broker is as the site says."""
        return not (
            self.new_topics
            or self.changed_settings
            or self.new_users
            or self.gone_users
            or self.new_acls
            or self.gone_acls
        )


def changes(site: Site, ground: Ground, with_password: frozenset[str]) -> Changes:
    """What to do to make the broker what the site says.

    `with_password` are the users whose password file exists. Raises ProvisionError where a topic has another
    number of partitions than the site says: then nothing at all is to be done.
    """
    specs = all_topics(site)
    for spec in specs:
        have = ground.partitions.get(spec.name)
        if have is not None and have != spec.partitions:
            raise ProvisionError(
                f"topic {spec.name} has {have} partitions, the site says {spec.partitions}: "
                "its keys would move; rebuild the site offline (docs/operations.md). Nothing was changed"
            )
    changed = {
        # By the topic's own replicas: a broker that is away just now must not lower what an acknowledgement means.
        spec.name: _differing(topic_settings(spec, ground.replicas[spec.name]), ground.settings[spec.name])
        for spec in specs
        if spec.name in ground.settings
    }
    return Changes(
        new_topics=tuple(spec for spec in specs if spec.name not in ground.partitions),
        changed_settings={name: differing for name, differing in changed.items() if differing},
        new_users=()
        if ground.users is None
        else tuple(user for user in users(site) if user not in ground.users & with_password),
        gone_users=() if ground.users is None else tuple(sorted(ground.users - set(users(site)))),
        new_acls=() if ground.acls is None else tuple(sorted(acls(site) - ground.acls)),
        gone_acls=() if ground.acls is None else tuple(sorted(ground.acls - acls(site))),
    )


def _differing(wanted: Mapping[str, str], have: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if have.get(key) != value}


def steps(site: Site, ground: Ground, todo: Changes) -> tuple[Step, ...]:
    """Everything of the site on the broker, and what becomes of it."""
    return (
        *(_topic_step(spec, todo) for spec in all_topics(site)),
        *(_user_step(user, ground.users, todo) for user in users(site) if ground.users is not None),
        *(Step(What.USER, user, Did.REMOVED, "the site names it no more") for user in todo.gone_users),
        *(
            Step(What.ACL, str(acl), Did.MADE if acl in todo.new_acls else Did.KEPT)
            for acl in sorted(acls(site))
            if ground.acls is not None
        ),
        *(Step(What.ACL, str(acl), Did.REMOVED) for acl in todo.gone_acls),
    )


def _topic_step(spec: TopicSpec, todo: Changes) -> Step:
    if spec in todo.new_topics:
        return Step(What.TOPIC, spec.name, Did.MADE, f"{spec.partitions} partitions, {spec.cleanup.value}")
    if spec.name in todo.changed_settings:
        detail = ", ".join(f"{key}={value}" for key, value in todo.changed_settings[spec.name].items())
        return Step(What.TOPIC, spec.name, Did.CHANGED, detail)
    return Step(What.TOPIC, spec.name, Did.KEPT)


def _user_step(user: str, existing: frozenset[str], todo: Changes) -> Step:
    if user not in todo.new_users:
        return Step(What.USER, user, Did.KEPT)
    if user in existing:
        return Step(What.USER, user, Did.CHANGED, "its password file was missing: a new password")
    return Step(What.USER, user, Did.MADE)


def notes(site: Site, ground: Ground) -> tuple[str, ...]:
    """What a person should know and provisioning leaves alone."""
    named = {spec.name for spec in all_topics(site)}
    return (
        *(
            f"topic {name} is no part of the site any more; its records are kept"
            for name in sorted(set(ground.partitions) - named)
        ),
        *strangers_told(ground.strangers),
        *(("users are kept elsewhere: the broker does not use SCRAM",) if ground.users is None else ()),
        *(("nobody is kept from anything: the broker knows no users",) if ground.acls is None else ()),
    )
