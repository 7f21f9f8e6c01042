"""The main job again, as it may go: the days' events in any order, and the worker killed five times in the middle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas import topics
from tests.imported_roster import REAL, from_scratch, imported, needs_the_real_data, recorded, thinned
from tests.working_site import WorkingSite

pytestmark = pytest.mark.bus


@pytest.fixture
def real_lists(pytestconfig: pytest.Config, tmp_path: Path) -> tuple[Path, ...]:
    """The real lists that are imported through crashes: of two weeks and every other person, or as is asked for."""
    lists, one_in = REAL[: pytestconfig.getoption("--real-lists")], int(pytestconfig.getoption("--one-in"))
    return lists if one_in == 1 else thinned(lists, one_in, tmp_path)


def kill_now_and_then(site: WorkingSite, times: int, done: threading.Event) -> threading.Thread:
    """Kill the worker again and again while the import runs, each time when it has written something more."""
    facts = topics.person_facts(site.site.name)

    def killing() -> None:
        for _ in range(times):
            before = site.end_of(facts)
            while site.end_of(facts) <= before:
                if done.wait(0.05):
                    return
            site.workers[-1].kill()
            site.workers[-1].wait()
            site.start_worker()

    thread = threading.Thread(target=killing)
    thread.start()
    return thread


@needs_the_real_data
@pytest.mark.real_data
@pytest.mark.timeout(600)
def test_real_lists_shuffled_on_eight_partitions_with_the_worker_killed_five_times_and_imported_again(
    a_site: Callable[..., WorkingSite], real_lists: tuple[Path, ...]
) -> None:
    site = a_site("crashes-8", like="nyc-history", partitions=8, clock="history")
    site.start_worker()
    done = threading.Event()
    killing = kill_now_and_then(site, 5, done)
    try:
        last_tick = imported(site, real_lists, shuffle=1)
    finally:
        done.set()
        killing.join()
    assert len(site.workers) == 6, "the worker was killed five times"
    site.until_settled(last_tick)
    expected = from_scratch(real_lists)
    assert len(expected) > 5
    assert recorded(site) == expected
    history = len(site.records(topics.alerts_raised(site.site.name)))

    # Not the first list again, with which everybody comes in: the small sample is imported twice as a whole.
    imported(site, real_lists, since=1)
    site.until_settled(last_tick)
    assert recorded(site) == expected
    assert len(site.records(topics.alerts_raised(site.site.name))) == history, "importing twice changes nothing"
