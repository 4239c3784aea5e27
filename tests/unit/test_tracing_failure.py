"""What a span says of an exception: class, message out of the repr, and no secret."""

import pytest

from z4j_exporter.tracing.failure import error_type, exception_event
from z4j_exporter.track.attempts import MAX_EXCEPTION, MAX_TRACEBACK, Notes


def _told(
    exception: str, detail: str, traceback: str | None = None
) -> tuple[dict[str, object], str]:
    told = exception_event(Notes(exception=exception, detail=detail, traceback=traceback), 5)
    assert told is not None
    event, status = told
    assert event.name == "exception"
    assert event.time_ns == 5
    return dict(event.attributes), status


@pytest.mark.parametrize(
    ("exception", "detail", "message"),
    [
        ("ValueError('no price')", "ValueError", "no price"),
        ("KeyError('a')", "KeyError", "a"),
        ('ValueError("it\'s")', "ValueError", "it's"),
        (r"ValueError('a\nb')", "ValueError", "a\nb"),
        ("ValueError('x',)", "ValueError", "x"),
        ("OSError(2, 'No such file')", "OSError", "2, 'No such file'"),
        ("ValueError()", "ValueError", ""),
        ("reject requeue=False: gone", "Reject", "reject requeue=False: gone"),
        ("<Odd: at 0x1>", "Odd", "<Odd: at 0x1>"),
        (r"ValueError('\x')", "ValueError", r"'\x'"),
    ],
)
def test_the_message_is_read_out_of_the_repr(exception: str, detail: str, message: str) -> None:
    attributes, _ = _told(exception, detail)
    assert attributes == {"exception.type": detail, "exception.message": message}


def test_a_wrapper_has_its_message_in_the_traceback() -> None:
    traceback = "Traceback:\n  raise\nbilliard.exceptions.WorkerLostError: signal 9 (SIGKILL)\n"
    attributes, status = _told("ExceptionWithTraceback()", "WorkerLostError", traceback)
    assert attributes["exception.message"] == "signal 9 (SIGKILL)"
    assert attributes["exception.stacktrace"] == traceback
    assert status == "WorkerLostError: signal 9 (SIGKILL)"


def test_the_status_is_a_line() -> None:
    _, status = _told(f"ValueError('{'long ' * 200}')", "ValueError")
    assert len(status) == 256
    _, status = _told(r"ValueError('first\nsecond')", "ValueError")
    assert status == "ValueError: first"
    _, status = _told("ValueError()", "ValueError")
    assert status == "ValueError"


def test_a_class_that_is_not_known_is_other() -> None:
    assert error_type("Unknown") == error_type("") == "_OTHER"


def test_without_an_exception_there_is_no_event() -> None:
    assert exception_event(Notes(detail="ValueError"), 5) is None


def test_secrets_are_taken_out() -> None:
    secret = "hunter2hunter2"
    attributes, status = _told(
        f"ValueError('password={secret}')",
        "ValueError",
        f"  connect('redis://user:{secret}@host')\nValueError: password={secret}\n",
    )
    assert secret not in f"{attributes}{status}"


def test_the_rest_of_a_line_at_the_cut_is_left_out() -> None:
    line = "x" * 50 + "\n"
    traceback = (line * MAX_TRACEBACK)[-MAX_TRACEBACK - 10 :][-MAX_TRACEBACK:]
    attributes, _ = _told("ValueError('x')", "ValueError", traceback)
    stack = attributes["exception.stacktrace"]
    assert isinstance(stack, str)
    assert stack.startswith(line)


@pytest.mark.parametrize(
    "exception",
    ["E(" * 2000, "E('" + "\\" * 3997, "E('" + "'" * 3990 + "')", "\x1b[31m\ud800\x00", "(" * 4000],
)
def test_hostile_text_is_only_text(exception: str) -> None:
    attributes, status = _told(exception[:MAX_EXCEPTION], "E", exception)
    for text in (status, *attributes.values()):
        assert isinstance(text, str)
        text.encode()
        assert "\x1b" not in text
        assert "\x00" not in text
