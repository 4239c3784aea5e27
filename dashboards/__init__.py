"""Grafana dashboards as code; ``python -m dashboards`` writes their JSON beside it."""
