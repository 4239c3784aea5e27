"""Why messages and events are refused: a short list, so that each reason can be counted."""

#: Why a message or an event in it was refused: the values of the ``reason`` label.
REFUSAL_REASONS = {
    "too_large": "the message is larger than the limit",
    "bad_envelope": "the transport's envelope is not the JSON object kombu writes",
    "unsafe_content_type": "pickle or another content type that can run code",
    "unknown_content_type": "a content type this program does not know",
    "bad_encoding": "the body is not base64, or not text in the encoding it names",
    "malformed": "the body cannot be parsed as its content type",
    "not_an_event": "not an object with type and timestamp, or an empty list",
    "bad_field": "a field has the wrong type or is out of range",
    "missing_field": "a task event without uuid, or a worker event without hostname",
    "bad_capture": "a capture hook's event that is not what its type promises",
    "capture_version": "a capture hook's event in a version this program does not know",
    "too_many": "more events in one message than Celery ever sends",
}


class RefusedError(Exception):
    """This message or event is refused; ``reason`` is a key of REFUSAL_REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
