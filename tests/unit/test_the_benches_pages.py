"""The benches' pages say what was measured, and what a latency or a ratio is of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from schemas.events import EVENT_TYPES, ONLY_HEARD, TIP_EVENTS, type_name
from streams.pictures.deliveries import DELIVERY_TYPES
from tests.bench import growth_page, latency_page, takeover_page, whole_path_page
from tests.bench.hops import Place, steps
from tests.bench.mix import county, with_the_rare
from tests.bench.probes import Probe, Way, in_turn
from tests.bench.publish_to_alert import figures, quantile
from tests.bench.watched_worker import PARTS, Mark, marked
from tests.unit.test_partition_loop import a_loop, delivery, soon

MACHINE = {"cores": 2, "processor": "one", "memory_gb": 1, "system": "Linux", "python": "3.11", "kafka": "4.4.0"}


def run(rate: float) -> dict[str, Any]:
    """A run of the whole path."""
    parts = {**dict.fromkeys(PARTS, 10.0), "loop": 5.0, "threads": 20.0}
    facts = {"person": 1.5, "facility": 0.5}
    return {"rate": rate, "cpu_us": 85.0, "kafka_us": 40.0, "parts_us": parts, "facts": facts}


RESULT = {
    "runs": {"1": [run(1_000), run(3_000), run(2_000)], "2": [run(2_500), run(3_000), run(4_000)]},
    "events": 10, "people": 1, "partitions": 4, "warm": 0.5, "open_alerts": 3, "machine": MACHINE, "load": 0.0,
}  # fmt: skip


def test_two_workers_are_compared_with_one_by_the_medians() -> None:
    assert whole_path_page.ratio(RESULT) == 1.5
    assert "| two workers | 3,000 | 2,500 to 4,000 | 85 µs | 40 µs | 1.50 times one |" in whole_path_page.section(
        RESULT
    )


def test_every_part_that_is_measured_has_a_line() -> None:
    assert {name for name, _ in whole_path_page.PARTS} == {*PARTS, "loop", "threads"}


def test_the_mix_has_every_type_of_event_but_those_of_deliveries_and_lists_and_those_that_nothing_reads() -> None:
    left_out = DELIVERY_TYPES | TIP_EVENTS | ONLY_HEARD | {"ListTaken"}
    assert {type_name(one.event) for one in with_the_rare(county(400, 10))} == set(EVENT_TYPES) - left_out


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)])
def test_a_quantile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert quantile(range(1, 101), share) == value


def test_latency_counts_from_the_moment_at_which_a_probe_was_due() -> None:
    late = Probe(Way.MOVE, 0, due=1_000_000, accepted=900_000_000, heard=1_001_000_000)
    assert figures([late])["max_ms"] == 1_000.0


async def test_a_loop_that_is_watched_is_made_as_the_workers_and_notes_each_batch_of_it() -> None:
    marks: list[Mark] = []
    loop, kept = a_loop("person", kind=marked(marks))
    loop.hand_over("person", delivery(7, 2))
    running = asyncio.create_task(loop.run())
    await soon(lambda: marks)
    running.cancel()
    assert len(kept.keys) == 2
    (mark,) = marks
    assert (mark.topic, mark.partition, mark.first, mark.last) == ("topic", 0, 7, 8)
    assert mark.handed_over <= mark.taken <= mark.decided <= mark.committed


def test_probes_are_of_both_ways_in_the_share_that_is_asked_for() -> None:
    probes = in_turn(100, 0.2)
    assert sum(probe.way is Way.REPORT for probe in probes) == 20
    assert {probe.feud for probe in probes if probe.way is Way.MOVE} == set(range(20))


def test_the_steps_of_a_probe_add_up_to_its_latency() -> None:
    ms = 1_000_000
    probe = Probe(Way.REPORT, 0, "e", due=100 * ms, accepted=103 * ms, heard=150 * ms)
    found = {("e", "identify"): Place("in", 1, 7, 105), ("e", "facility"): Place("facts", 2, 9, 120)}
    marks = {
        ("in", 1): [Mark("in", 1, 0, 5, 0, 0, 0, 0), Mark("in", 1, 6, 8, 110 * ms, 112 * ms, 113 * ms, 119 * ms)],
        ("facts", 2): [Mark("facts", 2, 9, 9, 130 * ms, 131 * ms, 134 * ms, 144 * ms)],
    }
    took = steps(probe, found, marks)
    assert took is not None
    assert sum(took.values()) == pytest.approx(probe.took_ms)
    assert took["identify: committed"] == 6
    assert took["read by the desk"] == 6


def test_a_probe_of_which_a_part_is_lost_has_no_steps() -> None:
    assert steps(Probe(Way.REPORT, 0, "e"), {}, {}) is None


def test_latency_of_each_rate_is_told_with_the_number_of_probes() -> None:
    told = {"p50_ms": 20.0, "p99_ms": 40.0, "p999_ms": 60.0, "max_ms": 61.0, "probes": 1_500}
    cores = {"worker": 0.5, "kafka": 0.25, "publishers": 0.125}
    rate = {"rate": 1_000, "seconds": 120, "merged": 0, "accepted_rate": 1_000, "achieved_rate": 999.6, "cores": cores}
    few = {name: value for name, value in told.items() if name != "p999_ms"} | {"probes": 300}
    too_much = {**rate, "rate": 10_000, "seconds": 30, "accepted_rate": 5_000}
    step = {"p50_ms": 1.25, "p99_ms": 2.5, "probes": 300}
    result = {
        "rates": [rate | told, too_much | few], "steps": {"report": {"identify: committed": step}, "move": {}},
        "machine": MACHINE, "imports": {"alone": told}, "compile_s": 90, "load": 0.0,
    }  # fmt: skip
    page = latency_page.section(result)
    target = "p99 at most 50 ms"
    assert f"| 1,000/s | 1,000/s | 1,000/s | 1,500 | 20, 40, 60 and 61 ms | 0.50, 0.25, 0.12 | {target} |" in page
    assert "| 10,000/s | 5,000/s | 1,000/s | 300 | 20, 40, – and 61 ms | 0.50, 0.25, 0.12 |  |" in page
    assert "120, 30 s of the rates in their order" in page
    assert "| identify: committed | 1.2 | 2.5 |" in page


def test_growth_is_told_by_medians_beside_the_smallest_size() -> None:
    def size(live: float, took: float) -> dict[str, float]:
        return {"facts": 30, "raw": 140, "bytes_a_fact": took, "refold": 90_000, "reconcile_s": 1.25, "live": live}

    jail = {"violence_ms": 1.5, "moves": 2_000.0}
    result = {
        "sizes": {10: [size(100, 500), size(200, 700), size(300, 600)], 20: [size(150, 590)]},
        "jails": {1_000: [jail], 20_000: [{"violence_ms": 1.75, "moves": 1_900.0}]},
        "concerned": 20, "machine": MACHINE, "load": 0.0,
    }  # fmt: skip
    page = growth_page.section(result)
    assert "| 10 | 30 | 140 | 600 B | 90,000 | 1.2 s | 200 | 100% |" in page
    assert "| 20 | 30 | 140 | 590 B | 90,000 | 1.2 s | 150 | 75% |" in page
    assert "| 20,000 | 1.75 ms | 1,900 | 95% |" in page
    assert "Medians of 3 alternating runs" in page


def test_a_takeover_is_told_by_medians_with_the_spread_of_its_first_alert() -> None:
    def takeover(first: float) -> dict[str, Any]:
        phases = {"noticed": 6.0, "folded": first - 2, "reconciled": first - 1, "live": first}
        return {"first_alert": first, "all_alerts": first + 5, "phases": phases, "read": 1_000}

    ways = {"cold": [takeover(22), takeover(18), takeover(19)], "standby": [takeover(7)]}
    page = takeover_page.section(
        {"ways": ways, "people": 10, "facts": 1_000, "partitions": 4, "machine": MACHINE, "load": 0.0}
    )
    assert "| 19.0 | 6.0 | 17.0 | 18.0 | 19.0 | 24.0 | 18.0 to 22.0 | first new alert in at most 20 s |" in page
    assert "3 kills of each kind" in page
    assert "1,000 were read back" in page
