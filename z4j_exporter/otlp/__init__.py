"""The way to an OTLP endpoint: http/protobuf or grpc, for spans and for metrics."""
