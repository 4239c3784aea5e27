"""Takes secrets out of texts and values before they leave the process.

Two callers use it: spans, for messages and tracebacks, and the hook in the application, for
arguments and headers. What is a secret is told by the name of its key (redaction_keys), by the key
in front of it in a text (redaction_pairs) or by its own form (redaction_patterns). It is a net, not
a proof: a password that stands alone, `login('ann', 'hunter2')`, looks like any other word, and so
does one that is encoded (base64, percent signs around a whole JSON document).
"""

from collections.abc import Sequence

from z4j_exporter.capture.redaction_keys import SecretKeys
from z4j_exporter.capture.redaction_own import OwnPatterns
from z4j_exporter.capture.redaction_pairs import PairRedaction
from z4j_exporter.capture.redaction_patterns import MARKER, redact_forms
from z4j_exporter.capture.redaction_values import Bounds, ValueRedaction

__all__ = ["MARKER", "TEXT_LIMIT", "Bounds", "Redactor", "redact_text", "redact_value"]

#: Characters a text may have; what is longer is cut.
TEXT_LIMIT = 100_000
#: Characters read past the limit, so that a secret on the edge is seen whole.
_SLACK = 4_096
#: Characters dropped from the end of a cut text: a piece of a key there shows no longer as one.
_EDGE = 512
#: Letters, digits and _ alone are no secret by their form up to this length: most keys are shorter.
_SHORT = 10


class Redactor:
    """Redaction with keys and patterns of the user's own, beside those built in.

    `extra_keys` are names of keys, matched as the built-in ones are: as whole words inside longer
    names. `extra_patterns` are regular expressions; all of a match goes. Raises ValueError, with
    the reason, for a pattern that could hang (see redaction_own for the limits).
    Safe to use from several threads.
    """

    def __init__(self, extra_keys: Sequence[str] = (), extra_patterns: Sequence[str] = ()) -> None:
        self._keys = SecretKeys(extra_keys)
        self._pairs = PairRedaction(self._keys)
        self._own = OwnPatterns(extra_patterns)

    @property
    def overruns(self) -> int:
        """How often a pattern of the user's took too long; that text was replaced as a whole."""
        return self._own.overruns

    @property
    def switched_off(self) -> tuple[str, ...]:
        """The user's patterns that took too long too often and are no longer applied."""
        return self._own.switched_off

    def redact_text(self, text: str, limit: int = TEXT_LIMIT) -> str:
        """Return `text` with MARKER in place of every secret, at most `limit` characters of it."""
        if type(text) is not str:
            text = str.__str__(text)  # not what a subclass makes of it
        if len(text) <= _SHORT and text.isidentifier() and not self._own:
            return text[:limit]
        whole = len(text) <= limit + _SLACK
        if not whole:
            text = text[: limit + _SLACK]
        text = self._pairs.redact(redact_forms(text))
        text = self._own.redact(text)
        return text[:limit] if whole else text[:-_EDGE][:limit]

    def redact_value(
        self, value: object, bounds: Bounds | None = None, *, objects_by_repr: bool = False
    ) -> tuple[object, bool]:
        """Return a redacted deep copy of a value, and whether it differs from the value.

        It differs when something was redacted, was cut (see Bounds), or is no plain data: then it
        cannot be sent again as it was. Objects become their class's name, or their redacted repr if
        `objects_by_repr`; only then is code of theirs run. Never raises: a repr that does is
        replaced by the class's name.
        """
        walk = ValueRedaction(self._keys, self.redact_text, bounds or Bounds(), objects_by_repr)
        return walk.redact(value)


_BUILT_IN = Redactor()


def redact_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return `text` with MARKER in place of every secret, at most `limit` characters of it.

    Never raises. The text may be anything: a message, a repr, JSON, a URL, a traceback. 200
    characters take about 10 µs, a traceback of 2 KB some 80 µs; the time is linear in the length.
    """
    return _BUILT_IN.redact_text(text, limit)


def redact_value(
    value: object, bounds: Bounds | None = None, *, objects_by_repr: bool = False
) -> tuple[object, bool]:
    """Return a redacted deep copy of a value and whether it differs; see Redactor.redact_value."""
    return _BUILT_IN.redact_value(value, bounds, objects_by_repr=objects_by_repr)
