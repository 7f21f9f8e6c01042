"""What a mutant that lived is explained by is the code as it is: an explanation of other code explains nothing."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_explained_survivor_is_of_a_line_that_is_there() -> None:
    explained = tomllib.loads((ROOT / "tests" / "mutation" / "survivors.toml").read_text())
    for module, survivors in explained.items():
        code = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        for one in survivors:
            # A function's head is told without its name.
            assert one["was"].removeprefix("def ").rstrip() in code, f"{module}: {one['was']}"
            assert one["why"]
