"""The optional hook in the application, `capture.install(app)`; it needs Celery alone.

It sends what Celery's events do not carry (payload, group, chord, links, headers) as events of its
own, beside Celery's, over the broker that the application already has. It imports nothing else of
the package. See docs/capture.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

if TYPE_CHECKING:
    from z4j_exporter.capture.hook import Capture
    from z4j_exporter.capture.settings import Options

__all__ = ["install"]


def install(app: Any = None, **options: Unpack[Options]) -> Capture:
    """Capture the tasks that `app` publishes and runs in this process; returns a handle.

    Without `app` it is Celery's current application. A second call for the same application
    returns the first handle. Options stand before `app.conf.z4j_capture`, and the environment
    (`Z4J_CAPTURE_…`) before both; `z4j_exporter.capture.settings.Settings` tells what there is.
    Raises `SettingsError` (a ValueError) for an option that is wrong; what is wrong in the
    configuration or the environment is logged and switches the hook off.
    """
    # Not above: the exporter's own modules import this package for its redaction.
    from z4j_exporter.capture import hook

    return hook.install(app, options)
