"""Keeps a token file in force through every change of it."""

import hashlib
import logging
import threading
from pathlib import Path

from z4j_exporter.actions.tokens_file import as_text, parse, read_bytes
from z4j_exporter.actions.tokens_set import TokenSet
from z4j_exporter.actions.tokens_stats import AccessStats
from z4j_exporter.errors import ExporterError

_LOGGER = logging.getLogger("z4j_exporter.actions")

#: How often the file is read, in seconds: a token that is taken out ends within one.
_CHECK_SECONDS = 0.5


class TokenFile:
    """A token file in force: ``tokens`` is what holds at this moment.

    The file is read as a whole at each look, not only its times: an editor may keep size and
    inode, and two writes may share a tick of the file system's clock.

    A change that cannot take effect (not YAML, open to others, a part missing, the file gone)
    leaves all entries before it in force and brings none in: to end every token, write ``tokens:
    []``, do not remove the file. Entries still end by their own ``not_after`` meanwhile. ``stats``
    says so, the log says why, once for each change.
    """

    def __init__(self, path: Path, stats: AccessStats) -> None:
        """Read the file; raises ConfigError or FileError."""
        self.path = path
        self._stats = stats
        data = read_bytes(path)
        self._tokens = parse(as_text(data, name=str(path)), name=str(path))
        self._seen = _fingerprint(data)
        #: What is wrong with the content that was parsed last, and with the last look; or "".
        self._verdict = self._problem = ""
        self._stats.reloaded(len(self._tokens.tokens), len(self._tokens.certificates), first=True)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def tokens(self) -> TokenSet:
        """Return the entries in force."""
        return self._tokens

    def start(self) -> None:
        """Begin to look for changes, twice a second, in a thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="z4j-tokens", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_CHECK_SECONDS + 1)

    def check(self) -> bool:
        """Look for a change now; returns whether one took effect."""
        try:
            data = read_bytes(self.path)
        except ExporterError as error:
            self._refused(error.message)
            return False
        fingerprint = _fingerprint(data)
        if fingerprint != self._seen:
            self._seen, self._problem = fingerprint, ""
            self._verdict = self._parse(data)
        elif not self._problem:
            return False
        # What was read before and is wrong stays wrong: it is not parsed again.
        if self._verdict:
            self._refused(self._verdict)
            return False
        self._problem = ""
        tokens = self._tokens
        self._stats.reloaded(len(tokens.tokens), len(tokens.certificates))
        _LOGGER.info(
            "the token file %s was read again: %d tokens, %d certificates",
            self.path, len(tokens.tokens), len(tokens.certificates),
        )  # fmt: skip
        return True

    def _parse(self, data: bytes) -> str:
        """Put a new content in force; returns what is wrong with it, or ""."""
        try:
            self._tokens = parse(as_text(data, name=str(self.path)), name=str(self.path))
        except ExporterError as error:
            return error.message
        except Exception as error:
            # The thread must outlive a fault of ours: without it no token ends.
            _LOGGER.debug("the token file could not be read", exc_info=error)
            return f"unforeseen error: {type(error).__name__}"
        return ""

    def _refused(self, problem: str) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        self._stats.reload_refused()
        _LOGGER.error(
            "the changed token file is refused, the tokens before stay in force: %s", problem
        )

    def _watch(self) -> None:
        while not self._stopping.wait(_CHECK_SECONDS):
            self.check()


def _fingerprint(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
