"""What goes from texts and what stays, by the corpus in tests/fixtures/secrets."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from z4j_exporter.capture.redaction import MARKER, Redactor, redact_text
from z4j_exporter.capture.redaction_patterns import is_card_number

CORPUS = Path(__file__).parents[1] / "fixtures" / "secrets"
#: A piece of a secret of this length would be a leak.
PIECE = 6
SECRET = "hunter2-planted"


def cases(name: str) -> list[str]:
    lines = (CORPUS / name).read_text(encoding="utf-8").splitlines()
    texts = (line.replace("⏎", "\n").replace("¦", "") for line in lines)
    return [text for text in texts if text and not text.startswith("#")]


@pytest.mark.parametrize("case", cases("must_go.txt"))
def test_a_secret_goes(case: str) -> None:
    redacted = redact_text(re.sub("[«»⟦⟧]", "", case))
    assert MARKER in redacted
    for secret in re.findall("«(.*?)(?:»|$)", case, re.DOTALL):
        pieces = {secret[i : i + PIECE] for i in range(max(1, len(secret) - PIECE + 1))}
        assert not [piece for piece in pieces if piece in redacted]
    for kept in re.findall("⟦(.*?)⟧", case, re.DOTALL):
        assert kept in redacted
    assert redact_text(redacted) == redacted


@pytest.mark.parametrize("text", cases("must_stay.txt"))
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_text(text) == text


def test_a_traceback_keeps_all_but_the_secret() -> None:
    text = "\n".join(cases("must_stay.txt"))
    # Cases in one text may only see each other where a value stands alone: none does.
    assert redact_text(f"{text}\npassword={SECRET}\n{text}") == (
        f"{text}\npassword={MARKER}\n{text}"
    )


@given(st.uuids(), st.sampled_from(["{}", "task[{}]", "id={}", "{{'id': '{}'}}", "x-{}-y", "/{}/"]))
def test_uuids_are_never_touched(value: object, around: str) -> None:
    text = around.format(value)
    assert redact_text(text) == text


@given(st.integers(0, 10**12 - 1), st.integers(0, 3))
def test_uuids_of_digits_only_are_never_touched(digits: int, times: int) -> None:
    text = f"{digits % 10**8:08}-4111-4111-1111-{digits:012} " * times
    assert redact_text(text) == text


PLANTED = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6)


@given(secret=PLANTED, times=st.integers(1, 3))
@example(secret="\\'\\'\\'\\\"", times=3)
@example(secret="'''\"\"\"", times=2)
@example(secret="{[(}])'", times=1)
def test_a_repr_of_a_repr_hides_any_value(secret: str, times: int) -> None:
    secret = f"Qq7{secret}7qQ"
    text = repr({"before": 1, "password": secret, "after": 2})
    for _ in range(times - 1):
        text = repr(text)
    redacted = redact_text(text)
    assert "Qq7" not in redacted
    assert "7qQ" not in redacted
    assert "before" in redacted
    assert "after" in redacted


@given(secret=PLANTED, levels=st.integers(1, 3))
def test_json_in_json_hides_any_value(secret: str, levels: int) -> None:
    secret = f"Qq7{secret}7qQ"
    text = json.dumps({"before": 1, "api_key": secret, "after": 2})
    for _ in range(levels - 1):
        text = json.dumps({"body": text})
    redacted = redact_text(text)
    assert "Qq7" not in redacted
    assert "7qQ" not in redacted
    assert "after" in redacted


@given(st.text())
@example("password='\ud800")
@example("\u0130\u0130password=x")
def test_any_text_is_taken(text: str) -> None:
    redacted = redact_text(text)
    assert len(redacted) <= 100_000


FRAGMENTS = [
    *(
        "password",
        "token",
        "=",
        ":",
        "'",
        '"',
        "\\",
        "\\'",
        "\n",
        " ",
        ",",
        "(",
        ")",
        "[",
        "{",
        "}",
    ),
    *("://", "@", ".com", "a", "1", "eyJ", "-----BEGIN PRIVATE KEY-----", "-----END", "&", "?sig="),
    *("<", ">", "--", "Bearer ", "Basic ", "None", "4111 1111 1111 1111", MARKER, "Authorization"),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
def test_hostile_fragments_are_taken(text: str) -> None:
    assert SECRET not in redact_text(f"{text} password={SECRET}")
    # A quote that was opened before takes the key into a string: the key is then found in it.
    assert SECRET not in redact_text(f"{text}\n{{'password': '{SECRET}'}}")
    once = redact_text(text)
    assert len(once) <= len(text) + len(MARKER) * len(text)


def test_every_letter_keeps_its_place_when_made_small() -> None:
    letters = "".join(map(chr, range(0x110000)))
    assert redact_text(letters[0x100:0x3000] + " password=x9x9x9", 10**6).endswith(
        f"password={MARKER}"
    )
    assert len(letters.replace("\u0130", "i").lower()) == len(letters)


def test_a_text_is_cut_and_no_secret_shows_at_the_cut() -> None:
    assert redact_text("x" * 200_000) == "x" * 100_000
    assert redact_text("abcdef", 3) == "abc"
    key = "AKIA" + "QWERTYUIOPASDFGH"
    for length in range(30):
        text = "x" * length + " " + key
        assert "QWERTY" not in redact_text(text, length + 15)
    pem = "-----BEGIN PRIVATE" + " KEY-----\n" + "abcd" * 3000
    assert redact_text(f"{pem} {key} " + "y" * 50_000, 3000).count("QWERTY") == 0


@pytest.mark.parametrize("size", [4096, 4097, 4600, 5000])
def test_what_the_slack_cuts_does_not_move_into_the_result(size: int) -> None:
    long_secret = "password='" + "z" * 4000 + "' "
    key = "AKIA" + "QWERTYUIOPASDFGH"
    text = long_secret + " " * (size - len(long_secret) - 10) + key + " " + "w" * 9000
    assert "QWERT" not in redact_text(text, 10)
    assert "QWERT" not in redact_text(text, 1000)


class Loud(str):
    """A text whose methods must not be asked."""

    def __str__(self) -> str:
        raise AssertionError("asked")

    __getitem__ = __contains__ = __len__ = __str__  # type: ignore[assignment]


def test_a_subclass_of_str_is_not_asked() -> None:
    assert redact_text(Loud(f"password={SECRET}")) == f"password={MARKER}"


def test_keys_of_the_users_own() -> None:
    redactor = Redactor(["iban", "tenantCode"])
    assert redactor.redact_text(f"my_iban={SECRET}") == f"my_iban={MARKER}"
    assert redactor.redact_text(f"tenant-code: {SECRET}") == f"tenant-code: {MARKER}"
    assert redactor.redact_text(f"'tenantcode': '{SECRET}'") == f"'tenantcode': '{MARKER}'"
    assert redactor.redact_text("tenant=x libanon=y") == "tenant=x libanon=y"
    assert redactor.redact_text(f"password={SECRET}") == f"password={MARKER}"
    with pytest.raises(ValueError, match="letters or digits"):
        Redactor(["--"])


@pytest.mark.parametrize(
    ("digits", "is_card"),
    [
        ("4111111111111111", True),
        ("4111111111111112", False),
        ("378282246310005", True),
        ("30569309025904", True),
        ("6011111111111117", True),
        ("3530111333300000", True),
        ("2223003122003222", True),
        ("9792030394440796", True),
        ("1718000000000000000", False),
        ("411111111111", False),
        ("0000000000000000", False),
    ],
)
def test_card_numbers_by_issuer_and_luhn(digits: str, is_card: bool) -> None:
    assert is_card_number(digits) is is_card
