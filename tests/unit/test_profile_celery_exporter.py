"""The profile celery-exporter, series by series: names, labels, values, zeros, workers, purging."""

import pytest

from tests.support.exposed import Exposed, Samples, task_event, worker_event
from z4j_exporter.errors import ConfigError
from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.celery_exporter import CeleryExporterProfile
from z4j_exporter.metrics.store import Store

#: Every family as danihodovic/celery-exporter writes its header, in its order, without the four
#: of queues.
HEADERS = """\
# HELP celery_task_sent_total Sent when a task message is published.
# TYPE celery_task_sent_total counter
# HELP celery_task_received_total Sent when the worker receives a task.
# TYPE celery_task_received_total counter
# HELP celery_task_started_total Sent just before the worker executes the task.
# TYPE celery_task_started_total counter
# HELP celery_task_succeeded_total Sent if the task executed successfully.
# TYPE celery_task_succeeded_total counter
# HELP celery_task_failed_total Sent if the execution of the task failed.
# TYPE celery_task_failed_total counter
# HELP celery_task_rejected_total The task was rejected by the worker, possibly to be re-queued \
or moved to a dead letter queue.
# TYPE celery_task_rejected_total counter
# HELP celery_task_revoked_total Sent if the task has been revoked.
# TYPE celery_task_revoked_total counter
# HELP celery_task_retried_total Sent if the task failed, but will be retried in the future.
# TYPE celery_task_retried_total counter
# HELP celery_worker_up Indicates if a worker has recently sent a heartbeat.
# TYPE celery_worker_up gauge
# HELP celery_worker_tasks_active The number of tasks the worker is currently processing
# TYPE celery_worker_tasks_active gauge
# HELP celery_task_runtime Histogram of task runtime measurements.
# TYPE celery_task_runtime histogram
# HELP celery_task_queue_wait_time Histogram of the time tasks spend waiting in the queue before \
being executed, excluding deliberate ETA/countdown delay.
# TYPE celery_task_queue_wait_time histogram
"""
KINDS = ("received", "started", "succeeded", "failed", "rejected", "revoked", "retried")
L = {"hostname": "host1", "name": "work.add", "queue_name": "celery"}


def key(name: str, /, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"celery_{name}", tuple(sorted(labels.items()))


def without_times(samples: Samples) -> Samples:
    """Leave out buckets and sums, which depend on how fast the machine was."""
    return {k: v for k, v in samples.items() if not k[0].endswith(("_bucket", "_sum"))}


def history(name: str, /, queue: str = "web", host: str = "host1", **counts: float) -> Samples:
    """The series of a task that one worker ran, with the zeros."""
    labels = {"name": name, "hostname": host, "queue_name": queue}
    zeros = dict.fromkeys(KINDS, 0.0)
    waits = {k: counts.pop(k) for k in ("queue_wait_time", "runtime") if k in counts}
    return {
        **{key(f"task_{k}_total", **labels): v for k, v in {**zeros, **counts}.items()},
        **{key(f"task_{k}_count", **labels): v for k, v in waits.items()},
    }


#: A clean end of the recording's one worker.
GONE = {key("worker_up", hostname="host1"): 0.0, key("worker_tasks_active", hostname="host1"): 0.0}
ALL_WELL = {
    "sent": 1.0,
    "received": 1.0,
    "started": 1.0,
    "succeeded": 1.0,
    "queue_wait_time": 1.0,
    "runtime": 1.0,
}
FAILED = {"name": "web.visit", "hostname": "host1", "queue_name": "web"}
GOLDEN = {
    "visit_nested": {
        k: v
        for n in ("visit", "extract", "store")
        for k, v in history(f"web.{n}", **ALL_WELL).items()
    },
    "retry_and_fail": {
        **history("web.visit", sent=4, received=4, started=4, retried=3, queue_wait_time=4),
        key("task_failed_total", **FAILED, exception="HTTPError"): 1.0,
    },
    "rejected": {
        **history("web.visit", sent=1, received=1, started=1, rejected=1, queue_wait_time=1),
        key("task_failed_total", **FAILED, exception="Reject"): 1.0,
    },
    "revoked_by_expiry": history(
        "web.visit", sent=3, received=3, started=2, retried=2, revoked=1, queue_wait_time=2
    ),
}


def test_families_are_announced_without_any_series() -> None:
    assert Exposed("celery-exporter").text() == HEADERS


@pytest.mark.parametrize("broker", ["", ".rabbitmq"])
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_scenarios(name: str, broker: str) -> None:
    # These series and no others.
    exposed = Exposed("celery-exporter").recording(name + broker)
    assert without_times(exposed.samples()) == GOLDEN[name] | GONE


def test_labels_are_written_in_prometheus_clients_order() -> None:
    exposed = Exposed("celery-exporter", static_labels={"env": "x", "zone": "b"})
    exposed.play(task_event("received"), task_event("failed", 1, exception="E()")).wait(3)
    assert (
        'celery_task_failed_total{env="x",exception="E",hostname="host1",name="work.add",'
        'queue_name="celery",zone="b"} 1\n'
    ) in exposed.text()


def test_buckets_are_the_peers() -> None:
    exposed = Exposed("celery-exporter").play(
        task_event("sent", queue="q"),
        task_event("received", 0.1),
        task_event("started", 0.2),
        task_event("succeeded", 0.3, runtime=0.1),
    )
    bounds: dict[str, list[str]] = {}
    for name, labels in exposed.samples():
        if name.endswith("_bucket"):
            bounds.setdefault(name, []).append(dict(labels)["le"])
    assert {name: " ".join(found) for name, found in bounds.items()} == {
        "celery_task_runtime_bucket": (
            "0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1.0 2.5 5.0 7.5 10.0 +Inf"
        ),
        "celery_task_queue_wait_time_bucket": (
            "0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 30.0 60.0 120.0 300.0 600.0 1800.0 +Inf"
        ),
    }


def test_buckets_can_be_chosen() -> None:
    exposed = Exposed("celery-exporter", buckets={"celery_task_runtime": (1.0, 2.0)})
    exposed.play(task_event("received"), task_event("succeeded", 0.3, runtime=0.1)).wait(3)
    text = exposed.text()
    assert (
        'celery_task_runtime_bucket{hostname="host1",name="work.add",queue_name="celery",' in text
    )
    assert text.count("celery_task_runtime_bucket") == 3


# -- labels ------------------------------------------------------------------------------------


def test_a_nameless_task_is_none_in_the_default_queue() -> None:
    # The dashboards leave name="None" out; so they must find it under that name.
    exposed = Exposed("celery-exporter", default_queue_name="jobs").play(task_event("started"))
    exposed.wait(3)
    labels = {"hostname": "host1", "name": "None", "queue_name": "jobs"}
    assert exposed.value("celery_task_started_total", **labels) == 1


def test_a_queue_of_null_counts_as_the_default_queue() -> None:
    # The peer says queue_name="None", which its dashboards leave out.
    exposed = Exposed("celery-exporter").play(task_event("sent", queue=None, hostname="gen1@web"))
    exposed.wait(3)
    assert exposed.value("celery_task_sent_total", **{**L, "hostname": "web"}) == 1


@pytest.mark.parametrize(
    ("nodename", "host"), [("w1@host1", "host1"), ("host1", "host1"), ("a@b@c", "b@c")]
)
def test_hostname_is_what_follows_the_at(nodename: str, host: str) -> None:
    exposed = Exposed("celery-exporter").play(task_event("received", hostname=nodename)).wait(3)
    assert exposed.value("celery_task_received_total", **{**L, "hostname": host}) == 1


@pytest.mark.parametrize(
    ("exception", "traceback", "label"),
    [
        ("ValueError('x')", None, "ValueError"),
        ("KeyError()", "Traceback …\nother.Error: x\n", "KeyError"),
        ("a.b.Broken('x')", None, "Broken"),
        ("ExceptionWithTraceback()", "…\nbilliard.WorkerLostError: gone\n", "WorkerLostError"),
        ("", None, "UnknownException"),
        (None, None, "UnknownException"),
    ],
)
def test_exception(exception: str | None, traceback: str | None, label: str) -> None:
    failed = task_event("failed", 1, exception=exception, traceback=traceback)
    exposed = Exposed("celery-exporter").play(task_event("received"), failed).wait(3)
    assert exposed.value("celery_task_failed_total", **L, exception=label) == 1
    assert exposed.value("celery_task_failed_total", **L) == 0


def test_generic_hostnames() -> None:
    exposed = Exposed(
        "celery-exporter",
        generic_hostname_task_sent_metric=True,
        generic_hostname_worker_task_metric=True,
    ).play(
        worker_event("heartbeat", active=1),
        task_event("sent", queue="celery", hostname="gen1@web"),
        task_event("received", 0.1),
        task_event("started", 0.2),
        task_event("succeeded", 0.3, runtime=0.1),
    )
    expected = history("work.add", "celery", "generic", **ALL_WELL)
    workers = {
        key("worker_up", hostname="host1"): 1.0,
        key("worker_tasks_active", hostname="host1"): 1.0,
    }
    assert without_times(exposed.samples()) == expected | workers


def test_prefix_and_static_labels_are_on_every_series() -> None:
    exposed = Exposed("celery-exporter", metric_prefix="jobs_", static_labels={"region": 'e"u\n'})
    exposed.play(
        worker_event("heartbeat"),
        task_event("sent", queue="q", hostname="gen1@web"),
        task_event("received", 0.1),
        task_event("started", 0.2),
        task_event("succeeded", 0.3, runtime=0.1),
    )
    samples = exposed.samples()
    assert len(samples) == 8 + 2 + 17 + 17  # counters, workers, two histograms
    assert all(name.startswith("jobs_") for name, _ in samples)
    assert all(("region", 'e"u\ufffd') in labels for _, labels in samples)


@pytest.mark.parametrize("name", ["name", "hostname", "queue_name", "exception", "le"])
def test_a_static_label_that_is_taken_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--static-label: '{name}'"):
        CeleryExporterProfile(Store(), LabelRules(), static_labels={name: "x"})


# -- counting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        task_event("received", 1),
        task_event("started", 1),
        task_event("succeeded", 1, runtime=None),
        task_event("retried", 1, exception="E()"),
        task_event("rejected", 1),
        task_event("revoked", 1),
    ],
    ids=lambda event: event["type"],
)
def test_any_event_of_a_worker_makes_the_seven_zeros(event: dict[str, object]) -> None:
    # succeeded / (succeeded + failed) has no value unless both are there under equal labels.
    exposed = Exposed("celery-exporter").play(event).wait(3)
    name = "work.add" if event["type"] == "task-received" else "None"
    shown = {k: v for k, v in exposed.samples().items() if k[0].endswith("_total")}
    kind = str(event["type"]).removeprefix("task-")
    assert shown == history(name, "celery", **{kind: 1.0})


def test_a_client_gets_no_zeros() -> None:
    exposed = Exposed("celery-exporter").play(
        task_event("sent", queue="celery", hostname="gen1@web")
    )
    sent = key("task_sent_total", **{**L, "hostname": "web"})
    assert exposed.wait(3).samples() == {sent: 1.0}


def test_events_are_counted_not_tasks() -> None:
    exposed = Exposed("celery-exporter").recording("hard_time_limit")
    labels = {**L, "name": "end.hard_limit"}
    assert exposed.value("celery_task_failed_total", **labels, exception="TimeLimitExceeded") == 2.0
    exposed = Exposed("celery-exporter").recording("revoked_by_two")
    for host in ("host1", "host2"):
        labels = {"hostname": host, "name": "math.add", "queue_name": "celery"}
        assert exposed.value("celery_task_revoked_total", **labels) == 1.0


def test_types_that_the_peer_does_not_know_make_no_series() -> None:
    exposed = Exposed("celery-exporter").play(
        task_event("cancelled", 1), {**task_event("progress", 2), "type": "task-progress"}
    )
    assert exposed.wait(3).samples() == {}


def test_a_task_sent_that_comes_late_tells_the_wait_under_the_workers_host() -> None:
    exposed = Exposed("celery-exporter").play(
        task_event("received", 1),
        task_event("started", 1.2),
        task_event("sent", 1, queue="celery", hostname="gen1@web"),
    )
    assert exposed.value("celery_task_queue_wait_time_count", **L) == 1
    assert exposed.value("celery_task_queue_wait_time_count", **{**L, "hostname": "web"}) is None


def test_the_wait_leaves_the_countdown_out() -> None:
    exposed = Exposed("celery-exporter").play(
        task_event("sent", 0, queue="celery", eta="2026-09-21T14:13:30+00:00"),
        task_event("received", 1, eta="2026-09-21T14:13:30+00:00"),
        task_event("started", 12),
    )
    assert exposed.value("celery_task_queue_wait_time_sum", **L) == 2.0


def test_beyond_the_cap_all_goes_to_one_row_and_is_counted() -> None:
    exposed = Exposed("celery-exporter", max_series=3, static_labels={"env": "x"})
    for number in range(10):
        exposed.play(task_event("received", uuid=str(number), name=f"task{number}"))
    exposed.wait(70)
    received = {
        dict(labels)["name"]: value
        for (name, labels), value in exposed.samples().items()
        if name == "celery_task_received_total"
    }
    assert received == {"task0": 1, "task1": 1, "task2": 1, "__overflow__": 7}
    assert exposed.profile.store.dropped["celery_task_received_total"] >= 7
    assert all(("env", "x") in labels for _, labels in exposed.samples())


def test_hostile_exceptions_are_not_remembered() -> None:
    exposed = Exposed("celery-exporter", max_series=5).play(task_event("received"))
    for number in range(100):
        exposed.play(task_event("failed", number, exception=f"Error{number}()")).wait(0)
    exposed.wait(3)
    failed = {
        labels: value
        for (name, labels), value in exposed.samples().items()
        if name == "celery_task_failed_total"
    }
    assert len(failed) == 6
    assert sum(failed.values()) == 100
    assert failed[(("name", "__overflow__"),)] == 96
    assert exposed.profile.store.dropped == {"celery_task_failed_total": 96}


# -- workers -----------------------------------------------------------------------------------


def test_a_worker_from_birth_to_removal() -> None:
    exposed = Exposed("celery-exporter").play(worker_event("online"))
    up = key("worker_up", hostname="host1")
    active = key("worker_tasks_active", hostname="host1")
    assert exposed.samples() == {up: 1.0, active: 0.0}
    exposed.play(worker_event("heartbeat", 2, active=3))
    assert exposed.samples() == {up: 1.0, active: 3.0}
    exposed.play(task_event("received", 3))
    labels = {**L}
    exposed.wait(61)
    assert exposed.samples() | {up: 0.0, active: 0.0} == exposed.samples()
    assert exposed.value("celery_task_received_total", **labels) == 1
    exposed.wait(1800)
    assert exposed.samples() == {}


def test_worker_offline() -> None:
    exposed = Exposed("celery-exporter").play(
        worker_event("offline", hostname="unknown@host9"),
        worker_event("heartbeat", 1, active=2),
        worker_event("offline", 2, active=2),
    )
    assert exposed.samples() == GONE


def test_two_workers_of_one_host() -> None:
    exposed = Exposed("celery-exporter").play(
        worker_event("heartbeat", 0, "a@host1", active=2),
        worker_event("heartbeat", 0, "b@host1", active=3),
        task_event("received", 0.5, "u1", hostname="a@host1"),
        task_event("received", 0.5, "u2", hostname="b@host1"),
    )
    assert exposed.value("celery_worker_up", hostname="host1") == 1
    assert exposed.value("celery_worker_tasks_active", hostname="host1") == 5
    exposed.play(worker_event("offline", 1, "a@host1", active=2)).wait(3)
    assert exposed.value("celery_worker_up", hostname="host1") == 1
    assert exposed.value("celery_worker_tasks_active", hostname="host1") == 3
    for second in range(5, 2000, 5):
        exposed.play(worker_event("heartbeat", second, "b@host1", active=1))
    # One of them is forgotten; what both counted stays for the other.
    assert exposed.cluster.worker("a@host1") is None
    assert exposed.value("celery_task_received_total", **L) == 2
    exposed.wait(60 + 1800)
    assert exposed.samples() == {}


def test_the_alert_for_a_dead_worker_can_fire() -> None:
    # CeleryWorkerDown: celery_worker_up == 0 for 15 minutes. The peer removes the series at 10.
    exposed = Exposed("celery-exporter").play(worker_event("heartbeat"))
    down = 0
    for _ in range(4000 // 15):
        if exposed.wait(15).value("celery_worker_up", hostname="host1") == 0.0:
            down += 15
    assert 20 * 60 <= down <= 31 * 60


def test_purging_leaves_all_others_alone() -> None:
    exposed = Exposed("celery-exporter").play(
        worker_event("heartbeat"),
        # Another host runs a task and a queue that bear this host's name.
        task_event("received", 0, "u1", hostname="w@host2", name="host1"),
        task_event("sent", 0, "u2", hostname="gen1@host1", queue="host1"),
        task_event("received", 0.1, "u2"),
    )
    exposed.wait(60 + 1800 + 2)
    shown = {k: v for k, v in exposed.samples().items() if v}
    sent = {**L, "queue_name": "host1"}
    assert shown == {
        key("task_received_total", hostname="host2", name="host1", queue_name="celery"): 1.0,
        # The host's clients may live on.
        key("task_sent_total", **sent): 1.0,
    }


def test_a_purged_worker_that_comes_back_starts_from_0() -> None:
    exposed = Exposed("celery-exporter", purge_offline_worker_metrics=100)
    exposed.play(worker_event("heartbeat"), task_event("received", 1)).wait(200)
    assert exposed.samples() == {}
    exposed.play(worker_event("heartbeat", 300), task_event("received", 301, "u2")).wait(3)
    assert exposed.value("celery_task_received_total", **L) == 1


def test_0_seconds_mean_never() -> None:
    exposed = Exposed("celery-exporter", worker_timeout=0).play(worker_event("heartbeat"))
    assert exposed.wait(5000).value("celery_worker_up", hostname="host1") == 1
    exposed = Exposed("celery-exporter", purge_offline_worker_metrics=0)
    exposed.play(worker_event("heartbeat"))
    assert exposed.wait(5000).value("celery_worker_up", hostname="host1") == 0


def test_rewritten_workers_share_a_host() -> None:
    exposed = Exposed("celery-exporter", worker_label_rewrite=[r"(.*)@pod-.*=\1@pods"])
    exposed.play(
        worker_event("heartbeat", 0, "w@pod-a", active=1),
        worker_event("heartbeat", 0, "w@pod-b", active=1),
        task_event("received", 1, "u1", hostname="w@pod-a"),
        task_event("received", 1, "u2", hostname="w@pod-b"),
    )
    exposed.wait(3)
    assert exposed.value("celery_worker_tasks_active", hostname="pods") == 2
    assert exposed.value("celery_task_received_total", **{**L, "hostname": "pods"}) == 2
