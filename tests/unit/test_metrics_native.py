"""The native profile: what is there from the start, waits, caps, and the gauges of progress."""

import pytest

from tests.support.exposed import Exposed, Samples, task_event, worker_event

L = {"task": "work.add", "queue": "celery"}


def family(samples: Samples, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {labels: value for (sample, labels), value in samples.items() if sample == name}


def test_every_family_is_announced_without_any_series() -> None:
    exposed = Exposed()
    text = exposed.text()
    for declared in exposed.profile.families():
        assert f"# HELP {declared.name} {declared.help}\n" in text
        assert f"# TYPE {declared.name} {declared.type}\n" in text


def test_the_zeros_of_a_new_task() -> None:
    exposed = Exposed().play(task_event("sent", queue="celery"))
    counters = {
        (name.removeprefix("celery_task_").removesuffix("_total"), *dict(labels).values()): value
        for (name, labels), value in exposed.samples().items()
        if name.endswith("_total")
    }
    zeros = ["received", "started", "succeeded", "failed", "retried", "cancelled", "ended_unseen"]
    assert counters == {
        ("sent", "celery", "work.add"): 1,
        **{(kind, "celery", "work.add"): 0 for kind in zeros},
        **{("rejected", "celery", flag, "work.add"): 0 for flag in ("false", "true")},
        **{
            ("revoked", "celery", reason, "work.add"): 0
            for reason in ("revoked", "terminated", "expired")
        },
        **{("lost", "celery", reason, "work.add"): 0 for reason in ("worker_lost", "timeout")},
    }


def test_what_makes_one_attempt_retry_may_make_the_last_one_fail() -> None:
    exposed = Exposed().play(
        task_event("sent", queue="celery"), task_event("retried", 1, exception="E()")
    )
    assert exposed.value("celery_task_retried_total", **L, exception="E") == 1
    assert exposed.value("celery_task_failed_total", **L, exception="E") == 0
    assert exposed.value("celery_task_failed_total", **L) == 0


def test_hostile_exceptions_are_not_remembered() -> None:
    exposed = Exposed(max_series=5).play(task_event("sent", queue="celery"))
    for number in range(100):
        exposed.play(
            task_event("received", number, str(number)),
            task_event("failed", number, str(number), exception=f"Error{number}()"),
        )
    exposed.wait(3)
    failed = family(exposed.samples(), "celery_task_failed_total")
    assert len(failed) == 6
    assert sum(failed.values()) == 100
    assert failed[(("task", "__overflow__"),)] == 96
    assert exposed.profile.store.dropped["celery_task_failed_total"] == 96


def test_beyond_the_cap_all_goes_to_one_row_and_is_counted() -> None:
    exposed = Exposed(max_series=3)
    for number in range(10):
        exposed.play(task_event("sent", 0, str(number), name=f"task{number}", queue="q"))
    samples = exposed.samples()
    sent = {
        dict(labels)["task"]: v for labels, v in family(samples, "celery_task_sent_total").items()
    }
    assert sent == {"task0": 1, "task1": 1, "task2": 1, "__overflow__": 7}
    waiting = {
        dict(labels)["task"]: v
        for labels, v in family(samples, "celery_tasks_in_progress").items()
        if ("state", "waiting") in labels
    }
    assert waiting == sent
    assert exposed.profile.store.dropped["celery_task_received_total"] >= 7


def test_a_worker_label_where_it_is_asked_for() -> None:
    exposed = Exposed(task_worker_label=True, worker_label_rewrite=[r"(.*)@pod-.*=\1@pods"])
    exposed.play(
        task_event("sent", queue="celery", hostname="gen1@web"),
        task_event("received", 1, hostname="w@pod-a"),
        task_event("sent", 1, "u2", queue="celery", hostname="gen2@web"),
        task_event("received", 2, "u2", hostname="w@pod-b"),
    )
    # Clients have no worker label: each process of theirs would be a series.
    assert exposed.value("celery_task_sent_total", **L) == 2
    assert exposed.value("celery_task_received_total", **L, worker="w@pods") == 2
    reserved = exposed.value("celery_tasks_in_progress", **L, worker="w@pods", state="reserved")
    assert reserved == 2


def test_progress_and_the_oldest() -> None:
    exposed = Exposed().play(
        task_event("sent", queue="celery"),
        task_event("sent", 5, "u2", queue="celery"),
        task_event("received", 6, "u2"),
        task_event("started", 7, "u2"),
    )
    exposed.wait(10)

    def progress() -> dict[str, tuple[float | None, float | None]]:
        return {
            state: (
                exposed.value("celery_tasks_in_progress", **L, state=state),
                exposed.value("celery_task_oldest_in_progress_seconds", **L, state=state),
            )
            for state in ("waiting", "reserved", "running")
        }

    assert progress() == {"waiting": (1, 17), "reserved": (0, None), "running": (1, 10)}
    exposed.play(task_event("succeeded", 20, "u2", runtime=13.0))
    assert progress() == {"waiting": (1, 20), "reserved": (0, None), "running": (0, None)}


def test_histograms_know_the_outcome() -> None:
    exposed = Exposed(buckets={"celery_task_attempts": (1.0, 2.0)}).recording("retry_and_fail")
    labels = {"task": "web.visit", "queue": "web"}
    runtime = "celery_task_runtime_seconds_count"
    assert exposed.value(runtime, **labels, outcome="retried") == 3
    assert exposed.value(runtime, **labels, outcome="failed") == 1
    assert exposed.value("celery_task_queue_wait_seconds_count", **labels) == 4
    assert exposed.value("celery_task_end_to_end_seconds_count", **labels, outcome="failed") == 1
    attempts = {
        dict(found)["le"]: value
        for (name, found), value in exposed.samples().items()
        if name == "celery_task_attempts_bucket"
    }
    assert attempts == {"1.0": 0, "2.0": 0, "+Inf": 1}


@pytest.mark.parametrize(
    ("rule", "label", "host"),
    [
        (r"(.*)@pod-.*=\1@pods", "w@pods", "pods"),
        (r".*@pod-.*=pods", "pods", None),
        ("nobody=else", "w@pod-a", "pod-a"),
    ],
)
def test_one_worker_label_is_one_info(rule: str, label: str, host: str | None) -> None:
    told = {"sw_ident": "py-celery", "sw_sys": "Linux"}
    exposed = Exposed(worker_label_rewrite=[rule]).play(
        worker_event("heartbeat", 0, "w@pod-a", sw_ver="5.5.0", **told),
        worker_event("heartbeat", 0, "w@pod-b", sw_ver="5.6.0", **told),
    )
    infos = [dict(ls) for name, ls in exposed.samples() if name == "celery_worker_info"]
    (info,) = [info for info in infos if info["worker"] == label]
    assert info.get("hostname") == host
    # What they do not agree on is not said; a pod that was replaced has no say.
    assert info["sw_sys"] == "Linux"
    assert ("sw_ver" in info) == (label == "w@pod-a")
    exposed.play(worker_event("offline", 1, "w@pod-a", sw_ver="5.5.0", **told))
    infos = [dict(ls) for name, ls in exposed.samples() if name == "celery_worker_info"]
    assert [i["sw_ver"] for i in infos if i["worker"] == label] == [
        "5.5.0" if label == "w@pod-a" else "5.6.0"
    ]


def test_a_nodename_without_a_host_is_its_own() -> None:
    exposed = Exposed().play(worker_event("heartbeat", 0, "alone"))
    assert exposed.value("celery_worker_info", worker="alone", hostname="alone") == 1


def test_workers_with_one_label_are_joined() -> None:
    exposed = Exposed(worker_label_rewrite=[r"(.*)@pod-.*=\1@pods"]).play(
        worker_event("heartbeat", 0, "w@pod-a", active=1, processed=5, loadavg=[1.0, 2.0, 3.0]),
        worker_event("heartbeat", 0, "w@pod-b", active=2, processed=7, loadavg=[0.5, 3.0, 0.1]),
        task_event("received", 1, hostname="w@pod-a"),
    )
    exposed.wait(3)
    pods = {"worker": "w@pods"}
    assert exposed.value("celery_worker_up", **pods) == 1
    assert exposed.value("celery_worker_active_tasks", **pods) == 3
    assert exposed.value("celery_worker_processed_total", **pods) == 12
    assert exposed.value("celery_worker_load", **pods, period="5m") == 3.0
    assert exposed.value("celery_worker_info", **pods, hostname="pods") == 1
    assert exposed.value("celery_worker_task_events_total", **pods, state="received") == 1
    assert exposed.wait(70).value("celery_worker_up", **pods) == 0
    assert not [labels for _, labels in exposed.wait(1800).samples() if dict(labels).get("worker")]
