"""The shells as they are, under a simulated broker, clock and fate: hundreds of seeded histories in a few seconds.

`make simulate-faults SEEDS=100000` runs more of them; docs/testing.md tells how.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.simulation.broken_shells import BROKEN, broken
from tests.simulation.simulation import outcomes

ROOT = Path(__file__).parents[2]
SEEDS = 200
FOUND_BY = {
    "acknowledges before it commits": 0,
    "keeps what it folded over a missed generation": 31,
    "takes no batches while loops end": 91,
    "writes under a name of its own": 196,
    "writes in two transactions": 1,
    "recalls what was aborted": 424,
    "sets aside what the registry does not explain now": 4,
    "forgets the last tick": 27,
    "never lets go of what is held": 0,
    "lets nobody go": 16,
    "stands by without recalling what others write": 728,
    "forgets what touched it since it was derived": 1730,
}
"""A seed that finds each. It is tried first: where engine or simulation changed, another one of the first may do."""
WITHIN = 400


@pytest.mark.parametrize("begin", range(0, SEEDS, 50))
def test_whatever_goes_wrong_the_promise_is_kept(begin: int) -> None:
    for outcome in outcomes(range(begin, begin + 50)):
        assert not outcome.broken, "\n".join([outcome.how_to_replay(), *outcome.broken, outcome.story()])


def test_everything_that_may_go_wrong_does() -> None:
    happened: set[str] = set()
    for outcome in outcomes(range(20)):
        happened |= outcome.kinds.keys()
    assert happened >= {"kill", "pause", "another worker", "terminate", "broker away", "registry away", "exits"}


TRACES = """
from tests.simulation.simulation import outcomes
print([outcome.trace() for outcome in outcomes(range(30, 36))])
"""


def test_the_same_seed_is_the_same_run_step_by_step_in_any_process() -> None:
    here = [outcome.trace() for outcome in outcomes(range(30, 36))]
    again = [outcome.trace() for outcome in outcomes(range(30, 36))]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    there = subprocess.run(
        [sys.executable, "-c", TRACES], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert here == again
    assert there.stdout.strip() == str(here)


def test_every_way_of_breaking_the_shells_has_its_seed() -> None:
    assert FOUND_BY.keys() == BROKEN.keys()


@pytest.mark.parametrize("how", FOUND_BY)
def test_broken_shells_are_found(how: str) -> None:
    with broken(how), closing(outcomes([FOUND_BY[how], *range(WITHIN)])) as tried:
        found = next((outcome.seed for outcome in tried if outcome.broken), None)
    assert found is not None
    (whole,) = outcomes([found])
    assert not whole.broken
