"""What the exporter costs, beside Celery's own Receiver and Flower: `python -m benchmarks`."""
