"""The mind of the bus: facts, pictures, situations, alerts, disclosure."""
