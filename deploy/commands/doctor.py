"""`sallyport doctor`: is the bus well? Part by part, and what to do where it is not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deploy.commands.errors import fail, settings_given
from deploy.examination import Examination
from deploy.health import EXIT_CODES, Finding, Grade, worst
from deploy.sites import load_site
from schemas.agreements import SiteError

COLOURS = {Grade.OK: "green", Grade.UNKNOWN: "dim", Grade.WARNING: "yellow", Grade.CRITICAL: "bold red"}


def doctor(
    site: Annotated[
        str | None, typer.Option(help="The site, or the directory of one; default: SALLYPORT_SITE.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the findings as JSON.")] = False,
) -> None:
    """Examine the bus: broker, registry, what provisioning keeps right, whether each alert has a recipient,
    certificates, clocks, workers, dead letters, disk.

    Asks and reads, and changes nothing. Each part is well, or it says what to do. Exit codes, as monitoring has them:
    0 all well, 1 a warning, 2 something is critical, or there is no such site, 3 something can't be examined from here.

    Example: sallyport doctor --json
    """
    console = Console(stderr=True, quiet=as_json)
    try:
        settings = settings_given(site)
        described = load_site(settings)
    except SiteError as error:
        fail(str(error))
    with console.status("looking") as status:
        examination = Examination(settings, described, lambda part: status.update(f"looking at: {part}"))
        findings = list(examination.findings())
    grade = worst(findings)
    if as_json:
        told = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"site": described.name, "grade": grade, "findings": told}, indent=2))
    else:
        _show(findings)
    raise typer.Exit(EXIT_CODES[grade])


def _show(findings: list[Finding]) -> None:
    console = Console()
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        console.print(f"{finding.grade.value:<8}", style=COLOURS[finding.grade], end=" ")
        console.print(Text(f"{finding.part.value:<{width}}  {finding.says}"), soft_wrap=True)
        if finding.do:
            console.print(Text(f"{'':<8} {'':<{width}}  -> {finding.do}"), soft_wrap=True)
