"""Simulator: a county that does not exist, seeded, which knows what is true in it."""
