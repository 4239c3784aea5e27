"""Asks Redis many things in one round trip, within a deadline and a limit of bytes.

redis-py's pipelines have a timeout for each read of the socket: a server that sends a byte now
and then would never end them.
"""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

import hiredis

from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources.redis_servers import (
    RedisServers,
    Target,
    close_connection,
    open_connection,
)
from z4j_exporter.sources.socket_input import lost

#: Bytes that the answers of one round trip may have.
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
_RECEIVE_BYTES: Final = 256 * 1024

Command = tuple[str | bytes | int, ...]


class RedisCalls:
    """A connection to Redis for questions and answers.

    ``connection`` is redis-py's, connected; ``deadline``, on the clock, is when all must be over.
    ``client_name`` is what CLIENT LIST shows, where the user may set it.
    """

    def __init__(
        self,
        connection: Any,
        deadline: float,
        *,
        client_name: str = "",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._connection = connection
        # redis-py gives no public way to its socket.
        self._socket = connection._sock
        self._deadline = deadline
        self._clock = clock
        self._reader = hiredis.Reader()
        # Goes along with the first question; whether it was allowed makes no difference.
        self._greeting: list[Command] = [("CLIENT", "SETNAME", client_name)] if client_name else []
        #: Times that the server was asked and waited for.
        self.round_trips = 0

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send these commands and return their answers, in order.

        A command that was refused is answered by a hiredis.ReplyError (see ``refusal``).

        Raises SourceLostError when the connection is lost, the deadline is over, or the answers
        are larger than MAX_REPLY_BYTES.
        """
        if not commands:
            return []
        self.round_trips += 1
        greeting, self._greeting = self._greeting, []
        answers: list[Any] = []
        taken = 0
        try:
            self._within_deadline()
            # hiredis's stub takes a tuple for one of a single item.
            packed = [hiredis.pack_command(command) for command in (*greeting, *commands)]  # type: ignore[arg-type]
            self._socket.sendall(b"".join(packed))
            while len(answers) < len(greeting) + len(commands):
                self._within_deadline()
                piece = self._socket.recv(_RECEIVE_BYTES)
                if not piece:
                    raise SourceLostError("the server closed the connection")
                taken += len(piece)
                if taken > MAX_REPLY_BYTES:
                    raise SourceLostError("the server's answer is too large")
                self._reader.feed(piece)
                while (answer := self._reader.gets()) is not False:
                    answers.append(answer)
        except TimeoutError:
            raise SourceLostError("no answer in time") from None
        except (OSError, ValueError, hiredis.HiredisError) as error:
            raise lost(error) from None
        return answers[len(greeting) :]

    def remaining_seconds(self) -> float:
        """Return how long it is until the deadline."""
        return self._deadline - self._clock()

    def close(self) -> None:
        """Close the connection; never raises."""
        close_connection(self._connection)

    def _within_deadline(self) -> None:
        remaining = self.remaining_seconds()
        if remaining <= 0:
            raise TimeoutError
        self._socket.settimeout(remaining)


def connect_calls(
    servers: RedisServers, deadline: float, client_name: str, clock: Callable[[], float] = monotonic
) -> RedisCalls:
    """Connect to the first server that can be had before the deadline.

    Raises SourceLostError.
    """

    def connect(target: Target, timeout_seconds: float) -> RedisCalls:
        connection = open_connection(target, timeout_seconds)
        return RedisCalls(connection, deadline, client_name=client_name, clock=clock)

    return servers.first(connect, within_seconds=deadline - clock(), clock=clock)


def refusal(answer: Any) -> str:
    """Return the server's words where a command was refused, else ""."""
    return str(answer) or "ERR" if isinstance(answer, hiredis.ReplyError) else ""


def number_in(answer: Any) -> int:
    """Return an answer that must be a count; raises SourceLostError for any other."""
    if not isinstance(answer, int) or answer < 0:
        raise _strange()
    return answer


def items_in(answer: Any, count: int) -> list[Any]:
    """Return an answer that must be so many items; raises SourceLostError for any other."""
    if not isinstance(answer, list) or len(answer) != count:
        raise _strange()
    return answer


def step_in(answer: Any) -> tuple[bytes, list[bytes]]:
    """Return cursor and items of a step of SCAN; raises SourceLostError where it is none."""
    cursor, items = items_in(answer, 2)
    if not isinstance(cursor, bytes) or not isinstance(items, list):
        raise _strange()
    if not all(isinstance(item, bytes) for item in items):
        raise _strange()
    return cursor, items


def _strange() -> SourceLostError:
    return SourceLostError("the server does not answer as Redis does")
