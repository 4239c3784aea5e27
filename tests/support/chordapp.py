"""A Celery application with the capture hook whose chords fail as long as a file is not there.

``celery -A tests.support.chordapp -b URL worker`` takes the result backend from CHORDAPP_BACKEND.
"""

import os
from pathlib import Path

from celery import Celery

from z4j_exporter import capture

app = Celery("chords", broker="memory://", backend=os.environ.get("CHORDAPP_BACKEND") or None)
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
hook = capture.install(app)


@app.task(name="need")
def need(path: str, number: int) -> int:
    """Return a number; of odd ones only when the file is there."""
    if number % 2 and not Path(path).exists():
        raise FileNotFoundError(path)
    return number


@app.task(name="total")
def total(numbers: list[int], more: int = 0) -> int:
    """Add up what a chord's header found."""
    return sum(numbers) + more
