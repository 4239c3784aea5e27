"""The command ``z4j-exporter run``: the main job."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

import click

from z4j_exporter.app import Exporter
from z4j_exporter.cli.logs import set_up
from z4j_exporter.cli.options import settings_from, settings_options
from z4j_exporter.cli.unknown_variables import unknown_variables

logger = logging.getLogger(__name__)

#: Seconds between looks at whether the source has failed for good.
_LOOK_SECONDS = 1.0


@click.command()
@settings_options()
def run(**given: Any) -> None:
    """Read events from a broker and serve metrics.

    Every option can also be set by an environment variable, Z4J_EXPORTER_ and its name in
    capitals with underscores (several values separated by semicolons); a broker URL with a
    password also by a file named in Z4J_EXPORTER_BROKER_URL_FILE.
    """
    settings = settings_from(given)
    set_up(settings.log_level, settings.log_format)
    for name, near in unknown_variables(os.environ):
        hint = f"; did you mean {near}?" if near else ""
        logger.warning("the variable %s is ignored: it is no setting%s", name, hint)
    exporter = Exporter(settings)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(1)  # the second one: at once
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    exporter.start()
    try:
        while not stop.wait(_LOOK_SECONDS):
            if exporter.fatal is not None:
                raise exporter.fatal
    finally:
        exporter.stop()
