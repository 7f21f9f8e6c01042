"""Provisioning: topics, users, what each user may do, and schemas, made to be as the site's files say.

It looks first and changes only what differs, so that it may run at every start. A user that the files no longer
name loses its password and all its rights: to revoke is to delete some lines and provision. Data is never deleted
here: a topic that no file names any more is reported, and `purge` is the only way to remove one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from deploy import registry
from deploy.acls import users
from deploy.broker import Broker, settle
from deploy.changes import Changes, Did, Ground, ProvisionError, Step, What, changes, notes, steps
from deploy.left_snapshot import SNAPSHOT, remove_left_snapshot
from deploy.nobody_told import untold
from deploy.private_files import private_directory
from schemas.settings import Settings
from schemas.site import Site
from schemas.subjects import Subject, subjects
from schemas.topics import all_topics

Progress = Callable[[str], None]
KEPT_HERE: Final = ("spool", "quarantine", "import")
"""Directories of the home that hold a directory for each site."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What provisioning did, or on a check would do."""

    site: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    """What a person should know and provisioning leaves alone."""

    @property
    def differences(self) -> tuple[Step, ...]:
        """The steps that were more than a look."""
        return tuple(step for step in self.steps if step.did is not Did.KEPT)

    def count(self, what: What, did: Did) -> int:
        """To how many things of that sort that was done."""
        return sum(step.what is what and step.did is did for step in self.steps)


def provision(settings: Settings, site: Site, progress: Progress = lambda _: None, check: bool = False) -> Provisioned:
    """Make the bus what the site's files say; with `check`, only tell what would be done.

    Needs the password of the user `admin`. Safe to repeat, and to run twice at once. Raises ProvisionError, in one
    line: a topic has another partition count, a schema is a breaking change (in both cases nothing was changed), or
    broker or registry refuse or can't be reached.
    """
    broker = Broker(settings, site.name)
    if check:
        return _provision(settings, site, broker, progress, check)
    # Two runs at once must not give one user two passwords.
    with FileLock(private_directory(settings.secrets_path) / ".provision.lock", mode=0o600):
        return _provision(settings, site, broker, progress, check)


def _provision(settings: Settings, site: Site, broker: Broker, progress: Progress, check: bool) -> Provisioned:
    named = [spec.name for spec in all_topics(site)]

    def look() -> tuple[Ground, Changes]:
        ground = broker.look(named)
        return ground, changes(site, ground, with_password(settings.secrets_path, site))

    progress("looking at the bus")
    ground, todo = look()
    of_schemas = _schemas(settings, site, progress, check)
    if not check and not todo.are_none:
        broker.apply(todo, ground.brokers, progress)
        settle(lambda: look()[1].are_none)
    nobody_told = (one.line for one in untold(site, time.time_ns() // 1000))
    return Provisioned(site.name, (*steps(site, ground, todo), *of_schemas), (*notes(site, ground), *nobody_told))


def with_password(directory: Path, site: Site) -> frozenset[str]:
    """Those of a site's users whose password file exists."""
    return frozenset(name for name in users(site) if (directory / name).exists())


def purge(settings: Settings, site: Site, progress: Progress = lambda _: None) -> Provisioned:
    """Remove a site from the bus for good: topics with all records, groups, users, passwords, rights, schemas; and what
    this machine kept of it: spools, quarantined files, the memory of what was imported, what a simulated county left
    open, what a killed backup left.

    Raises ProvisionError, OSError. Schemas that the registry does not let go of are named in the notes.
    """
    rights, names, topics = Broker(settings, site.name).purge(progress)
    with registry.writing_client(settings) as client:
        try:
            schemas, left = registry.remove_subjects(client, f"{site.name}.")
        except registry.RegistryError as error:
            raise ProvisionError(f"{error} ({settings.registry_url})") from error
    kept = remove_kept(settings.home, site.name)
    return Provisioned(
        site.name,
        (
            *(Step(What.TOPIC, name, Did.REMOVED) for name in topics),
            *(Step(What.USER, name, Did.REMOVED) for name in names),
            *(Step(What.ACL, str(acl), Did.REMOVED) for acl in rights),
            *(Step(What.SCHEMA, name, Did.REMOVED) for name in schemas),
        ),
        (
            *(f"schema {name} is left: the registry does not delete" for name in left),
            *(f"removed {path}" for path in kept),
        ),
    )


def remove_kept(home: Path, site: str) -> list[Path]:
    """Remove what this machine kept of a site: what there was. Raises OSError."""
    kept = [path for part in KEPT_HERE if (path := home / part / site).exists()]
    for path in kept:
        shutil.rmtree(path)
    # Else a county of that name, made anew, would begin by ending what the new site never heard of.
    if (left_open := home / "simulator" / f"{site}.json").exists():
        left_open.unlink()
        kept.append(left_open)
    # It is of all sites, and of use to none.
    return [*kept, home / SNAPSHOT] if remove_left_snapshot(home) else kept


def _schemas(settings: Settings, site: Site, progress: Progress, check: bool) -> list[Step]:
    with registry.writing_client(settings) as client:
        try:
            found = registry.standing(client, subjects(site))
            breaking = registry.refused(client, found)
            if breaking:
                names = ", ".join(subject.name for subject in breaking)
                raise ProvisionError(
                    f"breaking change refused: {names}: what one version writes, another could not read. "
                    "Nothing was changed"
                )
            if not check and not all(now.is_right for now in found.values()):
                progress("registering schemas")
                registry.register(client, found)
        except registry.RegistryError as error:
            raise ProvisionError(f"{error} ({settings.registry_url})") from error
    return schema_steps(found)


def schema_steps(found: Mapping[Subject, registry.Registered]) -> list[Step]:
    """Every schema of a site, and what becomes of it."""
    return [Step(What.SCHEMA, subject.name, _schema_did(now)) for subject, now in found.items()]


def _schema_did(now: registry.Registered) -> Did:
    if now.is_right:
        return Did.KEPT
    return Did.CHANGED if now.exists else Did.MADE
