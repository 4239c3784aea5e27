"""The demo's Celery application: a small shop with a crawler and a media department.

Workers import it as ``celery -A z4j_exporter.demo.sample_app worker``. Tasks do nothing but
sleep for as long as they are told and end in the way they are told, so that the traffic decides
what happens and a seed makes it the same every time. The capture hook is installed, as in any
application that wants its groups followed and its messages kept.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, chain, chord
from celery.exceptions import Reject
from celery.signals import worker_process_init

from z4j_exporter import capture
from z4j_exporter.demo.broker import BROKER_URL_VARIABLE
from z4j_exporter.demo.tether import die_with_parent

#: Seconds between two attempts to visit a page.
VISIT_RETRY_SECONDS = 1.0
#: Attempts to charge a card that fail before one succeeds.
CHARGE_FAILURES = 2

#: While this file is there, in the demo's directory, the mail server is away.
MAIL_AWAY = Path("mail-server-away")

#: The broker keeps the results as well. Outside the demo nothing is sent anywhere.
_BROKER_URL = os.environ.get(BROKER_URL_VARIABLE, "memory://")

app = Celery("shop")
app.conf.update(
    broker_url=_BROKER_URL,
    result_backend="cache+memory://" if _BROKER_URL == "memory://" else _BROKER_URL,
    broker_connection_retry_on_startup=True,
    result_expires=300,
    task_send_sent_event=True,
    worker_send_task_events=True,
    task_default_queue="orders",
    task_routes={
        "crawl.*": {"queue": "crawl"},
        "mail.*": {"queue": "mail"},
        "media.*": {"queue": "media"},
        "reports.*": {"queue": "reports"},
    },
)
# Someone is watching: tell about the hook itself sooner than is usual.
capture.install(app, name="shop", report_seconds=5)


class PageError(Exception):
    """The page is not there (now)."""


class CardDeclinedError(Exception):
    """The bank does not answer (yet)."""


class PictureError(Exception):
    """The file is no picture."""


@worker_process_init.connect  # type: ignore[untyped-decorator] # celery ships no types
def _end_with_the_worker(**_: Any) -> None:
    # A worker that is killed does not take its pool's processes with it.
    die_with_parent(os.getppid())


# -- orders: short tasks --------------------------------------------------------------------


@app.task(name="orders.place")  # type: ignore[untyped-decorator]
def place(seconds: float) -> str:
    """Take an order."""
    time.sleep(seconds)
    return "placed"


@app.task(name="orders.pack")  # type: ignore[untyped-decorator]
def pack(order: str) -> str:
    """Pack an order; second link of a chain."""
    return f"{order}, packed"


@app.task(name="orders.receipt")  # type: ignore[untyped-decorator]
def receipt(order: str) -> str:
    """Write the receipt; last link of a chain."""
    return f"{order}, receipt written"


@app.task(name="orders.validate")  # type: ignore[untyped-decorator]
def validate(quantity: int) -> int:
    """Fail if the order makes no sense."""
    if quantity < 1:
        raise ValueError(f"cannot sell {quantity} of it")
    return quantity


@app.task(bind=True, name="orders.charge", max_retries=CHARGE_FAILURES)  # type: ignore[untyped-decorator]
def charge(self: Task) -> str:
    """Succeed at the last of several attempts."""
    if self.request.retries < CHARGE_FAILURES:
        raise self.retry(exc=CardDeclinedError("no answer from the bank"), countdown=0.5)
    return "charged"


@app.task(name="orders.remind")  # type: ignore[untyped-decorator]
def remind() -> str:
    """Remind a customer; called with an eta."""
    return "reminded"


@app.task(bind=True, name="orders.ship")  # type: ignore[untyped-decorator]
def ship(self: Task, carrier: str) -> str:
    """Ship an order, and tell it with an event of our own."""
    self.send_event("order-shipped", carrier=carrier)
    return carrier


@app.task(bind=True, name="orders.reserve", acks_late=True)  # type: ignore[untyped-decorator]
def reserve(self: Task) -> str:
    """Put the message back into its queue once."""
    if not self.request.delivery_info.get("redelivered"):
        raise Reject("the warehouse is busy", requeue=True)
    return "reserved"


@app.task(name="orders.publish")  # type: ignore[untyped-decorator]
def publish(seconds: float) -> None:
    """Put a product on sale: a chord, a chain and a task that is retried, all in one trace."""
    time.sleep(seconds)
    chord([thumbnail.s(seconds * part) for part in (2, 4, 3)])(album.s())
    chain(place.s(seconds), pack.s(), receipt.s()).delay()
    charge.delay()


# -- crawl: a nested workflow ---------------------------------------------------------------


@app.task(  # type: ignore[untyped-decorator]
    name="crawl.visit",
    acks_late=True,
    autoretry_for=(PageError,),
    retry_kwargs={"max_retries": 3, "countdown": VISIT_RETRY_SECONDS},
)
def visit(page: str, seconds: float = 0.05) -> None:
    """Visit a page and start the tasks that extract and store what is on it.

    A ``missing`` page is tried again and fails at last; an ``unreachable`` host is rejected.
    """
    time.sleep(seconds)
    if page == "missing":
        raise PageError("404 Not Found")
    if page == "unreachable":
        raise Reject("no such host", requeue=False)
    (extract.s(page) | store.s()).delay()


@app.task(name="crawl.extract")  # type: ignore[untyped-decorator]
def extract(page: str) -> dict[str, Any]:
    """Extract the links of a page."""
    time.sleep(0.05)
    return {"page": page, "links": ["/", "/about"]}


@app.task(name="crawl.store")  # type: ignore[untyped-decorator]
def store(extracted: dict[str, Any]) -> str:
    """Store what was extracted."""
    return f"{len(extracted['links'])} links stored"


# -- mail: with priorities, and a server that is away at times ---------------------------------


@app.task(name="mail.send")  # type: ignore[untyped-decorator]
def send(seconds: float) -> str:
    """Send a mail, if the mail server is there."""
    time.sleep(seconds)
    if MAIL_AWAY.exists():
        raise ConnectionError("the mail server refuses connections")
    return "sent"


# -- media: slow tasks, acknowledged late ----------------------------------------------------


@app.task(name="media.thumbnail", acks_late=True)  # type: ignore[untyped-decorator]
def thumbnail(seconds: float, damaged: bool = False) -> float:
    """Scale a picture; member of a group or header of a chord. Fails for a damaged one."""
    time.sleep(seconds)
    if damaged:
        raise PictureError("truncated JPEG")
    return seconds


@app.task(name="media.album", acks_late=True)  # type: ignore[untyped-decorator]
def album(pictures: list[float]) -> int:
    """Bind pictures to an album; body of a chord."""
    return len(pictures)


@app.task(name="media.render", acks_late=True)  # type: ignore[untyped-decorator]
def render(seconds: float) -> float:
    """Render a video: slow; called with a hard time limit now and then."""
    time.sleep(seconds)
    return seconds


@app.task(name="media.film", acks_late=True)  # type: ignore[untyped-decorator]
def film(seconds: float) -> float:
    """Cut a film: the slowest of all that succeed."""
    time.sleep(seconds)
    return seconds


@app.task(name="media.encode", acks_late=True)  # type: ignore[untyped-decorator]
def encode(seconds: float) -> float:
    """Encode a video for so long that somebody terminates it."""
    time.sleep(seconds)
    return seconds


@app.task(name="media.broken_file", acks_late=True)  # type: ignore[untyped-decorator]
def broken_file() -> None:
    """Take the pool's process down, as a faulty C library or the kernel's OOM killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


# -- reports: their worker is not always there ------------------------------------------------


@app.task(name="reports.write")  # type: ignore[untyped-decorator]
def write(seconds: float) -> float:
    """Write a report."""
    time.sleep(seconds)
    return seconds
