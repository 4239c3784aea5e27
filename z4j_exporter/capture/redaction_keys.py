"""Tells by its name whether a key, a variable or a header holds a secret."""

import functools
import itertools
import re
from collections.abc import Callable, Iterable

#: Characters of a key that are looked at, its last ones; nobody writes longer names.
_LONGEST = 128


def _list(words: str) -> list[str]:
    return words.split()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: One word of these makes a key a secret's.
_WORDS = _set(
    "auth authentication authorisation authorization bearer card cookie cookies cred creds "
    "credential credentials csrf cvc cvv cvv2 jwt otp passcode passkey passphrase passwd "
    "password passwords pin pw pwd secret secrets session sessionid ssn token tokens totp xsrf"
)
#: Two words of these, one after the other.
_TWO_WORDS = frozenset(
    (first, "key")
    for first in _list(
        "access account api auth client encryption license master private secret session shared "
        "signing ssh storage"
    )
) | frozenset((first, "keys") for first in ("access", "api", "private"))
#: Written together with anything: `mypgpassword2`, `xapikey`.
_INSIDE = re.compile(
    "password|passwd|passphrase|authorization|credential|"
    "(?:access|account|api|encryption|private|secret|signing)key|creditcard|cardnumber|sessionid"
)
#: Written together at the end: `csrfmiddlewaretoken`, `clientsecret`, `userpwd`.
_ENDS = ("token", "tokens", "secret", "secrets", "pwd", "passcode", "sessioncookie", "setcookie")
#: `pass` is a secret's name only at the end: `db_pass`, but not `pass_through`.
_LAST = "pass"
#: Names of exceptions: `InvalidTokenError: Signature has expired`.
_NO_SECRETS = _set("error errors exception warning")
#: With a number behind it this last word makes the key a measure: `session_timeout=30`.
_MEASURES = _set(
    "age bucket count counts days expires expiration expiry hours index length len lifetime "
    "limit max min minutes ms position rate retries seconds size timeout tokens total ttl "
    "type used version"
)
#: Their values go to the end of the line where nothing encloses them.
_WHOLE_LINE = _set("authentication authorisation authorization cookie cookies passphrase")
_SPLIT = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PLAIN = re.compile("[a-z]+")

#: Every key of a secret has one of these in it, in small letters.
HINTS = _list(
    "pass auth token secret key session cookie cred card srf jwt otp pin pw ssn cv bearer"
)


class SecretKeys:
    """The names of keys that hold secrets, with those a user adds.

    A name counts by whole words inside it, however they are joined: `userPassword`,
    `USER-PASSWORD` and `user_password` do, `tokenizer` and `passenger` do not.
    Raises ValueError for an added name without a letter or digit.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        own = [_words(name) for name in extra]
        if not all(own):
            raise ValueError("an added key needs letters or digits")
        self._own = tuple(own)
        #: One of these is in every text, in small letters, that has such a key in it.
        self.hints = tuple(dict.fromkeys([*HINTS, *(words[0] for words in own)]))
        # Names repeat from task to task; the cache is bounded, and names are no secrets.
        self.holds_secret: Callable[[str], bool] = functools.lru_cache(2048)(self._judge)

    def _judge(self, name: str) -> bool:
        words = _words(name)
        if not words or words[-1] in _NO_SECRETS:
            return False
        if not _WORDS.isdisjoint(words) or words[-1] == _LAST:
            return True
        if any(pair in _TWO_WORDS for pair in itertools.pairwise(words)):
            return True
        plain = name[-_LONGEST:].lower()
        if any(_alone(part) for part in _PLAIN.findall(plain)):
            return True
        return any(_inside(own, words) for own in self._own)


def is_measure(name: str) -> bool:
    """Whether a number under this name is a measure and no secret: `token_count`."""
    words = _words(name)
    return bool(words) and words[-1] in _MEASURES


def takes_whole_line(name: str) -> bool:
    """Whether a value behind `name:` has spaces in it: Authorization, Cookie."""
    return not _WHOLE_LINE.isdisjoint(_words(name))


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _SPLIT.findall(name[-_LONGEST:]))


def _alone(part: str) -> bool:
    return part in _WORDS or part.endswith(_ENDS) or _INSIDE.search(part) is not None


def _inside(own: tuple[str, ...], words: tuple[str, ...]) -> bool:
    size = len(own)
    joined = "".join(own)
    return joined in words or any(words[i : i + size] == own for i in range(len(words) - size + 1))
