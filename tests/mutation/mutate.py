"""Mutation testing of what decides: each of its functions is changed a little, and a test must notice.

`make mutate` runs it; docs/testing.md says how to read what it says. mutmut changes and runs. Here is what it does not
do. A few modules at a time, in a copy of the project in which only they are changed and only the tests that
`modules.toml` names for them run, so that a mutant takes a second. And the account of the survivors: `survivors.toml`
explains those that are accepted; a survivor without an explanation, or an explanation without a survivor, is an error.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
WORK: Final = ROOT / "build" / "mutation"
"""Where the copies of the project are."""
AT_LEAST: Final = 90
"""Percent of the mutants of a module that must die."""
MUTATED: Final = ("schemas", "streams")
BESIDE: Final = ("consumers", "deploy", "producers", "tests", "docs")
"""What the tests need besides; as it is."""
PYTEST: Final = ["-p", "no:cacheprovider", "-p", "no:unraisableexception", "--hypothesis-profile", "mutation"]
"""The second collects garbage again and again, half of what a mutant costs."""
DEAD: Final = ("killed", "timeout")
"""Who runs for ever is found out, too."""


class Change(NamedTuple):
    """What a mutant changes: the lines of a function before and after, without their indentation."""

    module: str
    function: str
    was: str
    becomes: str

    def __str__(self) -> str:
        """As an entry of survivors.toml, its explanation left to write."""
        return (
            f"[[{json.dumps(self.module)}]]\nfunction = {json.dumps(self.function)}\n"
            f'was = {_quoted(self.was)}\nbecomes = {_quoted(self.becomes)}\nwhy = ""\n'
        )


@dataclass(frozen=True)
class Account:
    """What became of the mutants of one module."""

    module: str
    fates: Mapping[str, int]
    """How many mutants ended how, in mutmut's words."""
    unexplained: tuple[Change, ...]
    explained: int
    gone: tuple[Change, ...]
    """Explained, but no survivor any more."""

    @property
    def mutants(self) -> int:
        """How many there were."""
        return sum(self.fates.values())

    @property
    def dead(self) -> int:
        """How many a test noticed."""
        return sum(self.fates.get(fate, 0) for fate in DEAD)

    @property
    def percent(self) -> float:
        """How many of a hundred died; all, where there is none."""
        return 100 * self.dead / self.mutants if self.mutants else 100.0

    @property
    def faults(self) -> tuple[str, ...]:
        """Why it does not hold."""
        return (
            *([f"{self.percent:.1f}% died, less than {AT_LEAST}%"] if self.percent < AT_LEAST else []),
            *([f"{len(self.unexplained)} survivors are not explained"] if self.unexplained else []),
            *([f"{len(self.gone)} explanations are of no survivor"] if self.gone else []),
        )


def account(module: str, fates: Mapping[str, str], changes: Mapping[str, Change], explained: set[Change]) -> Account:
    """Puts together how the mutants of a module ended, what each changed, and what is explained."""
    living = {changes[name] for name, fate in fates.items() if fate not in DEAD}
    return Account(
        module,
        Counter(fates.values()),
        tuple(sorted(living - explained)),
        len(living & explained),
        tuple(sorted(explained - living)),
    )


def changes_in(module: str, source: str) -> dict[str, Change]:
    """What each mutant changes, by its name, from a module as mutmut writes it: the original beside all its mutants."""
    lines = source.splitlines()
    functions = {
        f"{module}.{node.name}": lines[node.lineno - 1 : node.end_lineno]
        for node in _functions(ast.parse(source))
        if "__mutmut_" in node.name
    }
    found = {}
    for name in functions:
        base, _, number = name.rpartition("__mutmut_")
        if number != "orig":
            before, after = (_body(functions[one], one) for one in (f"{base}__mutmut_orig", name))
            found[name] = Change(module, _told(base.removeprefix(f"{module}.")), *_difference(before, after))
    return found


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _body(lines: Sequence[str], name: str) -> list[str]:
    return [line.replace(name.rpartition(".")[2], "").strip() for line in lines]


def _told(mangled: str) -> str:
    """x_share_out is share_out, xǁClockǁadvance is Clock.advance."""
    return mangled.removeprefix("x").replace("ǁ", ".").removeprefix(".").removeprefix("_" if "ǁ" not in mangled else "")


def _difference(before: Sequence[str], after: Sequence[str]) -> tuple[str, str]:
    """The lines that differ, from the first to the last."""
    changed = [op for op in difflib.SequenceMatcher(None, before, after, False).get_opcodes() if op[0] != "equal"]
    if not changed:
        return "", ""
    (_, start, _, start_after, _), (_, _, end, _, end_after) = changed[0], changed[-1]
    return "\n".join(before[start:end]), "\n".join(after[start_after:end_after])


def _quoted(text: str) -> str:
    return f"'''\n{text}'''" if "\n" in text or "'" in text else f"'{text}'"


def explanations() -> dict[str, set[Change]]:
    """The explained survivors, by module."""
    told = tomllib.loads((HERE / "survivors.toml").read_text(encoding="utf-8"))
    found: dict[str, set[Change]] = {}
    for module, entries in told.items():
        for entry in entries:
            if not entry["why"].strip():
                raise SystemExit(f"survivors.toml: {module}: {entry['was']}: why is empty")
            found.setdefault(module, set()).add(Change(module, entry["function"], entry["was"], entry["becomes"]))
    return found


def mutate(modules: Sequence[str], tests: Sequence[str], explained: Mapping[str, set[Change]]) -> Iterator[Account]:
    """Changes modules in every way, runs the tests on each, and accounts for all. Raises SystemExit if it can't."""
    place = WORK / modules[0]
    files = {module: f"{module.replace('.', '/')}.py" for module in modules}
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in (*MUTATED, *BESIDE):
        (place / name).symlink_to(ROOT / name)
    configured = {
        "source_paths": list(MUTATED),
        "also_copy": list(BESIDE),
        "only_mutate": list(files.values()),
        "pytest_add_cli_args": PYTEST,
        "pytest_add_cli_args_test_selection": list(tests),
        # Forked from a process that has imported and run nothing: no cache is warm with what the original said.
        "process_isolation": "forkserver",
        "do_not_mutate_patterns": [r"log\.\w+\("],
        # Of the wall clock: on a busy machine who waits for a processor has not run for ever. And who does has the time
        # of its tests only so many times, or one such mutant takes as long as two hundred others.
        "timeout_constant": 6.0,
        "timeout_multiplier": 5.0,
    }
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    mutmut = "\n".join(f"{key} = {json.dumps(value)}" for key, value in configured.items())
    (place / "pyproject.toml").write_text(f"{project}\n[tool.mutmut]\n{mutmut}\n", encoding="utf-8")
    _run(place, "run", "--max-children", "1")
    listed = _run(place, "results", "--all", "true")
    fates = dict(line.strip().split(": ", 1) for line in listed.splitlines() if "__mutmut_" in line)
    for module, file in files.items():
        changes = changes_in(module, (place / "mutants" / file).read_text(encoding="utf-8"))
        ended = {name: fate for name, fate in fates.items() if name in changes}
        yield account(module, ended, changes, explained.get(module, set()))


def _run(place: Path, *args: str) -> str:
    """Runs mutmut; its processes end with it."""
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(Path(sys.executable).with_name("mutmut")), *args]
    with subprocess.Popen(
        command, cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as running:  # fmt: skip
        try:
            said, _ = running.communicate()
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    (place / f"{args[0]}.log").write_text(said, encoding="utf-8")
    if running.returncode:
        raise SystemExit(f"mutmut {args[0]} ended with {running.returncode}: {place}/{args[0]}.log\n{said[-2000:]}")
    return said


def main() -> int:
    """The command."""
    runs = tomllib.loads((HERE / "modules.toml").read_text(encoding="utf-8"))["together"]
    parser = argparse.ArgumentParser(description="Change what decides a little, and see whether a test notices.")
    parser.add_argument("modules", nargs="*", metavar="module", help="such as streams.clock; all where none is named")
    named = set(parser.parse_args().modules) or {module for run in runs for module in run["modules"]}
    if unknown := sorted(named.difference(*(run["modules"] for run in runs))):
        raise SystemExit(f"not in modules.toml: {', '.join(unknown)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    explained = explanations()
    found = []
    chosen = [([module for module in run["modules"] if module in named], run["tests"]) for run in runs]
    for modules, tests in chosen:
        for one in mutate(modules, tests, explained) if modules else ():
            found.append(one)
            told = f"{one.mutants:6} mutants {one.dead:6} died {one.mutants - one.dead:5} survived {one.percent:7.1f}%"
            print(f"{one.module:45}{told}")
            for change in one.unexplained:
                print(f"\nNot explained:\n{change}")
            for change in one.gone:
                print(f"\nExplained, but no survivor:\n{change}")
            sys.stdout.flush()
    mutants, dead = sum(one.mutants for one in found), sum(one.dead for one in found)
    print(
        f"{'all':45}{mutants:6} mutants {dead:6} died {mutants - dead:5} survived {100 * dead / max(mutants, 1):7.1f}%"
    )
    faults = [f"{one.module}: {fault}" for one in found for fault in one.faults]
    print(*faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
