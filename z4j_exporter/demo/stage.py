"""Everything that runs in a demo, started and stopped in order."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from z4j_exporter.demo.access import Access, actions_address, make_access
from z4j_exporter.demo.broker import BROKER_URL_VARIABLE, Broker
from z4j_exporter.demo.processes import Child, clean_environment, stop_all
from z4j_exporter.demo.scrape import scrape
from z4j_exporter.demo.settings import exporter_settings
from z4j_exporter.demo.shift import SHIFT_QUEUE, Shift
from z4j_exporter.demo.sink import Sink
from z4j_exporter.demo.staff import Staff
from z4j_exporter.demo.workers import STOP_SECONDS, nodename, start_worker
from z4j_exporter.errors import DemoError, ListenError
from z4j_exporter.web.address import Address, parse_address

#: The traffic's seed: the same customers every time.
_SEED = 1
#: Seconds the workers may take until the exporter has seen them all.
_WORKERS_UP_SECONDS = 45.0
#: Seconds between two looks.
_POLL_SECONDS = 0.2
#: Seconds the broker gets to leave.
_BROKER_STOP_SECONDS = 2.0


class RunningExporter(Protocol):
    """What the demo needs of the exporter: the rest it learns from /metrics, like anybody."""

    @property
    def url(self) -> str:
        """Where it listens, once it has started: ``http://HOST:PORT``."""

    def start(self) -> None:
        """Begin to read the broker and to listen. Raises ListenError."""

    def stop(self) -> None:
        """Stop within its own deadline."""


#: Builds an exporter with these settings, by their names.
BuildExporter = Callable[[Mapping[str, Any]], RunningExporter]


class Stage:
    """Broker, exporter, workers and traffic; a context manager that leaves nothing behind."""

    def __init__(
        self, build_exporter: BuildExporter, directory: Path, *, log_file: Path | None = None
    ) -> None:
        self._build_exporter = build_exporter
        self._directory = directory
        self._log_file = log_file
        self._stack = contextlib.ExitStack()
        #: All that must not end by itself.
        self._children: list[Child] = []
        #: All workers, one that is leaving too.
        self._workers: list[Child] = []
        self._shift: Shift | None = None
        self._broker_url = ""
        self.url = ""
        self.access: Access | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def start_broker(self) -> None:
        """Start the broker. Raises DemoError."""
        broker = Broker(self._directory, self._log("broker"))
        self._stack.callback(stop_all, [broker.child], _BROKER_STOP_SECONDS)
        self._children.append(broker.child)
        self._broker_url = broker.url

    def start_exporter(
        self, listen_address: str, otlp_endpoint: str | None = None
    ) -> ListenError | None:
        """Start the exporter; on a free port if it cannot have the wanted one: returns why not.

        Spans go to ``otlp_endpoint``; without one, spans and metrics to an endpoint of the demo's
        own. Raises ListenError when the address is of no use with any port.
        """
        address = parse_address(listen_address)
        if address.unix_path is not None:
            raise ListenError(
                "The demo cannot listen on a unix socket.",
                hint="It shows what a browser can open: give it HOST:PORT.",
            )
        otlp: dict[str, Any] = {"otlp_endpoint": otlp_endpoint, "otlp_metrics": False}
        if otlp_endpoint is None:
            sink = Sink()
            sink.start()
            self._stack.callback(sink.stop)
            otlp = {"otlp_endpoint": sink.endpoint, "otlp_metrics": True}
        refusal = None
        exporter = self._exporter(address, otlp)
        try:
            exporter.start()
        except ListenError as error:
            refusal = error
            exporter = self._exporter(replace(address, port=0), otlp)
            try:
                exporter.start()
            except ListenError:
                # It was not the port: what the user asked for is what the error must name.
                raise error from None
        self._stack.callback(exporter.stop)
        self.url = exporter.url.rstrip("/")
        return refusal

    def start_workers(self, count: int) -> None:
        """Start ``count`` workers and wait until the exporter has seen them all.

        Raises DemoError when one dies or the exporter does not see it.
        """
        self._stack.callback(stop_all, self._workers, STOP_SECONDS)
        for number in range(count):
            self._start_worker(number)
        names = {worker.name for worker in self._workers}
        deadline = time.monotonic() + _WORKERS_UP_SECONDS
        while unseen := names - self._workers_up():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"The exporter has not seen the worker {min(unseen)}.",
                    hint="Is the machine very busy? Start the demo with --log-file FILE and see"
                    " what it says there.",
                )
            time.sleep(_POLL_SECONDS)

    def turn_shift(self, now_seconds: float) -> None:
        """Let one more worker come and go; to be called each second, by the main thread."""
        self._workers[:] = [worker for worker in self._workers if worker.exit_code is None]
        if self._shift is None:
            number = len(self._workers)
            self._shift = Shift(lambda: self._start_worker(number, SHIFT_QUEUE), self._let_go)
        self._shift.turn(now_seconds)

    def start_traffic(self, rate: float) -> None:
        """Start to call ``rate`` tasks a second."""
        # As a program of its own: an application's tasks are not called from the exporter.
        command = [sys.executable, "-m", "z4j_exporter.demo.traffic", str(rate), str(_SEED)]
        environment = clean_environment(**{BROKER_URL_VARIABLE: self._broker_url})
        traffic = Child(
            "traffic",
            command,
            directory=self._directory,
            environment=environment,
            log=self._log("traffic"),
        )
        # It has nothing to finish.
        self._stack.callback(traffic.kill)
        self._children.append(traffic)

    def start_staff(self) -> None:
        """Start to act on tasks now and then, as people and alerts do."""
        if self.access is None:
            raise DemoError("The staff needs an exporter to ask.")
        staff = Staff(self.url, self.access)
        staff.start()
        self._stack.callback(staff.stop)

    def check(self) -> None:
        """Raise DemoError, with the end of its log, when a process has ended."""
        for child in self._children:
            if (code := child.exit_code) is not None:
                raise DemoError(
                    f"{child.name} has ended by itself (exit code {code}).",
                    hint=f"The end of its log:\n{child.log_tail()}",
                )

    def kill(self) -> None:
        """Kill all processes at once: for someone who does not want to wait."""
        for child in {*self._children, *self._workers}:
            child.kill()

    def _start_worker(self, number: int, queues: str | None = None) -> Child:
        worker = start_worker(
            number,
            broker_url=self._broker_url,
            directory=self._directory,
            log=self._log(nodename(number)),
            queues=queues,
        )
        self._workers.append(worker)
        self._children.append(worker)
        return worker

    def _let_go(self, worker: Child) -> None:
        # From here on its end is no surprise; it may have died a moment ago, which is one.
        self.check()
        self._children.remove(worker)
        worker.ask_to_stop()

    def _exporter(self, address: Address, otlp: dict[str, Any]) -> RunningExporter:
        # Files of its own: one that could not listen may still hold the locks of its files.
        files = Path(tempfile.mkdtemp(prefix="exporter-", dir=self._directory))
        self.access = make_access(
            files, actions_address(address), operator_file=self._directory / "operator.token"
        )
        return self._build_exporter(
            exporter_settings(
                broker_url=self._broker_url,
                listen_address=str(address),
                directory=files,
                access=self.access,
                **otlp,
            )
        )

    def _workers_up(self) -> set[str]:
        up = scrape(self.url).by("worker", "celery_worker_up")
        return {worker for worker, value in up.items() if value > 0}

    def _log(self, name: str) -> Path:
        return self._log_file or self._directory / f"{name}.log"
