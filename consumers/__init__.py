"""The way out: what people and systems see of the alerts."""
