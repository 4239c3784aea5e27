"""Task: everything about one task."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap, stat, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links
from dashboards.board import Row, dashboard
from dashboards.groups import group_panels
from dashboards.in_progress import OLDEST, in_progress
from dashboards.outcomes import COLORS, outcomes
from dashboards.panels import (
    FAILURES,
    NONE_ALLOWED,
    PLAIN,
    RUNNING,
    WAITING,
    Query,
    heat,
    lines,
    number,
)
from dashboards.promql import (
    ended,
    failure_ratio,
    increase,
    mean,
    or_none,
    or_zero,
    quantile,
    rate,
    total,
)
from dashboards.variables import one, queue, traces

TASK = ('task="$task"', 'queue=~"$queue"')
_QUANTILES = (0.5, 0.95, 0.99)


def build() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        links.TASK,
        "Celery / Task",
        "One task: how often, how well, how long, and what is stuck.",
        [
            one("task", "Task", "celery_task_received_total", "task"),
            queue(),
            traces("tempo", "Tempo"),
            traces("jaeger", "Jaeger"),
        ],
        [
            Row("How is this task?", _verdicts()),
            Row("Rate and failures", _rates()),
            Row("Durations", _durations()),
            Row("Retries", _retries()),
            Row("In progress, and ends that are none", in_progress(*TASK)),
            Row("Groups and chords of this task", group_panels('task="$task"'), collapsed=True),
        ],
        [*_explore()],
    )


def _explore() -> list[builders.DashboardLink]:
    tempo = (
        '{"refId":"A","datasource":{"type":"tempo","uid":"${tempo}"},"queryType":"traceql",'
        '"limit":20,"tableType":"traces","query":"{ name = \\"process ${task:percentencode}\\" }"}'
    )
    jaeger = (
        '{"refId":"A","datasource":{"type":"jaeger","uid":"${jaeger}"},"queryType":"search",'
        '"operation":"process ${task:percentencode}"}'
    )
    return [
        links.to_explore("Traces in Tempo", "This task's traces, latest first", "tempo", tempo),
        links.to_explore("Traces in Jaeger", "Choose the service, then Find", "jaeger", jaeger),
    ]


def _verdicts() -> list[stat.Panel]:
    retried = rate("celery_task_retried_total", *TASK)
    started = rate("celery_task_started_total", *TASK)
    return [
        number("Ended", "Tasks that ended, well or not, a second.", ended(*TASK), "ops", PLAIN),
        number(
            "Failures",
            "The failed part of the tasks that ended in the last minutes. Which exceptions: below."
            " Their dots lead to the traces.",
            failure_ratio(*TASK),
            "percentunit",
            FAILURES,
            absent="no task ended",
        ),
        number(
            "Retried part",
            "The part of attempts that ended in a retry. High while failures are low: something"
            " it depends on is shaky, and retries cover it.",
            f"{retried} / ({started} > 0)",
            "percentunit",
            ("green", (0.1, "orange"), (0.5, "red")),
            absent="none started",
        ),
        number(
            "Run time (p95)",
            "Nineteen of twenty attempts took no longer. Set the task's time limits by it.",
            quantile(0.95, "celery_task_runtime_seconds", *TASK),
            "s",
            PLAIN,
            absent="none ended",
        ),
        number(
            "Wait (p95)",
            "From sent, or its eta, to started. High: too few slots for its queue. Unknown without"
            " task_send_sent_event.",
            quantile(0.95, "celery_task_queue_wait_seconds", *TASK),
            "s",
            WAITING,
            absent="unknown",
            link=links.panel_link(links.QUEUES, "Queues"),
        ),
        number(
            "Running now",
            "Attempts that have started and not ended.",
            total("celery_tasks_in_progress", 'state="running"', *TASK),
            "short",
            PLAIN,
        ),
        number(
            "Oldest running",
            "How long the oldest of them has been at it. Far above its usual run time: it is"
            " stuck. z4j-exporter trace, or the dashboard Workers, tells where. Beyond an hour"
            " Redis may give it out a second time (visibility timeout).",
            or_zero(total(OLDEST, 'state="running"', *TASK, how="max")),
            "s",
            RUNNING,
        ),
        number(
            "Lost",
            "Tasks that started in the time shown and will not end: their worker died (out of"
            " memory, killed), or no event came for --task-give-up-seconds.",
            increase("celery_task_lost_total", *TASK),
            "short",
            NONE_ALLOWED,
            decimals=0,
        ),
    ]


def _rates() -> list[timeseries.Panel]:
    exception = 'exception!=""'
    return [
        lines(
            "What becomes of it",
            "Attempts a second by how they ended. Lost and failed want a look; retried and"
            " rejected come back.",
            outcomes(*TASK),
            "ops",
            stacked=True,
            colors=COLORS,
        ),
        lines(
            "Failures by exception",
            "By the exception's class. WorkerLostError: the worker's process was killed, mostly"
            " for its memory. TimeLimitExceeded: the hard time limit. The dots are traces.",
            [
                Query(
                    or_none(
                        rate("celery_task_failed_total", exception, *TASK, by=("exception",)),
                        "exception",
                    ),
                    "{{exception}}",
                    exemplar=True,
                )
            ],
            "ops",
        ),
        lines(
            "Sent, received, started",
            "In step when all is well. Sent above received: it waits in the queue. Received above"
            " started: it waits in workers that have prefetched too much.",
            [
                Query(rate(f"celery_task_{what}_total", *TASK), what)
                for what in ("sent", "received", "started")
            ],
            "ops",
        ),
        lines(
            "Failed part",
            "Failures among the tasks that ended. A gap: none ended.",
            [Query(failure_ratio(*TASK), "failed")],
            "percentunit",
            steps=FAILURES,
            colors={"failed": "red"},
        ),
    ]


def _quantiles(name: str) -> list[Query]:
    return [Query(quantile(q, name, *TASK), f"p{q * 100:g}", exemplar=True) for q in _QUANTILES]


def _durations() -> list[timeseries.Panel | heatmap.Panel]:
    runtime = "celery_task_runtime_seconds"
    return [
        lines(
            "Run time",
            "Of attempts, start to end. p99 far above p50: some inputs are much harder than"
            " others. The dots are traces: click one of the high ones.",
            _quantiles(runtime),
            "s",
        ),
        heat(
            "Run times, all of them",
            "How many attempts took how long. Two bands: two kinds of work under one name. The"
            " dots are traces.",
            increase(f"{runtime}_bucket", *TASK, by=("le",), over="$__rate_interval"),
            "s",
        ),
        lines(
            "Wait in the queue",
            "From sent, or its eta, to started; a retry's countdown is no waiting. Add workers, or"
            " give slow tasks a queue of their own.",
            _quantiles("celery_task_queue_wait_seconds"),
            "s",
            steps=WAITING,
        ),
        lines(
            "Wait in the worker",
            "From received to started: the part of the wait that began after a worker took the"
            " message. High: worker_prefetch_multiplier is too large for such long tasks.",
            _quantiles("celery_task_prefetch_wait_seconds"),
            "s",
        ),
        lines(
            "End to end",
            "From first sent, or its eta, to the final end, all retries included: what a user"
            " waits for.",
            _quantiles("celery_task_end_to_end_seconds"),
            "s",
        ),
        lines(
            "Run time by outcome (p95)",
            "Failures that take as long as a time-out wait for something; quick ones are refused.",
            [Query(quantile(0.95, runtime, *TASK, by=("outcome",)), "{{outcome}}", exemplar=True)],
            "s",
            colors=COLORS,
        ),
    ]


def _retries() -> list[timeseries.Panel]:
    attempts = "celery_task_attempts"
    return [
        lines(
            "Retries by exception",
            "Attempts that ended in a retry, by the exception's class. The dots are traces.",
            [
                Query(
                    or_none(
                        rate(
                            "celery_task_retried_total", 'exception!=""', *TASK, by=("exception",)
                        ),
                        "exception",
                    ),
                    "{{exception}}",
                    exemplar=True,
                )
            ],
            "ops",
        ),
        lines(
            "Attempts used",
            "How many attempts a task has needed when it ended. 1 is the best there is; p95 at"
            " max_retries + 1: retries do not help any more.",
            [
                Query(mean(attempts, *TASK), "mean"),
                # Attempts are whole: within a bucket a quantile is not.
                Query(f"ceil({quantile(0.95, attempts, *TASK)})", "p95"),
            ],
            "short",
        ),
    ]
