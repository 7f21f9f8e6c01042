"""`python -m deploy`: the command `sallyport`, for processes that start another of it."""

from __future__ import annotations

from deploy.cli import main

main()
