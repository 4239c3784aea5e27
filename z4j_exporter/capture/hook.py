"""Installs the hook for an application: connects the signals, and keeps its state through forks."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

from celery import signals

from z4j_exporter.capture import handlers
from z4j_exporter.capture.intake import Intake
from z4j_exporter.capture.settings import CONF, Settings, SettingsError, resolve

logger = logging.getLogger("z4j_exporter.capture")

#: How long a fork may wait for the sender's thread to load its modules, right after the first task.
_LOADING_SECONDS = 1.0
_OFF: frozenset[str] = frozenset()
_install_lock = threading.RLock()
#: The worker's nodename, in a worker and its children.
nodename = ""


class Capture:
    """The hook in one application; `install` makes it."""

    def __init__(self, app: Any, options: Mapping[str, Any]) -> None:
        resolve(options, {}, {})  # keywords are the programmer's: wrong ones raise at once
        self.app = app
        self._options = options
        self._settings: Settings | None = None
        self._hears: frozenset[str] | None = None
        self._start_lock = threading.RLock()
        self._sender: Any = None
        self._intake: Intake | None = None
        self.in_pool_child = False

    @property
    def settings(self) -> Settings:
        """The settings in force: read at the first task, when the application is configured."""
        if self._settings is None:
            self._settings = self._resolved()
        return self._settings

    @property
    def hears(self) -> frozenset[str]:
        """Which of publish, run and end are captured: none while switched off."""
        if self._hears is None:
            settings = self.settings
            self._hears = frozenset(settings.signals) if settings.enabled else _OFF
        return self._hears

    def _resolved(self) -> Settings:
        try:
            return resolve(self._options, self.app.conf.get(CONF) or {}, os.environ)
        except SettingsError as error:
            logger.error("nothing is captured: %s", error)
            return Settings(enabled=False)

    @property
    def intake(self) -> Intake:
        """The queue of this process."""
        if self._intake is None:
            self._intake = Intake(self.settings.queue_items, self.settings.queue_bytes)
        return self._intake

    def put(self, item: Any, size: int) -> None:
        """Hand an item to the sender's thread, which is started with the first one."""
        if self.intake.put(item, size):
            sender = self._sender or self._start()
            sender.wake()

    def failed(self) -> None:
        """Count an error of the hook itself."""
        self.intake.failed()

    def _start(self) -> Any:
        with self._start_lock:
            if self._sender is None:
                # Not above: what sending needs is loaded where something is sent.
                from z4j_exporter.capture.sender import Sender

                sender = Sender(self, self.intake)
                sender.start()
                self._sender = sender
        return self._sender

    def traceparent(self) -> str:
        """Return the current span of the application's own OpenTelemetry, in W3C form, or ""."""
        trace = sys.modules.get("opentelemetry.trace")
        if trace is None:
            return ""
        span = trace.get_current_span()
        if not span.is_recording():
            return ""
        context = span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def stats(self) -> dict[str, Any]:
        """Return this process's counts: captured, sent, dropped, errors, withheld, queue length."""
        figures = self.intake.figures()
        figures["enabled"] = bool(self.hears)
        figures["connected"] = bool(self._sender and self._sender.connected)
        figures["connections"] = self._sender.connections if self._sender else 0
        return figures

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until all is sent, at most `seconds`; tells whether it is."""
        if self._sender is None:
            return not self._intake  # None, or empty
        limit = self.settings.flush_seconds if seconds is None else seconds
        return bool(self._sender.flush(limit))

    def uninstall(self) -> None:
        """Stop capturing, send what waits (at most `flush_seconds`), end the thread."""
        with _install_lock:
            handlers.captures = {
                key: capture for key, capture in handlers.captures.items() if capture is not self
            }
            if not handlers.captures:
                _disconnect()
        self.flush()
        if self._sender is not None:
            self._sender.stop()

    def switch_off(self, reason: str) -> None:
        """Capture nothing any more in this process; what waits is dropped for a reason."""
        self._hears = _OFF
        waiting = self.intake.take(len(self.intake))
        self.intake.drop(reason, len(waiting))

    def before_fork(self) -> None:
        """Let the sender load its modules to the end: a child could not take over their locks."""
        if self._sender is not None:
            self._sender.loaded.wait(_LOADING_SECONDS)

    def after_fork(self) -> None:
        """Begin anew in a child: the queue, its lock and the thread are the parent's."""
        self._start_lock = threading.RLock()
        self._sender = None
        self._intake = None
        self.in_pool_child = False


def install(app: Any, options: Mapping[str, Any]) -> Capture:
    """Install the hook for an application; see `z4j_exporter.capture.install`."""
    if app is None:
        from celery import current_app

        app = current_app
    app = getattr(app, "_get_current_object", lambda: app)()
    with _install_lock:
        found = handlers.captures.get(id(app))
        if found is not None:
            return found
        capture = Capture(app, options)
        _connect()
        handlers.captures = {**handlers.captures, id(app): capture}
        return capture


def _on_worker(sender: Any = None, **_: Any) -> None:
    global nodename
    nodename = str(sender or "")


def _on_pool_child(**_: Any) -> None:
    # Threads, gevent and solo send worker_process_init too, in the worker's own process.
    # (the name is private; billiard has no public one that tells a child from a main process)
    process = sys.modules.get("billiard.process")
    if process is not None and process.current_process()._parent_pid:
        for capture in handlers.captures.values():
            capture.in_pool_child = True


def _flush_all(**_: Any) -> None:
    for capture in handlers.captures.values():
        capture.flush()


def _before_fork() -> None:
    for capture in handlers.captures.values():
        capture.before_fork()


def _after_fork_in_child() -> None:
    global _install_lock
    _install_lock = threading.RLock()
    handlers.forget()
    for capture in handlers.captures.values():
        capture.after_fork()


_SIGNALS = (
    (signals.before_task_publish, handlers.on_publish),
    (signals.task_prerun, handlers.on_prerun),
    (signals.task_postrun, handlers.on_postrun),
    (signals.task_failure, handlers.on_failure),
    (signals.task_internal_error, handlers.on_internal_error),
    (signals.task_retry, handlers.on_retry),
    (signals.task_revoked, handlers.on_revoked),
    (signals.task_unknown, handlers.on_unknown),
    (signals.celeryd_init, _on_worker),
    (signals.worker_process_init, _on_pool_child),
    # Pool children end without atexit (os._exit); they send this first.
    (signals.worker_process_shutdown, _flush_all),
    (signals.worker_shutdown, _flush_all),
)


def _connect() -> None:
    for signal, handler in _SIGNALS:
        signal.connect(handler, weak=False, dispatch_uid=f"z4j-capture-{handler.__name__}")


def _disconnect() -> None:
    for signal, handler in _SIGNALS:
        signal.disconnect(dispatch_uid=f"z4j-capture-{handler.__name__}")


# Neither can be undone, and both do nothing while nothing is installed.
os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
atexit.register(_flush_all)
