"""What can go wrong between the exporter and a broker, as ActionErrors."""

from z4j_exporter.actions.model import ActionError


def queue_unknown(status: int) -> ActionError:
    """Return the refusal of a queue that the broker does not know."""
    return ActionError(
        "queue-unknown",
        status,
        "the broker knows no queue of this name",
        hint="A worker or a sender that uses the queue makes it known.",
    )


def unreachable(why: str) -> ActionError:
    """Return the failure of asking the broker, before anything was changed."""
    return ActionError(
        "broker-unreachable",
        503,
        f"the broker cannot be asked, nothing was done: {why}",
        hint="Is the broker running, and may the exporter's user do this?",
    )


def unknown(why: str) -> ActionError:
    """Return the failure after which it is not known whether something was changed."""
    return ActionError(
        "broker-timeout",
        504,
        f"the broker did not confirm, so it is not known whether it was done: {why}",
        hint="Look at the task or the queue before trying again.",
        unknown=True,
    )


def refused(words: str, needs: str) -> ActionError:
    """Return the broker's refusal; ``needs``: what the exporter's user must be allowed."""
    return ActionError(
        "broker-refused",
        502,
        f"the broker refused, nothing was done: {words}",
        hint=needs,
    )
