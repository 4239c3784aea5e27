"""Says in options of the command what the API's hints say in members of a request. Pure."""

from typing import Final

_GIVEN: Final = "--args JSON and --kwargs JSON say what it was sent with."

#: By the kind of the problem, instead of the API's hint.
_INSTEAD: Final = {
    "already-retried": "--again sends it once more.",
    "chord-unavailable": "Its failed members can be: leave --whole out. The body does not run"
    " then.",
    "confirmation-needed": "--dry-run gives a token; without --confirm both steps are done.",
    "payload-incomplete": f"{_GIVEN} --name says its name where no event told it.",
    "payload-withheld": _GIVEN,
    "task-active": "--from-state STATE says that it is meant all the same.",
    "task-unknown": "With --ask, the result backend and the workers are asked too.",
    "unauthenticated": "Is the token the one that was made for this exporter? It may have ended"
    " or been revoked.",
}
#: Beside it.
_BESIDE: Final = {
    "payload-altered": _GIVEN,
    "payload-unavailable": _GIVEN,
    "payload-unverified": f"--unverified takes them as they are. {_GIVEN}",
    "queue-unknown": "On Redis, a retry can make a queue: --new-queue.",
}


def hint_for(kind: str, hint: str) -> str:
    """Return the hint of a problem for somebody at a command line."""
    if kind in _INSTEAD:
        return _INSTEAD[kind]
    return " ".join(filter(None, (hint, _BESIDE.get(kind))))
