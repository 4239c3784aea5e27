"""Finds the values that stand behind a secret's name in any text: pairs, reprs, JSON, headers.

The text is walked from left to right, from one key to the next, and what was looked at is not
looked at again: the time is linear. The walk starts at fixed pieces of keys (hints), which the
search for substrings finds faster than a regular expression would.
"""

import re

from z4j_exporter.capture.redaction_keys import SecretKeys, is_measure, takes_whole_line
from z4j_exporter.capture.redaction_patterns import MARKER

#: Characters in front of a hint that may belong to the key.
_LEFT = 64
#: Of a longer identifier only this much of its end is judged.
_LONGEST = 128
_IDENTIFIER = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

_REST = re.compile(
    r"[A-Za-z0-9_-]*+(?: (?:key|id|number|no\.|code|phrase|value)(?![A-Za-z0-9_-]))?+"
)
#: Between key and value: the key's own closing quote or bracket, then a sign. A type may follow
#: (`password: str = "x"`).
_SIGN = re.compile(
    r"(?: (?:provided|given|used|is|was)| (?:for|of)(?: user)?+ [^\s:=]{1,64}+)?+"
    r"(?:\\*+[\"']|&(?:quot|\#x?[0-9a-fA-F]{1,4});|%2[27]|\\++u0022)?+"
    r"(?:\[\w{0,16}+\]|\])?+\s{0,16}+"
    r"(?:=>|->|:=|[=!]={1,2}+|=|%3[DdAa]|:[ ]?[|>][+-]?\n(?=[ ])|:(?!:)|\)=(?=\()"
    r"|(?<= is |was )(?=\\*+[\"']))(?:\s{0,64}+(?=\\*+[\"'\[{(])|[ \t]{0,16}+)"
    r"(?:(?:str|bytes|int|Any|SecretStr|Optional\[str\]|str \| None)[ \t]{0,4}=[ \t]{0,4})?+"
)
#: pydantic names the field in one line and shows its value in the next.
_PYDANTIC = re.compile(r"(?:\n|\\n) {2}[^\n]{0,300}?input_value=")
#: ('password', 'x') and ['--password', 'x']: the key as an item of its own.
_ITEM = re.compile(r"(\\*+[\"']),\s{0,16}+(?=[bBuU]?\\*+[\"'])")
_ITEM_START = re.compile(r"[(\[]\s{0,4}[bBuU]?\\*[\"']-{0,2}\Z")
_FLAG = re.compile(r"[ \t]{1,8}+(?=[^\s-])")
_TAG = re.compile(r"[^<>\n]{0,256}+>")
_TAG_VALUE = re.compile(r"[^<\n]*+")

_OPENING = re.compile(r"(?:[bBrRuUfF]{0,2})(\\*+)(\"\"\"|'''|\"|')")
#: Quotes in HTML, in URLs, and of a cautious JSON.
_ENTITY = re.compile(
    r"(?:&(?:quot|\#x?[0-9a-fA-F]{1,4});|(?:%20|\+)?%2[27]|\\++u0022)"
    r"((?:[^&\n%\\]|%(?!2[27])|\\(?!\\*u0022))*+)"
)
#: These say that there is no secret.
_NOTHING = re.compile(r"(?:None|null|nil|NULL|[Tt]rue|[Ff]alse|undefined)(?![\w.(\[-])")
_NUMBER = re.compile(r"-?[0-9]++(?:\.[0-9]++)?+(?![\w-])")
#: Without a quote a value ends where the text around it goes on; a quote in its midst does not end
#: it.
_BARE = re.compile(
    r"(?:[^\s,;&\"'()\[\]{}<>\\]|[,;](?![\s\"'\\]|[\w.-]{1,40}+\s?[=:])"
    r"|[\"'](?![\s,:;)\]}>]|\Z)|\\(?![nrt\"'\\]))++"
)
_SCHEME = re.compile(
    r"(?:Bearer|Basic|Token|Digest|Negotiate|ApiKey|Api-Key|AWS4-HMAC-SHA256)[ +]", re.IGNORECASE
)
_LINE = re.compile(r"[^\r\n\"'\\]*+(?:(?<==)\"[^\"\r\n]*+\"[^\r\n\"'\\]*+)*+")
_EMPTY = re.compile(r"\[\s*\]|\(\s*\)|\{\s*\}")
_QUOTE = re.compile(r"\\*+[\"']|\n")
_BRACKET = re.compile(r"\\*+[\"']|[(\[{]|[)\]}]|\n")

#: Characters that the search for closing brackets may read beyond a line's end, in one text.
_BEYOND = 20_000


class PairRedaction:
    """Replaces the values of the keys that `keys` holds for secrets."""

    def __init__(self, keys: SecretKeys) -> None:
        self._keys = keys

    def redact(self, text: str) -> str:
        """Return the text with MARKER in place of the values behind keys of secrets."""
        lowered = _lower(text)
        hints = [hint for hint in self._keys.hints if hint in lowered]
        if not hints:
            return text
        walk = _Walk(text, self._keys)
        for position in _positions(lowered, hints):
            walk.look_at(position)
        return walk.result()


class _Walk:
    """The way through one text; `seen` never goes back."""

    def __init__(self, text: str, keys: SecretKeys) -> None:
        self._text = text
        self._keys = keys
        self._parts: list[str] = []
        self._copied = 0
        self._seen = 0
        self._beyond = _BEYOND

    def result(self) -> str:
        """Return the text with what was replaced so far."""
        return "".join(self._parts) + self._text[self._copied :] if self._parts else self._text

    def look_at(self, position: int) -> None:
        """Judge the identifier around the position, and replace the value behind it."""
        if position < self._seen:
            return
        text = self._text
        before = text[max(self._seen, position - _LEFT) : position]
        start = position - len(before) + len(before.rstrip(_IDENTIFIER))
        rest = _REST.match(text, position)
        end = self._seen = rest.end() if rest else position
        value = self._value_start(start, end)
        if value < 0 or value >= len(text):
            return
        key = text[max(start, end - _LONGEST) : end]
        if key == "key" and start and text[start - 1] == " ":  # "api key: …"
            key = text[max(0, start - 24) : end].rsplit("\n", 1)[-1]
            key = "_".join(key.split()[-2:])
        if not self._keys.holds_secret(key):
            return
        first, last = self._value(key, value, end)
        if last > first:
            self._seen = last
            if text[first:last] != MARKER:
                self._parts += (text[self._copied : first], MARKER)
                self._copied = last

    def _value_start(self, start: int, end: int) -> int:
        """Where the value of the identifier begins, or -1 when it has none."""
        text = self._text
        sign = _SIGN.match(text, end)
        if sign:
            host = text.startswith(":", end) and text[max(0, start - 2) : start] == "//"
            return -1 if host else sign.end()
        if text.startswith(("\n", "\\n"), end):
            sign = _PYDANTIC.match(text, end)
        elif text[max(0, start - 1) : start] == "<":
            sign = _TAG.match(text, end)
        elif text.startswith("--", start):
            sign = _FLAG.match(text, end) or _ITEM.match(text, end)
        elif _ITEM_START.search(text, max(0, start - 12), start):
            sign = _ITEM.match(text, end)
        return sign.end() if sign else -1

    def _value(self, key: str, at: int, key_end: int) -> tuple[int, int]:
        """Find the span of the value at this place; an empty one where it holds no secret."""
        text = self._text
        opening = _OPENING.match(text, at)
        if opening:
            start = opening.end()
            return start, self._closing(start, len(opening[1]), opening[2])
        if text[at - 1] == ">" and text[key_end - 1 : at - 1].count("<") == 0:
            tag = _TAG_VALUE.match(text, at)
            if tag and not text.startswith(("=>", "->"), at - 2):
                return at, tag.end()
        entity = _ENTITY.match(text, at)
        if entity:
            return entity.start(1), entity.end(1)
        if _NOTHING.match(text, at) or _EMPTY.match(text, at):
            return at, at
        if is_measure(key) and _NUMBER.match(text, at):
            return at, at
        if ":" in text[key_end:at] and takes_whole_line(key):
            line = _LINE.match(text, at)
            return at, line.end() if line else at
        return at, self._bare_end(at)

    def _bare_end(self, at: int) -> int:
        """Find the end of a value without quotes, with the brackets that belong to it."""
        text = self._text
        end = at
        scheme = _SCHEME.match(text, at)
        if scheme:
            end = scheme.end()
        while True:
            bare = _BARE.match(text, end)
            if bare:
                end = bare.end()
            if end < len(text) and text[end] in "([{":
                end = self._balanced(end)
            elif end == at and text[end] == "<":
                return text.find(">", end, end + 200) + 1 or end + 1
            elif bare is None:
                return end

    def _closing(self, start: int, depth: int, quote: str) -> int:
        """Find the end of a string that opened with `depth` backslashes before its quote.

        Each repr of a repr doubles the backslashes and adds one. So a quote of this string's own
        level has `depth` of them after an even number of doubled ones; fewer belong to a string
        around it, which means that this one was cut. It ends at the line's end at the latest.
        """
        text = self._text
        if len(quote) == 3:
            end = text.find(quote, start)
            return end if end >= 0 else len(text)
        for found in _QUOTE.finditer(text, start):
            if found[0] == "\n":
                return found.start()
            backslashes = found.end() - found.start() - 1
            if not found[0].endswith(quote):
                continue
            if backslashes % (2 * depth + 2) == depth:
                return found.end() - 1 - depth
            if backslashes < depth:
                return found.start()
        return len(text)

    def _balanced(self, start: int) -> int:
        """Find the end of what is in brackets; where they do not close, the end of the line."""
        text = self._text
        level = 0
        line_end = -1
        position = start
        while found := _BRACKET.search(text, position):
            position = found.end()
            sign = found[0]
            if line_end >= 0:
                self._beyond -= 1
                if self._beyond < 0:
                    return line_end
            if sign == "\n":
                line_end = found.start() if line_end < 0 else line_end
            elif sign in "([{":
                level += 1
            elif sign in ")]}":
                level -= 1
                if level == 0:
                    return position
            else:
                position = self._closing(position, len(sign) - 1, sign[-1])
                position += len(sign) if position < len(text) and text[position] != "\n" else 0
        return line_end if line_end >= 0 else len(text)


def _positions(lowered: str, hints: list[str]) -> list[int]:
    positions = []
    for hint in hints:
        position = lowered.find(hint)
        while position >= 0:
            positions.append(position)
            position = lowered.find(hint, position + len(hint))
    return sorted(positions)


def _lower(text: str) -> str:
    """Return the text in small letters, each in its place: one letter alone becomes two."""
    return text.lower() if text.isascii() else text.replace("\u0130", "i").lower()
