"""Fills the status page: what each part of a running exporter knows, as one picture."""
