"""Says what the exporter is connected to, or should be; only what the settings ask for."""

from z4j_exporter.doctor.model import count
from z4j_exporter.metrics.labels import clean
from z4j_exporter.otlp.outcome import Accepted
from z4j_exporter.status.parts import Parts
from z4j_exporter.telemetry import Sending
from z4j_exporter.web.status import Connection

#: What systems are called by those who make them.
_NAMES = {"redis": "Redis", "rabbitmq": "RabbitMQ"}
#: What queues are read by.
_METHODS = {
    "redis": "the broker",
    "management": "RabbitMQ's management API",
    "declare": "passive declarations",
}
_NOT_YET = "not tried yet"


class Connections:
    """Reads the state of each connection. Safe for several threads: each value is read at once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def all(self, wall: float) -> list[Connection]:
        """Return them, the source of events first; ``wall`` is the time, epoch seconds."""
        parts = (
            [self._events()],
            self._queues(wall),
            self._workers(wall),
            [_sending(each) for each in self._parts.telemetry.sending()],
            self._journal(),
            self._backend(),
            self._actions(),
        )
        return [
            Connection(c.what, clean(c.where), c.ok, clean(c.detail))
            for part in parts
            for c in part
        ]

    def _events(self) -> Connection:
        reader, source = self._parts.reader, self._parts.source
        what = f"Events ({_NAMES.get(source.system, source.system)})"
        if reader.connected:
            lost = count(reader.gaps, "connection") + " lost before" if reader.gaps else ""
            return Connection(what, source.location, True, lost)
        if reader.ended:
            return Connection(what, source.location, True, "read to its end")
        if not reader.connections and reader.reason == "not connected yet":
            return Connection(what, source.location, None, _NOT_YET)
        return Connection(what, source.location, False, reader.reason)

    def _queues(self, wall: float) -> list[Connection]:
        if not self._parts.background.polls_queues:
            return []
        poll = self._parts.background.queues
        if poll is None:
            return [Connection("Queues", self._parts.source.location, None, _NOT_YET)]
        where = _METHODS.get(poll.method, poll.method)
        detail = f"{count(len(poll.readings), 'queue')}, read {_ago(wall, poll.finished_at)}"
        return [Connection("Queues", where, poll.success, detail if poll.success else poll.error)]

    def _workers(self, wall: float) -> list[Connection]:
        if not self._parts.background.asks_workers:
            return []
        what, where = "Workers (inspect)", self._parts.source.location
        reading = self._parts.background.fleet
        if reading is None:
            return [Connection(what, where, None, _NOT_YET)]
        if not reading.success:
            return [Connection(what, where, False, reading.error)]
        answered = count(len(reading.answered), "worker")
        detail = f"{answered} answered {_ago(wall, reading.finished_at)}"
        return [Connection(what, where, True, detail)]

    def _journal(self) -> list[Connection]:
        journal = self._parts.capturing.journal
        if journal is None:
            return []
        stats = journal.stats()
        path = str(self._parts.settings.journal_path)
        held = "" if stats.entries is None else count(stats.entries, "task")
        return [Connection("Journal", path, not stats.trouble, stats.trouble or held)]

    def _backend(self) -> list[Connection]:
        backend = self._parts.capturing.backend
        if backend is None:
            return []
        counts, trouble = backend.counts(), backend.trouble
        asked = sum(counts.values())
        ok = None if not asked and not trouble else not trouble
        looked = f"{count(asked, 'task')} looked up" if asked else _NOT_YET
        return [Connection("Result backend", backend.location, ok, trouble or looked)]

    def _actions(self) -> list[Connection]:
        acting = self._parts.acting()
        if acting is None:
            return []
        good = acting.readings().last_token_reload_ok
        detail = "" if good else "the token file is broken: an older one is in force"
        return [Connection("Actions", acting.url, good, detail)]


def _sending(sending: Sending) -> Connection:
    what, last = f"{sending.signal.capitalize()} (OTLP)", sending.last
    if last is None:
        return Connection(what, sending.where, None, "nothing sent yet")
    if not isinstance(last, Accepted):
        return Connection(what, sending.where, False, last.reason)
    if last.rejected:
        detail = f"{last.rejected} of the last request refused: {last.message}"
        return Connection(what, sending.where, False, detail)
    return Connection(what, sending.where, True)


def _ago(wall: float, at: float) -> str:
    return f"{max(0.0, wall - at):.0f} s ago"
