"""What became of one OTLP request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accepted:
    """The endpoint took it, all of it or (partial success) without ``rejected`` spans or points."""

    rejected: int = 0
    #: What the endpoint had to say, fit for a log line; "" if nothing.
    message: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The endpoint will not take it: sending it again is no use."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not get through, or the endpoint asks to come again."""

    reason: str
    #: Seconds that the endpoint asks to wait (Retry-After, RetryInfo).
    retry_after: float | None = None


Outcome = Accepted | Refused | Failed
