"""The time that redaction takes grows with the text's length, and not faster, whatever it says."""

import time

import pytest

from z4j_exporter.capture.redaction import redact_text
from z4j_exporter.capture.redaction_keys import HINTS
from z4j_exporter.capture.redaction_patterns import _TOKENS

PREFIXES = [hint for hint, _ in _TOKENS]
REPEATED = [
    *PREFIXES,
    *(prefix + "a" for prefix in PREFIXES),
    *(sign for hint in HINTS for sign in (hint, f"{hint}=", f"{hint}: ")),
    *("a@", "a@b.", "@", "%40", ":", "a:b", "://", "a://", "://a:", "://a'"),
    *("1", "1 ", "1-", "4444 ", "1111-", "4 444 4", "1.", "\\n4", "A1a/", "aws A1a/"),
    *("token=[", "token=[\n", "token=(", "token={'", "token=a(b)", "token=((", "token=)"),
    *(
        "token='",
        "token='\n",
        "token=\\'",
        "token=\\\\",
        'token="',
        "token=a,",
        "token=,a",
        "token='a",
    ),
    *("('token',", "['--token',", "--token ", "<token", "<token>", "token=<", "token    "),
    *(
        "token\n  ",
        "token\\n  ",
        "token &quot;",
        "token for a ",
        "token%22",
        "token[a",
        "token: |\n ",
        "token: str = ",
        "api key ",
        "İ",
        "a",
        "_",
        "a-",
    ),
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----a\n", "-----END"),
    *("\n", "\\", "'", '"', "\\'", "=", "sk-aaaaaaaaaaaaaaa-", "Bearer ", "Basic a", "&sig="),
    *('Authorization: ="', "cookie:=a", "eyJaaaaaaaa.", "xoxb.xox", "tokenToken", "SG.aaaaaaaaaa."),
]
#: Four times the text may take this many times as long: quadratic work would take 16 times as long.
MOST_GROWTH = 9.0
#: Less than this is not measured well enough to compare.
LEAST_SECONDS = 0.02


def seconds(text: str) -> float:
    start = time.process_time()
    redact_text(text, 10_000_000)
    return time.process_time() - start


@pytest.mark.parametrize("piece", dict.fromkeys(REPEATED))
def test_the_time_is_linear(piece: str) -> None:
    long = (piece * (100_000 // len(piece) + 1))[:100_000]
    for _ in range(3):  # a busy machine may spoil one measure, not three
        took, quarter = seconds(long), seconds(long[:25_000])
        if took < LEAST_SECONDS or took < MOST_GROWTH * quarter:
            return
    pytest.fail(f"{quarter:.3f} s for 25 000 characters, {took:.3f} s for 100 000")


@pytest.mark.parametrize("piece", ["a@", "1", "token=[\n"])
def test_a_megabyte_ends(piece: str) -> None:
    text = (piece * (1_000_000 // len(piece) + 1))[:1_000_000]
    # Measured: at most 1.3 s. A quadratic search would take minutes.
    assert seconds(text) < 20
