"""`sallyport simulate`: a county's events in a file, what is true in it, and how much of that the bus finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from deploy.commands import simulate as command
from deploy.commands.simulate import simulate
from deploy.sites import SITES_DIR
from producers.simulator.noise import Noise
from producers.simulator.score import CORRELATIONS, Score
from producers.simulator.simulation import Simulation
from producers.simulator.truth import FROZEN, RIVALS, SILENT
from schemas.agreements import SiteError
from schemas.site import read_site
from tests.json_text import parse_text

SITE = read_site(SITES_DIR / "county")


def run(*options: str) -> Result:
    app = typer.Typer()
    app.command()(simulate)
    return CliRunner().invoke(app, [*options])


def test_its_events_are_written_as_they_can_be_published_and_what_is_true_beside_them(tmp_path: Path) -> None:
    out, truth = tmp_path / "events.jsonl", tmp_path / "truth.json"
    done = run("--days", "2", "--out", str(out), "--truth", str(truth))
    assert done.exit_code == 0, done.stderr
    lines = out.read_text().splitlines()
    by_ori = {agency.ori: agency for agency in SITE.agencies}
    for line in lines:
        (parsed,) = parse_text(line, by_ori[json.loads(line)["head"]["ori"]])
        assert parsed.problems == ()
    told = json.loads(truth.read_text())
    assert {one["key"][0] for one in told["situations"]} <= set(CORRELATIONS)
    assert told["decoys"]
    assert f"{len(lines):,} events; true in it: " in done.stderr
    assert oct(out.stat().st_mode)[-3:] == "600"


def test_without_a_file_events_go_to_standard_output() -> None:
    done = run("--days", "0.1")
    assert json.loads(done.stdout.splitlines()[0])["type"] == "BookingReported"


def test_a_score_is_told_by_correlation() -> None:
    done = run("--score", "--days", "2", "--seeds", "2", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["seeds"], told["passed"], set(told["scores"])) == ([1, 2], True, set(CORRELATIONS))
    reviews = told["scores"]["classification_review"]
    assert reviews["situations"] == reviews["found"] > 0
    assert (reviews["recall"], reviews["precision"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("score", "least", "code"),
    [
        (Score(10, 9, 10, 10), 1.0, 1),
        (Score(10, 10, 10, 9), 1.0, 1),
        (Score(10, 9, 10, 9), 0.9, 0),
        (Score(10, 10, 10, 10), 1.0, 0),
        (Score(), 0.0, 1),
    ],
)
def test_a_score_below_what_is_asked_for_fails(
    score: Score, least: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command._told_score({RIVALS: score}, range(1), 1.0, Noise(), least, as_json=False) == code
    assert "1 county, 1 days each" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", None),
        ("--out --truth --days --seed --noise --misspelt", None),
        ("--score --seeds --least --json --days --noise", None),
        ("--publish --truth --speed --days", None),
        ("--publish --rate", None),
        ("--score --publish", "--score and --publish do not go together"),
        ("--score --out", "--score and --out do not go together"),
        ("--score --truth", "--score and --truth do not go together"),
        ("--publish --out", "--publish and --out do not go together"),
        ("--publish --speed --rate", "--speed and --rate do not go together"),
        ("--seeds", "--seeds is for --score only"),
        ("--least --publish", "--least is for --score only"),
        ("--json --out", "--json is for --score only"),
        ("--speed --out", "--speed is for --publish only"),
        ("--rate --score", "--rate is for --publish only"),
    ],
)
def test_what_would_have_no_effect_beside_the_rest_does_not_go_together(given: str, why: str | None) -> None:
    assert (command.misfit(given.split()) or "").partition(":")[0] == (why or "")


def test_options_of_which_one_does_nothing_are_refused_even_where_a_default_is_typed(tmp_path: Path) -> None:
    out = tmp_path / "events.jsonl"
    done = run("--days", "0.1", "--out", str(out), "--seeds", "1")
    assert (done.exit_code, done.stdout, out.exists()) == (2, "", False)
    assert done.stderr == "sallyport: --seeds is for --score only: leave it out, or give --score as well\n"


@pytest.mark.parametrize(("of_rivals", "code"), [(Score(4, 4, 4, 4), 0), (Score(4, 3, 4, 4), 1)])
def test_what_was_not_put_to_the_test_is_named_has_no_share_and_is_no_reason_to_pass_or_fail(
    of_rivals: Score, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    total = {RIVALS: of_rivals, SILENT: Score(), FROZEN: Score()}
    said = "not put to the test, for nothing was to be found or raised: feed_silent, feed_frozen"
    assert command._told_score(total, range(1), 1.0, Noise(), 1.0, as_json=False) == code
    shown = capsys.readouterr()
    assert said in shown.err.splitlines()
    (row,) = [line for line in shown.out.splitlines() if SILENT in line]
    assert row.count("–") == 2
    assert "1.0000" not in row
    assert command._told_score(total, range(1), 1.0, Noise(), 1.0, as_json=True) == code
    told = json.loads(capsys.readouterr().out)
    assert (told["untried"], told["passed"]) == ([SILENT, FROZEN], code == 0)
    assert (told["scores"][SILENT]["recall"], told["scores"][SILENT]["precision"]) == (None, None)


@pytest.mark.parametrize("site", ["nyc-history", "demo"])
def test_no_county_lives_on_a_site_without_two_jails(site: str) -> None:
    done = run("--site", site, "--days", "1")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"sallyport: {site}: a simulated county has two jails or more")


def test_what_a_jail_may_not_tell_is_named() -> None:
    mute = SITE.agencies[0].model_copy(update={"publishes": tuple(set(SITE.agencies[0].publishes) - {"CallCompleted"})})
    with pytest.raises(SiteError, match=f"to publishes of these add {mute.id} CallCompleted$"):
        Simulation(SITE.model_copy(update={"agencies": (mute, *SITE.agencies[1:])}), 1, Noise())


def test_no_county_lives_on_a_site_without_police() -> None:
    jails_only = [agency for agency in SITE.agencies if "ContrabandTipped" not in agency.event_types]
    without = SITE.model_copy(update={"agencies": jails_only, "recipients": (), "agreements": ()})
    with pytest.raises(SiteError, match="may tell all that police tell"):
        Simulation(without, 1, Noise())


def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    done = run("--days", "0.1", "--out", str(tmp_path / "nowhere" / "events.jsonl"))
    assert done.exit_code == 2
    assert "nowhere/events.jsonl: No such file or directory" in done.stderr
