"""Asks the API of the actions over HTTP: one deadline for all of an answer, and a bound.

What went wrong is told by what it means for the task: refused, not possible, not known, or never
asked for. Redirects and proxies are not followed: the request carries a token.
"""

import math
import ssl
import time
from dataclasses import dataclass
from typing import Any, Final

import httpcore
import msgspec

from z4j_exporter import __version__
from z4j_exporter.cli.action_answers import ProblemSaid, problem_of
from z4j_exporter.cli.action_errors import (
    ActionCommandError,
    ActionFailedError,
    ActionRefusedError,
    ActionsUnreachableError,
    ActionUnknownError,
)
from z4j_exporter.cli.action_hints import hint_for
from z4j_exporter.cli.action_target import Target
from z4j_exporter.cli.show import printable
from z4j_exporter.http_deadline import HTTP_FAILURES, Deadline

#: Seconds for one answer; the API itself waits for workers and brokers for half of it at most.
DEFAULT_TIMEOUT_SECONDS: Final = 60.0
#: Bytes of an answer; a thousand tasks of a job have some hundred thousands.
_MAX_BYTES: Final = 16 * 1024 * 1024
#: Characters of a sentence of the API that are repeated.
_SENTENCE: Final = 600
#: Mistakes of a request that are repeated.
_MOST_MISTAKES: Final = 10
#: Seconds that a Retry-After can make us wait.
_MOST_WAIT_SECONDS: Final = 60.0
#: The request is on its way from here on: what goes wrong later may have happened all the same.
_SENDING: Final = "http11.send_request_headers.started"

_CERTIFICATE_HINT: Final = (
    "Where it asks for a certificate that it knows: --client-certificate CERT KEY."
)
_WHICH_HINT: Final = "Is it the actions' own address (port 9809), and an exporter with --actions?"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is none of the errors; ``replayed``: it was done before, under this key."""

    status: int
    document: dict[str, Any]
    replayed: bool


class ActionsClient:
    """One API; every method raises ActionCommandError. ``timeout``: seconds for one answer."""

    def __init__(self, target: Target, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        self.url = target.address.url
        self._address = target.address
        self._timeout = timeout
        self._headers = {
            "host": target.address.authority,
            "accept": "application/json, application/problem+json",
            "user-agent": f"z4j-exporter/{__version__}",
        }
        if target.token is not None:
            self._headers["authorization"] = f"Bearer {target.token}"
        self._deadline = Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=target.tls,
            max_connections=1,
            # A connection that the server closes just when it is used again would leave it open
            # whether the request was taken.
            max_keepalive_connections=0,
            network_backend=self._deadline,
        )

    def look(self, path: str) -> Answer:
        """Ask for something that changes nothing."""
        return self._ask("GET", path, None, key=None, acts=False)

    def post(self, path: str, body: dict[str, Any], *, key: str | None, acts: bool) -> Answer:
        """Ask for an action; ``acts``: it is no dry run, so that a lost answer leaves it open."""
        return self._ask("POST", path, msgspec.json.encode(body), key=key, acts=acts)

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def _ask(
        self, method: str, path: str, body: bytes | None, *, key: str | None, acts: bool
    ) -> Answer:
        self._deadline.at = time.monotonic() + self._timeout
        sent = False

        def trace(event: str, _: dict[str, Any]) -> None:
            nonlocal sent
            sent = sent or event == _SENDING

        headers = dict(self._headers)
        if body is not None:
            headers |= {"content-type": "application/json", "content-length": str(len(body))}
        if key is not None:
            headers["idempotency-key"] = key
        try:
            with self._pool.stream(
                method,
                self._url(path),
                headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                content=body,
                extensions={"trace": trace},
            ) as answer:
                content = _read(answer)
        except HTTP_FAILURES as error:
            raise self._no_answer(error, in_doubt=sent and acts) from None
        except KeyboardInterrupt:
            if sent and acts:
                raise ActionUnknownError(
                    "interrupted before the answer came: it may have happened"
                ) from None
            raise
        return self._told(answer, content, acts=acts)

    def _url(self, path: str) -> httpcore.URL:
        address = self._address
        return httpcore.URL(
            scheme=address.scheme.encode(),
            host=address.host.encode(),
            port=address.port,
            target=f"{address.path}{path}".encode(),
        )

    def _told(self, answer: httpcore.Response, content: bytes | None, *, acts: bool) -> Answer:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in answer.headers
        }
        document = _document(content)
        if answer.status in (200, 202) and document is not None:
            return Answer(answer.status, document, "idempotency-replayed" in headers)
        problem = problem_of(document)
        wait = _seconds(headers.get("retry-after", ""))
        if problem is None:
            raise self._strange(answer.status, content, wait, acts=acts)
        raise _refusal(problem, document, answer.status, wait)

    def _strange(
        self, status: int, content: bytes | None, wait: float, *, acts: bool
    ) -> ActionCommandError:
        """Return the error of an answer that the API did not give: a proxy's, another server's."""
        what = f"answered {status}" if content is not None else f"sent more than {_MAX_BYTES} bytes"
        sentence = f"{self.url} {what}, and no answer of the actions API"
        if 400 <= status < 500:
            return ActionRefusedError(
                sentence, hint=_WHICH_HINT, status=status, retry_after_seconds=wait
            )
        if acts and (200 <= status < 300 or status >= 500):
            return ActionUnknownError(f"{sentence}: it may have happened", status=status)
        return ActionsUnreachableError(
            sentence, hint=_WHICH_HINT, status=status, retry_after_seconds=wait
        )

    def _no_answer(self, error: Exception, *, in_doubt: bool) -> ActionCommandError:
        words = printable(str(error)[:_SENTENCE]) or type(error).__name__
        # httpcore wraps what the socket raised.
        causes = (error, *error.args, error.__cause__, error.__context__)
        tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
        # An alert of the other side ends the handshake: it has taken no request. (TLS 1.3 brings
        # the one that asks for a client certificate only after we have begun to send.)
        if tls is not None and (not in_doubt or "ALERT" in (tls.reason or "")):
            return ActionsUnreachableError(
                f"TLS with {self.url} failed: {_tls_words(tls)}", hint=_tls_hint(tls)
            )
        late = isinstance(error, httpcore.TimeoutException)
        # Some servers end a connection without a certificate so, and say nothing.
        hint = _CERTIFICATE_HINT if self._address.scheme == "https" and not late else ""
        if in_doubt:
            what = f"did not answer within {self._timeout:g} s" if late else f"went away: {words}"
            return ActionUnknownError(f"{self.url} {what}: it may have happened", hint=hint)
        if late:
            words = f"nothing within {self._timeout:g} s"
        return ActionsUnreachableError(
            f"no actions API answers at {self.url}: {words}",
            hint=hint
            or "--url says where it listens. The exporter serves it with --actions alone, by"
            " default to its own machine.",
        )


def _read(answer: httpcore.Response) -> bytes | None:
    """Return the body; None for one that is too large, the rest of which is not read."""
    pieces: list[bytes] = []
    size = 0
    for chunk in answer.iter_stream():
        size += len(chunk)
        if size > _MAX_BYTES:
            return None
        pieces.append(chunk)
    return b"".join(pieces)


def _document(content: bytes | None) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(content or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refusal(
    problem: ProblemSaid, document: dict[str, Any] | None, status: int, wait: float
) -> ActionCommandError:
    if problem.unknown:
        kind: type[ActionCommandError] = ActionUnknownError
    else:
        kind = ActionRefusedError if status < 500 else ActionFailedError
    sentence = f"{_cut(problem.detail)} [{_cut(problem.kind, 80)}]"
    hints = [
        f"{_cut(mistake.at, 80)}: {_cut(mistake.problem)}"
        for mistake in (problem.errors or [])[:10]
    ]
    if hint := hint_for(problem.kind, problem.hint or ""):
        hints.append(_cut(hint))
    if problem.action_id:
        hints.append(f"See: z4j-exporter action show {_cut(problem.action_id, 80)}")
    return kind(
        sentence,
        hint="\n  ".join(hints),
        problem=document,
        status=status,
        retry_after_seconds=wait,
    )


def _cut(text: str, most: int = _SENTENCE) -> str:
    return printable(text if len(text) <= most else f"{text[:most]}…")


def _seconds(text: str) -> float:
    try:
        seconds = float(text[:20])
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), _MOST_WAIT_SECONDS) if math.isfinite(seconds) else 0.0


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return printable(f"its certificate is not good: {error.verify_message}"[:_SENTENCE])
    if "WRONG_VERSION_NUMBER" in (error.reason or ""):
        return "it does not speak TLS"
    if "ALERT" in (error.reason or ""):
        words = (error.reason or "").partition("ALERT_")[2].replace("_", " ").lower()
        return printable(f"it refused us ({words})"[:_SENTENCE])
    return printable((error.reason or str(error))[:_SENTENCE])


def _tls_hint(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "--ca-file names the certificates to trust; --url must have a name in its own."
    if "WRONG_VERSION_NUMBER" in (error.reason or ""):
        return "Does its --url begin with http://?"
    if "CERTIFICATE" in (error.reason or "") or "UNKNOWN_CA" in (error.reason or ""):
        return _CERTIFICATE_HINT
    return ""
