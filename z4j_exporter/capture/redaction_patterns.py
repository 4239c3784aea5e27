"""Finds secrets that show by their own form: keys of clouds, JWT, PEM, URLs, e-mail, cards.

Every pattern is linear in the text: it begins with fixed characters, its repetitions are
possessive or bounded, and a search to the end of the text is done once. A pattern runs only when a
fixed piece of it (its hint) is in the text.
"""

import base64
import binascii
import re
from collections.abc import Callable

#: What stands in a secret's place; it tells neither the kind nor the length.
MARKER = "[redacted]"


def _token(start: str, rest: str) -> re.Pattern[str]:
    """Compile a key that begins with fixed characters and does not continue a word.

    The look behind stands after the fixed start, so that the search for it stays a plain one. In a
    repr a line break is the two characters backslash and n, which begin a word all the same.
    """
    return re.compile(rf"{start}(?:(?<![A-Za-z0-9]{start})|(?<=\\[nrt]{start})){rest}")


#: Hint and pattern; all of a match goes. Prefixes as their issuers document them.
_TOKENS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("eyJ", _token("eyJ", r"[\w-]{8,}+(?:\.[\w-]*+){0,4}")),  # JWT and JWE, whole or cut
    ("AKIA", _token("AKIA", r"[A-Z0-9]{12,124}+")),
    ("ASIA", _token("ASIA", r"[A-Z0-9]{12,124}+")),
    ("AIza", _token("AIza", r"[\w-]{20,}+")),  # Google API key
    ("ya29.", _token(r"ya29\.", r"[\w.-]{10,}+")),  # Google access token
    ("GOCSPX-", _token("GOCSPX-", r"[\w-]{10,}+")),  # Google client secret
    ("1//0", _token("1//0", r"[\w-]{20,}+")),  # Google refresh token
    ("~", re.compile(r"(?<![\w~.-])[\w~.-]{3}[0-9]Q~[\w~.-]{20,}+")),  # Entra client secret
    ("==", re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}==")),  # 64 bytes: Azure storage key
    ("k_live_", re.compile(r"[srp]k_live_[A-Za-z0-9]{8,}+")),  # Stripe
    ("k_test_", re.compile(r"[srp]k_test_[A-Za-z0-9]{8,}+")),
    ("whsec_", _token("whsec_", r"[\w+/=-]{16,}+")),
    ("xox", _token("xox", r"[a-z](?:\.xox[a-z])?-[\w-]{8,}+")),  # Slack
    ("xapp-", _token("xapp-", r"[\w-]{10,}+")),
    ("hooks.slack.com/", re.compile(r"(?<=hooks\.slack\.com/)[\w/-]{10,}+")),
    ("/api/webhooks/", re.compile(r"(?<=/api/webhooks/)[0-9]{5,30}+/[\w-]{10,}+")),  # Discord
    (":AA", re.compile(r"(?<![0-9])[0-9]{6,12}:AA[\w-]{30,}+")),  # Telegram
    ("gh", _token("gh", r"[pousr]_[A-Za-z0-9]{16,}+")),  # GitHub
    ("github_pat_", _token("github_pat_", r"\w{16,}+")),
    ("gl", _token("gl", r"[a-z]{2,6}-[\w-]{16,}+")),  # GitLab: glpat-, gldt-, glrt- …
    ("npm_", _token("npm_", r"[A-Za-z0-9]{20,}+")),
    ("pypi-A", _token("pypi-A", r"[\w-]{16,}+")),
    ("SK", _token("SK", r"[0-9a-f]{32}(?![0-9a-f])")),  # Twilio
    ("SG.", _token(r"SG\.", r"[\w-]{10,}+(?:\.[\w-]++)?")),  # SendGrid
    ("key-", _token("key-", r"[0-9a-f]{32}(?![0-9a-f])")),  # Mailgun
    # OpenAI, Anthropic …; a digit or a long word tells a key from a name such as sk-learn-contrib.
    ("sk-", _token("sk-", r"(?=[\w-]{0,48}?(?:[0-9]|[A-Za-z]{16}))[\w-]{16,}+")),
    ("hf_", _token("hf_", r"[A-Za-z0-9]{20,}+")),  # Hugging Face
    ("hvs.", _token(r"hvs\.", r"[\w-]{20,}+")),  # Vault
    ("shp", _token("shp", r"[a-z]{2}_[0-9a-fA-F]{16,}+")),  # Shopify
    ("sq0", _token("sq0", r"[a-z]{3}-[\w-]{20,}+")),  # Square
    ("glsa_", _token("glsa_", r"\w{20,}+")),  # Grafana
    # This exporter's own (z4j_exporter/actions/tokens.py), whole or cut; never its metrics' names.
    ("z4j_", _token("z4j_", r"[0-9A-Za-z]{16,}+")),
)
#: 40 characters of base64 are a secret of AWS only where AWS is spoken of: paths look like it too.
_AWS_SECRET = re.compile(
    r"(?<![A-Za-z0-9+/=_.-])(?=[A-Za-z0-9+/]{0,39}[A-Z])(?=[A-Za-z0-9+/]{0,39}[a-z])"
    r"(?=[A-Za-z0-9+/]{0,39}[0-9])[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/=_.-])"
)
_BEARER = re.compile(r"[Bb](?:earer|EARER)(?:[ +]|%20)([\w.~+/-]{5,}+=*)")
_BASIC = re.compile(r"[Bb](?:asic|ASIC)(?:[ +]|%20)([\w+/-]{4,}+=*)")
_SIGNED = re.compile(
    r"(?i)(?<=[?&;])(sig|signature|key|x-(?:amz|goog)-(?:signature|credential|security-token))="
    r"[^\s&'\"#<>\\]++"
)
#: What may stand in a URL's user and password; a quote that ends a string in a repr does not.
_USER = r"(?:[^\s/?#\"<>@']|'(?![,:;)\]}\s]))"
#: Everything between :// and the last @ in front of a path; or, with a colon in it, to the
#: first @ (people forget to quote slashes), unless it is a host with its port.
_USERINFO = re.compile(
    rf"://(?!\[redacted\]@|@)(?:{_USER}{{0,256}}+(?:@{_USER}{{1,256}}+(?=@)){{0,4}}"
    r"|[^\s/?#\"<>@:\[]{0,128}+:(?![0-9]{1,5}[/?#])(?:[^\s\"<>@']|'(?![,:;)\]}\s])){1,256}+)@"
)
#: Schemes whose user name alone is no secret: ssh://git@host. In http it is mostly a token.
_NAME_ONLY = re.compile(r"://[A-Za-z0-9_.-]{1,16}@\Z")
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END[A-Z0-9 ]{0,60}(?:-----)?")
_PEM_BODY = re.compile(r"(?:[A-Za-z0-9+/=]|\\[nr]|\s{1,4}(?=[A-Za-z0-9+/=]{16}))*+")
_DOMAIN = re.compile(
    r"(?:@|%40)(?:[^\W_](?:[\w-]{0,62}+)\.){1,8}[A-Za-z]{2,24}(?![\w-]|\.[A-Za-z])"
)
_LOCAL = re.compile(r"[\w.+%-]{1,64}+")
#: In front of the @ of no person's mail: workers are named celery@host, and git@host is an address
#: of repositories.
_NO_PERSON = ("celery", "git")
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){12,}+")
_DIGITS = re.compile("[0-9]++")
_NO_DIGIT = re.compile("[ -]")
#: Digits in a group as cards have them. UUIDs (8-4-4-4-12) and dates have others, and stay even
#: where their digits would pass.
_LAYOUTS = re.compile("4-4-4-[1-7]|4-4-4-4-[1-3]|4-6-[45]|6-(?:[7-9]|1[0-3])|4-3-3-3")
#: Issuers' ranges and lengths (ISO/IEC 7812). They leave out 1: times in
#: micro- and nanoseconds stay.
_ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|3[4-9][0-9]{12,17}|30[0-9]{12,17}|5[0-9]{12,18}"
    r"|6[0-9]{12,18}|2[2-7][0-9]{14,17}|(?:8[126]|9[78])[0-9]{14}"
)
#: What a digit's code adds to Luhn's sum in every second place.
_DOUBLED = {48 + n: 2 * n - 9 if n > 4 else 2 * n for n in range(10)}


def redact_forms(text: str) -> str:
    """Replace what shows by its own form as a secret."""
    if "PRIVATE KEY" in text:
        text = _redact_pem(text)
    if "://" in text and "@" in text:
        text = _USERINFO.sub(_userinfo, text)
    for hint, pattern in _TOKENS:
        if hint in text:
            text = pattern.sub(MARKER, text)
    if "earer" in text or "EARER" in text:
        text = _BEARER.sub(_bearer, text)
    if "asic" in text or "ASIC" in text:
        text = _BASIC.sub(_basic, text)
    if "=" in text and ("?" in text or "&" in text):
        text = _SIGNED.sub(rf"\1={MARKER}", text)
    if MARKER in text or "aws" in text or "AWS" in text:
        text = _AWS_SECRET.sub(MARKER, text)
    if "@" in text or "%40" in text:
        text = _replace(text, _DOMAIN, _mail_address)
    return _replace(text, _CARD, _card_number)


def _redact_pem(text: str) -> str:
    """Replace private keys to their END, or, when it is cut off, as far as base64 goes."""
    parts: list[str] = []
    done = 0
    while begin := _PEM.search(text, done):
        following = text.find("-----BEGIN", begin.end())
        limit = len(text) if following < 0 else following
        end = _PEM_END.search(text, begin.end(), limit)
        if end is None:
            end = _PEM_BODY.match(text, begin.end(), limit)
        parts += (text[done : begin.start()], MARKER)
        done = end.end() if end else begin.end()
    return "".join(parts) + text[done:]


def _userinfo(found: re.Match[str]) -> str:
    scheme = found.string[max(0, found.start() - 5) : found.start()].lower()
    if not scheme.endswith(("http", "https")) and _NAME_ONLY.match(found[0]):
        return found[0]
    return f"://{MARKER}@"


def _bearer(found: re.Match[str]) -> str:
    """Words of prose behind "bearer" stay: they are short and have small letters only."""
    token = found[1]
    if len(token) < 20 and token.isalpha() and (token.islower() or token.istitle()):
        return found[0]
    return found[0][: -len(token)] + MARKER


def _basic(found: re.Match[str]) -> str:
    """Replace what decodes to user:password; "basic authentication" stays."""
    token = found[1]
    bare = token.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        # A cut token may end inside of a group of four: only whole groups are decoded.
        decoded = base64.b64decode(bare[:1024] + "=" * (-len(bare[:1024]) % 4))
    except (binascii.Error, ValueError):
        decoded = b":" if len(bare) >= 16 and not bare.isalpha() else b""
    if b":" not in decoded and not token.endswith("="):
        return found[0]
    return found[0][: -len(token)] + MARKER


def _replace(
    text: str,
    pattern: re.Pattern[str],
    spans: Callable[[re.Match[str], int], list[tuple[int, int]]],
) -> str:
    """Replace the spans found around each match; `spans` is told where the last one ended."""
    parts: list[str] = []
    done = 0
    for found in pattern.finditer(text):
        for start, end in spans(found, done):
            parts += (text[done:start], MARKER)
            done = end
    return "".join(parts) + text[done:] if parts else text


def _mail_address(found: re.Match[str], done: int) -> list[tuple[int, int]]:
    """Find the address around an @ with a domain behind it; `@app.task` has nothing before."""
    at = found.start()
    before = found.string[max(done, at - 64) : at]
    local = _LOCAL.match(before[::-1])
    if local is None or local[0][::-1] in _NO_PERSON:
        return []
    start = at - local.end()
    if found.string[max(0, start - 2) : start] == "//":  # a user name in a URL, judged as such
        return []
    return [(start, found.end())]


def _card_number(found: re.Match[str], _done: int) -> list[tuple[int, int]]:
    """Find card numbers in a run of digits, spaces and dashes: whole groups of digits."""
    text = found.string
    before = text[max(0, found.start() - 2) : found.start()]
    after = text[found.end() : found.end() + 2]
    groups = [(g.start(), g.end()) for g in _DIGITS.finditer(text, found.start(), found.end())]
    if _continues(before):
        groups = groups[1:]
    if after[:1].isalnum() or (after[:1] == "." and after[1:].isdigit()):
        groups = groups[:-1]
    spans = []
    first = 0
    while first < len(groups):
        last = _last_group(text, groups, first)
        if last >= 0:
            spans.append((groups[first][0], groups[last][1]))
            first = last
        first += 1
    return spans


def _continues(before: str) -> bool:
    """Whether digits go on with a word or with a number's decimals; `\\n` in a repr does not."""
    if before[-1:].isalnum():
        return not (before[:1] == "\\" and before[1:] in ("n", "r", "t"))
    return before[-1:] == "." and before[:1].isdigit()


def _last_group(text: str, groups: list[tuple[int, int]], first: int) -> int:
    """Find the last group of the longest card number that begins with the first one, or -1."""
    if groups[first][1] - groups[first][0] < 4:
        return -1
    sizes = [end - start for start, end in groups[first : first + 5]]
    for count in range(len(sizes), 0, -1):
        last = first + count - 1
        if count == 1:
            fits = 13 <= sizes[0] <= 19
        else:
            fits = _LAYOUTS.fullmatch("-".join(map(str, sizes[:count]))) is not None
        if fits and is_card_number(_NO_DIGIT.sub("", text[groups[first][0] : groups[last][1]])):
            return last
    return -1


def is_card_number(digits: str) -> bool:
    """Whether digits are a card's: an issuer's range and length, and Luhn's sum."""
    if _ISSUERS.fullmatch(digits) is None:
        return False
    values = digits.encode()
    odd = sum(values[-1::-2]) - 48 * len(values[-1::-2])
    even = sum(_DOUBLED[value] for value in values[-2::-2])
    return (odd + even) % 10 == 0
