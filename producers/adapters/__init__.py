"""Source systems: one file each turns what a system exports into events."""
