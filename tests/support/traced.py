"""Tasks whose traces are of interest, for a worker that takes tests.support.celeryapp.

The worker imports them by the Celery setting ``imports``: see `IMPORTED`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support.celeryapp import add, app

if TYPE_CHECKING:
    from celery import Task

#: Celery settings with which a worker of tests.support.celeryapp has these tasks too.
IMPORTED = {"imports": ("tests.support.traced",)}


class Unavailable(Exception):  # noqa: N818 - a name without Error, as many have
    """Something is not there yet."""


@app.task(name="trace.flaky", bind=True, max_retries=3)
def flaky(self: Task) -> str:
    """Succeed at the fourth attempt."""
    if self.request.retries < 3:
        raise self.retry(exc=Unavailable("not yet"), countdown=0.1)
    return "at last"


@app.task(name="trace.parent", bind=True, max_retries=1)
def parent(self: Task) -> None:
    """Start a child in each of two attempts; the second attempt begins when both have ended."""
    add.delay(self.request.retries, 1)
    if self.request.retries == 0:
        raise self.retry(exc=Unavailable("not yet"), countdown=0.5)


@app.task(name="trace.leak")
def leak() -> None:
    """Fail with a message that holds secrets, as drivers' messages do."""
    time.sleep(0.01)
    raise ConnectionError(
        "cannot reach postgres://shop:hunter2@db.example:5432/orders with password=s3cr3t-word "
        "and Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLXBhcnQ"
    )
