"""Builds PromQL: selectors in the dashboard's scope, rates, quantiles, zeros that are true."""

import re
from collections.abc import Iterable

from z4j_exporter.metrics.catalogue import CATALOGUE

#: Every expression looks only at the exporters that the variables choose.
SCOPE = ('job=~"$job"', 'instance=~"$instance"')
#: There for as long as the exporter is: what has not happened is 0 while it is there to see it.
ALIVE = "celery_exporter_build_info"


def series(name: str, *matchers: str) -> str:
    """Return a selector of ``name`` within the scope."""
    return f"{name}{{{','.join((*SCOPE, *matchers))}}}"


#: What each exporter tells of itself. Of everything else two exporters of one job (replicas that
#: watch the same broker) tell the same: the larger value counts, never the sum. The recording
#: rules in alerts/ do likewise.
_OWN = ("celery_exporter_", "celery_queue_poll_", "celery_fleet_inspect_", "process_", "up")
_LABELS = {family.name: family.labels for family in CATALOGUE}


def gauge(name: str, *matchers: str) -> str:
    """Return the series of a gauge, each once however many exporters tell it."""
    found = series(name, *matchers)
    return found if name.startswith(_OWN) else f"max without (instance, pod) ({found})"


def _summed(name: str, expr: str, by: tuple[str, ...]) -> str:
    """Return the sum of ``expr`` (of series ``name``) by labels, each installation once.

    What is not asked for is summed up first, so that few series are left to be compared: of
    tens of thousands of buckets this decides between a second and half a minute.
    """
    listed = f" by ({', '.join(by)})" if by else ""
    if name.startswith(_OWN):
        return f"sum{listed} ({expr})"
    family = re.sub(r"_(bucket|sum|count)$", "", name)
    dropped = [label for label in _LABELS.get(name, _LABELS.get(family, ())) if label not in by]
    one = f"sum without ({', '.join(dropped)}) ({expr})" if dropped else expr
    return f"sum{listed} (max without (instance, pod) ({one}))"


def total(name: str, *matchers: str, by: Iterable[str] = (), how: str = "sum") -> str:
    """Return the sum (or ``how``: max, min) of a gauge."""
    found = series(name, *matchers)
    if how == "sum":
        return _summed(name, found, tuple(by))
    listed = f" by ({', '.join(by)})" if by else ""
    return f"{how}{listed} ({found})"


def rate(name: str, *matchers: str, by: Iterable[str] = ()) -> str:
    """Return a counter's increase a second."""
    return _summed(name, f"rate({series(name, *matchers)}[$__rate_interval])", tuple(by))


def increase(
    name: str, *matchers: str, by: Iterable[str] = (), over: str = "$__range", at: str = ""
) -> str:
    """Return how much a counter grew in the time that the dashboard shows."""
    return _summed(name, f"increase({series(name, *matchers)}[{over}]{at})", tuple(by))


def quantile(q: float, name: str, *matchers: str, by: Iterable[str] = ()) -> str:
    """Return a quantile of a histogram. Nothing was observed: nothing is shown, not NaN."""
    labels = ("le", *by)
    return f"histogram_quantile({q:g}, {rate(f'{name}_bucket', *matchers, by=labels)}) >= 0"


def mean(name: str, *matchers: str, by: Iterable[str] = ()) -> str:
    """Return the mean of what a histogram observed."""
    count = rate(f"{name}_count", *matchers, by=by)
    return f"{rate(f'{name}_sum', *matchers, by=by)} / ({count} > 0)"


def or_zero(expr: str, alive: str = ALIVE) -> str:
    """Return ``expr``, and 0 where it has no series though ``alive`` has: nothing happened yet."""
    return f"({expr}) or on () 0 * sum({series(alive)})"


def or_none(expr: str, label: str, alive: str = ALIVE) -> str:
    """Return ``expr``, and one series of 0 called none where nothing happened yet."""
    zero = f'label_replace(0 * sum({series(alive)}), "{label}", "none", "job", "")'
    return f"({expr}) or on () {zero}"


def top(expr: str, rank: str, by: str, count: int = 10) -> str:
    """Return those series of ``expr`` whose ``rank`` is highest.

    A plain topk chooses anew at each step, and a graph of ten would show fifty. So ``rank`` is
    evaluated once, at the end: build it with :data:`AT_END`.
    """
    return f"({expr}) and on ({by}) topk({count}, {rank})"


#: Pins a range selector to the end of the time shown.
AT_END = " @ end()"


def ended(*matchers: str, by: Iterable[str] = ()) -> str:
    """Return the tasks that ended, well or with a failure, a second."""
    by = tuple(by)
    succeeded = rate("celery_task_succeeded_total", *matchers, by=by)
    return f"({succeeded} + {rate('celery_task_failed_total', *matchers, by=by)})"


def failure_ratio(*matchers: str, by: Iterable[str] = ()) -> str:
    """Return the failed part of the tasks that ended; nothing where none ended."""
    by = tuple(by)
    failed = rate("celery_task_failed_total", *matchers, by=by)
    return f"{failed} / ({ended(*matchers, by=by)} > 0)"


def ready(queue: str, by: Iterable[str] = ("queue",)) -> str:
    """Return the messages that wait, over all priorities."""
    return total("celery_queue_messages", 'state="ready"', queue, by=by)


def oldest_message(queue: str, by: str = "queue") -> str:
    """Return how long the next message has waited: 0 for an empty queue, absent if not known."""
    age = total("celery_queue_oldest_message_age_seconds", queue, by=(by,), how="max")
    return f"{age} or on ({by}) 0 * ({ready(queue, by=(by,))} == 0)"


def time_to_drain(queue: str) -> str:
    """Return the seconds in which the tasks' present pace would empty each queue.

    0 for an empty queue, +Inf for one that stands still, absent where no task of it was seen.
    """
    started = rate("celery_task_started_total", queue, by=("queue",))
    return f"({ready(queue)} > 0) / on (queue) {started} or on (queue) ({ready(queue)} == 0)"


def unserved(queue: str) -> str:
    """Return the queues that hold messages and have no consumer.

    Judged while workers can be asked, or by the broker where it knows consumers.
    """
    by = ("job", "queue")
    workers = f"{total('celery_queue_workers', queue, by=by)} > 0"
    consumers = f"{total('celery_queue_consumers', queue, by=by)} > 0"
    asked = total("celery_fleet_inspect_success", by=("job",), how="max")
    return (
        f"(({ready(queue, by=by)} > 0) unless on (job, queue) ({workers})"
        f" unless on (job, queue) ({consumers})) and on (job) {asked} == 1"
    )


def count_or_zero(expr: str, alive: str) -> str:
    """Return how many series ``expr`` has; 0 only where ``alive`` says that it could be judged."""
    return f"count({expr}) or on () 0 * sum({series(alive)} == 1)"
