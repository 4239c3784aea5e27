"""What a request asks for: gzip and names."""

import pytest

from z4j_exporter.web.negotiation import accepts_gzip, requested_names


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, deflate", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *;q=1", False),
        ("identity", False),
        ("gzip;q=nonsense", False),
        ("gzip;q=nan", False),
        ("gzip;level=9", True),
        (";;,,;q=", False),
    ],
)
def test_gzip(value: str, expected: bool) -> None:
    assert accepts_gzip(value) is expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", []),
        (b"name[]=a&name[]=b", ["a", "b"]),
        (b"name%5B%5D=a", ["a"]),
        (b"name=a&x=1", []),
        (b"name[]=%ff", ["\ufffd"]),
        (b"&".join([b"name[]=a"] * 5000), []),
    ],
)
def test_names(query: bytes, expected: list[str]) -> None:
    assert requested_names(query) == expected
