"""A Celery installation in a box: broker, workers, traffic and a live view of the exporter."""
