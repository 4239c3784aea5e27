"""Finds the cells of a combination of labels by what the wire said, without working it out anew."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")
Labels = tuple[str, ...]

#: Keys remembered for each row there may be. Many names may become one label (filtered tasks,
#: rewritten workers): they must not use up the rows, nor the memory.
_KEYS_PER_ROW = 4


class Rows(Generic[Key, Row]):
    """Rows by their label values, at most ``limit`` of them.

    ``label`` turns a key from the wire into label values; ``make`` makes their row.
    """

    def __init__(
        self, limit: int, label: Callable[[Key], Labels], make: Callable[[Labels], Row]
    ) -> None:
        self._limit = limit
        self._label = label
        self._make = make
        self._by_key: dict[Key, Row] = {}
        self._by_labels: dict[Labels, Row] = {}

    def __len__(self) -> int:
        return len(self._by_labels)

    def get(self, key: Key) -> Row | None:
        """Return the row of a key, made if need be; None beyond the limit."""
        return self._by_key.get(key) or self._find(key)

    def known(self, key: Key) -> Row | None:
        """Return the row of a key, if there is one."""
        return self._by_key.get(key) or self._by_labels.get(self._label(key))

    def values(self) -> list[Row]:
        """Return all rows, in the order in which they were made."""
        return list(self._by_labels.values())

    def remove(self, doomed: Callable[[Labels], bool]) -> None:
        """Forget the rows whose labels are doomed."""
        self._by_labels = {k: row for k, row in self._by_labels.items() if not doomed(k)}
        self._by_key.clear()

    def _find(self, key: Key) -> Row | None:
        labels = self._label(key)
        row = self._by_labels.get(labels)
        if row is None:
            if len(self._by_labels) >= self._limit:
                return None
            row = self._by_labels[labels] = self._make(labels)
        if len(self._by_key) >= self._limit * _KEYS_PER_ROW:
            self._by_key.clear()
        self._by_key[key] = row
        return row
