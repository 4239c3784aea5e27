"""Transitions in, Prometheus families out."""
