"""What the capture hook costs: `python -m benchmarks.capture` publishes with and without it.

One client publishes the same tasks to a real broker in turns, with the hook and without, so that a
busy machine slows both. Then it times the handlers of one task alone.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.app.task import Context
from celery.signals import before_task_publish

from benchmarks.brokers import BrokerMissingError, running
from z4j_exporter import capture
from z4j_exporter.capture import handlers

if TYPE_CHECKING:
    from benchmarks.wire import Broker

#: What one task's handlers may cost in a process, at the median.
GOAL_MICROSECONDS = 50.0
_ARGS = (42, "a@shop", {"lines": [{"sku": f"sku-{n}", "quantity": n} for n in range(5)]})


def main() -> int:
    """Measure, print the table; 1 when the handlers cost more than promised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capture", description=__doc__)
    parser.add_argument("--tasks", type=int, default=500, help="tasks in a turn (500)")
    parser.add_argument("--turns", type=int, default=6, help="turns with, and without (6)")
    parser.add_argument("--broker", choices=["redis", "rabbitmq", "both"], default="both")
    options = parser.parse_args()
    kinds: list[Broker] = ["redis", "rabbitmq"] if options.broker == "both" else [options.broker]
    print("broker     task               without      with     ratio   (median µs)")
    worst = 0.0
    for kind in kinds:
        try:
            with running(kind) as broker:
                app = _app(broker.open())
                _publishing(kind, app, options.tasks, options.turns)
                worst = max(worst, _handlers(app, kind))
                app.close()
        except BrokerMissingError as missing:
            print(f"{kind} is left out: {missing}", file=sys.stderr)
    print(f"goal: at most {GOAL_MICROSECONDS:.0f} µs in a process; worst {worst:.1f} µs")
    return 0 if worst <= GOAL_MICROSECONDS else 1


def _app(url: str) -> Celery:
    app = Celery("bench", broker=url, set_as_current=False)
    app.conf.task_ignore_result = True

    @app.task(name="bench.order", shared=False)
    def order(*_: Any) -> None:
        """Do nothing: it is only published."""

    app.finalize()
    return app


def _publishing(kind: str, app: Celery, tasks: int, turns: int) -> None:
    """Print what a publish takes: flat out, and with pauses as an application has them."""
    order = app.tasks["bench.order"]

    def paced() -> float:
        time.sleep(0.001)
        return _timed(lambda: order.apply_async(_ARGS))

    def flat_out() -> float:
        return _timed(lambda: order.apply_async(_ARGS))

    for name, publish, n in (("1 ms apart", paced, tasks), ("flat out", flat_out, tasks * 4)):
        without, with_hook = [], []
        publish()
        for _ in range(turns):
            without += [publish() for _ in range(n)]
            hook = capture.install(app, name="bench:app")
            publish()
            with_hook += [publish() for _ in range(n)]
            hook.flush(30)
            hook.uninstall()
        _row(kind, f"publish, {name}", without, with_hook)


def _row(kind: str, what: str, without: list[float], with_hook: list[float]) -> None:
    for share, label in ((0.5, what), (0.99, "   its 99th of 100")):
        a, b = (sorted(values)[int(len(values) * share)] for values in (without, with_hook))
        print(f"{kind:10} {label:20} {a:8.1f} {b:9.1f} {b / a:9.2f}")


def _handlers(app: Celery, kind: str) -> float:
    """Print what the handlers of one task take; return the most in one process, µs."""
    hook = capture.install(app, name="bench:app")
    order = app.tasks["bench.order"]
    message = app.amqp.create_task_message("id-0", order.name, _ARGS, {})
    headers, properties, body, _ = message

    def published() -> None:
        # Under the name and with the variables that the handler looks for in its callers.
        send_task_message(app.amqp, "json", body, headers, properties, order.name)

    request = Context({**headers, "delivery_info": {"exchange": "", "routing_key": "celery"}})
    order.request_stack.push(request)

    def ran() -> None:
        handlers.on_prerun(task_id="id-0", task=order)
        handlers.on_postrun(task_id="id-0", task=order, state="SUCCESS", retval=None)

    costs = []
    for name, act in (("publish handler", published), ("prerun and postrun", ran)):
        times = []
        for n in range(4_000):
            times.append(_timed(act))
            if n % 50 == 0:
                time.sleep(0.01)  # the sender works too, as it does in an application
        costs.append(statistics.median(times))
        print(f"{kind:10} {name:20} {'':8} {costs[-1]:9.1f}")
    order.request_stack.pop()
    hook.flush(30)
    figures = hook.stats()
    print(f"{kind:10} {figures['sent']} of {figures['captured']} sent, {figures['errors']} errors")
    hook.uninstall()
    return max(costs)


def send_task_message(
    amqp: Any,
    serializer: str,  # noqa: ARG001  # the handler finds it in this frame
    body: Any,
    headers: Any,
    properties: Any,
    name: str,
) -> None:
    """Call the handler as Celery's function of this name does, through the signal."""
    before_task_publish.send(
        name,
        body=body,
        exchange="",
        routing_key="celery",
        declare=[amqp.default_queue],
        headers=headers,
        properties=properties,
        retry_policy=None,
    )


def _timed(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1e6


if __name__ == "__main__":
    gc.collect()
    sys.exit(main())
