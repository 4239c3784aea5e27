"""Broadcasts the two orders that the doctor may give: send a heartbeat, send task events."""

from z4j_exporter.config import Settings
from z4j_exporter.fleet.inspect import control_exchange
from z4j_exporter.fleet.mailbox import Mailbox

#: Workers whose answers are kept.
_MAX_WORKERS = 10_000


def wake(settings: Settings, timeout_seconds: float) -> frozenset[str]:
    """Ask every worker for a heartbeat, as Celery's own Receiver does; return who said yes.

    Raises ExporterError.
    """
    return frozenset(_order(settings, "heartbeat", timeout_seconds))


def enable_events(settings: Settings, timeout_seconds: float) -> dict[str, str]:
    """Turn task events on in every worker, until its restart; return what each answered.

    Raises ExporterError.
    """
    return _order(settings, "enable_events", timeout_seconds)


def _order(settings: Settings, command: str, timeout_seconds: float) -> dict[str, str]:
    answers: dict[str, str] = {}

    def take(_command: str, reply: object) -> bool:
        if isinstance(reply, dict) and len(answers) < _MAX_WORKERS:
            for worker, answer in reply.items():
                said = answer.get("ok") if isinstance(answer, dict) else ""
                answers[str(worker)] = str(said or "")
        return False  # who else is there is not known: wait to the end

    mailbox = Mailbox(settings, control_exchange(settings))
    try:
        mailbox.ask((command,), take, timeout_seconds=timeout_seconds)
    finally:
        mailbox.close()
    return answers
