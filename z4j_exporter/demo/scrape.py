"""Asks the exporter as any client would: one scrape of /metrics, and questions to it."""

import http.client
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from prometheus_client.parser import text_string_to_metric_families

from z4j_exporter.errors import DemoError

#: Seconds a scrape may take.
_TIMEOUT_SECONDS = 5.0


class Sample(NamedTuple):
    """One line of /metrics."""

    labels: Mapping[str, str]
    value: float


class Scrape:
    """What /metrics said at one moment."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples[sample.name].append(Sample(sample.labels, sample.value))

    def __contains__(self, name: str) -> bool:
        return name in self._samples

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples ``name`` that carry ``labels``; 0 if there are none."""
        return sum(sample.value for sample in self._matching(name, labels))

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Return the sums of the samples ``name`` that carry ``labels``, by ``label``."""
        sums: dict[str, float] = defaultdict(float)
        for sample in self._matching(name, labels):
            sums[sample.labels.get(label, "")] += sample.value
        return dict(sums)

    def quantile(self, quantile: float, label: str, family: str) -> dict[str, float]:
        """Estimate a quantile of histogram ``family`` by ``label``, as histogram_quantile() does.

        Linear within a bucket. What lies above the last finite bound counts as that bound.
        Histograms without an observation are left out.
        """
        buckets: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
        for sample in self._samples.get(f"{family}_bucket", ()):
            bound = float(sample.labels["le"])
            buckets[sample.labels.get(label, "")][bound] += sample.value
        return {
            value: _quantile(quantile, sorted(counts.items()))
            for value, counts in buckets.items()
            if counts.get(math.inf)
        }

    def _matching(self, name: str, labels: Mapping[str, str]) -> Iterator[Sample]:
        wanted = labels.items()
        return (s for s in self._samples.get(name, ()) if wanted <= s.labels.items())


def scrape(url: str, *names: str) -> Scrape:
    """Fetch /metrics of the exporter at ``url``; only the families of these samples, if given.

    Raises DemoError when it does not answer with metrics.
    """
    query = urlencode([("name[]", name) for name in names])
    status, body = get(url, f"/metrics?{query}", "text/plain;version=0.0.4")
    if status != http.client.OK:
        raise DemoError(f"The exporter answered {status} at {url}.")
    return Scrape(body.decode())


def get(url: str, path: str, accept: str) -> tuple[int, bytes]:
    """Return status and body of a page of the exporter at ``url``.

    Raises DemoError when it does not answer.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(
            f"The exporter does not answer at {url}: {error}",
            hint="Start the demo with --log-file FILE and see what it says there.",
        ) from error
    finally:
        connection.close()


def _quantile(quantile: float, buckets: list[tuple[float, float]]) -> float:
    """Estimate a quantile of cumulative ``buckets`` (upper bound, count), sorted by bound."""
    rank = quantile * buckets[-1][1]
    lower_bound, lower_count = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if math.isinf(bound) or count == lower_count:
                return lower_bound
            share = (rank - lower_count) / (count - lower_count)
            return lower_bound + (bound - lower_bound) * share
        lower_bound, lower_count = bound, count
    return lower_bound
