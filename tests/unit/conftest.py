"""What unit tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No bus is there."""
    monkeypatch.setenv("SALLYPORT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SALLYPORT_SITE", "demo")
    monkeypatch.setenv("SALLYPORT_SECURITY_PROTOCOL", "PLAINTEXT")
    monkeypatch.setenv("SALLYPORT_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("SALLYPORT_REGISTRY", "http://127.0.0.1:1")
    return tmp_path / "home"
