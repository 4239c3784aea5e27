"""Sets the interpreter up for one thread that reads a stream and one that applies it."""

import gc
import sys
from typing import Final

from z4j_exporter.pipeline.malloc import give_large_pieces_back

#: Seconds that one thread may hold the interpreter while another waits. At Python's 5 ms the
#: applier keeps the reader from the socket for so long that Redis cuts us off in a burst.
_SWITCH_SECONDS: Final = 0.0005
#: New container objects between two garbage collections. What the tracker keeps is hidden from
#: the collector, and what an event makes is freed at once: to look often finds nothing.
_GC_THRESHOLD: Final = 50_000


def set_up_interpreter() -> None:
    """Set switching, collecting and freeing; to be called once, when all parts are made."""
    give_large_pieces_back()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 100)
