"""Task and worker state: events in, transitions out. Pure and deterministic."""
