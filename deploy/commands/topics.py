"""`sallyport topics`: counts, lag, dead letters, and how the stages are doing."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.commands.errors import fail, settings_given
from deploy.sites import load_site
from deploy.topic_report import ReportError, StageStands, TopicReport, TopicStands, topic_report
from schemas.agreements import SiteError
from schemas.settings import SecretUnreadableError


def topics(
    site: Annotated[
        str | None,
        typer.Option("--site", help="A shipped site's name, or a site's directory. Default: the settings' site."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
) -> None:
    """Show how a site's topics stand: records, lag of the workers, dead letters by reason, the stages.

    A ~ marks an upper bound: the topic is written by transactions, whose markers are among its offsets, or compacted.
    A lag of 0 is always exact. What stages say of themselves is in whole hundreds.

    Example: sallyport topics --site demo --json
    """
    try:
        settings = settings_given(site)
        report = topic_report(settings, load_site(settings))
    except (SiteError, ReportError, SecretUnreadableError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
    else:
        _show(report, Console(), time.time())


def _show(report: TopicReport, console: Console, now: float) -> None:
    prefix = f"{report.site}."
    table = Table(title=f"Topics of site {report.site} (each name begins with {prefix})", title_justify="left")
    for column, justify in (("topic", "left"), ("records", "right"), ("lag", "right"), ("kept", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left", overflow="fold")
    for topic in report.topics:
        table.add_row(topic.name.removeprefix(prefix), _about(topic.records, topic), _lag(topic), topic.kept)
    console.print(table)
    dead = Table(title="Dead letters", title_justify="left")
    for column in ("agency", "reason"):
        dead.add_column(column, overflow="fold")
    dead.add_column("records", justify="right")
    dead.add_column("the first goes (UTC)")
    for letters in report.dead_letters:
        dead.add_row(letters.agency, letters.reason, f"{letters.count:,}", _day(letters.goes))
    console.print(dead if report.dead_letters else "No dead letters.")
    stages = Table(title="Stages", title_justify="left")
    for column in ("stage", "partition", "state", "last tick (UTC)", "lag", "reported"):
        stages.add_column(column)
    for stage in report.stages:
        stages.add_row(
            stage.stage,
            str(stage.partition),
            _state(stage),
            _tick(stage),
            f"{stage.lag:,}",
            f"{max(0, int(now - stage.at / 1_000_000)):,} s ago",
        )
    console.print(stages if report.stages else "No worker has reported yet.")


def _about(count: int, topic: TopicStands) -> str:
    return f"{'' if topic.exact or count == 0 else '~'}{count:,}"


def _lag(topic: TopicStands) -> str:
    return "" if topic.lag is None else _about(topic.lag, topic)


def _state(stage: StageStands) -> str:
    if stage.state == "REFOLDING":
        return f"refolding, {stage.done:,} of {stage.total:,}"
    return stage.state.lower()


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d")


def _tick(stage: StageStands) -> str:
    if stage.tick == 0:
        return "none yet"
    return datetime.fromtimestamp(stage.tick / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
