"""The capture hook as a Django application: add `z4j_exporter.capture.django` to INSTALLED_APPS."""
