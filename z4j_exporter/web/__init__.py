"""The HTTP side: listeners with deadlines, TLS and users, and the exporter's pages."""
