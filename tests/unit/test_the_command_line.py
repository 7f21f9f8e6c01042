"""`sallyport` starts quickly: of its parts only the one that is asked for is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = "import sys; print(*(name for name in sys.modules if name.startswith('deploy.commands.')))"
ASIDE = {"deploy.commands.errors", "deploy.commands.interrupted", "deploy.commands.progress"}
"""What parts have in common."""


def loaded(*arguments: str) -> set[str]:
    program = f"""
import contextlib, io, sys
sys.argv = ["sallyport", *{list(arguments)}]
from deploy.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
{LOADED}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {*done.stdout.split()} - ASIDE


@pytest.mark.parametrize(
    ("arguments", "part"), [(("worker",), "worker"), (("dlq", "list"), "dlq"), (("publish",), "publish")]
)
def test_one_part_is_imported(arguments: tuple[str, ...], part: str) -> None:
    assert loaded(*arguments, "--help") == {f"deploy.commands.{part}"}


def test_a_word_that_is_none_of_them_is_said_to_be_none_and_a_close_one_is_named() -> None:
    done = subprocess.run([sys.executable, "-m", "deploy", "wrker"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Did you mean 'worker'?" in done.stderr
