"""The documentation says what the code does: whatever a user can meet is in it, and what is generated is current."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import typer

from deploy.catalogue import SENSITIVITIES, main, pages
from deploy.cli import app
from deploy.reference import commands, parameters, setting_name, with_block
from deploy.sites import SITES_DIR
from schemas import topics
from schemas.avro_files import record_names
from schemas.codec import Undecodable
from schemas.events import EVENT_TYPES
from schemas.settings import Settings
from schemas.site import Site, read_site
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.disclose import Reason
from streams.failures import REASON as RULE_FAILED
from streams.identify import Refusal
from tests.json_text import parse_text

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CORRELATIONS: list[Any] = [*PERSON_CORRELATIONS, *FACILITY_CORRELATIONS]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,2}} |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found[2]


def anchors(page: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings, and those that are written out."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', page))


def demo() -> Site:
    return read_site(SITES_DIR / "demo")


def county() -> Site:
    return read_site(SITES_DIR / "county")


def as_documented(topic: str, site: Site) -> str:
    """A topic's name with placeholders, as people are told of it."""
    parts = topic.split(".")
    event_types = {topics.kebab(name) for name in EVENT_TYPES}
    kinds = {kind for recipient in site.recipients for kind in recipient.kinds}
    placeholders: dict[str, str] = {
        site.name: "<site>",
        **dict.fromkeys(site.agency_by_id, "<agency>"),
        **dict.fromkeys(site.recipient_by_id, "<recipient>"),
        **dict.fromkeys(event_types, "<event-type>"),
        **dict.fromkeys(kinds, "<kind>"),
    }
    return ".".join(placeholders.get(part, part) for part in parts)


# -- what is generated -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["events.md", "correlations.md", "commands.md", "operations.md", "decisions/README.md"]
)
def test_a_generated_page_is_what_the_code_makes_now(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == pages(DOCS)[name], "run `make docs`"


def test_writing_the_pages_twice_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "decisions").mkdir()
    (tmp_path / "operations.md").write_text(text("docs/operations.md"), encoding="utf-8")
    (tmp_path / "decisions" / "0001-one.md").write_text("# 0001 One thing\n\nWhy.\n", encoding="utf-8")
    main(tmp_path)
    first = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.md")}
    main(tmp_path)
    assert {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.md")} == first
    assert "- [0001 One thing](0001-one.md)" in first[tmp_path / "decisions" / "README.md"]


def test_a_block_is_replaced_and_the_words_around_it_stay() -> None:
    page = "before\n<!-- begin it, generated -->\nold\n<!-- end it -->\nafter\n"
    assert with_block(page, "it", "new") == ("before\n<!-- begin it, generated -->\n\nnew\n\n<!-- end it -->\nafter\n")


def test_a_page_that_lost_its_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="no block 'it'"):
        with_block("before\n<!-- begin it, generated -->\nafter\n", "it", "new")


# -- what a user can meet --------------------------------------------------------------------------------------------


def test_the_page_on_real_data_has_its_figures() -> None:
    """Made by `make study`, where the data is."""
    told = section(text("docs/real-data.md"), "What was found")
    assert re.search(r"^\| all \| [\d,]+ \| [\d,]+ \| [\d.]+% \(", told, re.MULTILINE)


def test_the_readme_names_the_two_commands() -> None:
    blocks = CODE.findall(text("README.md"))
    for command in ("make run", "make test"):
        assert any(re.search(rf"^{command}\b", block, re.MULTILINE) for block in blocks), command


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    for target in ("run", "test"):
        assert re.search(rf"^{target}:", text("Makefile"), re.MULTILINE), target


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_in_the_table(field: str) -> None:
    row = re.search(rf"^\| `{setting_name(field)}` \|.*$", text("docs/operations.md"), re.MULTILINE)
    assert row, setting_name(field)
    assert Settings.model_fields[field].description, "a setting says what it is"


def test_no_page_speaks_of_a_setting_that_does_not_exist() -> None:
    known = {setting_name(field) for field in Settings.model_fields}
    for page in PAGES:
        assert set(re.findall(r"SALLYPORT_[A-Z_]+", page.read_text(encoding="utf-8"))) <= known, page


@pytest.mark.parametrize(("name", "command"), list(commands(app)), ids=[name for name, _ in commands(app)])
def test_every_command_is_documented_with_its_options_and_an_example(name: str, command: Any) -> None:
    told = section(text("docs/commands.md"), f"sallyport {name}")
    assert re.search(rf"```sh\nsallyport {name}\b.*\n```", told), "an example"
    for one in parameters(command):
        for spelled in one.opts if one.param_type_name == "option" else [one.name.upper()]:
            assert f"`{spelled}`" in told, spelled
        assert one.help, f"{one.name} says what it is"
    assert f"sallyport {name}" in text("docs/operations.md"), "what it is for"


def exit_codes_in_the_table() -> dict[str, set[str]]:
    """By command, the exit codes of which the table says what they mean."""
    head, _, *rows = re.findall(r"^\| .*\|$", section(text("docs/operations.md"), "Exit codes"), re.MULTILINE)
    table = [[cell.strip() for cell in row.split("|")[1:-1]] for row in (head, *rows)]
    assert len({len(row) for row in table}) == 1, "every row has a cell for each code"
    return {
        name: {code for code, meaning in zip(table[0][1:], row[1:], strict=True) if meaning}
        for row in table[1:]
        for name in re.findall(r"`([a-z ]+)`", row[0])
    }


def exit_codes_in_the_help(command: Any) -> set[str]:
    told = re.search(r"Exit\s+codes\b.*?(?=\n\n|\Z)", command.help or "", re.DOTALL)
    return set(re.findall(r"\b(\d)\s+(?=[a-z-])", told[0])) if told else set()


@pytest.mark.parametrize(("name", "command"), list(commands(app)), ids=[name for name, _ in commands(app)])
def test_every_command_is_in_the_table_of_exit_codes_with_those_that_its_help_names(name: str, command: Any) -> None:
    table = exit_codes_in_the_table()
    assert name in table
    assert exit_codes_in_the_help(command) <= table[name]


def test_the_table_of_exit_codes_has_no_command_that_does_not_exist() -> None:
    assert set(exit_codes_in_the_table()) <= set(dict(commands(app)))


def test_exit_codes_are_found_in_the_help() -> None:
    known = dict(commands(app))
    assert exit_codes_in_the_help(known["simulate"]) == {"0", "1", "2", "3"}
    assert exit_codes_in_the_help(known["replay"]) == {"0", "1", "2", "3", "4"}
    assert exit_codes_in_the_help(known["dlq take"]) == {"0", "1", "2"}


def test_a_hidden_option_is_told_to_nobody() -> None:
    assert "--while-parent-lives" not in text("docs/commands.md")


def test_the_documentation_shows_no_command_that_does_not_exist() -> None:
    known = {name.split()[0] for name, _ in commands(app)}
    for page in PAGES:
        used = set(re.findall(r"^sallyport ([a-z]+)", "\n".join(CODE.findall(page.read_text(encoding="utf-8"))), re.M))
        assert used <= known, page


@pytest.mark.parametrize("topic", sorted({as_documented(spec.name, demo()) for spec in topics.all_topics(demo())}))
def test_every_kind_of_topic_is_in_the_architecture(topic: str) -> None:
    assert re.search(rf"^\| `{re.escape(topic)}` \|", text("docs/architecture.md"), re.MULTILINE)


def test_the_architecture_names_no_topic_that_does_not_exist() -> None:
    known = {as_documented(spec.name, demo()) for spec in topics.all_topics(demo())}
    assert set(re.findall(r"^\| `(<site>\.[^`]+)` \|", text("docs/architecture.md"), re.MULTILINE)) == known


@pytest.mark.parametrize("correlation", CORRELATIONS, ids=[one.name for one in CORRELATIONS])
def test_every_correlation_says_what_it_detects_and_misses_and_what_to_do(correlation: Any) -> None:
    told = section(text("docs/correlations.md"), correlation.name)
    for title in ("What it detects", "What it misses", "What to do"):
        assert re.search(rf"^\*\*{title}\.\*\* \S", told, re.MULTILINE), title


@pytest.mark.parametrize("record", record_names())
def test_every_record_of_the_contract_is_in_the_catalogue(record: str) -> None:
    assert "| field | type | meaning | tags |" in section_of_record(record)


def section_of_record(record: str) -> str:
    found = re.search(rf"^### {record}$(.*?)(?=^##|\Z)", text("docs/events.md"), re.MULTILINE | re.DOTALL)
    assert found, record
    return found[1]


def test_the_catalogue_tags_what_identifies_a_person_and_what_is_of_health() -> None:
    assert re.search(r"^\| `name` \|.*\| identifies \|$", section_of_record("BookingReported"), re.MULTILINE)
    assert re.search(r"^\| `observation` \|.*\| health.* \|$", section_of_record("CareObserved"), re.MULTILINE)


def test_every_tag_in_the_catalogue_is_explained() -> None:
    used = {
        tag
        for row in re.findall(r"^\| `\w+` \|.*\| ([a-z, ]+) \|$", text("docs/events.md"), re.MULTILINE)
        for tag in row.split(", ")
    }
    assert used == set(SENSITIVITIES)


@pytest.mark.parametrize("reason", [*Undecodable, *Refusal, "CONFLICT", "POISON", RULE_FAILED])
def test_every_reason_of_a_dead_letter_is_explained(reason: str) -> None:
    told = section(text("docs/operations.md"), "Dead letters")
    assert re.search(rf"^\| `{reason}` \| \S.* \| \S.* \|$", told, re.MULTILINE)


def codes(title: str) -> set[str]:
    return set(re.findall(r"^\| `([A-Z_]+)` \|", section(text("docs/operations.md"), title), re.MULTILINE))


@pytest.mark.parametrize(
    ("title", "known"),
    [("Dead letters", [*Undecodable, *Refusal]), ("The audit of disclosures", [*Reason])],
)
def test_no_reason_is_explained_that_the_code_does_not_have(title: str, known: list[StrEnum]) -> None:
    assert codes(title) - {"CONFLICT", "POISON", RULE_FAILED} == {reason.value for reason in known}


def test_every_decision_has_a_title_with_its_number() -> None:
    for path in (DOCS / "decisions").glob("[0-9]*.md"):
        assert path.read_text(encoding="utf-8").startswith(f"# {path.name[:4]} "), path.name


# -- links and examples ----------------------------------------------------------------------------------------------


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def test_every_relative_link_leads_somewhere() -> None:
    broken = []
    for page, target in links():
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
            broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_page_is_reached_from_the_readme() -> None:
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        seen.add(page)
        targets = {(one.parent / target.partition("#")[0]).resolve() for one, target in links() if one == page}
        ahead += [target for target in targets if target.suffix == ".md" and target not in seen]
    assert {page for page in PAGES if page.is_relative_to(DOCS)} <= seen


@pytest.mark.parametrize("example", sorted((DOCS / "examples").glob("*.jsonl")), ids=lambda path: path.name)
def test_the_readme_s_examples_are_events_that_those_who_publish_them_there_may_publish(example: Path) -> None:
    (agency,) = set(re.findall(rf"docs/examples/{example.name} .*?--as ([a-z-]+)$", text("README.md"), re.MULTILINE))
    told = example.read_text(encoding="utf-8").replace("NOW", "2026-03-01T14:02:00-05:00")
    parsed = list(parse_text(told, county().agency_by_id[agency]))
    assert parsed
    assert [problem for one in parsed for problem in one.problems] == []


def test_the_mistake_in_the_readme_is_answered_as_the_readme_says() -> None:
    misspelt = text("docs/examples/garrow-is-moved.jsonl").replace('"unit"', '"unti"')
    (parsed,) = parse_text(misspelt, county().agency_by_id["county-jail"])
    for problem in parsed.problems:
        assert f"sallyport: {problem}\n" in text("README.md")


def test_commands_within_commands_are_found() -> None:
    assert isinstance(app, typer.Typer)
    assert "import roster" in dict(commands(app))
