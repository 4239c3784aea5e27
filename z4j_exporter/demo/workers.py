"""The demo's workers: which queues each consumes, and how it is started."""

import sys
from pathlib import Path

from z4j_exporter.demo.broker import BROKER_URL_VARIABLE
from z4j_exporter.demo.processes import Child, clean_environment

#: The fewest workers that consume every queue.
FEWEST_WORKERS = 2
#: Seconds a worker gets to end the tasks it runs when the demo stops.
STOP_SECONDS = 4.0

#: Processes in each worker's pool, and in that of one with a queue for itself.
_CONCURRENCY = 4
_SMALL_CONCURRENCY = 2
#: Queues by the worker's number, taken in turn.
_QUEUES = ("orders,crawl", "media,mail")


def nodename(number: int) -> str:
    """Return the full nodename of worker ``number`` (from 0)."""
    return f"demo{number + 1}@sample"


def start_worker(
    number: int, *, broker_url: str, directory: Path, log: Path, queues: str | None = None
) -> Child:
    """Start worker ``number``: a prefork worker that sends events.

    It consumes ``queues`` (with a small pool), or those that its number has.
    """
    name = nodename(number)
    pool = _CONCURRENCY if queues is None else _SMALL_CONCURRENCY
    command = [
        *(sys.executable, "-m", "celery", "-A", "z4j_exporter.demo.sample_app", "worker"),
        *("--hostname", name),
        *("--queues", queues or _QUEUES[number % len(_QUEUES)]),
        *("--pool", "prefork", "--concurrency", str(pool)),
        *("--loglevel", "INFO", "--task-events"),
        # They make a start a second slower and show nothing here.
        *("--without-mingle", "--without-gossip"),
    ]
    environment = clean_environment(**{BROKER_URL_VARIABLE: broker_url})
    return Child(name, command, directory=directory, environment=environment, log=log)
