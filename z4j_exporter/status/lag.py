"""Estimates a quantile from a histogram's buckets, as PromQL's histogram_quantile does."""

from collections.abc import Sequence


def quantile(q: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """Return the value that a part ``q`` (0 to 1) of the observations does not exceed.

    ``counts`` has one number for each bound, not added up, and one for what is beyond the last;
    of that no more is known than the last bound. None without observations.
    """
    total = sum(counts)
    if total <= 0:
        return None
    rank = q * total
    below, lower = 0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * max(0.0, rank - below) / count
        below += count
        lower = bound
    return lower
