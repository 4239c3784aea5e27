"""When the series of workers go, and what stays."""

from tests.support.exposed import Exposed, task_event, worker_event
from z4j_exporter.metrics.living import LivingWorkers
from z4j_exporter.track.transitions import WorkerTransition


def up(worker: str) -> WorkerTransition:
    return WorkerTransition(kind="up", worker=worker)


def forgotten(worker: str) -> WorkerTransition:
    return WorkerTransition(kind="forgotten", worker=worker)


def test_a_label_goes_with_its_last_worker() -> None:
    living = LivingWorkers(lambda worker: worker.partition("@")[2])
    for step in (up("a@h1"), up("b@h1"), up("a@h2"), up("a@h1"), forgotten("a@h1")):
        living.take(step)
    assert living.gone() == set()
    assert "h1" in living
    living.take(forgotten("b@h1"))
    assert "h1" not in living
    assert living.gone() == {"h1"}
    assert living.gone() == set()


def test_who_comes_back_in_time_was_never_gone() -> None:
    living = LivingWorkers(str)
    living.take(up("a"))
    living.take(forgotten("a"))
    living.take(up("a"))
    assert living.gone() == set()


def test_down_is_not_gone() -> None:
    living = LivingWorkers(str)
    living.take(up("a"))
    living.take(WorkerTransition(kind="down", worker="a"))
    assert "a" in living
    assert living.gone() == set()


def test_a_removal_is_due_when_many_are_gone() -> None:
    living = LivingWorkers(str)
    for number in range(150):
        living.take(up(str(number)))
    assert [living.take(forgotten(str(n))) for n in range(150)].index(True) == 99
    assert len(living.gone()) == 150


def test_many_workers_go_though_nobody_scrapes() -> None:
    for profile in ("native", "celery-exporter", "flower"):
        exposed = Exposed(profile, task_worker_label=True)
        for number in range(250):
            exposed.play(
                worker_event("heartbeat", 0, f"w@host{number}"),
                task_event("received", 0, str(number), hostname=f"w@host{number}"),
                task_event("succeeded", 0, str(number), hostname=f"w@host{number}", runtime=0.1),
            )
        exposed.wait(100)
        exposed.wait(1800)
        # Two hundred at once; the rest waits for a scrape.
        assert 0 < len(exposed.profile._rows) < 250
        assert exposed.samples() == {}


def test_with_a_worker_label_the_tasks_of_a_dead_worker_go_too() -> None:
    # Each rollout brings pods with new names: else they would fill the cap in the end.
    exposed = Exposed(task_worker_label=True).play(
        worker_event("heartbeat"),
        worker_event("heartbeat", 0, "w2@host2"),
        task_event("sent", queue="q", hostname="gen1@web"),
        task_event("received", 0.1),
        task_event("started", 0.2),
        task_event("succeeded", 0.3, runtime=0.1),
        task_event("received", 0.3, "u2", hostname="w2@host2"),
    )
    for second in range(5, 2000, 5):
        exposed.play(worker_event("heartbeat", second, "w2@host2"))
    labels = {"task": "work.add", "queue": "q"}
    workers = {dict(found).get("worker") for _, found in exposed.samples()}
    assert workers == {None, "w2@host2"}
    assert exposed.value("celery_task_sent_total", **labels) == 1
    assert exposed.value("celery_task_received_total", **labels, worker="w2@host2") == 1


def test_without_it_they_stay() -> None:
    exposed = Exposed().play(worker_event("heartbeat"), task_event("received", 1)).wait(3000)
    labels = {"task": "work.add"}
    assert exposed.value("celery_task_received_total", **labels) == 1
