"""Who sits at a desk: its acknowledgements carry the name."""

from __future__ import annotations

import pytest

from consumers.desk import desk_user


def test_an_acknowledgement_is_in_the_name_of_the_operating_system_s_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "sgt.somebody-else")
    assert desk_user() != "sgt.somebody-else"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert desk_user() == "user 4711"
