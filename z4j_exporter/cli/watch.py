"""Follows a feed of events: tracks, records, chooses and shows them until it is told to end."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from z4j_exporter.cli.feed import Feed
from z4j_exporter.cli.recorder import RecordingFile
from z4j_exporter.cli.selection import Selection
from z4j_exporter.cli.show import EventLines, Seen
from z4j_exporter.cli.snapshot import snapshot
from z4j_exporter.cli.timeline import TICK_SECONDS, Timeline
from z4j_exporter.events.decode import RefusedError, decode_objects, event_from_object
from z4j_exporter.events.message import Message
from z4j_exporter.events.recording import MAX_LINE_BYTES, encode, encode_event
from z4j_exporter.pipeline.buffer import Batch
from z4j_exporter.track.cluster import Cluster

#: Writes one event, received at these epoch seconds, as text.
Write = Callable[[Seen, float], str]


@dataclass
class WatchOptions:
    """What is shown, and for how long."""

    selection: Selection
    #: None: no event is shown (``--snapshot``).
    write: Write | None
    recording: RecordingFile | None = None
    #: Seconds between two snapshots; None: none are taken.
    snapshot_seconds: float | None = None
    #: Lines shown at the most.
    limit: int | None = None
    #: Seconds from the start.
    duration_seconds: float | None = None
    max_message_bytes: int = 4 * 1024 * 1024


class Watch:
    """One run of ``events``. ``refused`` counts what could not be shown, by reason."""

    def __init__(self, feed: Feed, cluster: Cluster, out: TextIO, options: WatchOptions) -> None:
        self._feed = feed
        self._cluster = cluster
        self._out = out
        self._options = options
        self._timeline = Timeline(cluster)
        self._left = math.inf if options.limit is None else options.limit
        self._snapshot_at = math.inf
        self._connections = 0
        self._stopped = False
        self.refused: Counter[str] = Counter()
        #: Messages too large for a line of a recording.
        self.unrecorded = 0

    def stop(self) -> None:
        """End soon, with everything in order. May be called by a signal handler."""
        self._stopped = True
        self._feed.wake()

    def run(self, clock: Callable[[], float]) -> None:
        """Follow the feed to its end, the limit or the duration; ``clock`` measures the latter.

        Raises FileError when the recording cannot be written, OSError when the output cannot,
        ExporterError when the source cannot be used.
        """
        duration = self._options.duration_seconds
        until = math.inf if duration is None else clock() + duration
        if self._options.snapshot_seconds is not None:
            self._snapshot_at = self._feed.moment()[0] + self._options.snapshot_seconds
        try:
            while not self._over() and (left := until - clock()) > 0:
                now = self._feed.moment()[0]
                wait = max(0.0, min(left, TICK_SECONDS, self._snapshot_at - now))
                batch = self._feed.take(wait)
                if batch is not None:
                    self._take(batch)
                self._keep_time(*self._feed.moment(), clock())
        except EOFError:
            pass
        if self._options.snapshot_seconds is not None and self._left > 0:
            self._snapshot(self._feed.moment()[1])
        self._out.flush()

    def _over(self) -> bool:
        return self._stopped or self._left <= 0

    def _keep_time(self, now: float, wall: float, clock_now: float) -> None:
        self._timeline.advance(now, connected=self._feed.connected)
        if self._feed.connections != self._connections:
            self._connections = self._feed.connections
            self._cluster.resume(now)
        if self._options.recording is not None:
            self._options.recording.flush(clock_now)
        if now >= self._snapshot_at:
            self._snapshot_at = now + (self._options.snapshot_seconds or math.inf)
            self._snapshot(wall)
        self._out.flush()

    def _take(self, batch: Batch) -> None:
        now = self._timeline.advance(batch.received, connected=self._feed.connected)
        for message in batch.messages():
            if self._over():
                return
            objects = self._objects(message)
            if self._options.recording is not None:
                self._record(self._options.recording, batch.received_wall, message, objects)
            for item in objects or ():
                if self._left > 0:
                    self._apply(item, now, batch.received_wall)

    def _objects(self, message: Message) -> list[Any] | None:
        try:
            objects = decode_objects(message, self._options.max_message_bytes)
            if not objects:
                raise RefusedError("not_an_event")  # an empty list, as the decoder counts it
        except RefusedError as refusal:
            self.refused[refusal.reason] += 1
            return None
        return objects

    def _record(
        self, recording: RecordingFile, wall: float, message: Message, objects: list[Any] | None
    ) -> None:
        lines = encode(wall, message, objects)
        if any(len(line) > MAX_LINE_BYTES for line in lines):
            self.unrecorded += 1
            return
        recording.write(lines)

    def _apply(self, item: Any, now: float, wall: float) -> None:
        try:
            event = event_from_object(item)
        except RefusedError as refusal:
            self.refused[refusal.reason] += 1
            return
        self._cluster.apply(event, now, wall)
        write = self._options.write
        if write is None:
            return
        uuid = item.get("uuid")
        task = self._cluster.task(uuid) if isinstance(uuid, str) else None
        seen = Seen(item, event, task, self._cluster.worker(event.hostname))
        if self._options.selection.matches(seen):
            self._out.write(write(seen, wall))
            self._left -= 1

    def _snapshot(self, wall: float) -> None:
        self._out.write(json_line(snapshot(self._cluster, wall)))
        self._left -= 1


def pretty(lines: EventLines) -> Write:
    """Return what writes events for people."""
    return lambda seen, _wall: lines.render(seen)


def jsonl(seen: Seen, wall: float) -> str:
    """Write an event as a line of a recording, in ASCII."""
    try:
        return encode_event(wall, seen.fields, ascii_only=True).decode("ascii")
    except ValueError:
        # Content types other than JSON can hold more than it: the rest is shown as text.
        plain = {
            str(key): value if _is_plain(value) else repr(value)
            for key, value in seen.fields.items()
        }
        return encode_event(wall, plain, ascii_only=True).decode("ascii")


def json_line(value: dict[str, Any]) -> str:
    """Write a JSON object as one line of ASCII, with nothing in it that a terminal obeys."""
    return json.dumps(_finite(value)).replace("\x7f", "\\u007f") + "\n"


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, bool, type(None))) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _finite(value: Any) -> Any:
    """Return the value with None for every number that JSON cannot say."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
