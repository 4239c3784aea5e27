"""How requests and answers stand in the journal: what a repeated key is answered with. Pure."""

from datetime import datetime
from typing import Any

from z4j_exporter.actions.engine_parts import Refusal
from z4j_exporter.actions.engine_request import Request, Sending
from z4j_exporter.actions.model import Action, State


def options_stored(request: Request, told: dict[str, Any]) -> dict[str, Any]:
    """Return what the journal keeps of a request; never the caller's arguments.

    ``told``: what is said of the choice of a job's tasks, from the start on.
    """
    sending = {name: getattr(request.sending, name) for name in Sending.__slots__}
    if request.sending.eta is not None:
        sending["eta"] = request.sending.eta.isoformat()
    chosen = request.filter
    return {
        "from_state": list(request.from_state),
        "sending": sending,
        "filter": chosen and {name: getattr(chosen, name) for name in chosen.__slots__},
        "whole": request.whole,
        "rate": request.rate,
        "told": told,
    }


def sending_of(options: dict[str, Any]) -> Sending:
    """Return how the tasks of a journalled job are sent."""
    stored = dict(options.get("sending") or {})
    if stored.get("eta"):
        stored["eta"] = datetime.fromisoformat(stored["eta"])
    return Sending(**stored)


def raise_stored(action: Action) -> None:
    """Raise the refusal that an action was answered with, if it was. Raises Refusal."""
    problem = action.result.get("problem")
    if isinstance(problem, dict):
        raise Refusal.from_stored(problem, action.id)
    if action.state is State.UNKNOWN:
        raise Refusal(
            "outcome-unknown",
            504,
            "The exporter ended while it was at work on this; it may have happened.",
            hint="See the action; what was not begun of a job can be resumed.",
            unknown=True,
            action_id=action.id,
        )
