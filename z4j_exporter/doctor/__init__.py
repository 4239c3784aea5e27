"""Why are my metrics empty? Checks of a Celery installation, each with a verdict."""
