"""`sallyport provision`: make the bus what a site's files say."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.changes import Did, ProvisionError, What
from deploy.commands.errors import fail, settings_given
from deploy.provision import Provisioned, purge
from deploy.provision import provision as make_it_so
from deploy.sites import load_site
from schemas.agreements import SiteError
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site

PLURAL = {What.TOPIC: "topics", What.USER: "users", What.ACL: "rights", What.SCHEMA: "schemas"}


def provision(
    site: Annotated[
        str | None,
        typer.Option("--site", help="A shipped site's name, or a site's directory. Default: the settings' site."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 if something is not as the site says.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the site from the bus, all its records included.")
    ] = False,
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="With --remove: the site's name, instead of asking for it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Make the bus what a site's files say: topics, users, what each user may do, schemas.

    Changes only what differs, so it may run as often as you like. A user that the files no longer name loses password
    and rights. Passwords of new users are files in the secrets directory: hand each to its owner.

    Example: sallyport provision --site demo --check
    """
    if check and remove:
        fail("--check changes nothing and --remove removes everything: give one of them")
    try:
        settings = settings_given(site)
        described = load_site(settings)
        done = _remove(settings, described, confirm) if remove else _make(settings, described, check, as_json)
    except (SiteError, ProvisionError, SecretUnreadableError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}: provisioning writes passwords there; see SALLYPORT_SECRETS")
    if as_json:
        typer.echo(json.dumps(_as_json(done), indent=2))
    else:
        _show(done, check)
    if check and done.differences:
        raise typer.Exit(1)


def _make(settings: Settings, site: Site, check: bool, quiet: bool) -> Provisioned:
    console = Console(stderr=True, quiet=quiet)
    with console.status(f"{site.name}: looking at the bus") as status:
        return make_it_so(settings, site, lambda text: status.update(f"{site.name}: {text}"), check)


def _remove(settings: Settings, site: Site, confirm: str | None) -> Provisioned:
    typed = confirm or typer.prompt(
        f"This deletes every record of {site.title}, for good. Type the site's name to go on", err=True
    )
    if typed != site.name:
        raise ProvisionError(f"not removed: {typed!r} is not the site's name")
    return purge(settings, site)


def _as_json(done: Provisioned) -> dict[str, object]:
    return {
        "site": done.site,
        "differs": bool(done.differences),
        "counts": {
            PLURAL[what]: {did.value: done.count(what, did) for did in Did if done.count(what, did)} for what in What
        },
        "differences": [asdict(step) for step in done.differences],
        "notes": list(done.notes),
    }


def _show(done: Provisioned, check: bool) -> None:
    console = Console()
    words = {Did.MADE: "missing", Did.CHANGED: "differs", Did.REMOVED: "too many"} if check else {}
    table = Table(title=f"Site {done.site}", title_justify="left")
    table.add_column("")
    for did in Did:
        table.add_column(words.get(did, did.value), justify="right")
    for what in What:
        table.add_row(PLURAL[what], *(str(done.count(what, did) or "") for did in Did))
    console.print(table)
    if check or len(done.differences) <= 10:  # noqa: PLR2004 - a first run has a hundred and says nothing by them
        for step in done.differences:
            detail = f" ({step.detail})" if step.detail else ""
            what_did = words.get(step.did, step.did.value)
            console.print(Text(f"{what_did}: {step.what.value} {step.name}{detail}"), soft_wrap=True)
    for note in done.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
