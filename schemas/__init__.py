"""The contract: all that two agencies must agree on, and the only shared kernel."""
