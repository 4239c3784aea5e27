"""Chooses how the result backend is read."""

import logging

from z4j_exporter.backend.base import ResultReader
from z4j_exporter.backend.celery import open_celery_results
from z4j_exporter.backend.redis import RedisResults
from z4j_exporter.config import Settings

logger = logging.getLogger(__name__)

_REDIS = ("redis", "rediss", "redis+socket", "sentinel")
#: Celery's other spelling of a Unix socket (celery/backends/redis.py).
_SOCKET = "socket"


def open_result_reader(settings: Settings) -> ResultReader | None:
    """Return the reader for the settings; it is not connected yet.

    None where there is no backend or it is not to be asked, and, with a line in the log, where
    it is of a kind that cannot be. Raises BrokerUrlError, ConfigError or FileError.
    """
    url = settings.result_backend_url
    if not url or settings.result_backend_rate == 0 or settings.recording is not None:
        return None
    options = settings.result_backend_transport_options
    scheme = url.partition("://")[0].lower()
    if scheme == _SOCKET:
        scheme, url = "redis+socket", f"redis+{url}"
    if scheme in _REDIS:
        urls = [each.strip() for each in url.split(";") if each.strip()]
        return RedisResults(urls, options, settings.result_backend_ssl_options)
    reader = open_celery_results(url, options)
    if reader is None:
        logger.info(
            "groups cannot be read from a result backend of the kind %.40r: it is not asked; "
            "the capture hook tells of groups without it",
            scheme,
        )
    return reader
