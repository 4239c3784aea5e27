"""Spans made after the fact, from what the tracker knows of attempts."""
