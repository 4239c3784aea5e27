"""Reads what before_task_publish does not tell from the functions that send it.

The signal carries neither the application, nor the serializer, nor a chord's size. All three stand
in variables of Celery's functions up the stack; where they are not found, the hook does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType
from typing import Any

#: How far up the publishing function and the group are looked for.
_FRAMES_TO_SENDING = 8
_FRAMES_TO_CANVAS = 24


def sending(frame: FrameType | None) -> Mapping[str, Any]:
    """Return the variables of the function that publishes (celery/app/amqp.py), or none.

    Among them are `serializer`, `default_serializer`, and what knows the application: `amqp` in
    Celery 5.7, `default_evd` in 5.4 and later.
    """
    for _ in range(_FRAMES_TO_SENDING):
        if frame is None:
            break
        if frame.f_code.co_name == "send_task_message":
            return frame.f_locals
        frame = frame.f_back
    return {}


def chord_size(frame: FrameType | None) -> int | None:
    """Return the size of a chord where the last of its header is published, else None.

    group._apply_tasks (celery/canvas.py) has counted it then, and tells the result backend. No
    message carries it.
    """
    for _ in range(_FRAMES_TO_CANVAS):
        if frame is None:
            break
        if frame.f_code.co_name == "_apply_tasks":
            known = frame.f_locals
            size = known.get("chord_size") if known.get("next_task", frame) is None else None
            return size if isinstance(size, int) else None
        frame = frame.f_back
    return None
