"""The way to an OTLP endpoint: http/protobuf or grpc, for spans and for metrics.

Built on the official messages, grpcio and our HTTP client: the SDK's exporters tell no one about
partial success, and change inside with every release.
"""
