"""Knows which worker labels no worker stands behind any more, so that their series can go."""

from collections import defaultdict
from collections.abc import Callable

from z4j_exporter.track.transitions import WorkerTransition

#: Labels that may wait for their removal. Each removal looks at every series: when a thousand
#: workers are forgotten in one minute, a few do for all.
_MAX_WAITING = 100


class LivingWorkers:
    """Workers by their label: a rule may give several one label, which goes with the last."""

    def __init__(self, label: Callable[[str], str]) -> None:
        self._label = label
        self._workers: defaultdict[str, set[str]] = defaultdict(set)
        self._gone: set[str] = set()

    def __contains__(self, label: str) -> bool:
        return label in self._workers

    def take(self, transition: WorkerTransition) -> bool:
        """Take note of a worker; return whether labels should be removed before more are gone."""
        label = self._label(transition.worker)
        if transition.kind != "forgotten":
            self._workers[label].add(transition.worker)
            self._gone.discard(label)
        else:
            self._workers[label].discard(transition.worker)
            if not self._workers[label]:
                del self._workers[label]
                self._gone.add(label)
        return len(self._gone) >= _MAX_WAITING

    def gone(self) -> set[str]:
        """Return the labels that nobody has any more; each is told once."""
        gone, self._gone = self._gone, set()
        return gone
