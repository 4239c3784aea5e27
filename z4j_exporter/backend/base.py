"""What a result backend is here: asked for the metadata of some tasks, within a deadline."""

from collections.abc import Sequence
from typing import Protocol

#: Bytes of metadata, with the result in it, that are read; larger ones cost too much.
MAX_METADATA_BYTES = 1024 * 1024


class ResultReader(Protocol):
    """Reads metadata of results. One thread uses it."""

    #: Where it reads, without secrets.
    location: str

    def read(self, uuids: Sequence[str], deadline: float) -> dict[str, bytes | None]:
        """Return the metadata of those tasks that have any, None where they are too large.

        ``deadline`` is on the monotonic clock. Raises SourceLostError.
        """

    def close(self) -> None:
        """Close the connection; never raises."""
