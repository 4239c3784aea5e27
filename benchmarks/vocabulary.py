"""The words of the stream: names, arguments and tracebacks of ordinary length."""

import random

#: The queue of task number i is the one at i modulo their number.
QUEUES = ("celery", "celery", "celery", "mail", "reports")
_VERBS = ("send", "fetch", "store", "resize", "charge", "sync", "index", "expire", "notify", "sum")
_NOUNS = ("invoice", "image", "report", "user", "order", "page", "feed", "cart", "cache", "mail")
#: Class and message of what tasks raise.
EXCEPTIONS = (
    ("ValueError", "invalid literal for int() with base 10: 'n/a'"),
    ("KeyError", "'customer_id'"),
    ("requests.exceptions.ConnectionError", "Max retries exceeded with url: /v2/charges"),
    ("TimeoutError", "timed out after 30.0 seconds"),
)
#: A traceback but for its last line.
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/lib/python3.11/site-packages/celery/app/trace.py", line 564, in trace_task
    R = retval = fun(*args, **kwargs)
                 ^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/lib/python3.11/site-packages/celery/app/trace.py", line 883, in __protected_call__
    return self.run(*args, **kwargs)
           ^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/app/tasks.py", line 217, in run
    return self.gateway.call(order, timeout=self.timeout)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"""


def task_names(count: int) -> list[str]:
    """Return `count` different task names of ordinary length."""
    return [
        f"shop.tasks.{_NOUNS[i % 10]}.{_VERBS[i // 10 % 10]}" + (f"_{i // 100}" if i > 99 else "")
        for i in range(count)
    ]


def arguments(rng: random.Random, number: int) -> tuple[str, str]:
    """Return the reprs of the args and kwargs of a call of task `number`."""
    order = rng.randrange(10**6)
    return (
        f"({rng.randrange(10**6)}, 'https://shop.example/order/{order}')",
        f"{{'tenant': 'acme-{number}', 'dry_run': False, 'limit': {number * 10}}}",
    )
