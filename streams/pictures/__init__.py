"""Pictures: what is known, folded from facts."""
