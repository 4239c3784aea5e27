"""Names the service of each process by its nodename: never one service per worker."""

import re
from collections.abc import Sequence

from z4j_exporter.patterns import compile_rewrite
from z4j_exporter.tracing.model import Source
from z4j_exporter.tracing.text import clean

#: The service of a worker whose nodename says nothing.
WORKER = "celery-worker"
#: The service of a client of which nothing else is known.
PRODUCER = "celery-producer"

#: ``gen123@host``: what Celery calls a process that is no worker (celery/utils/nodenames.py).
_CLIENT = re.compile(r"gen\d+(?:@.*)?", re.DOTALL)
#: A number at the end of a name, with what stands before it: worker1, worker-1, w.01.
_NUMBER = re.compile(r"[\s._-]*\d+\Z")
#: Processes remembered.
_MAX_SOURCES = 10_000


class Services:
    """Decides by ``rules``, each PATTERN=SERVICE for whole nodenames, the first that matches.

    Else the service is what stands before the @, without a number at its end.
    """

    def __init__(self, rules: Sequence[str] = ()) -> None:
        self._rules = [_parse(rule) for rule in rules]
        self._sources: dict[tuple[str, int | None, str | None], Source] = {}

    def worker(self, nodename: str, pid: int | None) -> Source:
        """Return the source of a worker's spans."""
        return self._source(nodename, pid, None)

    def producer(self, nodename: str, pid: int | None, parent_worker: str | None) -> Source:
        """Return the source of a client's spans.

        ``parent_worker`` is the nodename of the worker that ran the task which sent: the client
        is one of its processes.
        """
        return self._source(nodename, pid, parent_worker or "")

    def _source(self, nodename: str, pid: int | None, sender: str | None) -> Source:
        key = (nodename, pid, sender)
        source = self._sources.get(key)
        if source is None:
            if len(self._sources) >= _MAX_SOURCES:
                self._sources.clear()
            nodename = clean(nodename)
            service = self._service(clean(sender or nodename), is_worker=sender is None)
            source = self._sources[key] = Source(service, nodename, pid)
        return source

    def _service(self, nodename: str, *, is_worker: bool) -> str:
        for pattern, replacement in self._rules:
            match = pattern.fullmatch(nodename)
            if match:
                service = clean(match.expand(replacement))
                return service or (WORKER if is_worker else PRODUCER)
        if _CLIENT.fullmatch(nodename) or not nodename:
            return WORKER if is_worker else PRODUCER
        name = nodename.partition("@")[0]
        return _NUMBER.sub("", name) or WORKER


def _parse(rule: str) -> tuple[re.Pattern[str], str]:
    return compile_rewrite(
        rule, "--trace-service", into="service", example=r"shop-\d+@.*=shop", empty=False
    )
