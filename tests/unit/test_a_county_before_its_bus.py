"""A simulated county that is let live before there is a bus: it says what it lacks, and is in nobody's way."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from deploy import live_county
from deploy.commands import up
from deploy.embedded import BusError, EmbeddedBus
from deploy.live_county import COUNTY
from deploy.sites import SITES_DIR
from producers.publisher import PublishError
from producers.simulator.noise import Noise
from producers.spool import SpoolFullError
from schemas.settings import NoPasswordError, Settings
from schemas.site import read_site

SITE = read_site(SITES_DIR / COUNTY)


def lives(home: Path) -> None:
    live_county.live_county(Settings(home=home, site=COUNTY), SITE, 1, Noise(), 120.0, threading.Event(), 0.01)


@pytest.mark.parametrize(
    ("site", "speed", "title"),
    [
        ("county", 120.0, "Simulated county, 120 times as fast as ours"),
        ("county", 0.5, "Simulated county, 0.5 times as fast as ours"),
        ("county", 1.0, "Simulated county"),
        ("demo", 120.0, "Demonstration county"),
    ],
)
def test_a_screen_says_that_a_county_is_simulated_and_how_fast_it_lives(site: str, speed: float, title: str) -> None:
    described = read_site(SITES_DIR / site)
    named = live_county.named_as_simulated(described, speed)
    assert named.title == title
    assert named.model_copy(update={"title": described.title}) == described


def test_without_a_password_it_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    with pytest.raises(NoPasswordError):
        lives(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_home_in_which_a_county_lived_on_another_s_bus_is_a_bus_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "simulator").mkdir()
    (tmp_path / "simulator" / "county.json").write_text("[]")
    # The start gets past whose the home is: to the next thing that it looks at.
    monkeypatch.setattr("deploy.embedded.HOME_BYTES", 1 << 62)
    with pytest.raises(BusError, match="MB free"):
        EmbeddedBus(Settings(home=tmp_path)).start()


def test_two_counties_do_not_live_on_one_site_and_the_second_closes_its_publishers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    class Opened:
        def __init__(self, _: Settings, __: object, agency: str) -> None:
            self._agency = agency
            opened.append(agency)

        def close(self, _: float) -> None:
            opened.remove(self._agency)

    monkeypatch.setattr(live_county, "Publisher", Opened)
    (tmp_path / "simulator").mkdir()
    with FileLock(tmp_path / "simulator" / "county.lock"), pytest.raises(PublishError, match="end that one first"):
        lives(tmp_path)
    assert opened == []


# -- what people are told where it can't live on ---------------------------------------------------------------------


def told(home: Path, caplog: pytest.LogCaptureFixture) -> str:
    """What `up` says of a county that ends: one line, and nothing in a log that would be printed across it."""
    why: list[str] = []
    up._live(Settings(home=home, site=COUNTY), SITE, 120.0, threading.Event(), why)
    assert caplog.records == []
    (line,) = why
    return line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PublishError("another simulated county lives on county"), "another simulated county lives on county"),
        (SpoolFullError("the spool takes no more events"), "the spool takes no more events"),
        (OSError(errno.ENOSPC, "No space left on device", "county.json"), "county.json: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file: No space left on device"),
        (ValueError("county.json is no list: delete it"), "county.json is no list: delete it"),
        (UnicodeError("county"), "UnicodeError"),
        (KeyError("a mistake of ours"), "KeyError"),
    ],
)
def test_what_is_foreseen_is_told_in_its_own_words_and_of_anything_else_what_it_is(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def ends(*_: object) -> None:
        raise error

    monkeypatch.setattr(up, "live_county", ends)
    assert told(tmp_path, caplog) == f"the simulated county can't live on ({said})"


def test_of_a_missing_password_it_is_told_whose(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "can't live on (no password for user 'county." in told(tmp_path, caplog)
