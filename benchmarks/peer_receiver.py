"""Celery's own Receiver feeding State, as Celery's manual shows it; the yardstick of the benchmark.

`python -m benchmarks.peer_receiver BROKER_URL`; on SIGUSR1 it prints how many events it handled.
"""

import signal
import sys
from typing import Any

from celery import Celery


def main() -> None:
    """Capture events until killed."""
    app = Celery(broker=sys.argv[1])
    state = app.events.State()
    handled = 0

    def on_event(event: dict[str, Any]) -> None:
        nonlocal handled
        state.event(event)
        handled += 1

    # A signal rather than a thread that waits for questions: the yardstick must not pay for one.
    signal.signal(signal.SIGUSR1, lambda *_: print(f"handled={handled}", flush=True))
    # Redis cuts a slow subscriber off, and capture() ends; `celery events` connects again too.
    while True:
        with app.connection_for_read() as connection:
            try:
                receiver = app.events.Receiver(connection, handlers={"*": on_event})
                receiver.capture(limit=None, timeout=None, wakeup=False)
            except (*connection.connection_errors, *connection.channel_errors) as error:
                print(f"connecting again after {error!r}", file=sys.stderr)


if __name__ == "__main__":
    main()
