"""Runs one slow question beside the others, and waits for its answer no longer than allowed."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from z4j_exporter.errors import ExporterError

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Background(Generic[Answer]):
    """A question that is asked in a thread of its own, from now on. ``name`` is the thread's."""

    def __init__(self, name: str, question: Callable[[], Answer]) -> None:
        self._question = question
        self._answer: Answer | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def answer(self, deadline: float) -> Answer | None:
        """Return the answer; None if it failed or did not come by the deadline (monotonic)."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._question()
        except ExporterError as error:
            logger.info("%s: %s", self._thread.name, error.message)
        except Exception:  # one question that fails must not end the examination
            logger.debug("%s failed", self._thread.name, exc_info=True)
