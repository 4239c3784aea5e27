"""Metrics and their exemplars reach a real OTLP receiver, over HTTP and gRPC."""

import os
import threading
import time
from typing import Literal

import pytest

from tests.support.exemplars import life, trace, traced
from tests.support.exposed import T0, Exposed, parsed
from tests.support.otlp_metrics import samples
from tests.support.otlp_receiver import OtlpReceiver, receiving
from tests.support.process import wait_until
from z4j_exporter.config import Settings
from z4j_exporter.metrics.export_durations import ExportDurations
from z4j_exporter.metrics.exposition import render
from z4j_exporter.metrics.push import MetricsPush, make_push
from z4j_exporter.metrics.store import FamilySnapshot

PROTOCOLS = pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])


class Pushing:
    """An exporter whose metrics are pushed every 100 ms."""

    def __init__(self, receiver: OtlpReceiver) -> None:
        self.exposed: Exposed = traced()
        self.ago = time.time() - T0 - 60
        self.lock = threading.Lock()
        self.exports = ExportDurations(("metrics",))
        settings = Settings.model_validate(
            {
                "otlp_metrics": True,
                "otlp_endpoint": receiver.endpoint,
                "otlp_protocol": receiver.protocol,
                "otlp_metrics_interval": 0.1,
            }
        )
        environ = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
        push = make_push(settings, self.take, self.exports, environ, start_ns=time.time_ns())
        assert push is not None
        self.push: MetricsPush = push

    def take(self) -> list[FamilySnapshot]:
        with self.lock:
            return self.exposed.snapshots()

    def count(self, outcome: str) -> float:
        shown = parsed(render([self.exports.snapshot()], openmetrics=False).decode())
        labels = (("outcome", outcome), ("signal", "metrics"))
        return shown["celery_exporter_otlp_export_duration_seconds_count", labels]


def last(receiver: OtlpReceiver) -> dict[str, float]:
    """Return the failures by exception that the newest push told."""
    taken = receiver.taken("metrics")
    found, _ = samples([taken[-1].payload]) if taken else ({}, {})
    return {
        dict(labels)["exception"]: value
        for (name, labels), value in found.items()
        if name == "celery_task_failed_total" and "exception" in dict(labels)
    }


@PROTOCOLS
def test_metrics_arrive_with_their_exemplars(protocol: Literal["http/protobuf", "grpc"]) -> None:
    with receiving(protocol) as receiver:
        pushing = Pushing(receiver)
        pushing.exposed.play(*life("one", pushing.ago, end="failed", exception="E()")).wait(3)
        pushing.push.start()
        wait_until(lambda: last(receiver) == {"E": 1}, 10, lambda: str(last(receiver)))
        _, pointers = samples([receiver.taken("metrics")[-1].payload])
        spans = {(trace_id, span_id) for trace_id, span_id, *_ in pointers.values()}
        assert spans == {(trace("one").trace_id.hex(), trace("one").span_id.hex())}
        with pushing.lock:
            pushing.exposed.play(*life("two", pushing.ago + 20, end="failed", exception="E()"))
            pushing.exposed.wait(3)
        pushing.push.stop(5)
        assert not pushing.push.is_alive()
        assert last(receiver) == {"E": 2}  # at the latest by the last push
        assert pushing.count("ok") == len(receiver.taken("metrics"))


@PROTOCOLS
def test_a_receiver_that_was_away_misses_nothing(
    protocol: Literal["http/protobuf", "grpc"],
) -> None:
    with receiving(protocol) as receiver:
        pushing = Pushing(receiver)
        pushing.exposed.play(*life("one", pushing.ago, end="failed", exception="E()")).wait(3)
        pushing.push.start()
        wait_until(lambda: last(receiver) == {"E": 1}, 10)
        receiver.stop()
        wait_until(lambda: pushing.count("failed") >= 2, 10, "no push fails")
        with pushing.lock:
            pushing.exposed.play(*life("two", pushing.ago + 20, end="failed", exception="E()"))
            pushing.exposed.wait(3)
        receiver.start()
        wait_until(lambda: last(receiver) == {"E": 2}, 20, lambda: str(last(receiver)))
        pushing.push.stop(5)
        assert not pushing.push.is_alive()
