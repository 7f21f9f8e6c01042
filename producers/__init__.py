"""The way in: how an agency's events reach the bus."""
