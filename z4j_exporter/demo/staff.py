"""The demo's staff: somebody who retries, somebody who may not, and what Alertmanager would post.

A thread that asks the actions' API as anybody would: the exporter knows nothing of it.
"""

import http.client
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from z4j_exporter.demo.access import FAILING_TASK, Access
from z4j_exporter.demo.alerts import OUTAGE, RATIO, Alert, OutageWatch, message
from z4j_exporter.demo.scrape import scrape
from z4j_exporter.demo.traces import latest
from z4j_exporter.errors import DemoError
from z4j_exporter.tracing.story import subject

logger = logging.getLogger(__name__)

#: Seconds between two looks at what is due.
_LOOK_SECONDS = 1.0
#: Seconds an answer may take.
_TIMEOUT_SECONDS = 10.0
#: The task that an outage breaks, and the exception it fails with.
BROKEN, BROKEN_BY = "mail.send", "ConnectionError"
#: Well-formed, and nobody's.
_WRONG_TOKEN = "z4j_" + "0" * 49


class Staff:
    """Does what people and Alertmanager do, each thing at its time, until it is stopped."""

    def __init__(self, url: str, access: Access) -> None:
        self._url = url
        self._access = access
        self._retried: set[str] = set()
        labels = {"alertname": OUTAGE, "severity": "warning", "task": BROKEN}
        self._outage = OutageWatch({**labels, "exception": BROKEN_BY, "queue": "mail"})
        self._ratio: Alert | None = None
        #: What is done, first after and then every so many seconds.
        self._duties: tuple[tuple[float, float, Callable[[], object]], ...] = (
            (0.5, 45.0, self._be_a_stranger),
            (1.0, 1.0, self._watch_for_an_outage),
            (2.0, 60.0, self._be_nosy),
            (4.0, 20.0, self._retry_by_hand),
            (5.0, 60.0, self._look_before_a_bulk_retry),
            (6.0, 30.0, self._tell_of_many_failures),
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="demo-staff", daemon=True)

    def start(self) -> None:
        """Begin, once the traffic runs."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; return when the last answer has come, or nearly so."""
        self._stopping.set()
        self._thread.join(1.0)

    def _work(self) -> None:
        begin = time.monotonic()
        due = [first for first, _, _ in self._duties]
        while not self._stopping.wait(_LOOK_SECONDS):
            for number, (_, every, duty) in enumerate(self._duties):
                now = time.monotonic() - begin
                if now < due[number] or self._stopping.is_set():
                    continue
                due[number] = now + every
                try:
                    duty()
                except DemoError as error:
                    logger.info("the staff could not %s: %s", duty.__name__, error.message)

    # -- people ----------------------------------------------------------------------------------

    def _be_a_stranger(self) -> None:
        self._ask("GET", "/v1/tasks/unknown", _WRONG_TOKEN)

    def _be_nosy(self) -> None:
        """Ask for what a viewer may not do."""
        self._act("/v1/tasks/unknown/cancel", {}, "visitor")

    def _retry_by_hand(self) -> None:
        for line in latest(self._url):
            if (
                subject(line.root) == FAILING_TASK
                and line.errors
                and line.task_id not in self._retried
            ):
                self._retried.add(line.task_id)
                self._act(f"/v1/tasks/{line.task_id}/retry", {}, "operator")
                return

    def _look_before_a_bulk_retry(self) -> None:
        wanted = {"filter": {"task": "crawl.*"}, "limit": 10, "dry_run": True}
        self._act("/v1/bulk-retry", wanted, "operator")

    # -- Alertmanager ----------------------------------------------------------------------------

    def _watch_for_an_outage(self) -> None:
        failed = "celery_task_failed_total"
        failures = scrape(self._url, failed).total(failed, task=BROKEN, exception=BROKEN_BY)
        if (alert := self._outage.look(failures, time.monotonic(), time.time())) is not None:
            self._post(alert)

    def _tell_of_many_failures(self) -> None:
        """Fire at one time, and be resolved at the next."""
        if self._ratio is None:
            labels = {"alertname": RATIO, "severity": "warning", "task": "crawl.visit"}
            self._ratio = Alert("firing", labels, time.time())
            self._post(self._ratio)
        else:
            resolved, self._ratio = self._ratio._replace(status="resolved"), None
            self._post(resolved)

    def _post(self, alert: Alert) -> None:
        ended = time.time() if alert.status == "resolved" else None
        self._act("/v1/alertmanager", message(alert, ended), "alertmanager")

    # -- HTTP ------------------------------------------------------------------------------------

    def _act(self, path: str, body: Mapping[str, Any], who: str) -> None:
        self._ask("POST", path, self._access.tokens[who], body)

    def _ask(
        self, method: str, path: str, token: str, body: Mapping[str, Any] | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        content = None if body is None else json.dumps(body)
        host = urlsplit(self._access.url).netloc
        connection = http.client.HTTPConnection(host, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise DemoError(f"the actions do not answer: {error}") from error
        finally:
            connection.close()
        logger.info("the staff asked %s %s: %d", method, path, answer.status)
