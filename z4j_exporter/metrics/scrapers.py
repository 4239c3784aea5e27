"""Remembers what each scraper has seen, so that new series can start at 0 for it (see store.py)."""

from collections import OrderedDict

#: Scrapers remembered; the one that was silent for longest is forgotten.
MAX_SCRAPERS = 32


class Scrapers:
    """The newest series that each scraper has been shown."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, int] = OrderedDict()

    def floor(self, scraper: str, serial: int) -> int:
        """Return the last series that this scraper knows, and note that it now knows all.

        ``serial`` is the newest series there is. A scraper that comes for the first time, and
        whoever is none ("": a person, a test), is shown everything as it is: to a Prometheus that
        was just added, all the counts so far are old news and no increase.
        """
        if not scraper:
            return serial
        floor = self._seen.pop(scraper, serial)
        self._seen[scraper] = serial
        if len(self._seen) > MAX_SCRAPERS:
            self._seen.popitem(last=False)
        return floor
