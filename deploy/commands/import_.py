"""`sallyport import`: histories of source systems into a history site."""

from __future__ import annotations

import json
import os
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from confluent_kafka import KafkaException
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from deploy.changes import ProvisionError
from deploy.commands.errors import fail, settings_given
from deploy.commands.worker import GIVE_WAY
from deploy.provision import provision
from deploy.sites import agency_called, load_site
from producers.adapters import shootings as shooting_list
from producers.adapters.csv_file import Problem
from producers.adapters.roster import Jail, Summary
from producers.adapters.roster_file import MOST_BYTES, NYC_COLUMNS, REQUIRED
from producers.publisher import Publisher, PublishError
from producers.roster_import import (
    Allowances,
    Day,
    FileChangedError,
    Files,
    ImportRefusedError,
    SiteClock,
    State,
    StateFile,
    days,
    judge,
    publish_all,
    publish_days,
    quarantine,
)
from producers.spool import SpoolFullError
from schemas.agreements import SiteError
from schemas.events import Event
from schemas.registry_client import NotRegisteredError, RegistryAway
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site

import_app = typer.Typer(help="Import the history of a source system into a history site.", no_args_is_help=True)
SHOWN = 30
"""Problems shown to a person; the rest is counted."""


@import_app.command("roster")
def roster(
    files: Annotated[list[Path], typer.Argument(help="A list of everybody in custody a day: CSV, gzipped or not.")],
    site: Annotated[str, typer.Option(help="The history site.")] = "nyc-history",
    agency: Annotated[str | None, typer.Option(help="The jail's agency; default: the site's first.")] = None,
    facility: Annotated[str | None, typer.Option(help="The facility; default: the agency's first.")] = None,
    columns: Annotated[
        Path | None, typer.Option(help='Your names of the columns, in TOML: id = "BookingNo", sealed = "" (none).')
    ] = None,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Go on without damaged files; copy them to quarantine with the reason.")
    ] = False,
    allow_gaps: Annotated[bool, typer.Option("--allow-gaps", help="Accept that days are missing.")] = False,
    allow_drops: Annotated[
        bool, typer.Option("--allow-drops", help="Accept that more people are gone within a day than leave a jail.")
    ] = False,
    allow_order: Annotated[
        bool, typer.Option("--allow-order", help="Accept that a list seems older than that of the day before.")
    ] = False,
    max_megabytes: Annotated[
        int, typer.Option(min=1, help="Size of a day's list, unpacked, above which it is damaged.")
    ] = MOST_BYTES // 2**20,
    again: Annotated[
        bool, typer.Option("--again", help="Also the days imported before, from the first on; changes nothing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only read and compare; needs no bus.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the summary as JSON.")] = False,
) -> None:
    """Import a jail's daily custody lists: compared day by day, they become events.

    All files are read and judged before anything is published; a damaged one stops the import unless --set-aside.
    Importing twice changes nothing. Exit codes: 0 done, 1 refused: nothing was published, 2 can't import.

    Example: sallyport import roster 2022-07-*.csv.gz --dry-run --json
    """
    console = Console(stderr=True)
    try:
        settings = settings_given(site)
        described = load_site(settings)
        jail = _jail(described, agency, facility)
        if not dry_run:
            os.nice(GIVE_WAY)
        names = _columns(columns)
        file = StateFile(settings.home, described.name, jail.facility.id)
        with file.alone() if not dry_run else nullcontext():
            before = file.read()
            with _progress(console, as_json) as progress:
                judging = progress.add_task("Reading", total=len(files))
                judged = judge(
                    files,
                    before,
                    jail.last_ended(time.time_ns() // 1000),
                    begun=file.begun(),
                    columns=names,
                    most_bytes=max_megabytes * 2**20,
                    allow=Allowances(set_aside, allow_gaps, allow_drops, allow_order),
                    again=again,
                    progress=lambda: progress.advance(judging),
                )
                if judged.set_aside:
                    _put_aside(judged, settings, described, dry_run, console)
                summary = Summary(already_imported=judged.already_imported)
                known = None if again or before is None else before.known
                all_days = days(judged, known, jail, summary, names, max_megabytes * 2**20)
                doing = progress.add_task("Comparing" if dry_run else "Importing", total=len(judged.days))
                if dry_run:
                    for _ in all_days:
                        progress.advance(doing)
                elif judged.days:
                    _import(all_days, settings, described, jail, file, before, console, lambda: progress.advance(doing))
    except ImportRefusedError as error:
        _refuse(error.problems, as_json)
    except (SiteError, ProvisionError, PublishError, SpoolFullError, SecretUnreadableError) as error:
        fail(str(error))
    except ValidationError as error:
        where = ", ".join(sorted({".".join(map(str, one["loc"])) for one in error.errors(include_input=False)}))
        fail(f"an event can't be made of a list, its {where} is wrong; the days before it stand")
    except (FileChangedError, RegistryAway, NotRegisteredError, ValueError, OSError) as error:
        fail(str(error))
    except KafkaException as error:
        fail(f"the broker at {settings.bootstrap_servers} does not go on ({error.args[0].str()}): import again")
    if as_json:
        typer.echo(json.dumps({**summary.as_json(), "files_set_aside": sorted({p.file for p in judged.set_aside})}))
    else:
        _show(summary, dry_run)


@import_app.command("shootings")
def shootings(
    files: Annotated[list[Path], typer.Argument(help="A list of shootings, a row a victim: CSV, gzipped or not.")],
    groups: Annotated[
        Path | None,
        typer.Option(help='Which groups were at odds, in TOML, by incident: 247416062 = ["Eastside", "Harbor"].'),
    ] = None,
    site: Annotated[str, typer.Option(help="The history site.")] = "nyc-history",
    agency: Annotated[str, typer.Option(help="The police agency.")] = "city-pd",
    time_zone: Annotated[str, typer.Option(help="Where the times of the list are local.")] = "America/New_York",
    max_megabytes: Annotated[
        int, typer.Option(min=1, help="Size of a file, unpacked, above which it is damaged.")
    ] = shooting_list.MOST_BYTES // 2**20,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only read; needs no bus.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the summary as JSON.")] = False,
) -> None:
    """Import a police department's public list of shootings: a row is a victim, an event is an incident.

    Only incidents whose groups are known become events: of the others nothing would follow. Best before the rosters of
    the same days; afterwards they are late events, which count all the same. Importing twice changes nothing.
    Exit codes: 0 done, 1 refused: nothing was published, 2 can't import.

    Example: sallyport import shootings 2022-q3.csv --groups groups.toml --dry-run
    """
    console = Console(stderr=True)
    try:
        settings = settings_given(site)
        described = load_site(settings)
        police = _police(described, agency, time_zone)
        listed = shooting_list.read_shootings(files, police, time.time_ns() // 1000, max_megabytes * 2**20)
        if isinstance(listed, tuple):
            _refuse(listed, as_json)
        else:
            known = {} if groups is None else shooting_list.read_groups(groups)
            importing = shooting_list.to_import(listed, known, police)
            if not dry_run and importing.events:
                _publish(importing.events, settings, described, agency, console)
            _show_shootings(importing, dry_run, as_json)
    except (SiteError, ProvisionError, PublishError, SpoolFullError, SecretUnreadableError) as error:
        fail(str(error))
    except (RegistryAway, NotRegisteredError, ValueError, OSError) as error:
        fail(str(error))
    except KafkaException as error:
        fail(f"the broker at {settings.bootstrap_servers} does not go on ({error.args[0].str()}): import again")


def _police(site: Site, agency: str, time_zone: str) -> shooting_list.Police:
    if site.clock != "history":
        raise SiteError(f"{site.name} is a live site: history is imported only into a site of its own")
    police = agency_called(site, agency)
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{time_zone!r} is no IANA time zone, such as America/New_York") from error
    return shooting_list.Police(police, zone)


def _publish(events: Sequence[Event], settings: Settings, site: Site, agency: str, console: Console) -> None:
    with console.status(f"Provisioning {site.name} ..."):
        provision(settings, site)
    with Publisher(settings, site, agency) as publisher:
        publish_all(events, publisher, partial(_notice, console))


def _notice(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)


def _show_shootings(importing: shooting_list.Import, dry_run: bool, as_json: bool) -> None:
    done = importing.summary
    if as_json:
        typer.echo(json.dumps(done))
        return
    table = _table(dry_run)
    table.add_row("victims", f"{done['victims']:,}")
    table.add_row("incidents", f"{done['incidents']:,}")
    for section, title in (("events", "event"), ("not_carried", "not carried")):
        for what, count in done[section].items():
            table.add_row(f"{title}: {what}", f"{count:,}")
    Console().print(table)


def _table(dry_run: bool) -> Table:
    table = Table(title="Would be imported" if dry_run else "Imported", title_justify="left")
    table.add_column("")
    table.add_column("count", justify="right")
    return table


def _import(
    all_days: Iterator[Day],
    settings: Settings,
    site: Site,
    jail: Jail,
    file: StateFile,
    before: State | None,
    console: Console,
    advance: Callable[[], None],
) -> None:
    def begin(day: Day) -> None:
        if before is None or day.state.known.day > before.known.day:
            file.begin(day.state.begun)

    def done(day: Day) -> None:
        # With --again, days that were known are told once more; until the last of them nothing new is known.
        if before is None or day.state.known.day >= before.known.day:
            file.write(day.state)
        advance()

    notice = partial(_notice, console)
    with console.status(f"Provisioning {site.name} ..."):
        provision(settings, site)
    with (
        Publisher(settings, site, jail.agency.id) as publisher,
        closing(SiteClock(settings, site, jail.agency.id, notice)) as clock,
    ):
        publish_days(all_days, publisher, clock, begin, done, notice)


def _jail(site: Site, agency: str | None, facility: str | None) -> Jail:
    if site.clock != "history":
        raise SiteError(f"{site.name} is a live site: history is imported only into a site of its own")
    which = agency_called(site, agency or site.agencies[0].id).id
    own = {f.id: f for f in site.facilities if f.agency == which}
    if not own or (facility is not None and facility not in own):
        raise SiteError(
            f"{which} has no facility {facility or ''} on site {site.name}; it has {', '.join(own) or 'none'}"
        )
    return Jail(site.agency_by_id[which], own[facility] if facility else next(iter(own.values())))


def _columns(path: Path | None) -> Mapping[str, str]:
    if path is None:
        return NYC_COLUMNS
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, or not UTF-8
        raise ValueError(f"{path}: {error}") from error
    unknown = sorted(set(given) - set(NYC_COLUMNS))
    if unknown:
        raise ValueError(f"{path}: {', '.join(unknown)} is none of {', '.join(NYC_COLUMNS)}")
    wrong = sorted(ours for ours, theirs in given.items() if not isinstance(theirs, str))
    if wrong:
        raise ValueError(f"{path}: {', '.join(wrong)}: give the name of the column in your file, in quotes")
    columns = {**NYC_COLUMNS, **given}
    if not all(columns[ours] for ours in REQUIRED):
        raise ValueError(f'{path}: a list needs {" and ".join(REQUIRED)}; the other columns may be "", for none')
    return columns


def _progress(console: Console, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )


def _put_aside(judged: Files, settings: Settings, site: Site, dry_run: bool, console: Console) -> None:
    for problem in judged.set_aside[:SHOWN]:
        console.print(Text(f"set aside: {problem}", "yellow"), soft_wrap=True)
    if not dry_run:
        directory = settings.home / "quarantine" / site.name / datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        quarantine(judged.set_aside, directory)
        console.print(Text(f"copies and reasons are in {directory}"), soft_wrap=True)


def _refuse(problems: tuple[Problem, ...], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"problems": [{"file": p.file, "line": p.line, "why": p.why} for p in problems]}))
    for problem in problems[:SHOWN]:
        typer.echo(f"sallyport: {problem}", err=True)
    if len(problems) > SHOWN:
        typer.echo(f"sallyport: and {len(problems) - SHOWN} more", err=True)
    typer.echo("sallyport: nothing was published", err=True)
    raise typer.Exit(1)


def _show(summary: Summary, dry_run: bool) -> None:
    done = summary.as_json()
    table = _table(dry_run)
    table.add_row("days", f"{done['days']:,}")
    table.add_row("  of these the same as the day before", f"{done['repeated_days']:,}")
    if done["already_imported"]:
        table.add_row("days left out, imported before", f"{done['already_imported']:,}")
    table.add_row("rows", f"{done['rows']:,}")
    for section, title in (("events", "event"), ("set_aside", "set aside"), ("not_carried", "not carried")):
        for what, count in done[section].items():
            table.add_row(f"{title}: {what}", f"{count:,}")
    table.add_row("stays listed again after an absence", f"{done['listed_again']:,}")
    Console().print(table)
