"""The exception tree: every error a user can meet, with its exit code and a hint."""


class ExporterError(Exception):
    """An error to be shown as one sentence and a hint, never as a traceback.

    ``message`` says what was wrong, ``hint`` what to do about it. Neither may hold a secret.
    """

    #: The process's exit code when this error ends it. 1 is left to unforeseen errors, 2 to
    #: click's own usage errors, 10 and 11 to the doctor's verdicts.
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(ExporterError):
    """A setting, configuration file or web configuration file is wrong."""

    exit_code = 3


class BrokerUrlError(ExporterError):
    """The broker URL cannot be understood, or its transport cannot carry events."""

    exit_code = 4


class FileError(ExporterError):
    """A file cannot be read or written."""

    exit_code = 5


class ListenError(ExporterError):
    """The listening address cannot be bound."""

    exit_code = 6


class AppImportError(ExporterError):
    """``-A module:attr`` does not lead to a Celery application."""

    exit_code = 7


class DemoError(ExporterError):
    """The demo could not run, or did not show every transition."""

    exit_code = 8


class SourceLostError(ExporterError):
    """The connection to the broker failed or ended: the reader connects again."""

    exit_code = 9


class EndOfStreamError(ExporterError):
    """The source has no more events (a recording that was read to its end)."""


class TraceError(ExporterError):
    """No such trace, several that match, or the exporter that should know it does not answer."""

    exit_code = 12
