"""Slow questions to the workers, asked in the background."""
