"""Takes a picture of the cluster's state, to be written as one JSON line."""

import heapq
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from z4j_exporter.cli.show import state_name, worker_fields
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.table import Task

#: Tasks in progress, and workers, that one snapshot lists.
MAX_LISTED = 100


def snapshot(cluster: Cluster, wall: float, *, max_listed: int = MAX_LISTED) -> dict[str, Any]:
    """Return the state of tasks and workers; ``wall`` (epoch seconds) is when it is taken.

    Of the tasks in progress those that are in their state for longest are listed.
    """
    table = cluster.tasks.table
    listed = heapq.nsmallest(max_listed, table.active.values(), key=_since)
    return {
        "timestamp": round(wall, 3),
        "events": {kind: count for kind, count in sorted(cluster.events.items()) if count},
        "tasks": {
            "by_state": _by_state(table),
            "in_progress": [_task_fields(task, wall) for task in listed],
            "truncated": len(table.active) > len(listed),
        },
        "workers": {
            "up": sum(worker.up for worker in cluster.workers),
            "down": sum(not worker.up for worker in cluster.workers),
            "list": [worker_fields(worker) for worker in islice(cluster.workers, max_listed)],
            "truncated": len(cluster.workers) > max_listed,
        },
    }


def _by_state(tasks: Iterable[Task]) -> dict[str, int]:
    return dict(sorted(Counter(state_name(task) for task in tasks).items()))


def _since(task: Task) -> float:
    since = task.since()
    return float("inf") if since is None else since


def _task_fields(task: Task, wall: float) -> dict[str, Any]:
    since = task.since()
    last = task.attempts[-1]
    return {
        "uuid": task.uuid,
        "name": task.name,
        "queue": task.queue,
        "state": state_name(task),
        "worker": last.worker,
        "retries": last.retries,
        "since": since,
        "for_seconds": None if since is None else round(max(0.0, wall - since), 3),
        "root_id": task.root_id,
        "parent_id": task.parent_id,
    }
