"""Takes secrets out of texts before they leave the process."""

import re

#: What stands in a secret's place; it tells neither the kind nor the length.
MARKER = "[redacted]"
#: Characters a text may have; what is longer is cut.
TEXT_LIMIT = 100_000
#: Characters read past the limit, so that a secret on the edge is seen whole.
_SLACK = 8_192

_KEY = (
    r"[\w-]{0,64}(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_ -]?key|authorization|cookie"
    r"|credentials?|private[_-]?key|access[_-]?key|session[_-]?id|ssn|cvv|cvc)[\w-]{0,64}"
)
_PAIR = re.compile(
    rf"(?i)(?<![\w-])({_KEY}\\*['\"]?\]?[ \t]{{0,8}}(?:=|:)[ \t]{{0,8}})"
    r"(b?(\\*['\"]).*?(?:\3|$)|[^\s,;&'\"()\[\]{}<>]+)",
    re.MULTILINE,
)
_VALUES = re.compile(
    r"eyJ[\w-]{8,}(?:\.[\w-]*)*"
    r"|(?<=Bearer )[\w.~+/=-]{5,}"
    r"|(?<=://)[^\s/?#'\"@]{0,256}:[^\s/?#'\"@]{0,256}(?=@)"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\w+/=\s\\:,-]*"
)


def redact_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return `text` with every secret replaced by MARKER, cut to `limit` characters; never raises."""
    text = _VALUES.sub(MARKER, text[: limit + _SLACK])
    return _PAIR.sub(lambda found: found[1] + MARKER, text)[:limit]
