"""The profile flower where it is right and Flower is not; for the rest see test_profile_oracles."""

from tests.support.exposed import Exposed, task_event, worker_event

W1 = {"worker": "w1@host1"}
PAIR = {"task": "work.add", "worker": "w1@host1"}


def test_labels_are_written_in_prometheus_clients_order() -> None:
    text = Exposed("flower").play(task_event("received")).wait(70).text()
    line = 'flower_events_total{task="work.add",type="task-received",worker="w1@host1"} 1\n'
    assert line in text
    assert 'flower_worker_prefetched_tasks{task="work.add",worker="w1@host1"} 1\n' in text


def test_a_task_that_never_failed_has_a_zero() -> None:
    # The dashboard's failure ratio divides by type; without the 0 it has no line.
    exposed = Exposed("flower").play(task_event("received")).wait(70)
    assert exposed.value("flower_events_total", type="task-failed", **PAIR) == 0
    assert exposed.value("flower_events_total", type="task-succeeded", **PAIR) == 0
    assert exposed.value("flower_events_total", type="task-retried", **PAIR) is None


def test_a_nameless_task_has_an_empty_label() -> None:
    exposed = Exposed("flower").play(task_event("started")).wait(70)
    assert exposed.value("flower_events_total", type="task-started", **W1) == 1


def test_prefetched_and_its_time() -> None:
    exposed = Exposed("flower").play(
        task_event("sent", queue="q", hostname="gen1@web"),
        task_event("received", 1),
        task_event("received", 1, "u2", name="work.add"),
    )
    exposed.wait(3)
    assert exposed.value("flower_worker_prefetched_tasks", **PAIR) == 2
    assert exposed.value("flower_task_prefetch_time_seconds", **PAIR) is None
    exposed.play(task_event("started", 5))
    assert exposed.value("flower_worker_prefetched_tasks", **PAIR) == 1
    assert exposed.value("flower_task_prefetch_time_seconds", **PAIR) == 4.0
    exposed.play(task_event("succeeded", 6, runtime=0.0))
    assert exposed.value("flower_task_prefetch_time_seconds", **PAIR) == 0.0
    # Flower takes a run time of 0.0 for none.
    assert exposed.value("flower_task_runtime_seconds_count", **PAIR) == 1


def test_a_task_with_an_eta_waits_for_its_time_not_for_a_process() -> None:
    exposed = Exposed("flower").play(task_event("received", eta="2026-09-21T14:15:00+00:00"))
    assert exposed.wait(70).value("flower_worker_prefetched_tasks", **PAIR) == 0


def test_a_revocation_told_twice_does_not_go_below_0() -> None:
    exposed = Exposed("flower").play(
        task_event("received"),
        task_event("revoked", 1),
        task_event("revoked", 1.1, hostname="w2@host2"),
    )
    exposed.wait(70)
    other = {"task": "work.add", "worker": "w2@host2"}
    assert exposed.value("flower_worker_prefetched_tasks", **PAIR) == 0
    assert exposed.value("flower_worker_prefetched_tasks", **other) is None
    assert exposed.value("flower_events_total", type="task-revoked", **other) == 1


def test_a_killed_worker_goes_offline_with_all_that_it_held() -> None:
    exposed = Exposed("flower").play(
        worker_event("heartbeat", active=1),
        task_event("received", 1),
        task_event("received", 1, "u2"),
        task_event("started", 2, "u2"),
        worker_event("heartbeat", 4, active=1),
    )
    executing = "flower_worker_number_of_currently_executing_tasks"
    assert exposed.value("flower_worker_online", **W1) == 1
    assert exposed.value(executing, **W1) == 1
    assert exposed.wait(3).value("flower_worker_prefetched_tasks", **PAIR) == 1
    exposed.wait(70)
    assert exposed.value("flower_worker_online", **W1) == 0
    assert exposed.value(executing, **W1) == 0
    assert exposed.value("flower_worker_prefetched_tasks", **PAIR) == 0
    assert exposed.value("flower_events_total", type="task-received", **PAIR) == 2
    assert exposed.wait(1800).samples() == {}


def test_a_clean_end_keeps_the_counts_until_the_worker_is_forgotten() -> None:
    # Flower with --purge_offline_workers drops them at the next scrape.
    exposed = Exposed("flower").play(
        worker_event("online"), task_event("received", 1), worker_event("offline", 2)
    )
    exposed.wait(900)
    assert exposed.value("flower_worker_online", **W1) == 0
    assert exposed.value("flower_events_total", type="task-received", **PAIR) == 1
    assert exposed.wait(1000).samples() == {}


def test_workers_with_one_label_are_forgotten_together() -> None:
    exposed = Exposed("flower", worker_label_rewrite=["(.*)@pod-.*=pods"])
    exposed.play(
        worker_event("heartbeat", 0, "w@pod-a"),
        worker_event("heartbeat", 0, "w@pod-b"),
        task_event("received", 1, "u1", hostname="w@pod-a"),
        task_event("received", 1, "u2", hostname="w@pod-b"),
    )
    pods = {"task": "work.add", "worker": "pods"}
    for second in range(5, 3000, 5):
        exposed.play(worker_event("heartbeat", second, "w@pod-b"))
    assert exposed.cluster.worker("w@pod-a") is None
    exposed.play(task_event("received", 3000, "u3", hostname="w@pod-b")).wait(3)
    assert exposed.value("flower_events_total", type="task-received", **pods) == 3


def test_clients_go_when_they_are_silent() -> None:
    # Each process of an application is a client with a nodename of its own.
    exposed = Exposed("flower")
    exposed.play(task_event("sent", queue="q", hostname="gen1@web"))
    exposed.play(task_event("sent", 0, "u2", queue="q", hostname="gen2@web"))
    clients = [{"task": "work.add", "worker": f"gen{n}@web"} for n in (1, 2)]

    def counts() -> list[float | None]:
        return [
            exposed.value("flower_events_total", type="task-sent", **client) for client in clients
        ]

    assert exposed.wait(1).value("flower_events_total", type="task-sent", **clients[0]) == 1
    exposed.play(task_event("sent", 1000, "u3", queue="q", hostname="gen2@web"))
    assert counts() == [1, 2]
    exposed.play(task_event("received", 1500, "u4"))
    assert exposed.wait(310).samples() != {}
    assert counts() == [None, 2]
    assert exposed.wait(1000).value("flower_events_total", type="task-received", **PAIR) == 1
    assert counts() == [None, None]


def test_a_worker_without_heartbeats_is_no_client() -> None:
    exposed = Exposed("flower").play(
        task_event("sent", queue="q", hostname="w1@host1"), task_event("received", 1)
    )
    exposed.samples()
    exposed.wait(4000)
    assert exposed.value("flower_events_total", type="task-received", **PAIR) == 1


def test_beyond_the_cap_all_goes_to_one_row() -> None:
    exposed = Exposed("flower", max_series=40)
    for number in range(60):
        exposed.play(task_event("received", uuid=str(number), name=f"task{number}"))
    exposed.wait(70)
    received = [
        (dict(labels)["task"], value)
        for (name, labels), value in exposed.samples().items()
        if name == "flower_events_total" and dict(labels)["type"] == "task-received"
    ]
    assert sum(value for _, value in received) == 60
    assert any(task == "__overflow__" for task, _ in received)
    assert exposed.profile.store.dropped["flower_events_total"] > 0
