"""`sallyport simulate`: a county that does not exist, for demonstrations, for load, and to see how good the bus is."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deploy.child_process import children, until_ctrl_c
from deploy.commands.errors import fail, settings_given
from deploy.judged_simulation import UnfitError, judged
from deploy.live_county import COUNTY, SPEED, live_county
from deploy.private_files import text_out
from deploy.sites import load_site
from producers.publisher import PublishError
from producers.simulator.county import DAY
from producers.simulator.noise import Noise
from producers.simulator.score import Score
from producers.simulator.simulation import START, Simulation
from producers.simulator.truth import Truth
from producers.spool import SpoolFullError
from schemas.agreements import SiteError
from schemas.events import type_name
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site

SHOWN: Final = 12
"""Situations missed and alerts that are wrong, of which one sees what they were; the rest is counted."""
DAYS: Final = 21.0
"""How long it is simulated where nobody says."""
TRIED: Final = 2
"""Days of a county without noise from which it is reckoned how many events a day has."""
NOTHING: Final = "–"
"""In place of a share of nothing."""
FAILED: Final = 1
"""Exit code."""
APART: Final = (
    ("--score", "--publish"),
    ("--score", "--out"),
    ("--score", "--truth"),
    ("--publish", "--out"),
    ("--speed", "--rate"),
)
"""Options of which one leaves the other without effect."""
PART_OF: Final = {
    "--seeds": "--score",
    "--least": "--score",
    "--json": "--score",
    "--speed": "--publish",
    "--rate": "--publish",
}
"""Options that have an effect with another one only."""


def simulate(
    context: typer.Context,
    site: Annotated[str, typer.Option(help="A site with jails and police.")] = COUNTY,
    seed: Annotated[int, typer.Option(min=0, help="The county: the same seed lives the same life.")] = 1,
    days: Annotated[
        float | None,
        typer.Option(min=0.01, help="How long, in the county's own days. Default: 21; with --publish, until Ctrl-C."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where events are written as JSON Lines; - is standard output.")] = Path(
        "-"
    ),
    truth: Annotated[
        Path | None, typer.Option(help="Where what is true in it is written: situations and decoys, as JSON.")
    ] = None,
    score: Annotated[
        bool, typer.Option("--score", help="Put it through the bus's own code: recall, precision.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="With --score: so many counties, from --seed on.")] = 1,
    least: Annotated[float, typer.Option(min=0, max=1, help="With --score: less, of either, fails.")] = 1.0,
    publish: Annotated[bool, typer.Option("--publish", help="Publish on a running bus, as its agencies do.")] = False,
    speed: Annotated[
        float, typer.Option(min=0.01, help="With --publish: how many times as fast as ours it lives.")
    ] = SPEED,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="With --publish: in place of --speed, so many events a second.")
    ] = None,
    noise: Annotated[float, typer.Option(min=0, help="How many times the usual noise.")] = 1.0,
    misspelt: Annotated[float | None, typer.Option(min=0, max=1, help="Share of names with an error.")] = None,
    late: Annotated[float | None, typer.Option(min=0, max=1, help="Share of events told up to 2 hours late.")] = None,
    twice: Annotated[float | None, typer.Option(min=0, max=1, help="Share of events told again.")] = None,
    missing: Annotated[float | None, typer.Option(min=0, max=1, help="Share of optional fields left out.")] = None,
    unsure: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of bookings without prints yet, of entries for the wrong one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the score as JSON.")] = False,
) -> None:
    """Simulate a county: two jails, a prison, three units of police, with daily life, feuds, tips, and decoys.

    Without more it writes what its agencies tell. It knows what is true in it, and the bus is not asked for that: with
    --score one sees what the bus finds of it. What does not go together is refused. Exit codes: 0 done, 1 --score below
    --least, or of nothing, 2 can't begin, 3 the bus is away: events wait in the spool.

    Example: sallyport simulate --score --seed 500 --seeds 20 --noise 2 --least 0.99
    """
    if (why := misfit(_given(context))) is not None:
        fail(why)
    given = {"misspelt": misspelt, "late": late, "twice": twice, "missing": missing, "unsure": unsure}
    errors = replace(Noise().times(noise), **{name: share for name, share in given.items() if share is not None})
    try:
        settings = settings_given(site)
        described = load_site(settings)
        if score:
            raise typer.Exit(_scored(described, range(seed, seed + seeds), days or DAYS, errors, least, as_json))
        if publish:
            speed = speed if rate is None else rate * DAY / 1_000_000 / _events_a_day(described, seed)
            raise typer.Exit(_published(settings, described, seed, days, errors, speed, truth))
        _written(described, seed, days or DAYS, errors, out, truth)
    except (SiteError, UnfitError, PublishError, SpoolFullError, SecretUnreadableError, ValueError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or out}: {error.strerror or error}")


def misfit(given: Collection[str]) -> str | None:
    """Why options do not go together, by their names; None where they do."""
    for one, other in APART:
        if one in given and other in given:
            return f"{one} and {other} do not go together: give one of them"
    for one, other in PART_OF.items():
        if one in given and other not in given:
            return f"{one} is for {other} only: leave it out, or give {other} as well"
    return None


def _given(context: typer.Context) -> set[str]:
    """The options that were typed: a default's value may be typed, too."""
    sources = {one.opts[0]: context.get_parameter_source(str(one.name)) for one in context.command.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


# -- written ---------------------------------------------------------------------------------------------------------


def _written(site: Site, seed: int, days: float, noise: Noise, out: Path, truth: Path | None) -> None:
    simulation = Simulation(site, seed, noise)
    count = 0
    with text_out(out) as file:
        for told in simulation.told(START + int(days * DAY)):
            file.write(json.dumps({"type": type_name(told.event), **told.event.model_dump(mode="json")}) + "\n")
            count += 1
    _keep_truth(simulation.truth, truth)
    typer.echo(f"sallyport: {count:,} events; {_counted(simulation.truth)}", err=True)


def _keep_truth(truth: Truth, path: Path | None) -> None:
    if path is not None:
        told = {
            "situations": [one.record() for one in truth.situations],
            "decoys": [one.record() for one in truth.decoys],
        }
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _counted(truth: Truth) -> str:
    counts = Counter(one.key[0] for one in truth.situations)
    true = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "no situation"
    return f"true in it: {true}; {len(truth.decoys)} decoys"


# -- published -------------------------------------------------------------------------------------------------------


def _published(
    settings: Settings, site: Site, seed: int, days: float | None, noise: Noise, speed: float, truth: Path | None
) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    typer.echo(f"sallyport: the county lives {speed:,.0f} times as fast as ours; Ctrl-C ends it", err=True)
    simulation, count, waiting = live_county(settings, site, seed, noise, speed, stop, days)
    _keep_truth(simulation.truth, truth)
    typer.echo(f"sallyport: {count:,} events; {_counted(simulation.truth)}", err=True)
    return 3 if waiting else 0


def _events_a_day(site: Site, seed: int) -> float:
    """How many a day of a county has, once its jails are full."""
    told = Simulation(site, seed, Noise().times(0)).told(START + (1 + TRIED) * DAY)
    return sum(one.arrives > START + DAY for one in told) / TRIED


# -- scored ----------------------------------------------------------------------------------------------------------


def _scored(site: Site, seeds: range, days: float, noise: Noise, least: float, as_json: bool) -> int:
    total: dict[str, Score] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with (
        children(min(len(seeds), os.cpu_count() or 1)) as pool,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        work: list[Future[dict[str, Score]]] = [
            pool.submit(until_ctrl_c, judged, site, seed, days, noise) for seed in seeds
        ]
        for future in progress.track(work, description="Counties"):
            for name, one in future.result().items():
                total[name] = total.get(name, Score()) + one
    return _told_score(total, seeds, days, noise, least, as_json=as_json)


def _told_score(
    total: Mapping[str, Score], seeds: range, days: float, noise: Noise, least: float, *, as_json: bool
) -> int:
    untried = [name for name, one in total.items() if not one.is_tried]
    # Where nothing at all was tried, nothing has passed.
    passed = len(untried) < len(total) and all(one.reaches(least) for one in total.values())
    if as_json:
        told: Mapping[str, Any] = {name: _figures(one) for name, one in total.items()}
        outcome = {"seeds": [*seeds], "days": days, "noise": asdict(noise), "scores": told, "untried": untried}
        typer.echo(json.dumps({**outcome, "passed": passed}))
    else:
        _show(total, len(seeds), days)
    if untried:
        typer.echo(f"not put to the test, for nothing was to be found or raised: {', '.join(untried)}", err=True)
    return 0 if passed else FAILED


def _figures(one: Score) -> dict[str, float | None]:
    counts = {"situations": one.situations, "found": one.found, "raised": one.raised, "right": one.right}
    figures = {"recall": one.recall, "precision": one.precision}
    return {**counts, **{name: None if figure is None else round(figure, 4) for name, figure in figures.items()}}


def _share(figure: float | None) -> str:
    return NOTHING if figure is None else f"{figure:.4f}"


def _show(total: Mapping[str, Score], counties: int, days: float) -> None:
    table = Table(
        title=f"{counties} {'county' if counties == 1 else 'counties'}, {days:g} days each", title_justify="left"
    )
    for column in ("correlation", "situations", "found", "recall", "raised", "right", "precision"):
        table.add_column(column, justify="left" if column == "correlation" else "right")
    for name, one in total.items():
        found = f"{one.situations:,}", f"{one.found:,}", _share(one.recall)
        table.add_row(name, *found, f"{one.raised:,}", f"{one.right:,}", _share(one.precision))
    Console().print(table)
    wrong = [f"missed: {one.key} ({one.scene or 'daily life'})" for of in total.values() for one in of.missed]
    wrong += [f"wrong: {alert.key}: {why}" for of in total.values() for alert, why in of.wrong]
    for line in wrong[:SHOWN]:
        typer.echo(line, err=True)
    if len(wrong) > SHOWN:
        typer.echo(f"and {len(wrong) - SHOWN} more", err=True)
