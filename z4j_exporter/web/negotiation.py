"""What a request asks for: compression, HTML, and the families of a filtered scrape. Pure."""

from urllib.parse import parse_qsl

#: Names taken from one query string; a longer list is cut. Prometheus sends none by default.
MAX_NAMES = 1000


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip, by its Accept-Encoding header (RFC 9110, 12.5.3)."""
    qualities = _qualities(accept_encoding)
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0


def prefers_html(accept: str) -> bool:
    """Whether a client likes HTML better than JSON, by its Accept header (RFC 9110, 12.5.1).

    Browsers do. Who takes anything, as curl does, gets what programs read.
    """
    qualities = _qualities(accept)
    anything = qualities.get("*/*", 0.0)
    html = qualities.get("text/html", qualities.get("text/*", anything))
    return html > qualities.get("application/json", qualities.get("application/*", anything))


def _qualities(listed: str) -> dict[str, float]:
    qualities: dict[str, float] = {}
    for item in listed.split(","):
        name, *parameters = item.split(";")
        qualities[name.strip().lower()] = _quality(parameters)
    return qualities


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def requested_names(query_string: bytes) -> list[str]:
    """Return the metric names of `?name[]=a&name[]=b`, as Prometheus's client libraries do."""
    try:
        pairs = parse_qsl(
            query_string.decode("latin-1"), max_num_fields=MAX_NAMES, errors="replace"
        )
    except ValueError:  # too many fields
        return []
    return [value for key, value in pairs if key == "name[]"]
