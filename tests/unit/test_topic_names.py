"""A topic's name is spelled in `schemas/topics.py` and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import topics
from tests.county import SITE

ROOT = Path(__file__).parents[2]
FILES = [
    path
    for package in ("schemas", "producers", "streams", "consumers", "deploy")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path != ROOT / "schemas" / "topics.py"
]
ENDINGS = {spec.name.removeprefix(f"{SITE.name}.") for spec in topics.all_topics(SITE)}


def texts(path: Path) -> Iterator[str]:
    """The strings of a module, its documentation left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def test_there_are_topics_to_look_for() -> None:
    assert "bus.person.facts.v1" in ENDINGS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_spells_a_topic(path: Path) -> None:
    spelled = [text for text in texts(path) if any(ending in text for ending in ENDINGS)]
    assert spelled == []
