"""In a simulated county, with its nights and weekends, a jail whose system stops is found, and none that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from deploy.judged_simulation import alerts_of
from producers.simulator.county import DAY
from producers.simulator.noise import Noise
from producers.simulator.simulation import START, Simulation
from streams.backtest import Alert
from tests.small_county import SMALL_COUNTY

JAIL = "county-jail"
STOPS, GOES_ON, END = (START + int(day * DAY) for day in (18, 20, 22.5))
HOUR = DAY // 24


@cache
def raised() -> Sequence[Alert]:
    """What is raised of silent agencies where all that a jail would tell in two days is lost."""
    told = Simulation(SMALL_COUNTY, 2, Noise()).told(END)
    heard = (one for one in told if one.agency != JAIL or not STOPS <= one.arrives < GOES_ON)
    return [alert for alert in alerts_of(heard, SMALL_COUNTY, END) if alert["rule"] == "feed_silent"]


def of_the_jail() -> list[Alert]:
    return [alert for alert in raised() if alert["key"] == [JAIL]]


def test_it_is_found_within_hours_and_gravely_and_since_when() -> None:
    first = of_the_jail()[0]
    assert STOPS < first["at"] < STOPS + 12 * HOUR
    grave = next(alert for alert in of_the_jail() if alert["severity"] == "HIGH")
    assert grave["at"] < STOPS + 24 * HOUR
    whole = [alert for alert in of_the_jail() if alert["at"] < GOES_ON][-1]
    silent = {item["event_type"]: item["event_time"] for item in whole["evidence"]}
    frequent = {"BookingReported", "HousingAssigned", "VisitScheduled", "DepositReceived"}
    assert frequent <= silent.keys()
    # What is rare, as a seizure, came last some days before.
    assert all(STOPS - DAY < silent[event_type] < STOPS for event_type in frequent)
    assert all(since < STOPS for since in silent.values())


def test_when_it_goes_on_that_is_said_for_a_day_and_then_it_is_over() -> None:
    after = [alert for alert in of_the_jail() if alert["at"] >= GOES_ON]
    assert any("it comes again" in item["text"] for item in after[0]["evidence"])
    assert after[-1]["state"] == "WITHDRAWN" or after[-1]["severity"] == "LOW"
    last = next(alert for alert in after if alert["severity"] != "HIGH")
    assert last["at"] < GOES_ON + 12 * HOUR


def test_of_those_who_go_on_nothing_is_said() -> None:
    assert {alert["key"][0] for alert in raised()} == {JAIL}
    assert not [alert for alert in of_the_jail() if alert["at"] < STOPS]
