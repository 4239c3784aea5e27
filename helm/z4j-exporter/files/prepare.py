"""Prepares what a mounted volume cannot have: files that are the exporter's own, mode 0600.

A file from a Secret belongs to root and can be read by the pod's group; the exporter takes a token
file or an audit key only where nobody but its own user can read it. With --follow, changes of the
Secret are copied as they come; a copy replaces the file as a whole, so none is read by halves.
"""

import argparse
import os
import signal
import stat
import sys
import threading
from pathlib import Path

#: Seconds between two looks at the sources; the kubelet needs about a minute itself.
FOLLOW_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """Do what the arguments ask for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="make it, mode 0700")
    parser.add_argument("--private", type=Path, action="append", default=[], help="chmod 600")
    parser.add_argument("--copy", type=Path, nargs=2, action="append", default=[])
    parser.add_argument("--follow", action="store_true", help="go on copying what changes")
    given = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        if given.directory is not None:
            given.directory.mkdir(mode=0o700, exist_ok=True)
            given.directory.chmod(0o700)
        for path in given.private:
            if path.exists():
                path.chmod(0o600)
        copied = [copy(source, target, None) for source, target in given.copy]
    except OSError as error:
        say(f"{error.filename}: {error.strerror}")
        return 1
    if given.follow:
        follow(given.copy, copied)
    return 0


def copy(source: Path, target: Path, known: bytes | None) -> bytes:
    """Make the target what the source is, unless it is that already; return the content."""
    content = source.read_bytes()
    # A kubelet that starts anew may give the pod's group its rights on the copy again.
    if content == known and stat.S_IMODE(target.stat().st_mode) == 0o600:
        return content
    fresh = target.with_name(f".{target.name}.next")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(target)
    return content


def follow(pairs: list[list[Path]], copied: list[bytes]) -> None:
    """Copy what changes, until the process is told to stop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(FOLLOW_SECONDS):
        for index, (source, target) in enumerate(pairs):
            try:
                content = copy(source, target, copied[index])
            except OSError as error:
                # A Secret that is gone changes nothing: the copy stays, as the exporter's rule is.
                say(f"{error.filename}: {error.strerror}")
                continue
            if content != copied[index]:
                say(f"{target} was renewed")
            copied[index] = content


def say(text: str) -> None:
    """Write a line to the container's log."""
    sys.stderr.write(f"prepare: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
