"""A candidate: a correlation in a file of its author's, not installed yet."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.backtest import Rules
from streams.shadow import Candidate, Refused, judge, kind_and_place, lines_of
from streams.stage import PERSON


class CandidateError(Exception):
    """The file holds no rule that can be tried; the message is one line that says why."""


def load_candidate(path: Path) -> Candidate:
    """The rule that a file of Python declares as CORRELATION. The file is run. Raises CandidateError."""
    if not path.is_file():
        raise CandidateError(f"{path}: there is no such file")
    try:
        # Always from the source: a draft may be saved twice a second, which Python's cache of modules does not see.
        declared = runpy.run_path(str(path), run_name=path.stem)
    except (Exception, SystemExit) as error:
        raise CandidateError(f"{path}: it can't be imported: {_in_one_line(error, path)}") from error
    if "CORRELATION" not in declared:
        raise CandidateError(f"{path}: it declares no CORRELATION")
    judged = judge(declared["CORRELATION"])
    if isinstance(judged, Refused):
        raise CandidateError(f"{path}: {judged.detail}")
    return judged


def rules_of(path: Path | None) -> Rules:
    """What is looked for: the rule of that file alone; without one, all that are installed. Raises CandidateError."""
    if path is None:
        return Rules()
    candidate = load_candidate(path)
    return Rules((candidate.correlation,), ()) if candidate.stage == PERSON else Rules((), (candidate.correlation,))


@contextmanager
def blamed(path: Path | None) -> Iterator[None]:
    """What a rule fails with, of that file, is told as CandidateError; what fails elsewhere, as it is."""
    try:
        yield
    except Exception as error:
        if path is None or not lines_of(str(path), error):
            raise
        # The error itself may hold a name: it goes no further.
        raise CandidateError(f"{path}: it failed: {kind_and_place(str(path), error)}") from None


def _in_one_line(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    lines = lines_of(str(path), error)
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": ")
