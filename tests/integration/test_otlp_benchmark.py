"""The benchmark of spans runs, and sends the same spans in each case."""

from benchmarks.spans import measure


def test_every_case_runs() -> None:
    sdk = measure("sdk", 1_000, "http/protobuf")
    ours = measure("spans", 1_000, "http/protobuf")
    traced = measure("traced", 1_000, "grpc")
    alone = measure("metrics", 1_000, "grpc")
    assert sdk.spans == ours.spans == traced.spans > 200
    assert (alone.spans, alone.received_bytes) == (0, 0)
    # The receiver got them all: names and ids alone are larger than that.
    assert min(each.received_bytes for each in (sdk, ours, traced)) > 300 * sdk.spans
    assert all(each.cpu_seconds > 0 for each in (sdk, ours, traced, alone))
