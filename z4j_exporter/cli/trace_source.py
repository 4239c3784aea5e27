"""Where ``trace`` finds its traces: played from a recording, or asked of a running exporter."""

from collections.abc import Iterator
from typing import Protocol

from z4j_exporter.capturing import Capturing
from z4j_exporter.cli.say import BadLines, say
from z4j_exporter.cli.show import printable, state_name
from z4j_exporter.cli.timeline import Timeline
from z4j_exporter.config import Settings
from z4j_exporter.errors import TraceError
from z4j_exporter.events.decode import Decoder
from z4j_exporter.events.recording import Recorded
from z4j_exporter.metrics.store import Store
from z4j_exporter.sources.recording import BadLine, RecordingReader, not_a_recording
from z4j_exporter.tracing.memory import RecentSpans, Summary
from z4j_exporter.tracing.model import Span
from z4j_exporter.tracing.tracer import make_tracer
from z4j_exporter.track.cluster import Cluster, make_cluster

#: Spans of a recording that are remembered: some 200 MB of memory.
_MAX_SPANS = 100_000
#: Ids that are listed when several traces match.
_MATCHES_TOLD = 10
#: Characters of an id that an error repeats.
_SHOWN = 80


class Traces(Protocol):
    """Traces to be told."""

    def latest(self, count: int) -> list[Summary]:
        """Return the traces that changed last, the latest first."""

    def spans(self, wanted: str) -> list[Span]:
        """Return the spans of the trace that the id of a trace or of a task in it names.

        Raises TraceError when there is none, or several.
        """


class RecordedTraces:
    """The traces that a recording makes, with the recording's own time.

    Raises FileError when the file cannot be read or has no good line, ConfigError for settings
    that cannot work.
    """

    def __init__(self, file: str, settings: Settings) -> None:
        self._location = file
        self._recent = RecentSpans(_MAX_SPANS)
        self._cluster = _play(file, settings, self._recent)
        if self._recent.evicted:
            say(f"{self._recent.evicted} spans at the recording's beginning did not fit in memory")

    def latest(self, count: int) -> list[Summary]:
        """See Traces."""
        return self._recent.latest(count)

    def spans(self, wanted: str) -> list[Span]:
        """See Traces."""
        matches = self._recent.find(wanted)
        if not matches:
            raise TraceError(
                f"no trace or task {shown(wanted)} in {self._location}{self._why(wanted)}",
                hint="The same command without an id lists the traces.",
            )
        if len(matches) > 1:
            raise several(wanted, [trace_id.hex() for trace_id in matches])
        return self._recent.trace(matches[0])

    def _why(self, wanted: str) -> str:
        task = self._cluster.task(wanted.strip())
        if task is None:
            return ""
        if task.root_id is None:
            return ": the events that tell its root are missing"
        return f": it has no spans, and is {state_name(task)} at the end"


def several(wanted: str, matches: list[str]) -> TraceError:
    """Return the error for an id that is the beginning of several."""
    told = "\n".join(matches[:_MATCHES_TOLD]) + ("\n…" if len(matches) > _MATCHES_TOLD else "")
    return TraceError(f"{len(matches)} traces match {shown(wanted)}", hint=f"One of:\n{told}")


def shown(wanted: str) -> str:
    """Return an id fit for a sentence."""
    return printable(wanted if len(wanted) <= _SHOWN else f"{wanted[:_SHOWN]}…")


def _play(file: str, settings: Settings, recent: RecentSpans) -> Cluster:
    """Feed a recording through decoder, tracker and tracer."""
    capturing = Capturing(settings, Store(), lambda order: order())
    tracer = make_tracer(
        settings,
        system="recording",
        address="",
        port=None,
        emit=recent.take,
        roots=capturing.roots,
        captured=capturing.facts.of,
    )
    cluster = make_cluster(settings, lambda _transition: None, tracer, capturing)
    tracer.attach(cluster.task)
    capturing.attach(cluster.task)
    decoder = Decoder(max_message_bytes=settings.max_message_bytes)
    timeline = Timeline(cluster)
    with RecordingReader(file) as reader:
        for line in _good_lines(reader):
            now = timeline.advance(line.received_at)
            for event in decoder.decode(line.message):
                cluster.apply(event, now, line.received_at)
    cluster.flush()
    return cluster


def _good_lines(reader: RecordingReader) -> Iterator[Recorded]:
    bad, good = BadLines(reader.location), False
    for line in reader:
        if isinstance(line, BadLine):
            bad.tell(line)
        else:
            good = True
            yield line
    if bad.count and not good:
        raise not_a_recording(reader.location)
