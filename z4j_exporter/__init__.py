"""Prometheus and OpenTelemetry exporter for Celery."""

__version__ = "0.1.0"
