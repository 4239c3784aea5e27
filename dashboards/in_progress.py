"""Panels about tasks that have not ended, and about ends that are neither success nor failure."""

from grafana_foundation_sdk.builders import timeseries

from dashboards.panels import RUNNING, Query, lines
from dashboards.promql import or_none, rate, total

OLDEST = "celery_task_oldest_in_progress_seconds"


def in_progress(*task: str) -> list[timeseries.Panel]:
    """Return the panels for the task that the matchers choose."""
    states = {"waiting": "blue", "reserved": "orange", "running": "green"}
    by = ("state",)
    return [
        lines(
            "In progress",
            "Waiting: sent and taken by no worker, or waiting for its retry. Reserved: held by a"
            " worker. Running: started.",
            [Query(total("celery_tasks_in_progress", *task, by=by), "{{state}}")],
            "short",
            stacked=True,
            colors=states,
        ),
        lines(
            "Oldest in each state",
            "A line that climbs steadily is one task that does not move. An eta in the future is"
            " no waiting.",
            [Query(or_none(total(OLDEST, *task, by=by, how="max"), "state"), "{{state}}")],
            "s",
            steps=RUNNING,
            colors=states,
        ),
        lines(
            "Lost, unseen, cancelled",
            "Lost by reason: the worker died, or no event for too long. Unseen: the worker says it"
            " runs nothing, though no end came (the task raised Ignore, or an event was missed)."
            " Cancelled: the worker lost its broker, the task comes back.",
            [
                Query(rate("celery_task_lost_total", *task, by=("reason",)), "lost: {{reason}}"),
                Query(rate("celery_task_ended_unseen_total", *task), "ended unseen"),
                Query(rate("celery_task_cancelled_total", *task), "cancelled"),
            ],
            "ops",
        ),
        lines(
            "Revoked and rejected",
            "Revoked: by somebody, by its expiry, or terminated while it ran. Rejected with"
            " requeue comes back at once: a high rate is a loop.",
            [
                Query(
                    rate("celery_task_revoked_total", *task, by=("reason",)), "revoked: {{reason}}"
                ),
                Query(
                    rate("celery_task_rejected_total", *task, by=("requeued",)),
                    "rejected, requeued: {{requeued}}",
                ),
            ],
            "ops",
        ),
        lines(
            "By queue",
            "Where it runs, a second. A second queue that you did not expect: somebody routes it"
            " another way.",
            [Query(rate("celery_task_started_total", *task, by=("queue",)), "{{queue}}")],
            "ops",
        ),
        lines(
            "Published, as the application saw it",
            "By the capture hook, retries too, by priority: more than was received is on its way"
            " or lost. 0 without the hook (docs/capture.md).",
            [
                Query(
                    or_none(
                        rate("celery_task_published_total", *task, by=("priority",)), "priority"
                    ),
                    "priority {{priority}}",
                )
            ],
            "ops",
        ),
    ]
