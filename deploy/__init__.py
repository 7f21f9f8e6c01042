"""The ground it stands on: the bus itself, its sites, and the command line."""
