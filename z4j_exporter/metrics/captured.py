"""Adds up what capture hooks report of themselves: notes sent and dropped, payloads left out."""

from collections.abc import Mapping
from itertools import islice

from z4j_exporter.events.captured import Captured, Report
from z4j_exporter.events.model import MAX_COUNT, Event
from z4j_exporter.metrics.catalogue import groups as c
from z4j_exporter.metrics.store import Cells, CounterCell, Family, FamilySnapshot, Store

#: Processes whose last totals are remembered.
MAX_PROCESSES = 10_000
#: The hook's reasons for a note that was not sent, and for a payload that was left out.
DROPPED_REASONS = ("queue_full", "encode", "send_failed", "no_events")
WITHHELD_REASONS = (
    "too_large", "unserialisable", "redacted", "stored", "store_failed", "disabled",
)  # fmt: skip
#: Where a reason goes that is none of these: what stands there comes from the wire.
OTHER_REASON = "other"

#: Family name and reason (or ""): a total.
_Totals = dict[tuple[str, str], int]


class CaptureMetrics:
    """The families of the capture hook's reports. The applier thread calls all of it.

    A report carries a process's totals since its hook was installed. Only what they grew by since
    the process's last report is added, and of its first report nothing, if the hook is older than
    ``since`` (epoch seconds, when this program began to listen).
    """

    def __init__(self, store: Store, *, since: float = 0.0) -> None:
        self._since = since
        #: When each process last reported, by its own clock, and what.
        self._processes: dict[tuple[str, int | None], tuple[float, _Totals]] = {}
        self._forgot = False
        self._cells: dict[str, Cells[CounterCell]] = {
            family.name: store.counter(family) for family in c.CAPTURE_FAMILIES
        }
        for family, reasons in (
            (c.CAPTURE_DROPPED, DROPPED_REASONS),
            (c.CAPTURE_WITHHELD, WITHHELD_REASONS),
        ):
            for reason in (*reasons, OTHER_REASON):
                self._cells[family.name].child(reason)
        for family in (c.CAPTURE_CAPTURED, c.CAPTURE_SENT, c.CAPTURE_ERRORS):
            self._cells[family.name].child()
        # They are there before the first scrape, at 0: nothing of them is ever held back.
        self._born = store.serial

    def captured(self, note: Captured, event: Event) -> None:
        """Take a note; only reports count here."""
        if not isinstance(note, Report):
            return
        totals = _totals(note)
        process = (event.hostname, event.pid)
        known = self._processes.get(process)
        if known is None:
            self._make_room()
            # A process that was forgotten must not be counted a second time.
            old = self._forgot or (note.since is not None and note.since < self._since)
            before = totals if old else {}
        elif event.timestamp <= known[0]:
            return  # a copy, or one that was overtaken
        else:
            del self._processes[process]  # it goes to the end
            before = known[1]
            if any(total < before.get(key, 0) for key, total in totals.items()):
                before = {}  # the hook began anew: the pid is another process's, or it forked
        self._processes[process] = event.timestamp, totals
        for (family, reason), total in totals.items():
            cell = self._cells[family].child(*([reason] if reason else []))
            cell.value = min(cell.value + total - before.get((family, reason), 0), MAX_COUNT)

    def collect(self) -> list[FamilySnapshot]:
        """Copy all families."""
        return [cells.snapshot(self._born) for cells in self._cells.values()]

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        return list(c.CAPTURE_FAMILIES)

    def _make_room(self) -> None:
        if len(self._processes) >= MAX_PROCESSES:
            self._forgot = True
            # A hundredth at once, as in track/table.py; those silent for longest come first.
            for process in list(islice(self._processes, MAX_PROCESSES // 100)):
                del self._processes[process]


def _totals(report: Report) -> _Totals:
    totals: _Totals = {
        (c.CAPTURE_CAPTURED.name, ""): report.captured,
        (c.CAPTURE_SENT.name, ""): report.sent,
        (c.CAPTURE_ERRORS.name, ""): report.errors,
    }
    _add(totals, c.CAPTURE_DROPPED, report.dropped, DROPPED_REASONS)
    _add(totals, c.CAPTURE_WITHHELD, report.payloads_withheld, WITHHELD_REASONS)
    return totals


def _add(totals: _Totals, family: Family, told: Mapping[str, int], known: tuple[str, ...]) -> None:
    for reason, total in told.items():
        key = (family.name, reason if reason in known else OTHER_REASON)
        totals[key] = totals.get(key, 0) + total
